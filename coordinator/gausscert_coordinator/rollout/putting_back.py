"""Back to what an agent had that ran, where a new release, configuration or unit has not made a healthy one.
Pure.

The former release is still on the node (`tidy` comes after health), and what configuration and unit said the
look has told. A credential that was issued meanwhile stays: it is of the same CA, and its former key is gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gausscert_coordinator.rollout.decide import Step

if TYPE_CHECKING:
    from collections.abc import Collection

    from gausscert_coordinator.rollout.decide import NodePlan


def is_possible(plan: NodePlan) -> bool:
    """Whether there is something to go back to: an agent that ran, which gausscert itself has ended."""
    return plan.restarts and plan.facts.release in plan.facts.releases


def steps(plan: NodePlan, done: Collection[Step]) -> tuple[Step, ...]:
    """What has to be done once more, with what was there before.

    Args:
        plan: For the node.
        done: What was carried out of it.
    """
    facts = plan.facts
    undone = {
        Step.CONFIGURE: Step.CONFIGURE in done and bool(facts.config),
        Step.SERVICE: Step.SERVICE in done and bool(facts.units) and all(facts.units.values()),
        Step.ACTIVATE: True,
        Step.HEALTH: True,
    }
    return tuple(step for step in Step if undone.get(step))


def request(plan: NodePlan, step: Step) -> dict[str, Any]:
    """What the node is told for one of these steps, beside what all are told."""
    facts = plan.facts
    unit, drop_in = [*facts.units.values(), "", ""][:2]
    more: dict[Step, dict[str, Any]] = {
        Step.CONFIGURE: {"config": facts.config},
        Step.SERVICE: {"unit": unit, "drop_in": drop_in},
        Step.ACTIVATE: {"start": True},
    }
    return {"release": facts.release, "service": plan.service.value, **more.get(step, {})}
