"""What was found out, for a person and as JSON."""

from __future__ import annotations

import json
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.measure import Count, Findings, Row

_HEAD = ("what", "unit", "ours", "bare", "ratio", "goal", "verdict", "ratio min..max", "against")
_COUNTED = ("counted", "found", "goal", "verdict", "detail")


def show(name: str, machine: dict[str, str], rounds: int, found: Findings) -> None:
    """Print the table, the counts, and the reason for every goal that is missed."""
    print(f"{name}: {rounds} rounds; {', '.join(f'{key} {value}' for key, value in machine.items())}")
    _print_table([_HEAD, *(_row(row) for row in found.rows)])
    if found.counts:
        print()
        _print_table([_COUNTED, *(_count(count) for count in found.counts)])
    print()
    for one in found.failed:
        print(f"missed: {reason(one)}")
    if not found.failed:
        print("every goal is met")


def document(name: str, machine: dict[str, str], rounds: int, found: Findings) -> str:
    """The same as JSON."""
    return json.dumps(
        {
            "benchmark": name,
            "machine": machine,
            "rounds": rounds,
            "rows": [_row_document(row) for row in found.rows],
            "counts": [
                {
                    "what": one.what,
                    "found": one.found,
                    "goal": one.goal,
                    "met": one.is_met,
                    "detail": one.detail,
                }
                for one in found.counts
            ],
            "missed": [reason(one) for one in found.failed],
        },
        indent=2,
    )


def reason(one: Row | Count) -> str:
    """Why a goal counts as missed."""
    ratio = getattr(one, "ratio", None)
    if ratio is None:
        return f"{one.what}: {getattr(one, 'found', '')} instead of at most {one.goal}"
    why = getattr(one, "why", "")
    return f"{one.what}: {ratio:.2f} x instead of at most {one.goal} x" + (f"; {why}" if why else "")


def _row_document(row: Row) -> dict[str, Any]:
    return {
        "what": row.what,
        "unit": row.unit,
        "ours": list(row.ours),
        "bare": list(row.bare),
        "against": row.against,
        "ratio": row.ratio,
        "goal": row.goal,
        "limit": row.limit,
        "gates": row.gates,
        "met": row.is_met,
    }


def _row(row: Row) -> tuple[str, ...]:
    goal = "" if row.goal is None else f"<= {row.goal:g} x"
    if row.limit is not None:
        goal = f"<= {row.limit:g} {row.unit.split()[-1]}" + (f" or {goal[3:]}" if goal else "")
    return (
        row.what,
        row.unit,
        f"{median(row.ours):.2f}",
        f"{median(row.bare):.2f}",
        f"{row.ratio:.2f}",
        goal,
        _verdict(row),
        f"{min(row.ratios):.2f}..{max(row.ratios):.2f}",
        row.against,
    )


def _verdict(row: Row) -> str:
    if row.is_met is None:
        return "-"
    if row.is_met:
        return "met"
    return "MISSED" if row.gates else "missed (does not gate)"


def _count(count: Count) -> tuple[str, ...]:
    goal = "" if count.goal is None else f"<= {count.goal}"
    verdict = {None: "-", True: "met", False: "MISSED"}[count.is_met]
    return count.what, str(count.found), goal, verdict, count.detail


def _print_table(lines: Sequence[Sequence[str]]) -> None:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
