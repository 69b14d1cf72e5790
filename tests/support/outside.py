"""The invariants I1 to I12 as they show from outside: on the disks, in the journals, in the process list, and
in a handshake. Nothing of the agent's code decides what is looked at, but for reading its journal.

    known = Known.of(cluster, "one")            # before anything is done
    assert_at_any_moment(cluster, known)        # in the middle, dead processes or not
    assert_end(cluster, known)                  # everything is over: answers "old" or "new"
"""

from __future__ import annotations

import hashlib
import os
import re
import ssl
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gausscert_agent.drivers.process_list import read_stat
from gausscert_agent.journal import Journal
from gausscert_common import certset, factors
from gausscert_common.protocol.state import NodeState
from gausscert_common.protocol.words import Outcome, Phase
from gausscert_sim import processes
from support.fault_cluster import BUNDLES, READY, FaultCluster
from support.local_cluster import wait_until

Files = dict[str, bytes]

DAEMONS = ("cm_agent", "cm_server", "om_monitor")
KEPT_GENERATIONS = 2
"""The agent's default."""
_CLOCK_STEP_S = 0.05
"""Of start ticks and of the time stamps of a file system."""


def read_set(directory: Path) -> tuple[Files, set[str]]:
    """A set through one descriptor of its directory, and what is wrong with its modes."""
    wrong = set()
    files = {}
    held = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if stat.S_IMODE(os.fstat(held).st_mode) != certset.DIRECTORY_MODE:
            wrong.add(str(directory))
        for name in os.listdir(held):
            descriptor = os.open(name, os.O_RDONLY, dir_fd=held)
            with os.fdopen(descriptor, "rb") as opened:
                status = os.fstat(descriptor)
                if not stat.S_ISREG(status.st_mode) or stat.S_IMODE(status.st_mode) != certset.FILE_MODE:
                    wrong.add(f"{directory}/{name}")
                files[name] = opened.read()
    finally:
        os.close(held)
    return files, wrong


def journal(cluster: FaultCluster, name: str) -> NodeState:
    """What a node has written down."""
    return Journal(cluster.root / f"agent-{name}").load()


@dataclass(frozen=True)
class Known:
    """What there was before, and what may be afterwards."""

    bundle: str
    new: Files = field(repr=False)
    passwords: tuple[str, str] = field(repr=False)
    old: dict[str, Files] = field(repr=False)
    """By node."""
    confs: dict[str, str] = field(repr=False)
    beside: dict[str, list[str]] = field(repr=False)
    ended: dict[str, frozenset[str]] = field(repr=False)
    """Transactions that had ended, by node."""
    only_ssl: bool = False
    """The sets stay as they are."""
    left_out: frozenset[str] = frozenset()
    """Nodes that it is begun without, and that join it later, in a transaction of their own."""

    @classmethod
    def of(
        cls,
        cluster: FaultCluster,
        bundle: str,
        *,
        only_ssl: bool = False,
        left_out: frozenset[str] = frozenset(),
    ) -> Known:
        """Of a cluster in which nothing is going on."""
        picture = cluster.picture()
        assert cluster.in_flight() == []
        return cls(
            bundle=bundle,
            new=cluster.bundle_files(bundle),
            passwords=(cluster.server_password, cluster.client_password),
            old={node.name: read_set(node.set_directory)[0] for node in cluster.nodes},
            confs=picture.conf,
            beside=picture.beside,
            ended={node.name: _ids(journal(cluster, node.name)) for node in cluster.nodes},
            only_ssl=only_ssl,
            left_out=left_out,
        )

    def which(self, node: str, files: Files) -> str:
        """ "old" or "new"; anything else is an AssertionError (I1, I10)."""
        if files == self.old[node]:
            return "old"
        assert not self.only_ssl, f"{node}: its set is another one, and only enable_ssl was to change"
        assert files.keys() == set(certset.NAMES), f"{node}: {sorted(files)}"
        unlike = [name for name, body in self.new.items() if files[name] != body]
        assert not unlike, f"{node}: a mix, {unlike} are neither the old ones nor those of {self.bundle}"
        for role, password in zip(("server", "client"), self.passwords, strict=True):
            pair = files[f"{role}.key.cipher"], files[f"{role}.key.rand"]
            assert factors.read(*pair) == password, f"{node}: the factor files of the {role} key do not fit"
        return "new"


def assert_at_any_moment(cluster: FaultCluster, known: Known) -> None:
    """Whatever has just died, and whatever goes on meanwhile."""
    for node in cluster.nodes:
        files, wrong = read_set(node.set_directory)
        assert not wrong, f"modes: {sorted(wrong)}"
        known.which(node.name, files)
        assert_both_sets_are_there(cluster, node, known)
    assert_decided_alike(cluster, known)
    assert_private(cluster)
    assert_no_secret_in_processes(cluster)


def assert_both_sets_are_there(cluster: FaultCluster, node: Any, known: Known) -> None:
    """I5, if the node stands still for long enough to be looked at."""
    before = journal(cluster, node.name)
    if known.only_ssl or before.transaction is None:
        return
    if before.phase not in (Phase.PREPARED, Phase.SWAPPED):
        return
    beside = node.set_directory.parent / f".cm.{before.transaction.transaction_id}"
    try:
        looked_at = (node.set_directory, beside, node.set_directory)
        *sets, again = [known.which(node.name, read_set(each)[0]) for each in looked_at]
    except (FileNotFoundError, AssertionError):
        if journal(cluster, node.name) == before:
            raise
        return
    if journal(cluster, node.name) == before and again == sets[0]:  # else exchanged between the looks
        assert sorted(sets) == ["new", "old"], f"{node.name} in phase {before.phase} has {sets}"


def assert_decided_alike(cluster: FaultCluster, known: Known) -> None:
    """I2 and I4, of journals that are read while the nodes go on."""
    first = {node.name: journal(cluster, node.name) for node in cluster.nodes}
    then = {node.name: journal(cluster, node.name) for node in cluster.nodes}
    for parted in (True, False):  # each transaction by those that take part in it
        names = [name for name in first if (name in known.left_out) is parted]
        judge_decisions(
            {name: first[name] for name in names}, {name: then[name] for name in names}, known.ended
        )


def judge_decisions(
    first: Mapping[str, NodeState], then: Mapping[str, NodeState], ended: Mapping[str, frozenset[str]]
) -> None:
    """Nobody aborts what another has committed; whoever has given up the old set was the last to hear that
    all are committed. `then` was read after all of `first`."""
    given_up = {
        stone.transaction_id
        for name, state in first.items()
        for stone in state.tombstones
        if stone.outcome is Outcome.COMMITTED and stone.transaction_id not in ended[name]
    }
    committed = {(name, one) for name, state in then.items() for one in _committed(state)}
    aborted = {(name, one) for name, state in then.items() for one in _aborted(state)}
    both = {one for _, one in committed} & {one for _, one in aborted}
    assert not both, f"committed at {committed}, aborted at {aborted}"
    for one in given_up:
        missing = [name for name in then if (name, one) not in committed]
        assert not missing, f"the old set was given up while {missing} had not committed"


def assert_private(cluster: FaultCluster) -> None:
    """I11. What vanishes while we look is of no interest."""
    places = [node.set_directory.parent for node in cluster.nodes]
    places += [cluster.root / f"agent-{node.name}" for node in cluster.nodes]
    for place in places:
        for directory, _, names in os.walk(place):
            for path in [directory, *(os.path.join(directory, name) for name in names)]:
                try:
                    mode = os.lstat(path).st_mode
                except FileNotFoundError:
                    continue
                # share/sslcert itself is CM's; what it holds is not for others.
                own = path not in map(str, places) or "agent-" in path
                assert stat.S_ISLNK(mode) or not own or not mode & 0o077, f"{path} has mode {mode:o}"


def assert_no_secret_in_processes(cluster: FaultCluster) -> None:
    """I12: arguments and environments of everything that runs."""
    wanted = secrets_of(cluster)
    for entry in filter(str.isdigit, os.listdir("/proc")):
        for name in ("cmdline", "environ"):
            try:
                body = Path(f"/proc/{entry}/{name}").read_bytes()
            except OSError:
                continue
            assert not wanted.search(body), f"a secret in {name} of process {entry}"


def assert_no_secret_is_written(cluster: FaultCluster, *texts: str) -> None:
    """I12: journals, logs, histories, and what commands have said."""
    wanted = secrets_of(cluster)
    for text in texts:
        assert not wanted.search(text.encode()), "a secret in the output of a command"
    for path in cluster.root.rglob("*"):
        if _may_hold_secrets(cluster, path) or not path.is_file():
            continue
        assert not wanted.search(path.read_bytes()), f"a secret in {path}"


def secrets_of(cluster: FaultCluster) -> re.Pattern[bytes]:
    """Both passwords, and a line of every key of both bundles."""
    keys = [
        (cluster.root / bundle / f"{role}.key").read_bytes().splitlines()[1]
        for bundle in BUNDLES
        for role in ("server", "client")
    ]
    passwords = [cluster.server_password.encode(), cluster.client_password.encode()]
    return re.compile(b"|".join(re.escape(each) for each in (*keys, *passwords)))


def assert_end(cluster: FaultCluster, known: Known, ssl_wish: str = "keep") -> str:
    """Everything is over and whole; "old" or "new", the same on all nodes."""
    ends = {node.name: _assert_node_at_rest(cluster, node, known) for node in cluster.nodes}
    assert len(set(ends.values())) == 1, f"the nodes differ: {ends}"
    end = ends["n1"]
    bundles = {certset.bundle_digest(read_set(node.set_directory)[0]) for node in cluster.nodes}
    assert len(bundles) == 1
    assert_decided_alike(cluster, known)
    confs = cluster.picture().conf
    for name, text in known.confs.items():
        wanted = text if end == "old" or ssl_wish == "keep" else _switched(text, ssl_wish)
        assert confs[name] == wanted, f"{name} is neither as before nor as was wished for"
    for node in cluster.nodes:
        assert_served(node)
    wait_until(lambda: cluster.simulated.state() == "Normal")
    assert_private(cluster)
    assert_no_secret_in_processes(cluster)
    return end


def assert_served(node: Any) -> None:
    """I3 and I7: each program has begun after its set came into place, and shows what lies on the disk."""
    wait_until(lambda: sorted(each.name for each in node.processes()) == sorted(DAEMONS))
    wait_until(lambda: not processes.running(node.home, ("cm_ctl",)))
    assert not node.record.manual_stop.exists()
    changed = node.set_directory.stat().st_ctime
    for each in node.processes():
        if each.name != "om_monitor":
            began = _began(each.pid)
            assert began > changed - _CLOCK_STEP_S, f"{each.name} of {node.name} is older than its set"
    certificate = (node.set_directory / "server.crt").read_text()
    shown = hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate)).hexdigest()
    on = "enable_ssl = on" in node.record.conf("cm_server").read_text()
    wait_until(lambda: node.served_fingerprint() == (shown if on else ""))


def _assert_node_at_rest(cluster: FaultCluster, node: Any, known: Known) -> str:
    files, wrong = read_set(node.set_directory)
    assert not wrong, f"modes: {sorted(wrong)}"
    end = known.which(node.name, files)
    state = journal(cluster, node.name)
    assert (state.phase, state.transaction, state.operation) == (Phase.NONE, None, None), node.name
    new = {
        stone.transaction_id: stone.outcome
        for stone in state.tombstones
        if stone.transaction_id not in known.ended[node.name]
    }
    beside = sorted(os.listdir(node.set_directory.parent))
    if known.only_ssl:
        assert beside == known.beside[node.name], f"{node.name}: {beside}"
        assert len(set(new.values())) <= 1, f"{node.name} has {new}"
        return "new" if Outcome.COMMITTED in new.values() else "old"
    if end == "old":  # I6
        assert set(new.values()) <= {Outcome.ABORTED}, f"{node.name} has {new} beside the old set"
        assert beside == known.beside[node.name], f"{node.name}: {beside}"
        return end
    if node.name in known.left_out:
        assert next(iter(new.values())) is Outcome.COMMITTED, f"{node.name} has {new} beside the new set"
        new = _ended_elsewhere(cluster, known)
    assert list(new.values()) == [Outcome.COMMITTED], f"{node.name} has {new} beside the new set"
    retired = node.set_directory.parent / f".cm.retired.{next(iter(new))}"
    assert read_set(retired) == (known.old[node.name], set()), f"{node.name}: {retired} is not the old set"
    assert all(each == "cm" or each.startswith(".cm.retired.") for each in beside), beside
    assert len(beside) <= 1 + KEPT_GENERATIONS
    return end


def _ended_elsewhere(cluster: FaultCluster, known: Known) -> dict[str, Outcome]:
    """How it ended where nobody was left out: by its name those that joined have retired their set, too."""
    name = next(node.name for node in cluster.nodes if node.name not in known.left_out)
    stones = journal(cluster, name).tombstones
    return {
        each.transaction_id: each.outcome for each in stones if each.transaction_id not in known.ended[name]
    }


def _switched(text: str, wish: str) -> str:
    return re.sub(r"enable_ssl = (on|off)", f"enable_ssl = {wish}", text)


def _began(pid: int) -> float:
    found = read_stat(pid)
    assert found is not None
    booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    return booted + found.start_ticks / os.sysconf("SC_CLK_TCK")


def _ids(state: NodeState) -> frozenset[str]:
    return frozenset(stone.transaction_id for stone in state.tombstones)


def _committed(state: NodeState) -> set[str]:
    found = {each.transaction_id for each in state.tombstones if each.outcome is Outcome.COMMITTED}
    if state.phase is Phase.COMMITTED and state.transaction is not None:
        found.add(state.transaction.transaction_id)
    return found


def _aborted(state: NodeState) -> set[str]:
    found = {each.transaction_id for each in state.tombstones if each.outcome is Outcome.ABORTED}
    if state.phase is Phase.ABORTED and state.transaction is not None:
        found.add(state.transaction.transaction_id)
    return found


def _may_hold_secrets(cluster: FaultCluster, path: Path) -> bool:
    """Bundles, password files, sets, and the control plane's own keys."""
    bundles = [cluster.root / f"{name}{suffix}" for name in BUNDLES for suffix in ("", READY)]
    return (
        path.suffix == ".pw"
        or any(path.is_relative_to(bundle) for bundle in bundles)
        or any(path.is_relative_to(node.set_directory.parent) for node in cluster.nodes)
    )
