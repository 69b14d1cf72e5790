"""What the inventory is made of, and what its nodes are found to be. Pure."""

from __future__ import annotations

from typing import Final

from gausscert_coordinator.node_check import Mark, Subject
from gausscert_coordinator.schemas.words import (
    Schema,
    code,
    every,
    flag,
    maybe,
    number,
    obj,
    part,
    text,
    word,
)

DOCUMENTS: Final[dict[str, tuple[str, dict[str, Schema]]]] = {
    "inventory-import": (
        "gausscert inventory import: a gausscert.toml, and where each node's address comes from.",
        {
            "source": text("What it was made from."),
            "cluster": text(),
            "out": maybe(text("Where it was written; null: nowhere.")),
            "inventory": text("The whole gausscert.toml."),
            "nodes": every(
                obj(
                    node=text(),
                    address=text('"host:port" of the agent.'),
                    taken=text("What the address was, in openGauss's words."),
                    cm_server=maybe(text('"host:port".')),
                    data_path=maybe(text("For agent.toml.")),
                    not_known=every(text(), "What openGauss does not tell, and what stands there instead."),
                ),
                "In the order of CM's numbers.",
            ),
            "cm_home": maybe(text("For agent.toml.")),
            "warnings": every(text()),
        },
    ),
    "inventory-check": (
        "gausscert inventory check: what was looked at on each node, and what is to be mended.",
        {
            "cluster": text(),
            "ok": flag("Every node is there and fit."),
            "unreachable": every(text(), "Nodes that do not answer."),
            "nodes": every(
                obj(
                    node=text("As in the inventory."),
                    address=text(),
                    agent_version=maybe(text()),
                    clock_offset_s=maybe(
                        number("Its clock minus ours, the smallest that its answer allows.")
                    ),
                    round_trip_s=maybe(number("How far the true offset may lie beyond that.")),
                    checks=every(
                        obj(
                            subject=word(Subject, "What was looked at."),
                            mark=word(Mark, "unknown: not looked at, because something before it failed."),
                            code=maybe(code("Of an error or finding; null where nothing is wrong.")),
                            cause=text("What is wrong, for a person."),
                            remedy=text("What to do, for a person."),
                        )
                    ),
                )
            ),
            "findings": every(part("finding"), "Of all nodes seen together."),
        },
    ),
}
