"""The look from outside has teeth: each thing that must never be is found when it is."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from gausscert_common.protocol.state import NodeState, Transaction
from gausscert_common.protocol.words import Outcome, Phase, RestartScope, SslWish, Tombstone
from support import outside
from support.fault_cluster import READY, FaultCluster
from support.fault_run import FaultRun
from support.outside import Known, judge_decisions

pytestmark = pytest.mark.xdist_group("processes")


@pytest.fixture
def known(cluster: FaultCluster) -> Iterator[Known]:
    """What is known of the cluster, which is as it was before when the test is over."""
    cluster.ensure_agents()
    before = Known.of(cluster, cluster.other_bundle() + READY)
    yield before
    # Whatever touches a directory makes it younger than the programs that have read it.
    cluster.simulated.stop()
    cluster.simulated.start()
    assert outside.assert_end(cluster, before) == "old"


@contextmanager
def found(words: str) -> Iterator[None]:
    with pytest.raises(AssertionError, match=re.escape(words)):
        yield


@contextmanager
def mode(path: Path, wanted: int) -> Iterator[None]:
    before = path.stat().st_mode
    path.chmod(wanted)
    try:
        yield
    finally:
        path.chmod(before & 0o7777)


def test_a_mix_is_found(cluster: FaultCluster, known: Known):
    node = cluster.nodes[1]
    node.put("server.crt", known.new["server.crt"])
    with found("a mix"):
        outside.assert_at_any_moment(cluster, known)
    node.put("server.crt", known.old["n2"]["server.crt"])


def test_factor_files_of_another_password_are_found(known: Known):
    assert known.which("n1", known.new) == "new"
    others = replace(known, new=known.old["n1"], old={"n1": {}}, passwords=("Other-Pass9", "Other-Pass9"))
    with found("do not fit"):
        others.which("n1", known.old["n1"])


def test_modes_are_found_in_the_set_and_everywhere_else(cluster: FaultCluster, known: Known):
    for path in (
        cluster.nodes[0].set_directory / "server.key",
        cluster.nodes[2].set_directory,
        cluster.root / "agent-n2" / "lock",
    ):
        with mode(path, 0o750 if path.is_dir() else 0o640), found("mode"):
            outside.assert_at_any_moment(cluster, known)


def test_nodes_that_differ_are_found(cluster: FaultCluster, known: Known):
    node = cluster.nodes[2]
    node.install(known.new)
    with found("beside the new set"):
        outside.assert_end(cluster, known)
    node.install(known.old["n3"])


def test_a_new_set_that_is_not_served_is_found(cluster: FaultCluster, known: Known):
    node = cluster.nodes[2]
    before = node.set_directory.stat().st_ctime
    node.put("server.crt", known.new["server.crt"])
    assert node.set_directory.stat().st_ctime > before
    with found("is older than its set"):
        outside.assert_served(node)
    node.put("server.crt", known.old["n3"]["server.crt"])


def test_a_set_that_was_exchanged_under_a_running_process_is_found(cluster: FaultCluster, known: Known):
    node = cluster.nodes[0]
    aside = node.set_directory.with_name("aside")
    node.set_directory.rename(aside)
    node.set_directory.mkdir(mode=0o700)
    node.install(known.old["n1"])
    for path in aside.iterdir():
        path.unlink()
    aside.rmdir()
    with found("older than its set"):
        outside.assert_end(cluster, known)


def test_what_is_left_beside_the_live_set_is_found(cluster: FaultCluster, known: Known):
    left = cluster.nodes[1].set_directory.parent / ".cm.left-behind"
    left.mkdir(mode=0o700)
    with found("left-behind"):
        outside.assert_end(cluster, known)
    left.rmdir()


def test_a_secret_is_found_in_a_log_and_in_an_argument(cluster: FaultCluster, known: Known):
    log = cluster.root / "agent-n1.log"
    before = log.read_bytes()
    with log.open("ab") as opened:
        opened.write(f"it is {cluster.server_password}\n".encode())
    with found("a secret in"):
        outside.assert_no_secret_is_written(cluster)
    log.write_bytes(before)
    with found("a secret in the output"):
        outside.assert_no_secret_is_written(cluster, f"or {cluster.client_password}")
    wait = "import sys; print(flush=True); sys.stdin.read()"
    argv = [sys.executable, "-c", wait, cluster.client_password]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()  # the kernel shows its arguments a little later than Popen returns
        with found("a secret in cmdline"):
            outside.assert_no_secret_in_processes(cluster)


ID = "20250101t000000z-abcdef"
NOBODY: dict[str, frozenset[str]] = {"n1": frozenset(), "n2": frozenset()}
TRANSACTION = Transaction(ID, ("n1", "n2"), "old", SslWish.KEEP, RestartScope.NODE, 0.0, new_digest="new")


def ended(outcome: Outcome) -> NodeState:
    return NodeState(tombstones=(Tombstone(ID, outcome),))


def in_phase(phase: Phase) -> NodeState:
    return NodeState(phase=phase, transaction=TRANSACTION)


@pytest.mark.parametrize(
    ("states", "words"),
    [
        ({"n1": ended(Outcome.COMMITTED), "n2": ended(Outcome.ABORTED)}, "aborted at"),
        ({"n1": in_phase(Phase.COMMITTED), "n2": in_phase(Phase.ABORTED)}, "aborted at"),
        ({"n1": ended(Outcome.COMMITTED), "n2": in_phase(Phase.SWAPPED)}, "was given up while"),
        ({"n1": ended(Outcome.COMMITTED), "n2": NodeState()}, "was given up while"),
    ],
)
def test_decisions_that_contradict_each_other_are_found(states: dict[str, NodeState], words: str):
    with found(words):
        judge_decisions(states, states, NOBODY)


def test_decisions_that_agree_are_none():
    for one, other in (
        (ended(Outcome.COMMITTED), in_phase(Phase.COMMITTED)),
        (in_phase(Phase.COMMITTED), in_phase(Phase.SWAPPED)),
        (ended(Outcome.ABORTED), in_phase(Phase.PREPARED)),
    ):
        judge_decisions({"n1": one, "n2": other}, {"n1": one, "n2": other}, NOBODY)


def test_what_comes_after_the_end_is_no_hit(cluster: FaultCluster):
    with FaultRun.upon(cluster, "make faults") as run:
        done = run.ended(run.launch())
        assert run.finish(done) == "new"
        run.note_hit("too late")
        assert run.hits == []
