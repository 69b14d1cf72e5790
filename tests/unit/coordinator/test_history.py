"""What a transaction leaves in the history, whatever becomes of it; and that this costs it nothing."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from gausscert_common.bundle import Bundle, FactorFiles
from gausscert_common.findings import Finding, Severity
from gausscert_common.model import ClusterState, PreparedSet
from gausscert_common.protocol.coordinator import Stage, Verdict
from gausscert_common.protocol.recovery import Choice
from gausscert_common.protocol.words import RestartScope, SslWish
from gausscert_coordinator import history_file, history_reader
from gausscert_coordinator.history import History
from gausscert_coordinator.interrupt import Interrupt
from gausscert_coordinator.ports import RetryNotice
from gausscert_coordinator.report import ReplaceOptions, Result
from support.fake_agents import Fault
from support.fake_cluster import FakeCluster, until_death
from support.fake_node import bundle, sha

NEW = bundle("new")
NODES = ("node-a", "node-b", "node-c")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "prod.db"


async def replaced(
    cluster: FakeCluster,
    history: History,
    options: ReplaceOptions | None = None,
    new: Bundle = NEW,
    interrupt: Interrupt | None = None,
) -> Result:
    async with cluster.coordinator(recorder=history) as coordinator:
        plan = await coordinator.plan(new, options)
        return await coordinator.replace(plan, new, interrupt=interrupt)


async def recovered(cluster: FakeCluster, history: History, prefer: Choice = Choice.ROLL_BACK) -> Result:
    async with cluster.coordinator(recorder=history) as coordinator:
        return await coordinator.recover(prefer, take_over=True)


def accounts(path: Path, beginning: str) -> tuple[history_reader.Account, ...]:
    return history_reader.transaction(path, "prod", beginning)


def told(account: history_reader.Account, node: str) -> list[tuple[str, str, str]]:
    return [(step.stage, step.mark, step.reason) for step in account.steps if step.node == node]


def with_roles(cluster: FakeCluster, word: str, *, moves: bool = False) -> None:
    """cm_server 1 is primary, and after the restart cm_server 2 where it moves."""

    def seen_by(_: object) -> ClusterState:
        moved = moves and any(rpc == "start" for rpc, _ in cluster.calls)
        first, second = ("Standby", "Primary") if moved else ("Primary", "Standby")
        return ClusterState(word, {1: first, 2: second, 3: "Standby"})

    cluster.state_seen_by = seen_by


async def test_how_the_cluster_was_before_is_recorded_though_nothing_was_accepted(path: Path):
    cluster = FakeCluster()
    with_roles(cluster, "Normal", moves=True)

    result = await replaced(cluster, History(lambda: path))

    (account,) = accounts(path, result.transaction_id)
    run = account.run
    assert (run.state_before, run.roles_before) == ("Normal", "1 Primary, 2 Standby, 3 Standby")
    assert (run.cluster_state, run.roles) == ("Normal", "1 Standby, 2 Primary, 3 Standby")
    assert (run.accept_state, run.excluded) == (False, "")
    assert [found.code for found in account.findings] == ["ROLES_MOVED"], "told, and no more"
    assert result.verdict is Verdict.COMMITTED


async def test_roles_that_stay_are_not_worth_a_word(path: Path):
    cluster = FakeCluster()
    with_roles(cluster, "Normal")

    assert (await replaced(cluster, History(lambda: path))).findings == ()


async def test_what_was_accepted_and_left_out_is_recorded(path: Path):
    cluster = FakeCluster()
    cluster.power_off("node-c")
    with_roles(cluster, "Degraded")
    options = ReplaceOptions(restart=RestartScope.NODE, accept_state=True, exclude=("node-c",))

    result = await replaced(cluster, History(lambda: path), options)

    (account,) = accounts(path, result.transaction_id)
    assert (account.run.accept_state, account.run.excluded) == (True, "node-c")


async def test_a_replacement_is_recorded_from_the_first_command_to_the_proof(path: Path):
    options = ReplaceOptions(SslWish.KEEP, RestartScope.NODE, drop_crls=True, take_over=True)

    result = await replaced(FakeCluster(), History(lambda: path), options)

    (account,) = accounts(path, result.transaction_id)
    run = account.run
    assert (run.kind, run.cluster, run.verdict, run.epoch) == ("replace", "prod", "committed", 1)
    assert run.holder == "op@host-1:1"
    assert (run.restart, run.ssl_wish, run.drop_crls, run.take_over) == ("node", "keep", True, True)
    assert (run.bundle_digest, run.new_server) == (NEW.digest, sha(NEW.pem["server.crt"]))
    assert run.ended_at >= run.begun_at
    assert (run.interrupted, run.last_stage, run.cluster_state) == (False, None, "Normal")
    forward = ["acquire", "prepare", "stop", "swap", "start", "commit", "purge"]
    for node in NODES:
        assert told(account, node) == [(stage, "done", "") for stage in forward]
    stages = [step.stage for step in account.steps if not step.node]
    assert stages == [*forward[:5], "verify", *forward[5:]]
    assert all(step.ended_at >= step.at for step in account.steps)
    assert account.failures == ()
    assert result.findings == ()


async def test_the_sets_of_each_node_and_the_certificates_of_the_bundle_are_recorded(path: Path):
    cluster = FakeCluster()
    old = {name: (node.live.digest, node.live.leaf) for name, node in cluster.nodes.items()}

    result = await replaced(cluster, History(lambda: path))

    (account,) = accounts(path, result.transaction_id)
    new = {name: (node.live.digest, node.live.leaf) for name, node in cluster.nodes.items()}
    assert {each.node: (each.old_digest, each.old_server) for each in account.nodes} == old
    assert {each.node: (each.new_digest, each.new_server) for each in account.nodes} == new
    assert [(each.file, each.fingerprint) for each in account.certificates] == [
        ("server.crt", sha(NEW.pem["server.crt"]))
    ]


async def test_the_evidence_says_who_saw_which_cm_server_serve_what_before_and_after(path: Path):
    result = await replaced(FakeCluster(), History(lambda: path))

    (account,) = accounts(path, result.transaction_id)
    for stage, label in (("prepare", "old"), ("verify", "new")):
        seen = [each for each in account.evidence if each.stage == stage]
        assert {(each.seen_from, each.cm_node_id) for each in seen} == {
            (n, i) for n in NODES for i in (1, 2, 3)
        }
        assert {each.fingerprint for each in seen} == {sha(bundle(label).pem["server.crt"])}
        assert all(each.chain_verified and each.state == "ssl on" for each in seen)


async def test_a_rollback_says_why_and_at_which_node(path: Path):
    cluster = FakeCluster()
    cluster.script("node-b", "swap", Fault.REFUSED)

    result = await replaced(cluster, History(lambda: path))

    (account,) = accounts(path, result.transaction_id)
    assert (account.run.verdict, account.run.last_stage) == ("rolled back", "swap")
    assert ("swap", "failed", "BUSY") in told(account, "node-b")
    assert ("abort", "done", "") in told(account, "node-b")
    assert [(each.reason, each.node, each.message) for each in account.failures] == [
        ("BUSY", "node-b", "scripted refusal of swap")
    ]
    assert {each.stage for each in account.evidence} == {"prepare", "rollback verify"}


async def test_an_interruption_is_recorded(path: Path):
    cluster, interrupt = FakeCluster(), Interrupt()
    cluster.on_command = lambda rpc, node: interrupt.request() if (rpc, node) == ("swap", "node-a") else None

    result = await replaced(cluster, History(lambda: path), interrupt=interrupt)

    (account,) = accounts(path, result.transaction_id)
    assert account.run.interrupted
    notes = [step.detail for step in account.steps if step.mark == "note"]
    assert any(note.startswith("interrupted: what runs now ends first") for note in notes)
    assert "interrupted: turning back" in notes


async def test_an_abandoned_command_has_no_answer(path: Path):
    cluster, interrupt = FakeCluster(), Interrupt()

    async def never_answers(_: object) -> None:
        for _ in range(3):
            interrupt.request()
        await asyncio.Event().wait()

    cluster.agents["node-c"].swap = never_answers

    result = await replaced(cluster, History(lambda: path), interrupt=interrupt)

    (account,) = accounts(path, result.transaction_id)
    assert (result.verdict, account.run.verdict) == (Verdict.IN_DOUBT, "in doubt")
    assert ("swap", "started", "") in told(account, "node-c")
    assert all(step.ended_at is None for step in account.steps if step.mark == "started")


async def test_repetitions_are_counted_and_told(path: Path):
    cluster = FakeCluster()
    history = History(lambda: path)
    coordinator = cluster.coordinator(recorder=history)
    notice = RetryNotice("node-a", "Stop", 1, "connection refused", 0.5)
    cluster.on_command = lambda rpc, node: (
        coordinator._retrying(notice) if (rpc, node) == ("stop", "node-a") else None
    )

    async with coordinator:
        result = await coordinator.replace(await coordinator.plan(NEW), NEW)

    (account,) = accounts(path, result.transaction_id)
    (step,) = [
        each for each in account.steps if (each.stage, each.node, each.mark) == ("stop", "node-a", "done")
    ]
    assert step.retries == 1
    (repeated,) = [each for each in account.steps if each.mark == "retrying"]
    assert "connection refused" in repeated.detail


async def test_warnings_of_the_nodes_are_recorded_as_soon_as_they_are_known(path: Path):
    cluster = FakeCluster()
    warning = Finding("CA_SHORT", Severity.WARNING, "it ends soon", "renew it", "", "cacert.pem")
    agent = cluster.agents["node-a"]
    prepare = agent.prepare

    async def with_warning(*args) -> PreparedSet:
        return PreparedSet((await prepare(*args)).stage, (warning,))

    agent.prepare = with_warning
    cluster.die_after(3 + 3 + 3 + 1)  # acquire, prepare, stop, one swap

    assert await until_death(cluster, replaced(cluster, History(lambda: path))) is None

    (run,) = history_reader.runs(path, "prod", limit=9)
    (account,) = accounts(path, run.transaction_id)
    assert [(each.code, each.node, each.cause) for each in account.findings] == [
        ("CA_SHORT", "node-a", "it ends soon")
    ]


@pytest.mark.parametrize(
    ("commands", "last"),
    [(0, None), (2, "acquire"), (5, "prepare"), (8, "stop"), (11, "swap"), (17, "commit"), (19, "purge")],
)
async def test_a_coordinator_that_dies_leaves_how_far_it_had_come(
    path: Path, commands: int, last: str | None
):
    cluster = FakeCluster()
    cluster.die_after(commands)

    assert await until_death(cluster, replaced(cluster, History(lambda: path))) is None

    found = history_reader.runs(path, "prod", limit=9)
    if last is None:
        assert found == ()
        return
    (account,) = accounts(path, found[0].transaction_id)
    assert (account.run.verdict, account.run.ended_at) == (None, None)
    assert [step.stage for step in account.steps if not step.node][-1] == last


@pytest.mark.parametrize("prefer", [Choice.ROLL_BACK, Choice.FINISH])
async def test_a_recovery_is_a_further_run_of_the_same_transaction(path: Path, prefer: Choice):
    cluster = FakeCluster()
    old = {name: node.live.digest for name, node in cluster.nodes.items()}
    cluster.die_after(11)
    assert await until_death(cluster, replaced(cluster, History(lambda: path))) is None
    cluster.bring_back()

    result = await recovered(cluster, History(lambda: path), prefer)

    first, second = accounts(path, result.transaction_id)
    assert (first.run.kind, first.run.verdict) == ("replace", None)
    assert (second.run.kind, second.run.verdict) == ("recover", result.verdict.value)
    assert second.run.why == result.why != ""
    assert (second.run.epoch, second.run.take_over, second.run.ssl_wish) == (2, True, None)
    assert {each.node: each.old_digest for each in second.nodes} == old
    assert all(
        each.new_digest == {n.node: n.new_digest for n in first.nodes}[each.node] for each in second.nodes
    )
    assert told(second, "")[0] == ("acquire", "done", "")


async def test_a_recovery_that_gets_no_node_is_recorded_with_its_end(path: Path):
    cluster = FakeCluster()
    cluster.die_after(11)
    assert await until_death(cluster, replaced(cluster, History(lambda: path))) is None
    cluster.bring_back()
    cluster.script("node-a", "acquire", Fault.REFUSED)

    result = await recovered(cluster, History(lambda: path))

    assert result.verdict is Verdict.NOTHING_DONE
    account = accounts(path, result.transaction_id)[-1]
    assert account.run.verdict == "nothing done"
    assert ("acquire", "failed", "BUSY") in told(account, "node-a")


async def test_one_that_gets_some_nodes_has_moved_their_fence_and_is_no_longer_nothing(path: Path):
    cluster = FakeCluster()
    cluster.die_after(11)
    assert await until_death(cluster, replaced(cluster, History(lambda: path))) is None
    cluster.bring_back()
    cluster.script("node-b", "acquire", Fault.REFUSED)

    result = await recovered(cluster, History(lambda: path))

    assert result.verdict is Verdict.IN_DOUBT
    assert accounts(path, result.transaction_id)[-1].run.verdict == "in doubt"


async def test_what_never_began_is_not_recorded(path: Path):
    cluster = FakeCluster()
    history = History(lambda: path)

    await recovered(cluster, history)
    async with cluster.coordinator(recorder=history) as coordinator:
        await coordinator.plan(NEW)

    assert not path.parent.exists()


class TestPointOfNoReturn:
    async def test_before_commit_is_sent_the_file_says_that_it_will_be(self, path: Path):
        cluster = FakeCluster()
        seen: list[tuple[str, str]] = []

        def look(rpc: str, node: str) -> None:
            if rpc == "commit" and not seen:
                with sqlite3.connect(path) as other:
                    seen.extend(other.execute("SELECT stage, mark FROM step WHERE node = '' ORDER BY number"))
                other.close()

        cluster.on_command = look

        await replaced(cluster, History(lambda: path))

        assert seen[-2:] == [("verify", "done"), ("commit", "started")]

    async def test_commit_waits_for_a_slow_disk(self, path: Path):
        cluster = FakeCluster()
        gate = threading.Event()
        order: list[str] = []

        def slow(place: Path):
            gate.wait(20)
            order.append("opened")
            return history_file.open_for_writing(place)

        def look(rpc: str, node: str) -> None:
            if rpc == "start" and not order:
                asyncio.get_running_loop().call_later(0.2, gate.set)
            if rpc == "commit":
                order.append(rpc)

        cluster.on_command = look

        result = await replaced(cluster, History(lambda: path, open_file=slow))

        assert order == ["opened", "commit", "commit", "commit"]
        assert accounts(path, result.transaction_id)[0].run.verdict == "committed"

    async def test_a_disk_that_hangs_does_not_stop_the_transaction(self, path: Path):
        gate = threading.Event()

        def hangs(place: Path):
            gate.wait(20)
            raise OSError(5, "Input/output error")

        result = await replaced(FakeCluster(), History(lambda: path, open_file=hangs, patience_s=0.1))
        gate.set()

        assert result.verdict is Verdict.COMMITTED
        (warning,) = result.findings
        assert (warning.code, warning.severity) == ("HISTORY_NOT_WRITTEN", Severity.WARNING)
        assert "took more than" in warning.cause


class Failing:
    """A connection that fails at the n-th group, as a full or broken disk does."""

    def __init__(self, path: Path, at: int, error: BaseException) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._left = at
        self._error = error

    def execute(self, statement: str, *args):
        if statement.startswith("BEGIN"):
            self._left -= 1
            if self._left < 0:
                raise self._error
        return self._connection.execute(statement, *args)

    def __getattr__(self, name: str):
        return getattr(self._connection, name)


@pytest.mark.parametrize("at", range(10))
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyError("a bug of ours")])
async def test_recording_that_fails_at_any_group_costs_history_and_nothing_else(path: Path, at: int, error):
    def open_file(place: Path):
        history_file.open_for_writing(place)[0].close()
        return Failing(place, at, error), ""

    cluster = FakeCluster()

    result = await replaced(cluster, History(lambda: path, open_file=open_file))

    assert result.verdict is Verdict.COMMITTED
    groups = 8 + 1  # one per stage, one for the end
    if at >= groups:
        assert result.findings == ()
        return
    (warning,) = result.findings
    assert (warning.code, warning.severity, warning.file) == (
        "HISTORY_NOT_WRITTEN",
        Severity.WARNING,
        str(path),
    )
    assert "recording stopped here, the transaction did not" in warning.cause
    assert warning.remedy
    stages = [
        step.stage
        for run in history_reader.runs(path, "prod", limit=9)
        for step in accounts(path, run.transaction_id)[0].steps
        if not step.node
    ]
    assert len(stages) == at


async def test_the_next_transaction_is_recorded_again(path: Path):
    broken = [True]

    def open_file(place: Path):
        if broken:
            raise OSError(5, "Input/output error")
        return history_file.open_for_writing(place)

    cluster, history = FakeCluster(), History(lambda: path, open_file=open_file)
    first = await replaced(cluster, history)
    broken.clear()

    second = await replaced(cluster, history, new=bundle("newer"))

    assert [each.code for each in first.findings] == ["HISTORY_NOT_WRITTEN"]
    assert second.findings == ()
    assert [run.transaction_id for run in history_reader.runs(path, "prod", limit=9)] == [
        second.transaction_id
    ]


async def test_an_exception_in_the_transaction_leaves_the_file_closed_and_the_run_open(path: Path):
    cluster, history = FakeCluster(), History(lambda: path)

    cluster.on_command = lambda rpc, node: setattr(history, "durable", lambda: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        await replaced(cluster, history)

    (run,) = history_reader.runs(path, "prod", limit=9)
    assert run.verdict is None
    assert history._clerk is None


async def test_two_coordinators_write_side_by_side(path: Path):
    clusters = [FakeCluster() for _ in range(4)]

    results = await asyncio.gather(*(replaced(each, History(lambda: path)) for each in clusters))

    assert [each.findings for each in results] == [(), (), (), ()]
    assert len(history_reader.runs(path, "prod", limit=9)) == 4
    for account in accounts(path, results[0].transaction_id):
        assert account.run.verdict == "committed"
        assert len(account.steps) == 8 + 7 * 3


async def test_no_key_and_no_password_gets_into_the_file(path: Path):
    def with_canary(label: str) -> Bundle:
        pem = dict(bundle(label).pem)
        pem["server.key"] = pem["client.key"] = b"-----BEGIN ENCRYPTED PRIVATE KEY-----canary"
        files = FactorFiles(*(f"canary-{name}".encode() for name in ("sc", "sr", "cc", "cr")))
        return Bundle(pem, "Canary#9pw", "Canary#8pw", files)

    cluster = FakeCluster()
    seen: dict[str, bytes] = {}

    def keep(rpc: str = "commit", node: str = "") -> None:
        if rpc == "commit":
            seen.update((f"{each.name} {node}", each.read_bytes()) for each in path.parent.iterdir())

    cluster.on_command = keep
    await replaced(cluster, History(lambda: path), new=with_canary("new"))
    cluster.script("node-b", "start", Fault.FAILED)

    result = await replaced(cluster, History(lambda: path), new=with_canary("newer"))

    keep()
    assert result.verdict is Verdict.ROLLED_BACK
    assert b"20250101t000000z-000001" in seen["prod.db-wal node-a"]
    assert result.transaction_id.encode() in seen["prod.db "]
    assert b"anary" not in b"".join(seen.values())


async def test_one_commit_per_stage(path: Path):
    statements: list[str] = []

    def open_file(place: Path):
        connection, unfit = history_file.open_for_writing(place)
        connection.set_trace_callback(statements.append)
        return connection, unfit

    await replaced(FakeCluster(tuple(f"n{i}" for i in range(40))), History(lambda: path, open_file=open_file))

    assert statements.count("COMMIT") == len(Stage.__members__) - 6 + 1  # eight forward, and the end


def test_without_a_recorder_sqlite_is_not_even_loaded():
    script = (
        "import asyncio, sys\n"
        "sys.path.insert(0, 'tests')\n"
        "from support.fake_cluster import FakeCluster\n"
        "from support.fake_node import bundle\n"
        "from gausscert_coordinator import history\n"
        "async def run():\n"
        "    cluster = FakeCluster()\n"
        "    history.of(cluster.inventory())\n"
        "    async with cluster.coordinator() as coordinator:\n"
        "        plan = await coordinator.plan(bundle('new'))\n"
        "        return await coordinator.replace(plan, bundle('new'))\n"
        "assert asyncio.run(run()).verdict == 'committed'\n"
        "sys.exit('sqlite3' in sys.modules)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
