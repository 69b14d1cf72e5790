"""What each step sends to a node, and what is said of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gausscert_coordinator.rollout.decide import NodePlan, Step, activation, kept, start_command
from gausscert_coordinator.rollout.outcome import State
from gausscert_coordinator.rollout.parcel import Blob
from gausscert_coordinator.rollout.revoked import laid

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gausscert_common.errors import GausscertError

    from gausscert_coordinator.pki import Signed
    from gausscert_coordinator.rollout.bundle import Software
    from gausscert_coordinator.rollout.outcome import NodeOutcome


@dataclass(slots=True)
class Work:
    """One node while its plan is carried out."""

    plan: NodePlan
    outcome: NodeOutcome
    software: Software
    issue: Callable[[str], Signed]
    attempt: str
    """Names its ACTIVATE, as no other was ever named."""
    not_denied: GausscertError | None = None
    """Why its agent did not take whom it has to deny."""

    @property
    def state(self) -> State:
        """How it ended, when everything has."""
        if self.outcome.error is not None:
            return State.FAILED
        if self.outcome.state is State.UNTOUCHED:
            return State.UNTOUCHED
        return State.UNCHANGED if not self.plan.changes else State.DEPLOYED

    def request(self, step: Step) -> dict[str, Any]:
        """What a step is told beside what all are told."""
        plan, wanted = self.plan, self.plan.wanted
        unit, drop_in = [*wanted.units.values(), "", ""][:2]
        more: Mapping[Step, dict[str, Any]] = {
            Step.CONFIGURE: {"config": wanted.config},
            Step.SERVICE: {"unit": unit, "drop_in": drop_in},
            Step.ACTIVATE: {
                "attempt": self.attempt,
                "unread": plan.unread,
                **activation(plan.steps, wanted.config, unit, drop_in, start=plan.starts),
                **(laid(plan.facts.denied, plan.lacks) if plan.facts.running is None else {}),
            },
            Step.TIDY: {"keep": sorted(kept(plan.facts, wanted))},
        }
        return {"release": wanted.release, "service": plan.service.value, **more.get(step, {})}

    def blobs(self, step: Step) -> tuple[Blob, ...]:
        """What goes along with a step."""
        if step is Step.UPLOAD:
            return self.software.blobs(self.plan.facts.target)
        if step is not Step.CREDENTIAL:
            return ()
        made = self.issue(self.plan.node)
        base = f"node-{self.plan.node}"
        return (
            Blob("ca.crt", made.ca_pem),
            Blob(f"{base}.key", made.key_pem),
            Blob(f"{base}.crt", made.cert_pem),
        )

    def saying(self, step: Step) -> str:
        """More of a step that is begun, for people."""
        if step is Step.UPLOAD:
            wheels, _ = self.software.chosen(self.plan.facts.target)
            size = sum(wheel.path.stat().st_size for wheel in wheels)
            return f"{len(wheels)} wheels, {size / 1e6:.0f} MB, for {self.plan.facts.target}"
        if step is Step.INSTALL:
            return self.plan.wanted.release
        if step is Step.ACTIVATE:
            return "" if self.plan.starts else start_command(self.plan.facts, self.plan.wanted.release)
        return ""
