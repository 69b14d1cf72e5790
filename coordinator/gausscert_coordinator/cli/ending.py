"""How a transaction ended, for people: the verdict, the proof, and each cause of a failure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gausscert_common.model import ServedState
from gausscert_common.protocol.coordinator import Verdict

from gausscert_coordinator import objections
from gausscert_coordinator.cli import tables, tables_errors
from gausscert_coordinator.cli.layout import BAD, DOUBTFUL, GOOD, cell, first_line, fitted, short

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gausscert_common.protocol.words import SslWish
    from rich.console import RenderableType
    from rich.text import Text

    from gausscert_coordinator.report import NodeRecovery, Proof, Result

_SENTENCE: Final = {
    Verdict.COMMITTED: ("committed: every node has the new certificates", GOOD),
    Verdict.ROLLED_BACK: ("rolled back: every node has its old certificates, as before", DOUBTFUL),
    Verdict.NOTHING_DONE: ("nothing was changed", DOUBTFUL),
    Verdict.IN_DOUBT: ("in doubt: run gausscert recover", BAD),
}
_OF_ROLLBACK: Final = _SENTENCE | {
    Verdict.COMMITTED: ("committed: every node has the certificates of generation {} again", GOOD),
    Verdict.ROLLED_BACK: ("turned back: every node has what it had before, not generation {}", DOUBTFUL),
}
"""`rolled back` would sound as if a rollback had done what it was asked for."""


_OF_SSL: Final = _SENTENCE | {
    Verdict.COMMITTED: ("committed: enable_ssl is {} on every node, and every cm_server answers so", GOOD),
    Verdict.ROLLED_BACK: ("rolled back: enable_ssl is on every node as it was before", DOUBTFUL),
}


def result(
    shown: Result, width: int, generation: str | None = None, ssl_wish: SslWish | None = None
) -> list[RenderableType]:
    """Causes first, the verdict last: that is where the eye is when the prompt returns.

    Args:
        shown: How it ended.
        width: Columns.
        generation: What it was a rollback to; None for everything else.
        ssl_wish: What enable_ssl alone was to become; None for everything else.
    """
    parts: list[RenderableType] = []
    if shown.why:
        parts.append(cell(f"the nodes' answers: {shown.why}"))
    if shown.nodes and any(each.transaction_id or each.did for each in shown.nodes):
        parts.append(nodes(shown.nodes, width))
    if shown.proof:
        parts.append(proof(shown.proof, width))
    if shown.cluster_state is not None:
        state = shown.cluster_state
        parts.append(cell(f"cluster: {state.cluster_state or f'unknown: {first_line(state.cause)}'}"))
    if shown.findings:
        parts.append(tables.findings(shown.findings, width))
    parts.extend(tables_errors.of_result(shown.failures))
    parts.append(_verdict(shown, generation, ssl_wish))
    return parts


def _verdict(shown: Result, generation: str | None, ssl_wish: SslWish | None) -> Text:
    sentences = _SENTENCE if generation is None else _OF_ROLLBACK
    sentence, style = (_OF_SSL if ssl_wish is not None else sentences)[shown.verdict]
    if shown.taken_over and shown.verdict is Verdict.IN_DOUBT:
        sentence = "in doubt: another gausscert has taken over"
    elif shown.why and shown.verdict is Verdict.IN_DOUBT and not (_did(shown) or shown.interrupted):
        sentence = "in doubt: do what is said above"
    text = cell("")
    text.append(cell(sentence.format(generation or ssl_wish), style))
    if without := _without(shown):
        text.append(cell(f", but for {', '.join(without)} (excluded)", DOUBTFUL))
    name = f"transaction {shown.transaction_id}, " if shown.transaction_id else ""
    text.append(cell(f" ({name}{shown.duration_s:.1f} s{_where(shown)})"))
    return text


def _did(shown: Result) -> bool:
    """Whether a recovery told any node anything; one that did not, and was not stopped, never would."""
    return any(each.did for each in shown.nodes)


def _without(shown: Result) -> tuple[str, ...]:
    """Nodes of which the verdict does not speak: excluded, and perhaps with another set than the others."""
    unknown = (each.node for each in shown.findings if each == objections.rolled_back_without(each.node))
    return shown.waiting or tuple(unknown)


def _where(shown: Result) -> str:
    """Where it went no further, and whether that was wished for; what is in doubt was not turned back."""
    if shown.verdict is Verdict.COMMITTED:
        return ""
    in_doubt = shown.verdict is Verdict.IN_DOUBT
    how, asked = ("stopped", "interrupted") if in_doubt else ("turned back", "as you asked")
    stage = f", {how} at {shown.last_stage.value}" if shown.last_stage else ""
    return f"{stage}, {asked}" if shown.interrupted else stage


def nodes(seen: Sequence[NodeRecovery], width: int) -> RenderableType:
    """What a recovery has seen of each node when it began, and what it did there."""
    rows = [
        [
            cell(each.node),
            cell(each.phase.value),
            cell(each.live.value.lower() if each.live is not None else "-"),
            cell(each.outcome.value.lower() if each.outcome is not None else "-"),
            cell(_holder(each)),
            cell(", ".join(step.name.lower() for step in each.did) or "nothing"),
        ]
        for each in seen
    ]
    return fitted(("node", "phase", "live set", "ended", "held by", "done now"), rows, width, flexible=20)


def _holder(seen: NodeRecovery) -> str:
    if not seen.holder:
        return "nobody"
    return f"{seen.holder}, {seen.lease_left_s:.0f} s more" if seen.lease_left_s > 0 else f"({seen.holder})"


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
            _chain(state, chain, cause),
            cell(", ".join(dict.fromkeys(names))),
        ]
        for (target, fingerprint, state, chain, cause), names in viewers.items()
    ]
    return fitted(("cm_server", "serves", "chain", "seen from"), rows, width, flexible=20)


def _chain(state: ServedState, verified: bool, cause: str) -> Text:
    if state is ServedState.SSL_OFF:
        return cell("no certificate")
    return cell("verified", GOOD) if verified else cell(cause or "not verified", DOUBTFUL)
