"""What a roll-out takes for a healthy agent: a real one, asked over real mTLS."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Self

import pytest
from gausscert_common.errors import GausscertError, Reason
from gausscert_common.model import NodeReport
from gausscert_coordinator import agents, inventory_file
from gausscert_coordinator.inventory import Inventory
from gausscert_coordinator.rollout.doctor import GrpcDoctor
from support.cli_fakes import in_transaction, report
from support.lone_agent import LoneAgent, free_port, set_of


@pytest.fixture
def lone(tmp_path: Path) -> LoneAgent:
    return LoneAgent(tmp_path, set_of(days=400))


def inventory(lone: LoneAgent) -> Inventory:
    return inventory_file.load(lone.root / "gausscert.toml")


def doctor(lone: LoneAgent) -> GrpcDoctor:
    return GrpcDoctor(inventory(lone), within_s=0.5)


def test_an_agent_that_serves_is_healthy_and_in_the_middle_of_nothing(lone: LoneAgent):
    with lone:
        (node,) = inventory(lone).nodes

        asyncio.run(GrpcDoctor(inventory(lone)).healthy(node))

        assert asyncio.run(doctor(lone).in_flight(node)) == ""


def test_one_that_could_not_do_its_job_says_why(lone: LoneAgent):
    (lone.root / "home" / "bin" / "cm_ctl").unlink()
    with lone:
        (node,) = inventory(lone).nodes

        with pytest.raises(GausscertError, match=r"answers, but is not healthy: .*cm_ctl") as raised:
            asyncio.run(doctor(lone).healthy(node))

    assert (raised.value.reason, raised.value.node) == (Reason.ROLLOUT_FAILED, "n1")
    assert raised.value.remedy


def test_one_that_is_not_there_is_unreachable_and_in_the_middle_of_nothing(lone: LoneAgent):
    lone.port = free_port()
    (node,) = inventory(lone).nodes

    with pytest.raises(GausscertError, match="nothing listens") as raised:
        asyncio.run(doctor(lone).healthy(node))

    assert raised.value.reason is Reason.UNREACHABLE
    assert asyncio.run(doctor(lone).in_flight(node)) == ""


class Busy:
    """An agent that takes part in a transaction."""

    async def get_node(self, *, preflight: bool = False) -> NodeReport:
        return report("n1", transaction=in_transaction())

    async def close(self) -> None:
        return None

    @classmethod
    def connect(cls, _: Inventory) -> dict[str, Self]:
        return {"n1": cls()}


def test_one_in_a_transaction_says_which(lone: LoneAgent, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(agents, "connect", Busy.connect)
    (node,) = inventory(lone).nodes

    said = asyncio.run(doctor(lone).in_flight(node))

    assert said == "transaction 20261102t120000z-abc123, phase PREPARED"
