"""A planned transaction in the operator's hands: shown, confirmed, carried out, reported."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gausscert_common.errors import GausscertError, InDoubt, InvalidInput, NodeRefusal, Reason, Unreachable

from gausscert_coordinator import plan_record
from gausscert_coordinator.exit_codes import ExitCode, exit_code

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from rich.console import RenderableType

    from gausscert_coordinator.cli.ports import Cluster
    from gausscert_coordinator.cli.session import Session
    from gausscert_coordinator.cli.settings import Invocation
    from gausscert_coordinator.interrupt import Interrupt
    from gausscert_coordinator.report import Plan, Progress, Result


@dataclass(frozen=True, slots=True)
class Errand:
    """What is to be done with a plan."""

    verb: str
    asks: str
    """The beginning of the question to the operator, for example "Replace the certificates"."""
    begin: Callable[[Cluster, Callable[[Progress], None], Interrupt], Awaitable[Result]]


def require_somebody(invocation: Invocation, yes: bool) -> None:
    """An outage is confirmed by somebody, or by --yes.

    Raises:
        InvalidInput: USAGE; there is neither.
    """
    if not (yes or invocation.terminal.present):
        raise InvalidInput(
            Reason.USAGE,
            "nobody is there to confirm the outage: standard input is no terminal",
            remedy="add --yes, or run this on a terminal",
        )


def go(invocation: Invocation, session: Session, plan: Plan, errand: Errand, *, confirmed: bool) -> int:
    """Carry out a plan if nothing speaks against it and the operator agrees; answers the exit code."""
    from gausscert_coordinator.cli import tables_plan

    if not plan.feasible:
        return _refuse(invocation, plan, errand.verb)
    render = invocation.render
    render.note(*tables_plan.plan(plan, render.err_width))
    if not (confirmed or invocation.terminal.confirmed(_question(invocation, plan, errand.asks))):
        declined = InvalidInput(Reason.USAGE, "not confirmed; nothing was changed")
        return _report(invocation, plan, errand.verb, None, declined, ExitCode.REFUSED)
    result = session.carry_out(errand.begin, tuple(node.node for node in plan.nodes))
    return _report(invocation, plan, errand.verb, result, None, exit_code(result))


def _question(invocation: Invocation, plan: Plan, asks: str) -> str:
    """The outage is in the plan, just above; with --quiet there is none above."""
    from gausscert_coordinator.cli.layout import counted, harmless

    nodes = counted(len(plan.nodes), "node")
    without = ", ".join(error.node for error in plan.excluded)
    left_out = f", without {without}, which must not run CM until it is brought over" if without else ""
    question = f"{asks} of cluster {plan.cluster} on {nodes}{left_out}?"
    if invocation.settings.quiet:
        question += f" Outage: {plan.outage or 'CM is stopped and started'}."
    return textwrap.fill(harmless(f"{question} [y/N]"), invocation.render.err_width)


def _refuse(invocation: Invocation, plan: Plan, verb: str) -> int:
    from gausscert_coordinator.cli import tables_plan

    if not invocation.wants_json:
        invocation.render.important(*tables_plan.plan(plan, invocation.render.err_width))
    return _report(invocation, plan, verb, None, refusal(plan), exit_code(plan))


def refusal(plan: Plan) -> GausscertError:
    """Why a plan is not carried out, in one error; the plan has the details."""
    code = exit_code(plan)
    if plan.in_flight and code is ExitCode.UNREACHABLE:
        return NodeRefusal(
            Reason.LOCKED,
            "refused: another gausscert is at work; nothing was changed",
            node=", ".join(error.node for error in plan.blocked),
            remedy="wait for it to end, then try again",
        )
    if code is ExitCode.IN_DOUBT:
        names = ", ".join(error.node for error in plan.blocked)
        return InDoubt(
            Reason.IN_DOUBT,
            "refused: a transaction is in doubt; nothing was changed",
            node=names,
            remedy="run gausscert recover, then try again",
        )
    if any(error.reason is Reason.NODES_EXCLUDED for error in plan.blocked):
        return NodeRefusal(
            Reason.NODES_EXCLUDED,
            "refused: a committed transaction waits for nodes that were excluded; nothing was changed",
            node=", ".join(error.node for error in plan.blocked),
            remedy=plan.blocked[0].remedy,
        )
    if code is ExitCode.UNREACHABLE:
        names = ", ".join(error.node for error in (*plan.unreachable, *plan.blocked))
        return Unreachable(
            Reason.UNREACHABLE if plan.unreachable else Reason.LOCKED,
            "refused: nodes are unreachable or locked; nothing was changed",
            node=names,
            remedy="mend what is said of each node, then try again" + _leave_out(plan),
        )
    if any(each.code == plan_record.DRIFTED for each in plan.findings):
        return InvalidInput(
            Reason.ARGUMENT_INVALID,
            "refused: the plan on file no longer fits; nothing was changed",
            remedy="see whether what has changed is meant, then plan again: gausscert plan DIR --out FILE",
            findings=plan.findings,
        )
    if plan.only_ssl:
        return NodeRefusal(
            Reason.NODE_UNFIT,
            "refused; nothing was changed",
            remedy="mend what is found, then try again",
            findings=plan.findings,
        )
    if plan.generation is not None:
        return NodeRefusal(
            Reason.SET_INVALID,
            "refused; nothing was changed",
            remedy="mend what is found, or go back to another generation; gausscert status shows them",
            findings=plan.findings,
        )
    return InvalidInput(
        Reason.BUNDLE_INVALID,
        "refused; nothing was changed",
        remedy="mend what is found, then try again",
        findings=plan.findings,
    )


def _leave_out(plan: Plan) -> str:
    """Only a replacement may leave nodes out: what brings them over later is a bundle."""
    replaces = plan.generation is None and not plan.only_ssl
    if not (plan.unreachable and replaces):
        return ""
    return "; --exclude leaves out a node that is dead (docs/runbook.md)"


def _report(
    invocation: Invocation,
    plan: Plan,
    verb: str,
    result: Result | None,
    error: GausscertError | None,
    code: int,
) -> int:
    from gausscert_coordinator.cli import documents, tables_errors

    render = invocation.render
    document = {
        "plan": documents.plan(plan),
        "result": documents.result(result) if result is not None else None,
        "error": documents.error(error) if error is not None else None,
    }
    if error is not None and not invocation.wants_json:
        render.important(*tables_errors.verdict(error))
    else:
        render.result(
            verb,
            document,
            lambda: _ended(plan, result, render.width) if result is not None else (),
        )
    return code


def _ended(plan: Plan, result: Result, width: int) -> list[RenderableType]:
    from gausscert_coordinator.cli import ending

    wish = plan.options.ssl_wish if plan.only_ssl else None
    return ending.result(result, width, plan.generation, wish)
