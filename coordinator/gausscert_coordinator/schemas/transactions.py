"""How transactions end: replace, rollback, ssl, recover. Pure."""

from __future__ import annotations

from typing import Final

from gausscert_common.protocol.coordinator import Stage, Verdict
from gausscert_common.protocol.words import LiveState, Outcome, Phase, Step

from gausscert_coordinator.schemas.parts import SERVED
from gausscert_coordinator.schemas.plans import PLAN
from gausscert_coordinator.schemas.words import (
    Schema,
    by_name,
    every,
    flag,
    maybe,
    number,
    obj,
    part,
    text,
    word,
)

RESULT: Final[dict[str, Schema]] = {
    "transaction_id": text('"" if none was begun.'),
    "verdict": word(Verdict),
    "why": text("Recovery only: what the nodes' answers showed."),
    "interrupted": flag("The operator asked for it to be turned back."),
    "taken_over": flag("Another coordinator has it now, or had it and ended it."),
    "waiting": every(text(), "Committed, but without these nodes, which it waits for."),
    "last_stage": maybe(word(Stage), "Where it turned back or stopped."),
    "duration_s": number("Seconds."),
    "failures": every(part("error"), "Why it did not go forward, for each node."),
    "proof": every(
        obj(seen_from=text("The node that looked."), **SERVED),
        "What each running cm_server was seen to serve at the end.",
    ),
    "cluster_state": maybe(part("cluster_state")),
    "findings": every(part("finding")),
    "overlap": by_name(
        obj(
            "Whether the node's former and its new set could talk.",
            can_talk=maybe(flag("null where it is not known.")),
            same_ca=flag("The CA has the same name and key."),
            refusals=every(part("refusal")),
            unknown=text("Why it is not known."),
        ),
        "By node, as it was rehearsed at Prepare.",
    ),
    "nodes": every(
        obj(
            node=text(),
            phase=word(Phase, "As all but `did`, when the recovery began."),
            transaction_id=text(),
            live=maybe(word(LiveState)),
            outcome=maybe(word(Outcome), "How the transaction that others are in ended here."),
            begun_by=text(),
            holder=text(),
            lease_left_s=number(""),
            did=every(word([step.name for step in Step]), "What this recovery had it carry out, in order."),
        ),
        "Recovery only.",
    ),
}

_WHOLE: Final[dict[str, Schema]] = {
    "plan": obj("As in gausscert/plan/v1, without plan_file.", **PLAN),
    "result": maybe(obj("How it ended.", **RESULT), "null if it was refused, declined or only planned."),
    "error": maybe(part("error"), "Why it was refused."),
}

DOCUMENTS: Final[dict[str, tuple[str, dict[str, Schema]]]] = {
    "replace": ("gausscert replace: the plan, and how it ended.", _WHOLE),
    "rollback": ("gausscert rollback: the plan, and how it ended.", _WHOLE),
    "ssl-on": ("gausscert ssl on: the plan, and how it ended.", _WHOLE),
    "ssl-off": ("gausscert ssl off: the plan, and how it ended.", _WHOLE),
    "recover": ("gausscert recover: how it ended.", RESULT),
}
