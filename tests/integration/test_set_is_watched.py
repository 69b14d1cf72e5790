"""A real agent says by itself that CM would not start with its live set again."""

from __future__ import annotations

from pathlib import Path

from support.local_cluster import wait_until
from support.lone_agent import LoneAgent, set_of


def told_by(agent: LoneAgent) -> set[tuple[str, str]]:
    needy = [record for record in agent.log() if record["event"] == "certificate needs attention"]
    return {(record["code"], record["file"]) for record in needy}


def test_a_garbled_certificate_is_told_in_the_log(tmp_path: Path) -> None:
    agent = LoneAgent(tmp_path, set_of(days=400) | {"server.crt": b"garbage"})
    with agent:
        wait_until(lambda: bool(told_by(agent)), 30)
        assert told_by(agent) == {("NODE_SET_UNREADABLE", "server.crt")}
