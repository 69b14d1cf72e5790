"""A damaged journal: the agent says so to everybody, guesses nothing, and touches nothing."""

from __future__ import annotations

import shutil

import pytest
from support.agent_core import snapshot
from support.lone_agent import LoneAgent, set_of


def test_an_agent_with_a_damaged_journal_serves_what_needs_none_and_is_told_of_everywhere(tmp_path):
    agent = LoneAgent(tmp_path, set_of(days=400))
    with agent:
        assert agent.health() == "SERVING"
        assert agent.gausscert("status").code == 0
    journal = agent.state_dir / "journal.json"
    whole = journal.read_bytes()
    journal.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
    (agent.state_dir / "lock").write_bytes(b"")  # holds a pid, which differs
    before = snapshot(tmp_path / "home"), journal.read_bytes()

    with agent:
        assert agent.health() == "NOT_SERVING"
        status = agent.gausscert("status", "--output", "json")
        assert status.code == 3
        (node,) = status.document["nodes"]
        assert node["report"] is None
        assert node["error"]["reason"] == "JOURNAL_DAMAGED"
        assert node["error"]["file"] == str(journal)
        assert "do not remove it" in node["error"]["remedy"]
        assert "JOURNAL_DAMAGED" in agent.gausscert("status").out

        recovered = agent.gausscert("recover", "--output", "json")
        assert recovered.code == 3
        assert [each["reason"] for each in recovered.document["failures"]] == ["JOURNAL_DAMAGED"]
        assert agent.gausscert("recover", "--take-over", "--finish").code == 3

        expiry = agent.gausscert("expiry", "--output", "json")
        assert expiry.code == 0
        assert {each["file"] for each in expiry.document["certificates"]} == {
            "server.crt",
            "client.crt",
            "cacert.pem",
        }
        checked = agent.gausscert("check")
        assert checked.code == 2
        assert checked.out.startswith("CRITICAL - n1: is damaged")
        assert agent.stop() == 0
    assert (snapshot(tmp_path / "home"), journal.read_bytes()) == before
    told = [record for record in agent.log() if record["event"].startswith("the journal is damaged")]
    assert [(record["level"], record["file"]) for record in told] == [("ERROR", str(journal))]

    journal.write_bytes(whole)
    with agent:
        assert agent.health() == "SERVING"
        assert agent.gausscert("status").code == 0


@pytest.mark.parametrize(
    ("lost", "left"),
    [("the journal", "stage"), ("the state directory", "stage"), ("the state directory", "mark")],
)
def test_an_agent_that_has_lost_its_journal_beside_a_stage_or_a_mark_is_sealed_too(tmp_path, lost, left):
    """It would look as if no transaction had ever been here, while it may have voted in one."""
    agent = LoneAgent(tmp_path, set_of(days=400))
    with agent:
        pass
    beside = agent.live.parent / ".cm.20261102t120000z-abc123"
    if left == "stage":
        shutil.copytree(agent.live, beside)
    else:
        beside.with_name(f"{beside.name}.mark").mkdir(mode=0o700)
    kept = tmp_path / "kept"
    agent.state_dir.rename(kept)
    if lost == "the journal":
        agent.state_dir.mkdir(mode=0o700)
    before = snapshot(tmp_path / "home")

    for _ in range(2):  # it is not forgotten by starting once more
        with agent:
            recovered = agent.gausscert("recover", "--take-over", "--output", "json")
            assert recovered.code == 3
            (failure,) = recovered.document["failures"]
            assert (failure["reason"], failure["node"]) == ("JOURNAL_DAMAGED", "n1")
            assert f"transaction 20261102t120000z-abc123 has left its {left} here" in failure["message"]
            assert agent.gausscert("status").code == 3
            assert agent.gausscert("check").code == 2
        assert not (agent.state_dir / "journal.json").exists()
        assert snapshot(tmp_path / "home") == before

    (kept / "journal.json").rename(agent.state_dir / "journal.json")
    with agent:
        assert agent.gausscert("status").code == 0


def test_an_agent_that_starts_for_the_first_time_beside_retired_sets_is_no_such_case(tmp_path):
    agent = LoneAgent(tmp_path, set_of(days=400))
    shutil.copytree(agent.live, agent.live.parent / ".cm.retired.20261102t120000z-abc123")
    with agent:
        assert agent.health() == "SERVING"
        assert agent.gausscert("status").code == 0
