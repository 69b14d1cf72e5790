"""How a transaction ended, for people: the verdict, the proof, and each cause of a failure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gausscert_common.model import ServedState
from gausscert_common.protocol.coordinator import Verdict

from gausscert_coordinator.cli import tables
from gausscert_coordinator.cli.layout import BAD, DOUBTFUL, GOOD, cell, first_line, fitted, short

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType
    from rich.text import Text

    from gausscert_coordinator.report import Proof, Result

_SENTENCE: Final = {
    Verdict.COMMITTED: ("committed: every node has the new certificates", GOOD),
    Verdict.ROLLED_BACK: ("rolled back: every node has its old certificates, as before", DOUBTFUL),
    Verdict.NOTHING_DONE: ("nothing was changed", DOUBTFUL),
    Verdict.IN_DOUBT: ("in doubt: run gausscert recover", BAD),
}


def result(shown: Result, width: int) -> list[RenderableType]:
    """Causes first, the verdict last: that is where the eye is when the prompt returns."""
    parts: list[RenderableType] = []
    if shown.why:
        parts.append(cell(f"the nodes' answers: {shown.why}"))
    if shown.proof:
        parts.append(proof(shown.proof, width))
    if shown.cluster_state is not None:
        state = shown.cluster_state
        parts.append(cell(f"cluster: {state.cluster_state or f'unknown: {first_line(state.cause)}'}"))
    if shown.findings:
        parts.append(tables.findings(shown.findings, width))
    parts.extend(tables.failures(shown.failures))
    parts.append(_verdict(shown))
    return parts


def _verdict(shown: Result) -> Text:
    sentence, style = _SENTENCE[shown.verdict]
    if shown.taken_over and shown.verdict is Verdict.IN_DOUBT:
        sentence = "in doubt: another gausscert has taken over"
    text = cell("")
    text.append(cell(sentence, style))
    if shown.waiting:
        text.append(cell(f", but for {', '.join(shown.waiting)} (excluded)", DOUBTFUL))
    stage = f", turned back at {shown.last_stage.value}" if _turned(shown) and shown.last_stage else ""
    asked = ", as you asked" if shown.interrupted and _turned(shown) else ""
    name = f"transaction {shown.transaction_id}, " if shown.transaction_id else ""
    text.append(cell(f" ({name}{shown.duration_s:.1f} s{stage}{asked})"))
    return text


def _turned(shown: Result) -> bool:
    return shown.verdict is not Verdict.COMMITTED


def proof(seen: Sequence[Proof], width: int) -> RenderableType:
    """What each running cm_server serves, and which nodes saw it."""
    viewers: dict[tuple[str, str, ServedState, bool, str], list[str]] = {}
    for each in seen:
        served = each.served
        key = (served.target, served.fingerprint, served.state, served.chain_verified, served.cause)
        viewers.setdefault(key, []).append(each.seen_from)
    rows = [
        [
            cell(target),
            cell(short(fingerprint) if state is ServedState.SSL_ON else state.value),
            cell("verified", GOOD) if chain else cell(cause or "not verified", DOUBTFUL),
            cell(", ".join(dict.fromkeys(names))),
        ]
        for (target, fingerprint, state, chain, cause), names in viewers.items()
    ]
    return fitted(("cm_server", "serves", "chain", "seen from"), rows, width, flexible=20)
