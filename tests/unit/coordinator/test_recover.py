"""A coordinator dies after every single command; another one, which knows nothing, ends what it left.

The fake cluster asserts the invariants of design section 5 after every command and effect."""

from __future__ import annotations

import itertools
import os
from dataclasses import replace

import pytest
from gausscert_common.errors import NodeFailure, NodeRefusal, Reason, Unreachable
from gausscert_common.protocol.commands import Command
from gausscert_common.protocol.coordinator import Verdict
from gausscert_common.protocol.recovery import Choice
from gausscert_common.protocol.state import NodeState
from gausscert_common.protocol.words import Fence, Outcome, Phase, RestartScope, SslWish, Step
from gausscert_coordinator import naming
from gausscert_coordinator.exit_codes import ExitCode, exit_code
from gausscert_coordinator.interrupt import Interrupt
from gausscert_coordinator.ports import RestartOrders
from gausscert_coordinator.report import ReplaceOptions, Result
from support.fake_agents import Fault
from support.fake_cluster import ALWAYS, FakeCluster, until_death
from support.fake_node import FakeSet, bundle

NEW, OLD = bundle("new"), bundle("old")
NODES = ("node-a", "node-b", "node-c")
HERE = naming.holder().rpartition(":")[0]
ALIVE = f"{HERE}:{os.getppid()}"
GONE = f"{HERE}:{2**30}"
"""No Linux has such a pid (pid_max is at most 2**22)."""
ELSEWHERE = f"op@elsewhere:{2**30}"
FORWARD_COMMANDS = 7 * 3
ROLLBACK_COMMANDS = 9 * 3
"""Acquire, prepare, stop, swap, start, then stop, abort, start and clean; less where a start is cut short."""
SCOPES = [RestartScope.CLUSTER, RestartScope.NODE]


async def replace_until_death(
    cluster: FakeCluster, commands: int, options: ReplaceOptions | None = None, holder: str = ""
) -> Result | None:
    async with cluster.coordinator(holder) as coordinator:
        plan = await coordinator.plan(NEW, options)
        assert plan.feasible
        cluster.die_after(commands)
        result = await until_death(cluster, coordinator.replace(plan, NEW))
    cluster.bring_back()
    return result


async def recover(
    cluster: FakeCluster, prefer: Choice = Choice.ROLL_BACK, *, take_over: bool = True, **options: object
) -> Result:
    async with cluster.coordinator() as coordinator:
        return await coordinator.recover(prefer, take_over, **options)


def assert_clean(cluster: FakeCluster, live: str | None = None) -> None:
    """Nothing in flight, one set everywhere, CM runs with it; no lease is left but that of a coordinator that
    died, or failed, when it had acquired and no more, or when it had decided all and not started CM: it holds
    the nodes until then. Such a lease runs out by itself."""
    found = {node.live.bundle_digest for node in cluster.nodes.values()}
    assert len(found) == 1
    assert live is None or found == {live}
    for name, node in cluster.nodes.items():
        assert cluster.agents[name].state.phase is Phase.NONE, name
        step = cluster.agents[name].state.fence.step
        assert cluster.agents[name].lease_holder == "" or step in (
            Step.ACQUIRE,
            Step.PURGE,
            Step.ROLLBACK_START,
        )
        assert node.stage is None, name
        assert node.loaded == node.live, name
        assert not node.manual_stop, name


def outcomes(cluster: FakeCluster, transaction_id: str) -> set[Outcome | None]:
    return {agent.state.outcome_of(transaction_id) for agent in cluster.agents.values()}


async def test_the_number_of_points_is_that_of_the_protocol():
    cluster = FakeCluster()
    await replace_until_death(cluster, ALWAYS)
    assert len(cluster.calls) == FORWARD_COMMANDS

    cluster = FakeCluster()
    cluster.script("node-a", "start", Fault.LOST_REPLY)
    await replace_until_death(cluster, ALWAYS)
    assert len(cluster.calls) == ROLLBACK_COMMANDS


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("point", [0, 6], ids=["nothing in doubt", "all prepared"])
async def test_a_stop_that_was_only_begun_is_undone(point, scope):
    """The mark of a stop makes cm_agent end soon, and stay down: CM that still runs is not enough."""
    cluster = FakeCluster()
    await replace_until_death(cluster, point, ReplaceOptions(restart=scope))
    cluster.nodes["node-b"].manual_stop = True

    result = await recover(cluster, restart=scope)

    assert result.verdict is (Verdict.ROLLED_BACK if point else Verdict.NOTHING_DONE)
    assert_clean(cluster, OLD.digest)


@pytest.mark.parametrize(
    ("point", "prefer", "scope"),
    list(itertools.product(range(FORWARD_COMMANDS + 1), list(Choice), SCOPES)),
)
async def test_from_every_point_of_the_way_forward(point, prefer, scope):
    cluster = FakeCluster()
    before = cluster.snapshot()
    assert await replace_until_death(cluster, point, ReplaceOptions(restart=scope)) is None
    phases = {agent.state.phase for agent in cluster.agents.values()}
    decided = Phase.COMMITTED in phases
    staged = phases <= {Phase.PREPARED, Phase.SWAPPED}
    down = not all(node.running for node in cluster.nodes.values())

    result = await recover(cluster, prefer)

    finished = decided or (staged and prefer is Choice.FINISH) or point == FORWARD_COMMANDS
    assert_clean(cluster, NEW.digest if finished else OLD.digest)
    if not finished:
        assert cluster.snapshot() == before
    if phases == {Phase.NONE}:
        assert result.verdict is Verdict.NOTHING_DONE
        assert not down
    else:
        assert result.verdict is (Verdict.COMMITTED if finished else Verdict.ROLLED_BACK)
        assert outcomes(cluster, result.transaction_id) == {
            Outcome.COMMITTED if finished else Outcome.ABORTED
        }
    assert result.why


@pytest.mark.parametrize(
    ("point", "prefer", "scope"),
    list(itertools.product(range(5 * 3, ROLLBACK_COMMANDS + 1), list(Choice), SCOPES)),
)
async def test_from_every_point_of_the_way_back(point, prefer, scope):
    cluster = FakeCluster()
    before = cluster.snapshot()
    cluster.script("node-a", "start", Fault.LOST_REPLY)
    result = await replace_until_death(cluster, point, ReplaceOptions(restart=scope))
    assert result is None
    phases = {agent.state.phase for agent in cluster.agents.values()}

    await recover(cluster, prefer)

    # Only where every node still stands by its vote may the operator choose to finish.
    finished = phases == {Phase.SWAPPED} and prefer is Choice.FINISH
    assert_clean(cluster, NEW.digest if finished else OLD.digest)
    if not finished:
        assert cluster.snapshot() == before


@pytest.mark.parametrize(
    ("point", "second", "prefer"),
    list(itertools.product(range(3, FORWARD_COMMANDS), range(0, 25, 2), list(Choice))),
)
async def test_the_one_who_recovers_may_die_too(point, second, prefer):
    cluster = FakeCluster()
    await replace_until_death(cluster, point)
    async with cluster.coordinator() as coordinator:
        cluster.die_after(second)
        await until_death(cluster, coordinator.recover(prefer, True))
    cluster.bring_back()

    await recover(cluster)

    assert_clean(cluster)


@pytest.mark.parametrize(
    ("point", "node", "fault", "prefer"),
    list(
        itertools.product(
            range(4, FORWARD_COMMANDS),
            NODES,
            [Fault.LOST_REPLY, Fault.CRASH, Fault.FAILED],
            list(Choice),
        )
    ),
)
async def test_a_recovery_that_fails_once_anywhere_ends_when_it_is_run_again(point, node, fault, prefer):
    cluster = FakeCluster()
    await replace_until_death(cluster, point)
    for rpc in (
        "stop",
        "start",
        "swap",
        "rollback_stop",
        "abort",
        "rollback_start",
        "commit",
        "purge",
        "clean",
    ):
        cluster.script(node, rpc, fault)

    for _ in range(12):
        result = await recover(cluster, prefer)
        if result.verdict is not Verdict.IN_DOUBT:
            break

    assert result.verdict is not Verdict.IN_DOUBT
    assert_clean(cluster)


@pytest.mark.parametrize(("point", "node"), list(itertools.product(range(4, FORWARD_COMMANDS), NODES)))
async def test_agents_that_restart_before_recovery_change_nothing_about_it(point, node):
    cluster = FakeCluster()
    await replace_until_death(cluster, point)
    cluster.agents[node].restart()

    await recover(cluster)

    assert_clean(cluster)


@pytest.mark.parametrize("point", range(3, FORWARD_COMMANDS))
async def test_leases_that_ran_out_need_no_take_over(point):
    cluster = FakeCluster()
    await replace_until_death(cluster, point)
    cluster.expire_leases()

    await recover(cluster, take_over=False)

    assert_clean(cluster)


@pytest.mark.parametrize("point", range(4, FORWARD_COMMANDS - 3))
async def test_a_lease_that_runs_keeps_others_away(point):
    cluster = FakeCluster()
    await replace_until_death(cluster, point)
    before = cluster.snapshot()

    result = await recover(cluster, take_over=False)

    assert result.verdict is Verdict.NOTHING_DONE
    assert exit_code(result) is ExitCode.UNREACHABLE
    assert {error.reason for error in result.failures} == {Reason.LOCKED}
    assert cluster.snapshot() == before


@pytest.mark.parametrize(("holder", "acts"), [(GONE, True), (ALIVE, False), (ELSEWHERE, False)])
async def test_the_lease_of_a_coordinator_that_has_ended_on_this_machine_needs_no_take_over(holder, acts):
    cluster = FakeCluster()
    await replace_until_death(cluster, 8, holder=holder)
    before = cluster.snapshot()

    async with cluster.coordinator(holder=f"{HERE}:{os.getpid()}") as coordinator:
        result = await coordinator.recover(take_over=False)

    if acts:
        assert result.verdict is Verdict.ROLLED_BACK
        assert_clean(cluster)
    else:
        assert {error.reason for error in result.failures} == {Reason.LOCKED}
        assert cluster.snapshot() == before


@pytest.mark.parametrize(("at", "restart"), list(itertools.product(("stop", "swap", "start"), SCOPES)))
@pytest.mark.parametrize("prefer", list(Choice))
async def test_a_node_that_vanishes_leaves_a_doubt_that_ends_when_it_is_back(at, restart, prefer):
    cluster = FakeCluster()
    async with cluster.coordinator() as coordinator:
        plan = await coordinator.plan(NEW, ReplaceOptions(restart=restart))
        cluster.vanish("node-b", at=at)
        first = await coordinator.replace(plan, NEW)
    assert first.verdict is Verdict.IN_DOUBT
    assert exit_code(first) is ExitCode.IN_DOUBT

    blocked = await recover(cluster, prefer)
    assert blocked.verdict is Verdict.NOTHING_DONE
    assert isinstance(blocked.failures[0], Unreachable)
    assert exit_code(blocked) is ExitCode.UNREACHABLE
    assert "2 of 3 nodes answered" in blocked.why

    cluster.bring_back()
    assert (await recover(cluster, prefer)).verdict in (Verdict.ROLLED_BACK, Verdict.COMMITTED)
    assert_clean(cluster)


class TestNothingInDoubt:
    async def test_nothing_is_asked_but_reports(self):
        cluster = FakeCluster()
        before = cluster.snapshot()

        result = await recover(cluster)

        assert result.verdict is Verdict.NOTHING_DONE
        assert result.why == "no transaction is in doubt"
        assert exit_code(result) is ExitCode.DONE
        assert cluster.calls == []
        assert cluster.snapshot() == before

    async def test_cm_that_does_not_run_is_started(self):
        cluster = FakeCluster(running=False)

        result = await recover(cluster)

        assert result.verdict is Verdict.NOTHING_DONE
        assert "it is started" in result.why
        assert_clean(cluster, OLD.digest)

    async def test_with_restart_none_it_is_left_alone(self):
        cluster = FakeCluster(running=False)

        result = await recover(cluster, restart=RestartScope.NONE)

        assert result.verdict is Verdict.NOTHING_DONE
        assert cluster.calls == []

    async def test_again_after_a_recovery_changes_nothing(self):
        cluster = FakeCluster()
        await replace_until_death(cluster, 10)
        await recover(cluster)
        before, calls = cluster.snapshot(), len(cluster.calls)

        assert (await recover(cluster)).verdict is Verdict.NOTHING_DONE
        assert (cluster.snapshot(), len(cluster.calls)) == (before, calls)


class TestTouchesNothing:
    async def in_doubt(self) -> FakeCluster:
        cluster = FakeCluster()
        await replace_until_death(cluster, 12)  # all swapped, all stopped
        return cluster

    async def assert_untouched(self, cluster: FakeCluster, said: str) -> None:
        before, calls = cluster.snapshot(), len(cluster.calls)
        fences = [agent.state.fence for agent in cluster.agents.values()]
        for prefer in Choice:
            result = await recover(cluster, prefer)
            assert result.verdict is Verdict.IN_DOUBT
            assert exit_code(result) is ExitCode.IN_DOUBT
            assert said in result.why
            assert "nothing was touched" in result.failures[0].message
        assert cluster.snapshot() == before
        assert len(cluster.calls) == calls
        assert [agent.state.fence for agent in cluster.agents.values()] == fences

    async def test_a_foreign_set(self):
        cluster = await self.in_doubt()
        cluster.check_invariants = lambda: None
        cluster.nodes["node-b"].live = FakeSet.of(bundle("foreign"), "x")

        await self.assert_untouched(cluster, "the live set of node-b is neither the old nor the new one")

    async def test_a_damaged_journal(self):
        """Of that node nobody knows whether it has voted: neither way is right, for anybody."""
        cluster = await self.in_doubt()
        damage = NodeFailure(Reason.JOURNAL_DAMAGED, "is damaged", file="journal.json", remedy="see there")
        cluster.script("node-b", "get_node", damage, times=ALWAYS)
        before, calls = cluster.snapshot(), len(cluster.calls)

        for prefer in Choice:
            result = await recover(cluster, prefer, take_over=True)
            assert result.verdict is Verdict.NOTHING_DONE
            assert exit_code(result) is ExitCode.IN_DOUBT
            # Beside it how it stands with all others: whoever decides by hand needs to know.
            told = [(error.node, error.file) for error in result.failures]
            assert told == [("node-b", "journal.json"), ("node-a", ""), ("node-c", "")]
            assert all("phase " in error.message for error in result.failures[1:])
            assert "2 of 3 nodes answered" in result.why
        assert (cluster.snapshot(), len(cluster.calls)) == (before, calls)

        calm = FakeCluster()
        calm.script("node-b", "get_node", damage, times=ALWAYS)
        async with calm.coordinator() as coordinator:
            assert exit_code(await coordinator.plan(NEW)) is ExitCode.IN_DOUBT

    async def test_two_transactions(self):
        cluster = await self.in_doubt()
        agent = cluster.agents["node-b"]
        told = replace(agent.state.transaction, transaction_id="another-transaction")
        agent.state = replace(agent.state, transaction=told)

        await self.assert_untouched(cluster, "different transactions")

    async def test_committed_beside_aborted(self):
        cluster = await self.in_doubt()
        cluster.check_invariants = lambda: None
        for name, phase in (("node-a", Phase.COMMITTED), ("node-b", Phase.ABORTED)):
            agent = cluster.agents[name]
            agent.state = replace(agent.state, phase=phase)

        await self.assert_untouched(cluster, "one node is committed and another is aborted")

    async def test_a_foreign_set_that_shows_up_while_acquiring(self):
        cluster = await self.in_doubt()
        cluster.check_invariants = lambda: None

        def tamper(rpc: str, node: str) -> None:
            cluster.nodes["node-c"].live = FakeSet.of(bundle("foreign"), "x")

        cluster.on_command = tamper
        result = await recover(cluster)

        assert result.verdict is Verdict.IN_DOUBT
        assert {rpc for rpc, _ in cluster.calls[12:]} == {"acquire"}


async def test_a_participant_that_the_inventory_lacks_is_named_and_nothing_is_done():
    cluster = FakeCluster()
    await replace_until_death(cluster, 12)
    before, calls = cluster.snapshot(), len(cluster.calls)
    cluster.names = ("node-a", "node-b")

    result = await recover(cluster)

    assert result.verdict is Verdict.NOTHING_DONE
    # And how it stands with the others: whoever decides by hand needs to know.
    assert [error.node for error in result.failures] == ["node-c", "node-a", "node-b"]
    assert exit_code(result) is ExitCode.IN_DOUBT  # that nothing is done about it does not end the doubt
    assert (cluster.snapshot(), len(cluster.calls)) == (before, calls)


async def test_the_transactions_own_way_of_restarting_is_used_unless_another_is_asked_for():
    for asked, executors in ((None, ["node-a", "node-b", "node-c"]), (RestartScope.CLUSTER, ["node-a"])):
        cluster = FakeCluster()
        await replace_until_death(cluster, 12, ReplaceOptions(restart=RestartScope.NODE))
        stopped = []
        normal = cluster.stop

        def stop(node, orders, normal=normal, stopped=stopped):
            if orders.scope is RestartScope.NODE or orders.executor:
                stopped.append(node.name)
            normal(node, orders)

        cluster.stop = stop
        await recover(cluster, restart=asked)

        assert stopped == executors
        assert_clean(cluster, OLD.digest)


async def test_an_interrupted_finishing_is_rolled_back():
    cluster = FakeCluster()
    await replace_until_death(cluster, 12)
    interrupt = Interrupt()
    cluster.on_command = lambda rpc, node: interrupt.request() if (rpc, node) == ("start", "node-b") else None

    result = await recover(cluster, Choice.FINISH, interrupt=interrupt)

    assert result.verdict is Verdict.ROLLED_BACK
    assert_clean(cluster, OLD.digest)


@pytest.mark.parametrize("wish", [SslWish.ON, SslWish.OFF])
async def test_a_node_that_died_before_it_set_enable_ssl_swaps_again_when_it_is_finished(wish):
    cluster = FakeCluster()
    for node in cluster.nodes.values():
        node.ssl_server = node.ssl_agent = node.ssl_loaded = wish is SslWish.OFF
    await replace_until_death(cluster, 12, ReplaceOptions(ssl_wish=wish))
    torn = cluster.agents["node-b"]
    torn.node.set_ssl(torn.state.transaction.previous_ssl)
    torn.state = replace(torn.state, phase=Phase.PREPARED)
    torn.restart()
    assert torn.state.phase is Phase.SWAPPED

    result = await recover(cluster, Choice.FINISH)

    assert result.verdict is Verdict.COMMITTED
    on = wish is SslWish.ON
    assert {(node.ssl_server, node.ssl_agent, node.ssl_loaded) for node in cluster.nodes.values()} == {
        (on, on, on)
    }
    assert_clean(cluster, NEW.digest)


@pytest.mark.parametrize("wish", [SslWish.ON, SslWish.OFF])
async def test_a_recovered_rollback_restores_enable_ssl(wish):
    cluster = FakeCluster()
    for node in cluster.nodes.values():
        node.ssl_server = node.ssl_agent = node.ssl_loaded = wish is SslWish.OFF
    before = cluster.snapshot()
    await replace_until_death(cluster, 15, ReplaceOptions(ssl_wish=wish))

    await recover(cluster)

    assert cluster.snapshot() == before


async def test_a_finishing_that_cannot_stop_cm_everywhere_goes_back_even_where_a_set_has_moved():
    """Power came back on a node that had swapped: CM runs there with the new set, elsewhere not."""
    cluster = FakeCluster()
    await replace_until_death(cluster, 10, ReplaceOptions(restart=RestartScope.NODE))
    phases = [agent.state.phase for agent in cluster.agents.values()]
    assert phases == [Phase.SWAPPED, Phase.PREPARED, Phase.PREPARED]
    cluster.nodes["node-a"].start()
    cluster.script("node-c", "stop", Fault.REFUSED)
    cluster.script("node-a", "stop", Fault.REFUSED)

    result = await recover(cluster, Choice.FINISH)

    assert result.verdict is Verdict.ROLLED_BACK
    assert_clean(cluster, OLD.digest)


async def test_what_recovery_finishes_but_cannot_see_served_is_told():
    cluster = FakeCluster()
    await replace_until_death(cluster, 16)
    cluster.nodes["node-b"].deaf = True

    result = await recover(cluster)

    assert result.verdict is Verdict.COMMITTED
    assert result.failures == ()
    assert {finding.code for finding in result.findings} == {"NOT_PROVEN"}


async def test_a_late_command_of_the_dead_coordinator_is_fenced():
    cluster = FakeCluster()
    await replace_until_death(cluster, 12)
    await recover(cluster)
    before = cluster.snapshot()
    agent = cluster.agents["node-b"]
    assert agent.state.fence == Fence(2, Step.CLEAN)

    late = Command(agent.state.owner, 1, Step.START)
    with pytest.raises(NodeRefusal) as caught:
        await agent.start(late, RestartOrders(RestartScope.NODE, True, 1))

    assert caught.value.reason is Reason.FENCED
    assert cluster.snapshot() == before


async def test_what_the_nodes_say_when_they_grant_decides_not_what_they_said_before():
    """A Commit of the dead coordinator, long under way, arrives after recovery has read the nodes."""
    cluster = FakeCluster()
    await replace_until_death(cluster, 15)
    late = cluster.agents["node-b"]

    def arrives(rpc: str, node: str) -> None:
        if late.state.phase is Phase.SWAPPED:
            late.state = replace(late.state, phase=Phase.COMMITTED)

    cluster.on_command = arrives

    result = await recover(cluster)

    assert result.verdict is Verdict.COMMITTED
    assert not {"abort", "rollback_stop"} & {rpc for rpc, _ in cluster.calls}
    assert_clean(cluster, NEW.digest)


@pytest.mark.parametrize("accept_state", [False, True])
async def test_a_rollback_is_not_proven_where_enable_ssl_differs(accept_state):
    """A node that has forgotten a switch of SSL has kept it; each cm_server answers as its own file says."""
    cluster = FakeCluster()
    await replace_until_death(cluster, 9)
    cluster.agents["node-a"].state = NodeState()
    forgetful = cluster.nodes["node-a"]
    forgetful.ssl_server = forgetful.ssl_agent = forgetful.ssl_loaded = False

    async with cluster.coordinator() as coordinator:
        result = await coordinator.recover(take_over=True, accept_state=accept_state)

    said = [each.node for each in (*result.failures, *result.findings) if "enable_ssl is" in str(each)]
    assert set(said) >= {"node-a", "node-b", "node-c"}
    assert result.verdict is (Verdict.ROLLED_BACK if accept_state else Verdict.IN_DOUBT)


@pytest.mark.parametrize("accept_state", [False, True])
@pytest.mark.parametrize("flag", ["paused", "upgrading"])
async def test_a_finishing_does_not_stop_a_cluster_under_somebodys_hands(flag, accept_state):
    cluster = FakeCluster()
    await replace_until_death(cluster, 6)
    setattr(cluster.nodes["node-b"], flag, True)
    before = {name: node.loaded for name, node in cluster.nodes.items()}

    async with cluster.coordinator() as coordinator:
        result = await coordinator.recover(Choice.FINISH, take_over=True, accept_state=accept_state)

    if accept_state:
        assert result.verdict is Verdict.COMMITTED
        return
    assert result.verdict is Verdict.ROLLED_BACK
    assert [(each.node, each.reason) for each in result.failures] == [("node-b", Reason.NODE_UNFIT)]
    assert before == {name: node.loaded for name, node in cluster.nodes.items()}


async def test_a_finishing_is_not_proven_while_a_node_is_told_to_stop():
    """Its cm_server serves the new set, and ends once it obeys the file that a start which lied has left."""
    cluster = FakeCluster()
    await replace_until_death(cluster, 15)
    stubborn = cluster.nodes["node-b"]
    started = stubborn.start

    def lie() -> None:
        started()
        stubborn.manual_stop = True

    stubborn.start = lie

    result = await recover(cluster, Choice.FINISH)

    assert result.verdict is not Verdict.COMMITTED
    assert "cluster_manual_start" in " ".join(str(each) for each in result.failures)
