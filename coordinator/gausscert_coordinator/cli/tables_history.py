"""What people see of the history. Values in, renderables out; `render` prints them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gausscert_common.protocol.coordinator import Verdict

from gausscert_coordinator import history_rollouts, naming
from gausscert_coordinator.cli.layout import BAD, DOUBTFUL, FAINT, GOOD, STRONG, cell, counted, fitted, short
from gausscert_coordinator.report import Mark

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from pathlib import Path

    from rich.console import RenderableType
    from rich.text import Text

    from gausscert_coordinator.history_reader import (
        Account,
        Agent,
        Evidence,
        Failure,
        Finding,
        Node,
        Run,
        Step,
    )

    IsGone = Callable[[str], bool]

_READABLE: Final = 32
_WHOLE: Final = "(all)"
"""Stands where a step is no node's."""

_STYLE: Final = {
    Verdict.COMMITTED.value: GOOD,
    Verdict.ROLLED_BACK.value: DOUBTFUL,
    Verdict.NOTHING_DONE.value: DOUBTFUL,
    Verdict.IN_DOUBT.value: BAD,
    history_rollouts.Verdict.DONE.value: GOOD,
    history_rollouts.Verdict.FAILED.value: BAD,
}
_WORD: Final = {
    Mark.STARTED.value: ("no answer known", DOUBTFUL),
    Mark.DONE.value: ("done", GOOD),
    Mark.FAILED.value: ("failed", BAD),
    Mark.RETRYING.value: ("repeated", DOUBTFUL),
    Mark.NOTE.value: ("note", ""),
}


def runs(cluster: str, path: Path, shown: Sequence[Run], width: int) -> list[RenderableType]:
    """Newest first. A transaction that was recovered is there once for each coordinator."""
    if not shown:
        return [cell(f"no history of cluster {cluster} yet in {path}")]
    rows = [
        [
            cell(each.transaction_id),
            cell(_second(each.begun_at)),
            cell(_who(each.holder)),
            cell(each.kind),
            _verdict(each),
            cell(_took(each.duration_s)),
        ]
        for each in shown
    ]
    return [fitted(("transaction", "begun (UTC)", "by", "what", "verdict", "took"), rows, width)]


def transaction(shown: Sequence[Account], width: int) -> list[RenderableType]:
    """All coordinators that had a hand in it, oldest first."""
    return [part for each in shown for part in _account(each, width)]


def _account(shown: Account, width: int) -> list[RenderableType]:
    parts: list[RenderableType] = [*(_head_of_rollout(shown.run) if shown.agents else _head(shown.run))]
    if shown.agents:
        parts.append(_agents(shown.agents, width))
    if shown.nodes:
        parts.append(_nodes(shown.nodes, width))
    if shown.certificates:
        rows = [
            [
                cell(each.file),
                cell(short(each.fingerprint)),
                cell(f"{each.not_after:%Y-%m-%d %H:%M}"),
                cell(each.subject),
            ]
            for each in shown.certificates
        ]
        parts.append(
            fitted(("bundle", "fingerprint", "until (UTC)", "subject"), rows, width, flexible=_READABLE)
        )
    if shown.steps:
        parts.append(_steps(shown.steps, width))
    if shown.evidence:
        parts.append(_evidence(shown.evidence, width))
    if shown.findings:
        parts.append(_findings(shown.findings, width))
    parts.extend(part for each in shown.failures for part in _failure(each))
    parts.append(_end(shown))
    return parts


def _head(shown: Run) -> list[Text]:
    options = [f"restart {shown.restart}"]
    if shown.ssl_wish is not None:
        options.append(f"enable_ssl {shown.ssl_wish}")
    options += ["CRLs dropped"] if shown.drop_crls else []
    options += ["nodes taken over"] if shown.take_over else []
    options += ["state accepted"] if shown.accept_state else []
    options += [f"without {shown.excluded.replace(',', ', ')}"] if shown.excluded else []
    epoch = f", epoch {shown.epoch}" if shown.epoch is not None else ""
    lines = [
        cell(f"{shown.kind} of cluster {shown.cluster}, transaction {shown.transaction_id}", STRONG),
        cell(f"begun {_second(shown.begun_at)} UTC by {shown.holder}, gausscert {shown.version}"),
        cell(f"{counted(shown.participants, 'node')}{epoch}, {', '.join(options)}"),
    ]
    if shown.state_before:
        roles = f"; cm_server {shown.roles_before}" if shown.roles_before else ""
        lines.append(cell(f"cluster before: {shown.state_before}{roles}"))
    if shown.generation:
        lines.append(cell(f"back to generation {shown.generation}"))
    if shown.bundle_digest:
        lines.append(
            cell(f"bundle {short(shown.bundle_digest)}, server certificate {short(shown.new_server or '')}")
        )
    return lines


def _head_of_rollout(shown: Run) -> list[Text]:
    return [
        cell(f"{shown.kind} of cluster {shown.cluster}, {shown.transaction_id}", STRONG),
        cell(f"begun {_second(shown.begun_at)} UTC by {shown.holder}, gausscert {shown.version}"),
    ]


def _agents(shown: Sequence[Agent], width: int) -> RenderableType:
    rows = [
        [
            cell(each.node),
            cell(each.former or "none"),
            cell(each.release or "none"),
            cell(each.state + (f", failed at {each.failed_at}" if each.failed_at else "")),
            cell(each.done.replace(",", ", ") or "nothing"),
        ]
        for each in shown
    ]
    headings = ("node", "release before", "release wanted", "agent", "steps done")
    return fitted(headings, rows, width, flexible=_READABLE)


def _nodes(shown: Sequence[Node], width: int) -> RenderableType:
    rows = [
        [
            cell(each.node),
            cell(f"{short(each.old_digest)} {short(each.old_server)}"),
            cell(f"{short(each.new_digest)} {short(each.new_server)}"),
        ]
        for each in shown
    ]
    return fitted(("node", "old set, server certificate", "new set, server certificate"), rows, width)


def _steps(shown: Sequence[Step], width: int) -> RenderableType:
    """By node, in time order; what concerns all of them first."""
    ordered = sorted(shown, key=lambda each: (each.node, each.at, each.number))
    rows = []
    for each in ordered:
        word, style = _WORD.get(each.mark, (each.mark, ""))
        told = ": ".join(part for part in (each.reason, each.detail) if part)
        again = f"{counted(each.retries, 'repetition')}; " if each.retries else ""
        took = (each.ended_at - each.at).total_seconds() if each.ended_at is not None else None
        rows.append(
            [
                cell(each.node or _WHOLE),
                cell(f"{each.at:%H:%M:%S}.{each.at.microsecond // 1000:03d}"),
                cell(each.stage),
                cell(word, style),
                cell(_took(took)),
                cell(f"{again}{told}"),
            ]
        )
    headings = ("node", "sent (UTC)", "stage", "answer", "after", "what was said")
    return fitted(headings, rows, width, flexible=_READABLE)


def _evidence(shown: Sequence[Evidence], width: int) -> RenderableType:
    viewers: dict[tuple[str, str, str, str, bool, str], list[str]] = {}
    for each in shown:
        key = (each.stage, each.target, each.state, each.fingerprint, each.chain_verified, each.cause)
        viewers.setdefault(key, []).append(each.seen_from)
    rows = [
        [
            cell(stage),
            cell(target),
            cell(short(fingerprint) if fingerprint else state),
            cell("verified", GOOD) if chain else cell(cause or "not verified", DOUBTFUL),
            cell(", ".join(names)),
        ]
        for (stage, target, state, fingerprint, chain, cause), names in viewers.items()
    ]
    return fitted(("stage", "cm_server", "serves", "chain", "seen from"), rows, width, flexible=_READABLE)


def _findings(shown: Sequence[Finding], width: int) -> RenderableType:
    rows = [
        [
            cell(each.severity, DOUBTFUL),
            cell(each.code),
            cell(each.node or "bundle"),
            cell(each.file),
            cell(f"{each.cause}\ndo: {each.remedy}" if each.remedy else each.cause),
        ]
        for each in shown
    ]
    headings = ("severity", "code", "where", "file", "what, and what to do")
    return fitted(headings, rows, width, flexible=_READABLE)


def _failure(shown: Failure) -> list[Text]:
    where = ": ".join(part for part in (shown.node, shown.file) if part)
    text = cell("")
    text.append(cell("error ", BAD))
    text.append(cell(f"{shown.reason} ", STRONG))
    text.append(cell(f"{where}: {shown.message}" if where else shown.message))
    return [text, cell(f"  do: {shown.remedy}", FAINT)] if shown.remedy else [text]


def _end(shown: Account) -> Text:
    run = shown.run
    text = _verdict(run)
    if run.ended_at is None and shown.agents:
        text.append(cell(". What is on the nodes, gausscert agents status --ssh tells", DOUBTFUL))
        return text
    if run.ended_at is None:
        stages = [each.stage for each in shown.steps if not each.node]
        last = f"; the last stage that was begun: {stages[-1]}" if stages else ""
        text.append(cell(f"{last}. Whether it is in doubt, gausscert status tells", DOUBTFUL))
        return text
    notes = [f"ended {_second(run.ended_at)} UTC after {_took(run.duration_s)}"]
    notes += [f"at {run.last_stage}"] if run.last_stage else []
    notes += ["interrupted"] if run.interrupted else []
    roles = f", cm_server {run.roles}" if run.roles else ""
    notes += [f"cluster {run.cluster_state}{roles}"] if run.cluster_state else []
    notes += [f"the nodes' answers: {run.why}"] if run.why else []
    text.append(cell(f" ({', '.join(notes)})"))
    return text


def _verdict(shown: Run, is_gone: IsGone = naming.is_gone) -> Text:
    if shown.verdict is not None:
        return cell(shown.verdict, _STYLE.get(shown.verdict, ""))
    return cell("died, or could not write on" if is_gone(shown.holder) else "no end recorded yet", BAD)


def _who(holder: str) -> str:
    """Without boot, namespace and process."""
    return holder.rpartition("/")[0] or holder


def _second(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}"


def _took(seconds: float | None) -> str:
    return f"{seconds:.1f} s" if seconds is not None else ""
