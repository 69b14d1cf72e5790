"""What the cluster is: status, expiry, check. Pure."""

from __future__ import annotations

from typing import Final

from gausscert_common.model import Layout
from gausscert_common.protocol.words import LiveState, Phase, RestartScope, SslWish, Step

from gausscert_coordinator.exit_codes import CheckState
from gausscert_coordinator.schemas.parts import CERTIFICATE, CREDENTIAL
from gausscert_coordinator.schemas.words import (
    Schema,
    code,
    every,
    flag,
    hexadecimal,
    maybe,
    moment,
    number,
    obj,
    part,
    text,
    whole,
    word,
)

EXPIRY_STATES: Final = ("ok", "expiring", "expired", "not yet valid")
"""As in `cli.judge.ExpiryState`."""

_TRANSACTION: Final = obj(
    "What the node says of the transaction it takes part in.",
    transaction_id=text(),
    phase=word(Phase),
    epoch=whole("Of the fence."),
    step=word([step.name for step in Step], "Of the fence."),
    holder=text("Who has the fence."),
    held_since=maybe(moment("Since when.")),
    lease_left_s=number("For how much longer at most."),
    participants=every(text()),
    excluded=every(text(), "Nodes that it was begun without."),
    joins=text('The transaction whose set this one brings to an excluded node; else "".'),
    old_digest=hexadecimal("Of the set before."),
    new_digest=hexadecimal("Of the set that is to be."),
    live_state=maybe(word(LiveState, "Which of the two is live.")),
    restart=maybe(word(RestartScope)),
    ssl_wish=word(SslWish),
    begun_at=maybe(moment("When.")),
    begun_by=text("Who."),
)

_REPORT: Final = obj(
    "What the node's agent says.",
    agent_version=text(),
    cm_version=text(),
    clock=maybe(moment("The node's own.")),
    cm_home=text(),
    set_directory=text("Where the live set lies."),
    layout=maybe(word(Layout, "How sets are swapped there.")),
    live=part("certificate_set"),
    days_left=maybe(whole("Until the first certificate of the live set expires; negative: it has.")),
    modes_ok=maybe(flag("Whether CM accepts the modes of the files.")),
    enable_ssl=part("enable_ssl"),
    processes=every(obj(name=text(), pid=whole(""), started_at=maybe(moment(""))), "Those of CM."),
    cm_running=flag("Whether cm_server or cm_agent runs."),
    manually_stopped=flag("CM was stopped on purpose."),
    paused=flag("CM is paused."),
    upgrading=flag("CM is upgraded."),
    transaction=maybe(_TRANSACTION),
    retired=every(
        obj(
            "A set that `rollback` may go back to.",
            generation=text("The transaction that retired it."),
            digest=hexadecimal("Of the set."),
            server_fingerprint=hexadecimal("Of its server certificate."),
            retired_at=maybe(moment("")),
        )
    ),
    findings=every(part("finding")),
)

DOCUMENTS: Final[dict[str, tuple[str, dict[str, Schema]]]] = {
    "status": (
        "gausscert status: every node, as its agent answers.",
        {
            "cluster": text(),
            "in_doubt": flag("Some transaction is in doubt: run gausscert recover."),
            "waiting": every(part("in_flight"), "Committed transactions that wait for excluded nodes."),
            "unreachable": every(text(), "Nodes that do not answer."),
            "nodes": every(
                obj(
                    node=text("As in the inventory."),
                    address=text(),
                    reachable=flag("Whether it answers."),
                    error=maybe(part("error"), "Why it does not."),
                    served=maybe(part("served"), "By its own cm_server, seen from the node itself."),
                    drift=flag("What is served is not what lies on the disk."),
                    drift_known=flag("Whether `drift` is an answer."),
                    report=maybe(_REPORT),
                )
            ),
            "findings": every(part("finding"), "Of all nodes seen together."),
        },
    ),
    "expiry": (
        "gausscert expiry: every certificate on every node, soonest first.",
        {
            "certificates": every(
                obj(
                    node=text(),
                    **CERTIFICATE,
                    days_left=whole("Whole days by the node's clock; negative: it has expired."),
                    state=word(EXPIRY_STATES),
                )
            ),
            "control_plane": every(
                obj(
                    node=text(),
                    **CREDENTIAL,
                    days_left=whole("Whole days by the node's clock; negative: it has expired."),
                    state=word(EXPIRY_STATES),
                ),
                "The agents' own credentials, and the CAs that they trust.",
            ),
            "unreachable": every(part("error"), "One for each node that does not answer."),
            "findings": every(part("finding")),
        },
    ),
    "check": (
        "gausscert check: the answer of the monitoring plugin.",
        {
            "state": word([state.name for state in CheckState]),
            "summary": text("The first line."),
            "problems": every(
                obj(
                    state=word([state.name for state in CheckState]),
                    node=text('"" when it is of the cluster.'),
                    code=code("Of a finding or a reason, or one of `check` itself."),
                    text=text(),
                    remedy=text(),
                ),
                "Worst first.",
            ),
            "data": every(
                obj(
                    label=text(),
                    value=number(""),
                    warning=text("A range of the Monitoring Plugins."),
                    critical=text("Likewise."),
                ),
                "Performance data.",
            ),
            "error": maybe(part("error"), "Why nothing could be checked."),
        },
    ),
}
