"""`gausscert history`: what it shows, how it finds one transaction, what it says of a broken file."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from gausscert_common import auditing
from gausscert_coordinator import naming
from gausscert_coordinator.control_plane import Audited
from gausscert_coordinator.history import History
from support.cli_fakes import Given, cli, unreachable
from support.fake_agents import Fault
from support.fake_cluster import FakeCluster, until_death
from support.fake_node import bundle, sha

FIRST = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
NEW = sha(bundle("new").pem["server.crt"])
OLD = sha(bundle("old").pem["server.crt"])


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the command looks for the history of the inventory that `cli` gives it."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "gausscert" / "prod.db"


def record(
    path: Path, hours: int = 0, fault: str = "", dies_after: int | None = None, holder: str = ""
) -> str:
    """One transaction; answers its id."""
    cluster = FakeCluster()
    name = f"{FIRST + timedelta(hours=hours):%Y%m%dt%H%M%Sz}-{hours:06d}"
    history = History(lambda: path, now=lambda: FIRST + timedelta(hours=hours))
    coordinator = cluster.coordinator(holder or "ann@ops/b00t.7:42", recorder=history)
    coordinator._make_id = lambda: name
    if fault:
        cluster.script("node-b", fault, Fault.FAILED)
    if dies_after is not None:
        cluster.die_after(dies_after)

    async def run() -> None:
        async with coordinator:
            plan = await coordinator.plan(bundle("new"))
            await coordinator.replace(plan, bundle("new"))

    asyncio.run(until_death(cluster, run()))
    return name


def test_before_anything_was_done_there_is_no_history_yet(path: Path):
    run = cli("history")

    assert run.code == 0
    assert run.out == f"no history of cluster prod yet in {path}\n"
    assert not path.parent.exists()


def test_before_anything_was_done_the_document_has_no_runs(path: Path):
    run = cli("history", "--output", "json")

    assert run.code == 0
    assert run.document == {
        "schema": "gausscert/history/v1",
        "cluster": "prod",
        "file": str(path),
        "runs": [],
    }


def test_the_table_says_when_who_what_and_how_it_ended_newest_first(path: Path):
    ids = [record(path), record(path, 1, fault="swap"), record(path, 2, dies_after=11)]

    run = cli("history")

    assert run.code == 0
    lines = run.out.splitlines()
    assert lines[0].split() == ["transaction", "begun", "(UTC)", "by", "what", "verdict", "took"]
    assert [line.split()[0] for line in lines[1:]] == ids[::-1]
    assert lines[3].split()[1:] == ["2026-11-02", "12:00:00", "ann@ops", "replace", "committed", "0.0", "s"]
    assert "rolled back" in lines[2]
    assert "no end recorded yet" in lines[1]


def test_limit_and_since_choose(path: Path):
    ids = [record(path, hours) for hours in range(3)]

    def shown(*options: str) -> list[str]:
        run = cli("history", "--output", "json", *options)
        return [each["transaction_id"] for each in run.document["runs"]]

    assert shown("--limit", "2") == ids[:0:-1]
    assert shown("--since", "2026-11-02T13:00Z") == ids[:0:-1]
    assert shown("--since", "2026-11-02T15:00+02:00") == ids[:0:-1]
    assert shown("--since", "2026-11-03") == []
    assert shown("--since", "9000d") == ids[::-1]


@pytest.mark.parametrize("options", [("--since", "yesterday"), ("--since", "7w"), ("--limit", "0")])
def test_options_that_make_no_sense_are_refused(path: Path, options: tuple[str, str]):
    run = cli("history", *options)

    assert run.code == 2
    assert options[1] in run.err


def test_one_transaction_is_shown_node_by_node_with_its_evidence(path: Path):
    name = record(path)

    run = cli("history", name)

    assert run.code == 0
    lines = run.out.splitlines()
    assert lines[0] == f"replace of cluster prod, transaction {name}"
    assert lines[1].startswith("begun 2026-11-02 12:00:00 UTC by ann@ops/b00t.7:42, gausscert ")
    assert lines[2] == "3 nodes, epoch 1, restart cluster, enable_ssl keep"
    steps = [line.split() for line in lines if line.startswith("node-b") and " 12:00:00.000 " in line]
    assert [words[2] for words in steps] == ["acquire", "prepare", "stop", "swap", "start", "commit", "purge"]
    assert {words[3] for words in steps} == {"done"}
    (verify,) = [line for line in lines if line.startswith("verify") and "10.0.0.2:5000" in line]
    assert NEW[:12] in verify
    assert "node-a, node-b, node-c" in verify
    assert lines[-1].startswith("committed (ended 2026-11-02 12:00:00 UTC after 0.0 s, cluster Normal)")


def test_a_rollback_shows_the_cause_at_its_node(path: Path):
    name = record(path, fault="swap")

    run = cli("history", name)

    assert run.code == 0
    (failed,) = [line for line in run.out.splitlines() if line.startswith("node-b") and " failed " in line]
    assert "STORE_FAILED: scripted failure of swap" in failed
    assert "error STORE_FAILED node-b: scripted failure of swap" in run.out
    assert run.out.splitlines()[-1].startswith("rolled back (")


def test_a_dead_coordinator_is_said_to_be_dead_and_how_far_it_had_come(path: Path):
    here = naming.holder().rpartition(":")[0]
    name = record(path, dies_after=11, holder=f"{here}:999999999")

    listed, shown = cli("history"), cli("history", name)

    assert "died, or could not write on" in listed.out
    assert "the last stage that was begun: swap" in shown.out
    assert "gausscert status tells" in shown.out


def test_the_document_of_one_transaction_is_stable(path: Path):
    name = record(path, fault="swap")

    document = cli("history", name, "--output", "json").document

    assert {key for key in document if key != "runs"} == {"schema", "cluster", "file", "transaction_id"}
    assert document["schema"] == "gausscert/history-transaction/v1"
    (run,) = document["runs"]
    assert set(run) == {
        *("transaction_id", "kind", "holder", "gausscert_version", "begun_at", "ended_at", "duration_s"),
        *("verdict", "why", "interrupted", "last_stage", "epoch", "participants", "options"),
        *("bundle_digest", "generation", "new_server_fingerprint", "cluster_state", "server_roles", "before"),
        *("nodes", "certificates", "steps", "evidence", "findings", "failures", "agents"),
    }
    assert (run["begun_at"], run["verdict"], run["interrupted"]) == (
        "2026-11-02T12:00:00Z",
        "rolled back",
        False,
    )
    assert run["options"] == {
        "enable_ssl": "keep",
        "restart": "cluster",
        "drop_crls": False,
        "take_over": False,
        "accept_state": False,
        "exclude": [],
    }
    assert run["before"] == {"cluster_state": "Normal", "server_roles": None}
    node = run["nodes"][0]
    assert (node["node"], node["old_server_fingerprint"], node["new_server_fingerprint"]) == (
        "node-a",
        OLD,
        NEW,
    )
    step = next(each for each in run["steps"] if (each["stage"], each["node"]) == ("swap", "node-b"))
    assert step == {
        "stage": "swap",
        "node": "node-b",
        "mark": "failed",
        "at": "2026-11-02T12:00:00Z",
        "ended_at": "2026-11-02T12:00:00Z",
        "retries": 0,
        "reason": "STORE_FAILED",
        "detail": "scripted failure of swap",
    }
    assert set(run["evidence"][0]) == {
        *("stage", "seen_from", "cm_node_id", "target", "state", "fingerprint"),
        *("chain_verified", "not_after", "cause"),
    }
    assert [each["reason"] for each in run["failures"]] == ["STORE_FAILED"]


def test_a_beginning_will_do_when_it_fits_no_other(path: Path):
    ids = [record(path), record(path, 1)]

    assert ids[1] in cli("history", "20261102t13").out
    ambiguous = cli("history", "20261102t1")
    unknown = cli("history", "2027%_")

    assert ambiguous.code == unknown.code == 2
    assert all(each in ambiguous.err for each in ids)
    assert "no transaction begins with '2027%_'" in unknown.err
    assert "see gausscert history" in unknown.err


def test_without_a_history_no_transaction_is_known(path: Path):
    run = cli("history", "2026", "--output", "json")

    assert run.code == 2
    assert run.document["error"]["reason"] == "ARGUMENT_INVALID"
    assert "nothing was recorded yet" in run.document["error"]["message"]


@pytest.mark.parametrize("arguments", [(), ("2026",)])
def test_a_corrupt_file_is_named_with_what_is_lost_and_what_to_do(path: Path, arguments: tuple[str, ...]):
    record(path)
    with path.open("r+b") as opened:
        opened.seek(4096)
        opened.write(b"torn" * 1024)

    run = cli("history", *arguments)

    assert run.code == 2
    assert run.out == ""
    assert f"HISTORY_UNUSABLE {path}: it is corrupt" in run.err
    assert "only the record of what was done is lost: no transaction depends on it" in run.err
    assert f"move it away, with {path}-wal" in run.err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_cannot_be_read_is_named(path: Path):
    record(path)
    path.chmod(0o000)

    run = cli("history")

    assert run.code == 2
    assert str(path) in run.err


def test_names_from_the_file_cannot_steer_the_terminal(path: Path):
    record(path, holder="\x1b[31mmallory@ops/b.1:7")

    assert "\x1b" not in cli("history").out
    assert "\x1b" not in cli("history", "2026").out


# ---- verified


def audited(node: str, fault: auditing.Fault | None = None, head: int = 12) -> Audited:
    return Audited(node, auditing.Verified(1, auditing.Head(head, "a" * 64), fault), None)


def test_an_intact_history_and_intact_logs_end_with_0(path: Path):
    record(path)
    given = Given(audits=(audited("n1"), audited("n2")))

    run = cli("history", "--verify", given=given)

    assert run.code == 0
    assert "intact, 1 run" in run.out
    assert "n2: intact, lines 1 to 12" in run.out
    assert [kind for kind, *_ in given.asked] == ["audits", "close"]


def test_what_the_history_has_seen_of_the_logs_is_what_they_are_measured_by(path: Path):
    record(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as book:
        book.execute("INSERT INTO audit_head VALUES (1, 'n1', 7, ?)", ("c" * 64,))
    given = Given()

    run = cli("history", "--verify", given=given)

    assert given.asked[0] == ("audits", {"n1": {7: "c" * 64}})
    assert run.code == 2  # that row was put in behind our back
    assert "audit_head" in run.out


def test_a_fault_of_a_log_is_named_and_ends_with_2(path: Path):
    record(path)
    fault = auditing.Fault(4, "it was altered, or is no line of the log")
    given = Given(audits=(audited("n1"), audited("n2", fault, 3)))

    run = cli("history", "--verify", "--output", "json", given=given)

    assert run.code == 2
    assert run.document["history"]["intact"] is True
    one, other = run.document["nodes"]
    assert (one["intact"], one["fault"]) == (True, None)
    assert (other["intact"], other["fault"]) == (False, {"line": 4, "cause": fault.cause})
    assert "n2: NOT intact at line 4" in cli("history", "--verify", given=given).out


def test_a_node_that_does_not_answer_ends_with_4_unless_something_was_altered(path: Path):
    record(path)
    away = Audited("n1", None, unreachable("n1"))

    assert cli("history", "--verify", given=Given(audits=(away,))).code == 4
    broken = audited("n2", auditing.Fault(1, "altered"))
    assert cli("history", "--verify", given=Given(audits=(away, broken))).code == 2


def test_alone_no_node_is_asked_and_a_head_that_was_kept_finds_what_was_cut_off(path: Path):
    record(path)
    given = Given()
    document = cli("history", "--verify", "--no-nodes", "--output", "json", given=given).document
    head = document["history"]["head"]
    assert given.asked == []
    number, _, digest = head.partition(":")

    assert cli("history", "--verify", "--no-nodes", "--head", head).code == 0
    run = cli("history", "--verify", "--no-nodes", "--head", f"{int(number) + 5}:{digest}")
    assert run.code == 2
    assert "end of the chain is missing" in run.out


@pytest.mark.parametrize(
    "args",
    [("--verify", "2026"), ("--no-nodes",), ("--head", "1:x"), ("--verify", "--no-nodes", "--head", "x")],
)
def test_what_does_not_go_together_is_refused(path: Path, args):
    assert cli("history", *args).code == 2


def test_an_id_that_is_no_text_is_unknown_and_no_sign_of_a_corrupt_history(path: Path):
    record(path)
    shown = cli("history", "2026\udcff")

    assert shown.code == 2
    assert "corrupt" not in shown.err
    assert "error ARGUMENT_INVALID" in shown.err


@pytest.mark.parametrize("moment", ["0001-01-01T00:00+23:59", "9999-12-31T23:59-23:59"])
def test_a_time_for_which_utc_has_no_year_is_wrong_usage(path: Path, moment: str):
    shown = cli("history", "--since", moment)

    assert shown.code == 2
    assert "is no time" in shown.err
