"""Back to what an agent had that ran, where a new release, configuration or unit has not made a healthy one.
Pure.

The former release is still on the node (`tidy` comes after health), and what configuration and unit said the
look has told. They are not always those that the agent was started with: a roll-out that died in ACTIVATE has
put its own there already, and the unit is made to start the release that ran. A credential that was issued
meanwhile stays: it is of the same CA, and its former key is gone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from gausscert_coordinator.rollout.catalogue import finding
from gausscert_coordinator.rollout.decide import Step, activation

if TYPE_CHECKING:
    from collections.abc import Collection

    from gausscert_common.errors import GausscertError
    from gausscert_common.findings import Finding

    from gausscert_coordinator.rollout.decide import NodePlan
    from gausscert_coordinator.rollout.facts import Facts

_STARTED: Final = re.compile(r"(?<=/releases/)[^/\s]+(?=/bin/gausscert-agent)")
"""The release in a drop-in's ExecStart (`units`)."""


@dataclass(frozen=True, slots=True)
class WayBack:
    """What has to be done once more, with what was there before."""

    steps: tuple[Step, ...]
    starts: bool
    """Whether the agent is started anew; it is not where the one of before was never ended."""


NOTHING: Final = WayBack((), starts=False)


def former(plan: NodePlan) -> str:
    """The release that ran, whatever `current` names."""
    running = plan.facts.running
    return (running.release if running is not None else "") or plan.facts.release


def way(plan: NodePlan, done: Collection[Step], now: Facts | None = None) -> WayBack:
    """How a node gets back what it had; NOTHING where there is nothing to go back to: no agent ran that
    gausscert itself has ended, or nothing is there that the new one has not had, too.

    Args:
        plan: For the node.
        done: What was carried out of it.
        now: The node after ACTIVATE has failed, and can go on no more; None where it has not.
    """
    facts, back_to = plan.facts, former(plan)
    if not (plan.restarts and back_to in facts.releases):
        return NOTHING
    unit, drop_in = _units(plan)
    named = set(_STARTED.findall(drop_in)) - {back_to}
    changed = {
        Step.CONFIGURE: Step.CONFIGURE in done and bool(facts.config),
        Step.SERVICE: bool(unit and drop_in) and (Step.SERVICE in done or bool(named)),
    }
    if now is not None and _still_runs(facts, now):
        return _of_files(facts, now, changed)
    if back_to == plan.wanted.release and not any(changed.values()):
        return NOTHING
    undone = {**changed, Step.ACTIVATE: True, Step.HEALTH: True}
    return WayBack(tuple(step for step in Step if undone.get(step)), starts=True)


def request(plan: NodePlan, step: Step, back: WayBack) -> dict[str, Any]:
    """What the node is told for one of these steps, beside what all are told."""
    unit, drop_in = _units(plan)
    config, drop_in = plan.facts.config, _STARTED.sub(former(plan), drop_in)
    more: dict[Step, dict[str, Any]] = {
        Step.CONFIGURE: {"config": config},
        Step.SERVICE: {"unit": unit, "drop_in": drop_in},
        Step.ACTIVATE: {
            "unread": False,
            **activation(back.steps, config, unit, drop_in, start=back.starts),
        },
    }
    return {"release": former(plan), "service": plan.service.value, **more.get(step, {})}


def told(plan: NodePlan, back: WayBack, error: GausscertError | None) -> Finding:
    """What came of it.

    Args:
        plan: For the node.
        back: What was to be done.
        error: What it failed with, or None.
    """
    back_to = former(plan)
    if error is not None:
        cause = f"{back_to}: {error.message}"
        return finding("ROLLOUT_NOT_PUT_BACK", cause, plan.node, file=error.file, remedy=error.remedy)
    cause = f"{back_to} serves again, and is healthy; {plan.wanted.release} was not"
    if back_to == plan.wanted.release:
        cause = f"{back_to} serves again with what it had, and is healthy"
    if not back.starts:
        cause = f"{back_to} was never ended, and is healthy; agent.toml and unit are those of before again"
    if plan.facts.running is not None and plan.facts.running.stale:
        cause += "; agent.toml is the one that was found there, changed since the agent had been started"
    return finding("ROLLOUT_PUT_BACK", cause, plan.node)


def _still_runs(before: Facts, now: Facts) -> bool:
    """Whether the agent of before was not ended: a pid alone may be another's by now."""
    former, present = before.running, now.running
    if former is None or present is None:
        return False
    return (former.pid, former.started) == (present.pid, present.started)


def _of_files(facts: Facts, now: Facts, changed: dict[Step, bool]) -> WayBack:
    """For an agent that was never ended: only what ACTIVATE has put in its place before it failed."""
    differs = {
        Step.CONFIGURE: changed[Step.CONFIGURE] and now.config != facts.config,
        Step.SERVICE: changed[Step.SERVICE] and dict(now.units) != dict(facts.units),
    }
    if not any(differs.values()) and now.release == facts.release:
        return NOTHING
    undone = {**differs, Step.ACTIVATE: True, Step.HEALTH: True}
    return WayBack(tuple(step for step in Step if undone.get(step)), starts=False)


def _units(plan: NodePlan) -> tuple[str, str]:
    unit, drop_in = [*plan.facts.units.values(), "", ""][:2]
    return unit, drop_in
