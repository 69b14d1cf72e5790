"""`gausscert history --verify`: the history of this machine, and the audit log of every agent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gausscert_common import auditing
from gausscert_common.errors import InvalidInput, Reason

from gausscert_coordinator import history_verify
from gausscert_coordinator.cli import control_session, documents
from gausscert_coordinator.cli.layout import BAD, DOUBTFUL, GOOD, cell, counted
from gausscert_coordinator.cli.tables_errors import failures
from gausscert_coordinator.exit_codes import ExitCode, gravest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from gausscert_common.auditing import Head
    from rich.console import RenderableType

    from gausscert_coordinator.cli.settings import Invocation
    from gausscert_coordinator.control_plane import Audited
    from gausscert_coordinator.history_verify import Verified
    from gausscert_coordinator.inventory import Inventory


def verify(
    invocation: Invocation, inventory: Inventory, path: Path, kept: str | None, *, ask_nodes: bool
) -> int:
    """Verify, tell, and answer the exit code."""
    found = history_verify.verify(path, _head(kept))
    shown: tuple[Audited, ...] = ()
    if ask_nodes:
        # A history that was altered may name wrong heads; what the agents have is read all the same.
        heads = history_verify.heads(path, inventory.cluster)
        shown = control_session.ask(invocation, inventory, lambda control: control.audits(heads))
    invocation.render.result(
        "history verify", _document(path, found, shown), lambda: _lines(path, found, shown)
    )
    if found.fault or any(each.verified is not None and each.verified.fault for each in shown):
        return ExitCode.REFUSED
    return gravest(each.error for each in shown if each.error is not None)


def _head(text: str | None) -> Head | None:
    found = None if text is None else auditing.as_head(text)
    if text is not None and found is None:
        raise InvalidInput(
            Reason.USAGE,
            f"--head {text[:80]!r} is none",
            remedy="write NUMBER:HASH, as gausscert history --verify has told it",
        )
    return found


def _document(path: Path, found: Verified, shown: Sequence[Audited]) -> dict[str, Any]:
    return {
        "file": str(path),
        "history": {
            "intact": not found.fault,
            "fault": found.fault or None,
            "lines": found.head.number,
            "head": auditing.written(found.head),
            "runs": found.runs,
            "older_runs": found.older,
        },
        "nodes": [_node(each) for each in shown],
    }


def _node(shown: Audited) -> dict[str, Any]:
    found = shown.verified
    return {
        "node": shown.node,
        "intact": None if found is None else found.fault is None,
        "first": None if found is None else found.first,
        "head": None if found is None else auditing.written(found.head),
        "fault": None
        if found is None or found.fault is None
        else {"line": found.fault.number, "cause": found.fault.cause},
        "error": None if shown.error is None else documents.error(shown.error),
    }


def _lines(path: Path, found: Verified, shown: Sequence[Audited]) -> list[RenderableType]:
    parts: list[RenderableType] = []
    if found.fault:
        parts.append(cell(f"history {path}: NOT intact: {found.fault}", BAD))
    else:
        parts.append(cell(f"history {path}: intact, {counted(found.runs, 'run')}", GOOD))
    if found.older:
        older = counted(found.older, "run")
        parts.append(cell(f"  {older} of before there was a chain: nothing is known of them", DOUBTFUL))
    parts.append(cell(f"  its end, to be kept elsewhere: {auditing.written(found.head)}"))
    for each in shown:
        log = each.verified
        if log is None:
            continue
        if log.fault is None:
            kept = f"lines {log.first} to {log.head.number}" if log.head.number else "nothing was asked yet"
            parts.append(cell(f"{each.node}: intact, {kept}", GOOD))
        else:
            parts.append(cell(f"{each.node}: NOT intact at line {log.fault.number}: {log.fault.cause}", BAD))
    return [*parts, *failures([each.error for each in shown if each.error is not None])]
