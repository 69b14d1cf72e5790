"""Back to what an agent had that ran, where a new release, configuration or unit has not made a healthy one.
Pure.

The former release is still on the node (`tidy` comes after health), and what configuration and unit said the
look has told. They are not always those that the agent was started with: a roll-out that stopped at another
node has put its own there already, and the unit is made to start the release that ran. A credential that was
issued meanwhile stays: it is of the same CA, and its former key is gone.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from gausscert_coordinator.rollout.catalogue import finding
from gausscert_coordinator.rollout.decide import Step

if TYPE_CHECKING:
    from collections.abc import Collection

    from gausscert_common.errors import GausscertError
    from gausscert_common.findings import Finding

    from gausscert_coordinator.rollout.decide import NodePlan

_STARTED: Final = re.compile(r"(?<=/releases/)[^/\s]+(?=/bin/gausscert-agent)")
"""The release in a drop-in's ExecStart (`units`)."""


def former(plan: NodePlan) -> str:
    """The release that ran, whatever `current` names."""
    running = plan.facts.running
    return (running.release if running is not None else "") or plan.facts.release


def steps(plan: NodePlan, done: Collection[Step]) -> tuple[Step, ...]:
    """What has to be done once more, with what was there before; () where there is nothing to go back to:
    no agent ran that gausscert itself has ended, or nothing is there that the new one has not had, too.

    Args:
        plan: For the node.
        done: What was carried out of it.
    """
    facts, back_to = plan.facts, former(plan)
    unit, drop_in = _units(plan)
    named = set(_STARTED.findall(drop_in)) - {back_to}
    changed = {
        Step.CONFIGURE: Step.CONFIGURE in done and bool(facts.config),
        Step.SERVICE: bool(unit and drop_in) and (Step.SERVICE in done or bool(named)),
    }
    differs = back_to != plan.wanted.release or any(changed.values())
    if not (plan.restarts and back_to in facts.releases and differs):
        return ()
    undone = {**changed, Step.ACTIVATE: True, Step.HEALTH: True}
    return tuple(step for step in Step if undone.get(step))


def request(plan: NodePlan, step: Step) -> dict[str, Any]:
    """What the node is told for one of these steps, beside what all are told."""
    unit, drop_in = _units(plan)
    more: dict[Step, dict[str, Any]] = {
        Step.CONFIGURE: {"config": plan.facts.config},
        Step.SERVICE: {"unit": unit, "drop_in": _STARTED.sub(former(plan), drop_in)},
        Step.ACTIVATE: {"start": True},
    }
    return {"release": former(plan), "service": plan.service.value, **more.get(step, {})}


def told(plan: NodePlan, error: GausscertError | None) -> Finding:
    """What came of it.

    Args:
        plan: For the node.
        error: What it failed with, or None.
    """
    back_to = former(plan)
    if error is not None:
        cause = f"{back_to}: {error.message}"
        return finding("ROLLOUT_NOT_PUT_BACK", cause, plan.node, file=error.file, remedy=error.remedy)
    cause = f"{back_to} serves again, and is healthy; {plan.wanted.release} was not"
    if back_to == plan.wanted.release:
        cause = f"{back_to} serves again with what it had, and is healthy"
    if plan.facts.running is not None and plan.facts.running.stale:
        cause += "; agent.toml is the one that was found there, changed since the agent had been started"
    return finding("ROLLOUT_PUT_BACK", cause, plan.node)


def _units(plan: NodePlan) -> tuple[str, str]:
    unit, drop_in = [*plan.facts.units.values(), "", ""][:2]
    return unit, drop_in
