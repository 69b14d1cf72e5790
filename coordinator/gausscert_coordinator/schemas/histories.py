"""What was done. Words are as they were written then: those of another version may be among them. Pure."""

from __future__ import annotations

from typing import Final

from gausscert_coordinator.schemas.words import (
    Schema,
    every,
    flag,
    maybe,
    moment,
    number,
    obj,
    part,
    text,
    whole,
)

_UNKNOWN: Final = "null where it did not come to that, or an older gausscert wrote it."

RUN: Final[dict[str, Schema]] = {
    "transaction_id": text("Also of a roll-out, which is none, but has an id of the same kind."),
    "kind": text(
        "replace, rollback, ssl, recover or join; of a roll-out agents deploy, agents upgrade, agents remove."
    ),
    "holder": text("Who did it."),
    "gausscert_version": text(),
    "begun_at": moment(""),
    "ended_at": maybe(moment(_UNKNOWN)),
    "duration_s": maybe(number(_UNKNOWN)),
    "verdict": maybe(text("A verdict of gausscert/replace/v1; of a roll-out done or failed.")),
    "why": maybe(text()),
    "interrupted": maybe(flag("")),
    "last_stage": maybe(text()),
    "epoch": maybe(whole("")),
    "participants": whole("How many nodes took part."),
    "options": obj(
        "",
        enable_ssl=maybe(text("null for a recovery.")),
        restart=text(),
        drop_crls=maybe(flag("null for a recovery.")),
        take_over=flag(""),
        accept_state=maybe(flag(_UNKNOWN)),
        exclude=every(text()),
    ),
    "bundle_digest": maybe(text("null for a recovery.")),
    "generation": maybe(text("What a rollback went back to.")),
    "new_server_fingerprint": maybe(text()),
    "cluster_state": maybe(text("CM's word at the end.")),
    "server_roles": maybe(text("Those at the end.")),
    "before": obj(
        "Before CM was stopped.", cluster_state=maybe(text(_UNKNOWN)), server_roles=maybe(text(_UNKNOWN))
    ),
}

_ACCOUNT: Final = obj(
    "One coordinator's work on the transaction.",
    **RUN,
    nodes=every(
        obj(
            node=text(),
            old_digest=text(),
            old_server_fingerprint=text(),
            new_digest=text(),
            new_server_fingerprint=text(),
        )
    ),
    certificates=every(
        obj(
            "As it was staged.",
            file=text(),
            kind=text(),
            subject=text(),
            issuer=text(),
            serial=text(),
            fingerprint=text(),
            not_before=moment(""),
            not_after=moment(""),
        )
    ),
    steps=every(
        obj(
            "A stage or a command, from its sending to its answer, or one thing that was said.",
            stage=text(),
            node=text('"" for the stage as a whole.'),
            mark=text('"started" where no answer is known.'),
            at=moment(""),
            ended_at=maybe(moment("")),
            retries=whole(""),
            reason=text(),
            detail=text(),
        )
    ),
    evidence=every(
        obj(
            "What a cm_server was seen to serve.",
            stage=text(),
            seen_from=text(),
            cm_node_id=whole(""),
            target=text(),
            state=text(),
            fingerprint=text(),
            chain_verified=flag(""),
            not_after=maybe(moment("")),
            cause=text(),
        )
    ),
    findings=every(part("finding")),
    failures=every(obj(reason=text(), node=text(), file=text(), message=text(), remedy=text())),
    agents=every(
        obj(
            "What became of the agent of a node in a roll-out.",
            node=text(),
            former_release=text('That it had; "" for none.'),
            release=text('That it was to have; "" for none.'),
            state=text(
                '"begun" where no end is known; a state of gausscert/agents-deploy/v1, "put back" or'
                ' "removed".'
            ),
            done=every(text(), "Steps that were carried out."),
            failed_at=maybe(text("A step.")),
        ),
        "[] of a transaction.",
    ),
)

DOCUMENTS: Final[dict[str, tuple[str, dict[str, Schema]]]] = {
    "history": (
        "gausscert history: what this machine's gausscert did, newest first.",
        {"cluster": text(), "file": text(), "runs": every(obj("", **RUN))},
    ),
    "history-transaction": (
        "gausscert history ID: all that is known of one transaction, oldest run first.",
        {"cluster": text(), "file": text(), "transaction_id": text(), "runs": every(_ACCOUNT)},
    ),
    "history-verify": (
        "gausscert history --verify: whether the history and the audit logs are as they were written.",
        {
            "file": text(),
            "history": obj(
                intact=flag(""),
                fault=maybe(text("What is wrong, and where.")),
                lines=whole("Of the chain."),
                head=text('Its end, "number:hash", to be kept elsewhere.'),
                runs=whole("That are in the chain."),
                older_runs=whole("Of before there was a chain: nothing is known of them."),
            ),
            "nodes": every(
                obj(
                    node=text(),
                    intact=maybe(flag("null, as all that follows, of a node nobody reached.")),
                    first=maybe(whole("The oldest line that it still has.")),
                    head=maybe(text('"number:hash".')),
                    fault=maybe(obj(line=whole(""), cause=text())),
                    error=maybe(part("error")),
                )
            ),
        },
    ),
}
