"""Health over the wire: red when the agent's own credential has ended, green once it was replaced."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from gausscert_agent.credential_source import CredentialSource
from gausscert_agent.fitness import Fitness
from gausscert_agent.journal import Journal
from gausscert_agent.server import AgentServer
from gausscert_common.credentials import load_node
from gausscert_common.identity import Role
from gausscert_common.protocol.state import NodeState
from gausscert_coordinator import pki
from grpc_health.v1 import health_pb2, health_pb2_grpc
from support.edges import CLUSTER, NODE, Edge, copy_private, no_threads_are_left

__all__ = ["no_threads_are_left"]

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Clock:
    """Seconds since the test began, turned by the test."""

    now = 0.0

    def __call__(self) -> float:
        return self.now

    @property
    def date(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.now)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def watched(tmp_path, clock):
    """A real server whose health is a real Fitness; only time is the test's."""
    made = Edge(tmp_path)
    config = made.config
    with Journal(config.state_dir) as journal:
        journal.lock()
        journal.save(NodeState())
    cm_ctl = tmp_path / "cm_ctl"
    cm_ctl.touch(0o700)
    source = CredentialSource(config, lambda: clock.date, monotonic=clock)
    fitness = Fitness(
        config.state_dir,
        Journal(config.state_dir),
        cm_ctl,
        credential=source.findings,
        orphan=lambda: None,
        clock=clock,
    )
    made.server = AgentServer(config, source)
    made.server.answer(made.node, lambda: fitness.fit)
    with made:
        yield made


def test_an_expired_credential_turns_it_red_and_a_new_one_green_without_a_restart(watched, clock):
    stub = health_pb2_grpc.HealthStub(watched.channel(watched.person(Role.OPERATOR, "alice")))

    def check() -> int:
        return stub.Check(health_pb2.HealthCheckRequest(), timeout=30).status

    watch = stub.Watch(health_pb2.HealthCheckRequest(), timeout=60)
    assert (check(), next(watch).status) == (SERVING, SERVING)

    ends = load_node(watched.config.tls, cluster=CLUSTER, name=NODE, now=clock.date).not_after
    clock.now = (ends - clock.date).total_seconds() + 1  # the connection is older than that
    assert check() == NOT_SERVING
    assert next(watch).status == NOT_SERVING

    renewed = pki.issue(watched.ca, Role.NODE, watched.config.name, out=watched.root / "new", now=clock.date)
    for source, target in ((renewed.key, watched.issued.key), (renewed.cert, watched.issued.cert)):
        copy_private(source, target.with_suffix(".new")).replace(target)
    clock.now += 10
    assert check() == SERVING
    assert next(watch).status == SERVING

    (watched.root / "cm_ctl").unlink()
    clock.now += 10
    assert check() == NOT_SERVING
    assert next(watch).status == NOT_SERVING
    watch.cancel()
