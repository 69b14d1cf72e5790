"""What `gausscert agents deploy` and `upgrade` tell at their end: a document, a table, an exit code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gausscert_common.errors import GausscertError, NodeRefusal, Reason
from gausscert_common.findings import Finding, errors

from gausscert_coordinator.cli import agents_revoked, documents, rolling_out, tables, tables_errors
from gausscert_coordinator.cli.layout import BAD, DOUBTFUL, FAINT, GOOD, STRONG, cell, counted, fitted
from gausscert_coordinator.exit_codes import ExitCode, gravest
from gausscert_coordinator.rollout.decide import BEFORE_ANY_START, DOING, NodePlan, Step
from gausscert_coordinator.rollout.deploying import Looked
from gausscert_coordinator.rollout.outcome import NodeOutcome, State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType
    from rich.text import Text

_STYLE = {State.UNCHANGED: GOOD, State.DEPLOYED: GOOD, State.FAILED: BAD, State.UNTOUCHED: DOUBTFUL}


@dataclass(frozen=True, slots=True)
class Told:
    """One run of the verb."""

    cluster: str
    looked: Looked
    plans: tuple[NodePlan, ...]
    outcomes: tuple[NodeOutcome, ...]
    """() where nothing was begun."""
    late: tuple[Finding, ...] = ()
    """Of no node: what kept it from being recorded, and of whom it is not known who is revoked."""

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All of them, of all nodes."""
        later = [found for outcome in self.outcomes for found in outcome.findings]
        return (*(found for plan in self.plans for found in plan.findings), *later, *self.late)

    @property
    def all_known(self) -> bool:
        """Whether a register of each CA was at hand: nobody else is revoked."""
        return not any(found.code == "ROLLOUT_REVOKED_UNKNOWN" for found in self.late)

    @property
    def failures(self) -> tuple[GausscertError, ...]:
        """Of all nodes."""
        failed = [outcome.error for outcome in self.outcomes if outcome.error is not None]
        return (*self.looked.errors.values(), *failed)


def code(told: Told) -> ExitCode:
    """How it ended, for scripts."""
    errors_met: list[GausscertError] = [
        *told.looked.errors.values(),
        *(_ended(each.error, each.failed_at) for each in told.outcomes if each.error is not None),
    ]
    for found in errors(told.findings):
        reason = Reason.BUSY if found.code == "ROLLOUT_IN_FLIGHT" else Reason.NODE_UNFIT
        errors_met.append(NodeRefusal(reason, found.cause, node=found.node))
    return gravest(errors_met)


def _ended(error: GausscertError, failed_at: Step | None) -> GausscertError:
    """Up to the start of agents nothing was changed that anybody has noticed."""
    return error if failed_at in (None, *BEFORE_ANY_START) else rolling_out.once_begun(error)


def document(told: Told) -> dict[str, Any]:
    """For programs."""
    outcomes = {outcome.node: outcome for outcome in told.outcomes}
    return {
        "cluster": told.cluster,
        "begun": bool(told.outcomes),
        "nodes": [
            *(_node(plan, outcomes.get(plan.node), all_known=told.all_known) for plan in told.plans),
            *(_unseen(name, error) for name, error in told.looked.errors.items()),
        ],
        "findings": [documents.finding(found) for found in told.findings],
    }


def _unseen(node: str, error: GausscertError) -> dict[str, Any]:
    unknown = dict.fromkeys(("state", "release", "former_release", "service", "user", "restarts"))
    nothing: dict[str, Any] = {"planned": [], "done": []}
    unknown |= dict.fromkeys(("failed_at", "put_back", "lacked"))
    return {"node": node, **unknown, **nothing, "error": documents.error(error)}


def _node(plan: NodePlan, outcome: NodeOutcome | None, *, all_known: bool) -> dict[str, Any]:
    error = None if outcome is None or outcome.error is None else documents.error(outcome.error)
    failed_at = None if outcome is None or outcome.failed_at is None else outcome.failed_at.value
    return {
        "node": plan.node,
        "state": None if outcome is None else outcome.state.value,
        "release": plan.wanted.release,
        "former_release": plan.facts.release,
        "service": plan.service.value,
        "user": plan.facts.account,
        "restarts": plan.restarts,
        "planned": [step.value for step in plan.steps],
        "done": [] if outcome is None else [step.value for step in outcome.done],
        "failed_at": failed_at,
        "put_back": None if outcome is None else outcome.put_back,
        "lacked": agents_revoked.compared(plan.facts, plan.wanted.revoked, all_known=all_known).lacks,
        "error": error,
    }


def text(told: Told, width: int) -> list[RenderableType]:
    """For people."""
    outcomes = {outcome.node: outcome for outcome in told.outcomes}
    rows = [_row(plan, outcomes.get(plan.node)) for plan in told.plans]
    title = f"agents of cluster {told.cluster}" + ("" if told.outcomes else "; nothing was changed")
    parts: list[RenderableType] = [cell(title, STRONG)]
    if rows:
        parts.append(fitted(("node", "user", "service", "release", "steps", "state"), rows, width))
    if not told.outcomes:
        parts += _explained(told.plans)
    parts += [cell(line) for plan in told.plans for line in _denied(plan, outcomes.get(plan.node))]
    if told.findings:
        parts.append(tables.findings(told.findings, width))
    return [*parts, *tables_errors.failures(told.failures)]


def _row(plan: NodePlan, outcome: NodeOutcome | None) -> list[Text]:
    steps = plan.steps if outcome is None else outcome.done
    state = "would do" if outcome is None else outcome.state.value
    style = FAINT if outcome is None else _STYLE[outcome.state]
    if outcome is None and plan.refused:
        state, style = "refused", BAD
    if outcome is not None and outcome.failed_at is not None:
        state = f"failed at {outcome.failed_at.value}"
        state += ", put back" if outcome.put_back else ""
    return [
        cell(plan.node),
        cell(plan.facts.account or "-"),
        cell(plan.service.value),
        cell(plan.wanted.release),
        cell(", ".join(step.value for step in steps) or "none"),
        cell(state, style),
    ]


def _denied(plan: NodePlan, outcome: NodeOutcome | None) -> Iterator[str]:
    """Whom its agent lacks, or has got; where that failed, a finding or the failure says so."""
    many = f"{counted(len(plan.lacks), 'credential')} more, which are revoked"
    if plan.lacks and outcome is None:
        yield f"{plan.node}: is to deny {many}"
    elif plan.lacks and outcome is not None and outcome.denied:
        yield f"{plan.node}: denies {many}"


def _explained(plans: tuple[NodePlan, ...]) -> list[RenderableType]:
    """What the words for steps mean, where they are only planned."""
    used = [step for step in Step if any(step in plan.steps for plan in plans)]
    return [cell(f"  {step.value}: {DOING[step]}", FAINT) for step in used]
