"""Agents that run are told whom they have to deny: before anything else is done anywhere, because it needs no
restart and must not wait for an upgrade that may fail at another node; and once more those that did not take
it, when they are healthy. None is put back for that, it would lack them, too. What is left is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gausscert_common.errors import GausscertError

from gausscert_coordinator.rollout import revoked
from gausscert_coordinator.rollout.catalogue import finding
from gausscert_coordinator.rollout.decide import Step
from gausscert_coordinator.rollout.outcome import unforeseen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gausscert_common.findings import Finding

    from gausscert_coordinator.inventory import InventoryNode
    from gausscert_coordinator.rollout.doctor import Doctor
    from gausscert_coordinator.rollout.work import Work


def lacks(work: Work) -> bool:
    """Whether an agent still lets somebody in who is revoked, as far as that is known."""
    return bool(work.plan.lacks) and not work.outcome.denied


def runs_and_lacks(work: Work) -> bool:
    """Whether an agent that ran when it was looked at does."""
    return lacks(work) and work.plan.facts.running is not None


async def tell(work: Work, doctor: Doctor, node: InventoryNode) -> None:
    """Have an agent deny them. Raises nothing that it does."""
    try:
        await doctor.deny(node, revoked.lines(work.plan.lacks).encode())
    except GausscertError as error:
        work.not_denied = error
    except Exception as raised:  # noqa: BLE001 - a bug at one node must not keep the others from being told
        work.not_denied = unforeseen(node.name, "telling it who is revoked", raised)
    else:
        work.outcome.denied, work.not_denied = True, None


def laid(work: Work, said: object) -> None:
    """Its ACTIVATE is done, and with it the list of an agent that was down (`work`), unless it ran by then.

    Args:
        work: Of the node.
        said: What that answered (`on_node.main`).
    """
    if not runs_and_lacks(work) and lacks(work):
        work.outcome.denied = isinstance(said, dict) and said.get("denied") is True


def left(work: Work) -> Iterator[Finding]:
    """That an agent goes on letting them in; where there was none yet, its first start brings them."""
    facts = work.plan.facts
    if not lacks(work) or not (facts.release or facts.running is not None):
        return
    error = work.not_denied
    cause, file = (error.message, error.file) if error is not None else (_why(work), "")
    yield finding("ROLLOUT_NOT_DENIED", cause, work.plan.node, file=file)


def _why(work: Work) -> str:
    if work.outcome.failed_at is Step.ACTIVATE:
        return "its start has failed; whether they were added to its list is not known"
    if Step.ACTIVATE in work.outcome.done:
        return "it was down, was started meanwhile, and was not told"
    return "it was down, and was not reached in this run"
