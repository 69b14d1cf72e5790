"""Identities, the inventory, and the agents on their nodes. Pure."""

from __future__ import annotations

from typing import Final

from gausscert_common.identity import Role

from gausscert_coordinator.rollout.decide import Step
from gausscert_coordinator.rollout.facts import Service
from gausscert_coordinator.schemas.parts import CREDENTIAL
from gausscert_coordinator.schemas.words import (
    Schema,
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

IDENTITY_STATES: Final = ("ok", "expiring", "expired", "revoked", "superseded")
"""As in `cli.tables_pki.Listing.state`, which has one word more for people."""
CHECK_SUBJECTS: Final = ("address", "TLS", "identity", "agent", "clock", "cm_ctl")
CHECK_MARKS: Final = ("ok", "warning", "failed", "unknown")
"""As in `node_check`, which loads the rules and with them cryptography."""
ROLLOUT_STATES: Final = ("unchanged", "deployed", "failed", "untouched")
"""As in `rollout.outcome.State`."""

_ISSUED: Final[dict[str, Schema]] = {
    "identity": text("A URI, as in the certificate."),
    "cert": text("The file."),
    "key": text("The file."),
    "ca": text("The file."),
    "fingerprint": text("SHA-256 over the DER encoding."),
    "not_after": moment(""),
}

_ROLLED_OUT: Final[dict[str, Schema]] = {
    "cluster": text(),
    "begun": flag("Something was changed; false: only planned, or refused."),
    "nodes": every(
        obj(
            node=text(),
            state=maybe(word(ROLLOUT_STATES), "null where nothing was begun."),
            release=maybe(text("That it is to have; null, as all that follows, of a node nobody reached.")),
            former_release=maybe(text('That it had; "" for none.')),
            service=maybe(word(Service, "What starts the agent.")),
            user=maybe(text("Whose agent it is.")),
            restarts=maybe(flag("The agent is started anew.")),
            planned=every(word(Step)),
            done=every(word(Step)),
            failed_at=maybe(word(Step)),
            put_back=maybe(
                flag(
                    "After it failed: the agent has what it had before, and is healthy; false: that failed,"
                    " too; null: it was not tried."
                )
            ),
            lacked=maybe(
                whole("How many credentials that are revoked its agent did not deny before; null: unknown.")
            ),
            error=maybe(part("error")),
        )
    ),
    "findings": every(part("finding")),
}

DOCUMENTS: Final[dict[str, tuple[str, dict[str, Schema]]]] = {
    "pki-init": (
        "gausscert pki init.",
        {
            "cluster": text(),
            "ca": text("The file."),
            "key": text("The file."),
            "encrypted": flag("The key has a passphrase."),
        },
    ),
    "pki-issue": ("gausscert pki issue.", _ISSUED),
    "pki-renew": (
        "gausscert pki renew: the files of one identity, or agents over the wire.",
        {
            **{name: maybe(schema, "null where agents are renewed.") for name, schema in _ISSUED.items()},
            "nodes": every(
                obj(node=text(), credential=maybe(obj(**CREDENTIAL)), error=maybe(part("error"))),
                "Agents that were renewed over the wire.",
            ),
        },
    ),
    "pki-revoke": (
        "gausscert pki revoke.",
        {
            "revoked": every(obj(identity=text(), serial=text(), fingerprint=hexadecimal(""))),
            "nodes": every(
                obj(
                    node=text(),
                    added=whole("Credentials that were new to its deny list."),
                    total=whole("Of its deny list."),
                    error=maybe(part("error")),
                ),
                "Agents that were told.",
            ),
        },
    ),
    "pki-list": (
        "gausscert pki list.",
        {
            "identities": every(
                obj(
                    identity=text(),
                    role=word(Role),
                    name=text(),
                    serial=text(),
                    fingerprint=hexadecimal(""),
                    not_before=moment(""),
                    not_after=moment(""),
                    days_left=whole("By the clock here; negative: it has expired."),
                    revoked=flag(""),
                    state=word(IDENTITY_STATES),
                    confirmed=flag(
                        "false: signed for an agent that was not seen to have it, or for files that may not"
                        " be there."
                    ),
                )
            ),
            "agents": every(
                obj(
                    node=text(),
                    certificates=every(
                        obj(**CREDENTIAL, days_left=whole(""), known=flag("This CA has issued it."))
                    ),
                    error=maybe(part("error")),
                ),
                "[] without --nodes.",
            ),
        },
    ),
    "inventory-import": (
        "gausscert inventory import.",
        {
            "source": text("What was read."),
            "cluster": text(),
            "out": maybe(text("The file that was written.")),
            "inventory": text("Its text."),
            "nodes": every(
                obj(
                    node=text(),
                    address=text(),
                    taken=text("Where the address is from."),
                    cm_server=maybe(text()),
                    data_path=maybe(text()),
                    not_known=every(text()),
                )
            ),
            "cm_home": maybe(text()),
            "warnings": every(text()),
        },
    ),
    "inventory-check": (
        "gausscert inventory check.",
        {
            "cluster": text(),
            "ok": flag("Nothing failed, and every node answers."),
            "unreachable": every(text(), "Nodes that do not answer."),
            "nodes": every(
                obj(
                    node=text(),
                    address=text(),
                    agent_version=maybe(text()),
                    clock_offset_s=maybe(number("Its clock minus the one here.")),
                    round_trip_s=maybe(number("")),
                    checks=every(
                        obj(
                            subject=word(CHECK_SUBJECTS),
                            mark=word(CHECK_MARKS),
                            code=maybe(text("Of a finding or a reason; null where nothing is wrong.")),
                            cause=text(),
                            remedy=text(),
                        )
                    ),
                )
            ),
            "findings": every(part("finding"), "Of all nodes seen together."),
        },
    ),
    "agents-deploy": ("gausscert agents deploy.", _ROLLED_OUT),
    "agents-upgrade": ("gausscert agents upgrade.", _ROLLED_OUT),
    "agents-remove": (
        "gausscert agents remove.",
        {
            "cluster": text(),
            "nodes": every(obj(node=text(), removed=every(text(), "What is gone."))),
            "errors": every(part("error")),
            "findings": every(part("finding"), "What kept it from being recorded."),
        },
    ),
    "agents-status": (
        "gausscert agents status.",
        {
            "cluster": text(),
            "nodes": every(
                obj(
                    node=text(),
                    release=text('The current one; "" for none.'),
                    releases=every(text()),
                    service=word(Service),
                    service_state=text(),
                    running=maybe(obj(pid=whole(""), release=text(), stale=flag("It runs another release."))),
                    in_flight=text(
                        'The transaction it is in the middle of, or why nobody can tell; "" for none.'
                    ),
                    user=text(),
                    login=text(),
                    python=every(whole("")),
                    machine=text(),
                    libc=text(),
                    software=text("Where it lies."),
                    etc=text("Likewise."),
                    state=text("Likewise."),
                    denies=maybe(
                        whole("How many certificates its deny list has; null: it cannot be understood.")
                    ),
                    lacks=maybe(
                        whole("How many are revoked that it does not deny; null where that is not known.")
                    ),
                )
            ),
            "errors": every(part("error")),
        },
    ),
}
