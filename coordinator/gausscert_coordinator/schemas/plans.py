"""Plans, and plans on file. Pure."""

from __future__ import annotations

from typing import Final

from gausscert_common.model import Side

from gausscert_coordinator.report import Meeting
from gausscert_coordinator.schemas.parts import OPTIONS, REFUSAL
from gausscert_coordinator.schemas.words import (
    Schema,
    by_name,
    code,
    every,
    flag,
    hexadecimal,
    maybe,
    moment,
    obj,
    part,
    text,
    whole,
    word,
)

PLAN: Final[dict[str, Schema]] = {
    "cluster": text(),
    "bundle_digest": hexadecimal('"" for sets that are not of one bundle.'),
    "generation": maybe(text('What a rollback goes back to; "" where no generation is on all nodes.')),
    "only_ssl": flag("The sets stay as they are; only enable_ssl changes."),
    "feasible": flag("Nothing speaks against it."),
    "options": obj("What the operator chose.", **OPTIONS),
    "outage": text("What will be down and for how long, for a person."),
    "overlap": maybe(
        obj(
            "Whether nodes with the old and with the new set could talk.",
            meeting=word(Meeting),
            accepting=maybe(word(Side), 'With "one way", who would have the other.'),
            refusals=every(obj("", nodes=every(text(), "[] for all of them."), **REFUSAL)),
            unknown=every(text(), "Why it is not known."),
            meaning=text("What follows, for a person."),
        )
    ),
    "nodes": every(
        obj(
            node=text(),
            old_server=maybe(part("certificate"), "null without a live set."),
            new_server=maybe(part("certificate"), "null where it cannot be read."),
            old_digest=hexadecimal("Of the live set."),
            new_digest=hexadecimal('Of the set that would be staged; "" for a bundle.'),
            enable_ssl=part("enable_ssl"),
            promised_epoch=whole("Of the node's fence."),
        ),
        "Those that answer.",
    ),
    "served": every(part("served"), "As seen from the first node that could look."),
    "cluster_state": maybe(part("cluster_state")),
    "findings": every(part("finding"), "Worst first; any error refuses."),
    "unreachable": every(part("error"), "One for each node that does not answer; any refuses."),
    "blocked": every(part("error"), "Nodes in another transaction, or held; any refuses."),
    "excluded": every(part("error"), "Why each node that is left out does not answer."),
    "in_flight": every(part("in_flight")),
}

_KEPT_OPTIONS: Final = {name: schema for name, schema in OPTIONS.items() if name != "take_over"}

DOCUMENTS: Final[dict[str, tuple[str, dict[str, Schema]]]] = {
    "plan": (
        "gausscert plan: what a replacement would do, and all that speaks against it.",
        {**PLAN, "plan_file": maybe(text("Where --out has kept it; null without, or where it is refused."))},
    ),
    "plan-file": (
        "What gausscert plan --out writes and gausscert replace --plan reads.",
        {
            "gausscert_version": text(),
            "cluster": text(),
            "made_at": moment(""),
            "made_by": text('"user@host".'),
            "valid_until": moment(""),
            "bundle": obj(directory=text("Absolute."), digest=hexadecimal("")),
            "options": obj("", **_KEPT_OPTIONS),
            "nodes": every(
                obj(
                    node=text(),
                    cm_node_id=whole("CM's number; 0 where CM does not tell."),
                    old_digest=hexadecimal("Of the live set."),
                    old_server_fingerprint=hexadecimal(""),
                    new_server_fingerprint=hexadecimal(""),
                    enable_ssl=part("enable_ssl"),
                    stopped=flag("CM was stopped on purpose."),
                )
            ),
            "topology": every(
                obj(
                    cm_node_id=whole(""),
                    name=text(),
                    server_address=text('"" without a cm_server.'),
                    server_port=whole(""),
                    agent_address=text(),
                ),
                "What CM lists.",
            ),
            "cluster_state": text('CM\'s word; "" where it was not known.'),
            "server_roles": by_name(text(), "By CM's number of the node."),
            "accepted": every(
                obj(code=code(""), node=text(), file=text(), cause=text(), remedy=text()),
                "The warnings that the plan had.",
            ),
            "outage": text("For a person: what will be down, and for how long at most."),
        },
    ),
}
