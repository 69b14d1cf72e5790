"""`gausscert-agent health`: what a node's own agent says of itself, with nothing but its own credential."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from gausscert_agent import own_health
from gausscert_coordinator.cli.demo_cluster import AGENT
from support.lone_agent import CLUSTER, NAME, LoneAgent, set_of


def asked(agent: LoneAgent) -> tuple[int, str]:
    argv = [*AGENT, "health", "--config", str(agent.config)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_one_that_serves_is_healthy_one_that_could_not_work_is_not_and_one_that_ended_does_not_answer(
    tmp_path: Path,
):
    agent = LoneAgent(tmp_path, set_of(days=400))
    with agent:
        assert asked(agent) == (0, f"node {NAME} of cluster {CLUSTER}: SERVING\n")
        cm_ctl = tmp_path / "home" / "bin" / "cm_ctl"
        cm_ctl.rename(cm_ctl.with_name("gone"))
    with agent:
        code, said = asked(agent)
        assert (code, "the agent answers, but is not healthy" in said) == (2, True)
    code, said = asked(agent)
    assert code == 2
    assert f"the agent at 127.0.0.1:{agent.port} does not answer: UNAVAILABLE" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("listen", "asked_at"),
    [
        ("0.0.0.0:7443", "127.0.0.1:7443"),
        ("[::]:7443", "[::1]:7443"),
        ("10.0.0.1:7443", "10.0.0.1:7443"),
        ("localhost:7443", "localhost:7443"),
    ],
)
def test_an_agent_that_listens_everywhere_is_asked_on_loopback(listen: str, asked_at: str):
    assert own_health._own_address(listen) == asked_at
