"""Whether old and new nodes could talk, for a person: the verdict, then one line for each direction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gausscert_common.model import Side

from gausscert_coordinator.report import Meeting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gausscert_coordinator.report import NodesRefusal, OverlapVerdict


def overlap_text(verdict: OverlapVerdict) -> Iterator[str]:
    """Line by line."""
    yield f"old and new nodes: {_met(verdict)}"
    if not verdict.refusals:
        return
    for connecting in (Side.NEW, Side.FORMER):
        found = [each for each in verdict.refusals if each.refusal.connecting is connecting]
        said = "; ".join(_refused(each) for each in found) or "ok"
        yield f"  from the {connecting} set to the {connecting.other} one: {said}"


def _met(verdict: OverlapVerdict) -> str:
    match verdict.meeting:
        case Meeting.REFUSED:
            return "could not talk: each refuses the other"
        case Meeting.ONE_WAY if verdict.accepting is not None:
            here, there = verdict.accepting, verdict.accepting.other
            return (
                f"one way: nodes with the {here} set would have those with the {there} one, which refuse them"
            )
        case Meeting.UNKNOWN:
            return f"it is not known whether they could talk: {'; '.join(verdict.unknown)}"
    return f"could talk ({verdict.meeting})"


def _refused(told: NodesRefusal) -> str:
    """The plain cause first, if there is one; OpenSSL's words after it."""
    refusal = told.refusal
    where = f"{', '.join(refusal.links)}; {' and '.join(refusal.versions)}"
    nodes = f"on {', '.join(told.nodes)} " if told.nodes else ""
    said = f"{refusal.cause} ({where}; {refusal.detail})" if refusal.cause else f"{refusal.detail} ({where})"
    return f"{nodes}refused by the {refusal.refusing} set: {said}"
