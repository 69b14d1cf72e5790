"""`gausscert inventory check`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gausscert_coordinator.cli.group import Verb, pass_invocation
from gausscert_coordinator.cli.settings import Invocation
from gausscert_coordinator.cli.verbs import INVENTORY
from gausscert_coordinator.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType
    from rich.text import Text

    from gausscert_coordinator.inventory_check import InventoryCheck
    from gausscert_coordinator.node_check import Check, NodeCheck


@click.command(
    "check",
    cls=Verb,
    short_help=INVENTORY["check"].short_help,
    examples=(
        ("Every node of ./gausscert.toml:", "gausscert inventory check"),
        ("One of several clusters:", "gausscert inventory check --cluster production"),
        (
            "For a program, what is to be mended:",
            "gausscert inventory check --output json | jq '.nodes[].checks[] | select(.mark == \"failed\")'",
        ),
    ),
    exits={
        ExitCode.DONE: "every node is there and fit; there may be warnings",
        ExitCode.REFUSED: "something is to be mended, or no usable inventory or credential",
        ExitCode.UNREACHABLE: "some node does not answer, and nothing else is wrong",
    },
)
@pass_invocation
def command(invocation: Invocation) -> int:
    """Check all nodes of the inventory side by side: whether something listens at the address, each side
    accepts the other's credential, it is the node that is meant, the agent's version goes with ours, its
    clock is right, cm_ctl works for it, and CM lists the same nodes as the inventory.

    Changes nothing. An observer's credential is enough.
    """
    import asyncio

    checked = asyncio.run(invocation.check_inventory(invocation.inventory()))
    invocation.render.result(
        "inventory check", _document(checked), lambda: _text(checked, invocation.render.width)
    )
    if checked.failed:
        return ExitCode.REFUSED
    return ExitCode.UNREACHABLE if checked.unreachable else ExitCode.DONE


def _document(checked: InventoryCheck) -> dict[str, object]:
    from gausscert_coordinator.cli import documents

    return {
        "cluster": checked.cluster,
        "ok": not checked.failed and not checked.unreachable,
        "unreachable": list(checked.unreachable),
        "nodes": [_node_document(node) for node in checked.nodes],
        "findings": [documents.finding(finding) for finding in checked.findings],
    }


def _node_document(shown: NodeCheck) -> dict[str, object]:
    return {
        "node": shown.node,
        "address": shown.address,
        "agent_version": shown.report.agent_version if shown.report is not None else None,
        "clock_offset_s": shown.clock_offset_s,
        "round_trip_s": shown.round_trip_s,
        "checks": [
            {
                "subject": check.subject.value,
                "mark": check.mark.value,
                "code": check.code or None,
                "cause": check.cause,
                "remedy": check.remedy,
            }
            for check in shown.checks
        ],
    }


def _text(checked: InventoryCheck, width: int) -> Iterator[RenderableType]:
    from gausscert_coordinator.cli import tables
    from gausscert_coordinator.cli.layout import BAD, GOOD, STRONG, cell, counted, fitted

    yield cell(f"cluster {checked.cluster}, {counted(len(checked.nodes), 'node')}", STRONG)
    headings = ("node", *(check.subject.value for check in checked.nodes[0].checks))
    rows = [[cell(node.node), *(_cell(check) for check in node.checks)] for node in checked.nodes]
    yield fitted(headings, rows, width)
    for node in checked.nodes:
        for check in node.troubles:
            yield from _trouble(node.node, check)
    if checked.findings:
        yield tables.findings(checked.findings, width, about="cluster")
    if checked.failed or checked.unreachable:
        lost = len(checked.unreachable)
        yield cell(f"not fit; {counted(lost, 'node')} unreachable" if lost else "not fit", BAD)
    else:
        yield cell("every node is there and fit", GOOD)


def _cell(check: Check) -> Text:
    from gausscert_coordinator.cli.layout import BAD, DOUBTFUL, FAINT, GOOD, cell

    styles = {"ok": GOOD, "warning": DOUBTFUL, "failed": BAD, "unknown": FAINT}
    return cell(check.shown or "-", styles[check.mark.value])


def _trouble(node: str, check: Check) -> Iterator[RenderableType]:
    from gausscert_coordinator.cli.layout import BAD, DOUBTFUL, FAINT, STRONG, cell

    text = cell("")
    failed = check.mark.value == "failed"
    text.append(cell("failed " if failed else "warning ", BAD if failed else DOUBTFUL))
    text.append(cell(f"{check.code} ", STRONG))
    text.append(cell(f"{node}: {check.subject.value}: {check.cause}"))
    yield text
    if check.remedy:
        yield cell(f"  do: {check.remedy}", FAINT)
