"""What recovery must not touch: nodes that have forgotten, nodes that contradict each other, nodes that hold
different sets, and nodes that another coordinator works on."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable

import pytest
from gausscert_common.errors import NodeRefusal, Reason
from gausscert_common.model import ClusterState
from gausscert_common.protocol.recovery import Choice
from gausscert_common.protocol.state import NodeState
from gausscert_common.protocol.words import LiveState, Outcome, Phase, RestartScope, Step
from gausscert_coordinator.exit_codes import ExitCode, exit_code
from gausscert_coordinator.report import Mark, ReplaceOptions, Result, Verdict
from support.fake_cluster import FakeCluster, until_death
from support.fake_node import FakeSet, bundle

NEW, SECOND, FOREIGN = bundle("new"), bundle("second"), bundle("foreign")
NODES = ("node-a", "node-b", "node-c")
AFTER_SWAP = range(10, 20)
"""Commands after which some node has swapped, and no less than two are in the transaction still."""


async def replaced(cluster: FakeCluster, commands: int, holder: str = "alice@h1:1") -> None:
    async with cluster.coordinator(holder) as coordinator:
        plan = await coordinator.plan(NEW)
        cluster.die_after(commands)
        assert await until_death(cluster, coordinator.replace(plan, NEW)) is None
    cluster.bring_back()


async def recovered(cluster: FakeCluster, prefer: Choice = Choice.ROLL_BACK, **options: object) -> Result:
    async with cluster.coordinator("bob@h2:2") as coordinator:
        return await coordinator.recover(prefer, **{"take_over": True, **options})


def forget(cluster: FakeCluster, node: str) -> None:
    """Its state directory is lost."""
    cluster.check_invariants = lambda: None
    cluster.agents[node].state = NodeState()
    cluster.agents[node].lease_until_s = 0.0


def picture(cluster: FakeCluster) -> object:
    states = {name: agent.state for name, agent in cluster.agents.items()}
    return cluster.snapshot(), states, list(cluster.calls)


def assert_told_of_every_node(
    result: Result, names: tuple[str, ...] = NODES, left: str = "nothing was touched"
) -> None:
    assert result.verdict is Verdict.IN_DOUBT
    assert exit_code(result) is ExitCode.IN_DOUBT
    assert sorted(error.node for error in result.failures) == sorted(names)
    assert all(left in error.message and error.remedy for error in result.failures)


ONLY_ONE = (10, "node-a")
"""Point and node: it alone has swapped."""


class TestANodeThatHasForgotten:
    @pytest.mark.parametrize(
        ("point", "node", "prefer"),
        [
            (point, node, prefer)
            for point, node, prefer in itertools.product(AFTER_SWAP, NODES, list(Choice))
            if (point, node) != ONLY_ONE
        ],
    )
    async def test_beside_one_that_went_on_it_is_touched_by_nobody(self, point, node, prefer):
        cluster = FakeCluster()
        await replaced(cluster, point)
        forget(cluster, node)
        before = picture(cluster)

        result = await recovered(cluster, prefer)

        assert_told_of_every_node(result)
        assert node in result.why
        assert picture(cluster) == before

    async def test_the_only_one_that_had_swapped_may_always_have_had_that_set_but_cm_is_not_started(self):
        """The others cannot tell; its agent can, by the stage that it finds without a journal, and seals."""
        cluster = FakeCluster()
        point, node = ONLY_ONE
        await replaced(cluster, point)
        forget(cluster, node)
        assert cluster.nodes[node].live.bundle_digest == NEW.digest

        result = await recovered(cluster)

        assert exit_code(result) is ExitCode.IN_DOUBT
        assert {error.node for error in result.failures if error.reason is Reason.NOT_PROVEN} == set(NODES)
        assert not any(each.running for each in cluster.nodes.values())
        assert cluster.nodes[node].live.bundle_digest == NEW.digest

    @pytest.mark.parametrize("had", ["new", "another"])
    @pytest.mark.parametrize("point", [4, 5])
    async def test_who_was_never_in_it_may_have_had_any_set_and_keeps_no_recovery_back(self, point, had):
        """The coordinator died in Prepare, on nodes that differed before: a replacement mends that."""
        cluster = FakeCluster()
        cluster.check_invariants = lambda: None
        node = cluster.nodes["node-c"]
        node.live = FakeSet.of(NEW if had == "new" else FOREIGN, "z")
        node.loaded = node.live
        cluster.state_seen_by = lambda prober: ClusterState("Normal")
        await replaced(cluster, point)
        before = node.live

        result = await recovered(cluster)

        assert result.verdict is Verdict.ROLLED_BACK
        assert node.live is before
        assert {agent.state.phase for agent in cluster.agents.values()} == {Phase.NONE}

    async def test_who_remembers_that_it_is_committed_must_have_the_new_set(self):
        cluster = FakeCluster()
        await replaced(cluster, 20)
        phases = {name: agent.state.phase for name, agent in cluster.agents.items()}
        assert set(phases.values()) == {Phase.NONE, Phase.COMMITTED}
        ended = next(name for name, phase in phases.items() if phase is Phase.NONE)
        cluster.nodes[ended].live = FakeSet.of(FOREIGN, "q")
        before = picture(cluster)

        result = await recovered(cluster)

        assert_told_of_every_node(result)
        assert f"live set of {ended} is neither" in result.why
        assert picture(cluster) == before

    async def test_a_vote_on_which_the_old_set_was_put_back_is_none(self):
        cluster = FakeCluster()
        await replaced(cluster, 12)
        assert {agent.state.phase for agent in cluster.agents.values()} == {Phase.SWAPPED}
        node = cluster.nodes["node-b"]
        node.live, node.stage = node.stage, node.live

        result = await recovered(cluster, Choice.FINISH)

        assert result.verdict is Verdict.COMMITTED
        assert {each.live.bundle_digest for each in cluster.nodes.values()} == {NEW.digest}

    @pytest.mark.parametrize(("point", "node"), list(itertools.product(range(4, 10), NODES)))
    async def test_while_no_set_was_swapped_all_is_rolled_back(self, point, node):
        cluster = FakeCluster()
        await replaced(cluster, point)
        forget(cluster, node)

        result = await recovered(cluster)

        in_flight = point > 4 or node != "node-a"
        assert result.verdict is (Verdict.ROLLED_BACK if in_flight else Verdict.NOTHING_DONE)
        assert {each.live.bundle_digest for each in cluster.nodes.values()} == {bundle("old").digest}
        assert all(each.running for each in cluster.nodes.values())


class TestDifferentSetsAndNobodyInATransaction:
    def mixed(self, *, running: bool) -> FakeCluster:
        cluster = FakeCluster(running=running)
        cluster.check_invariants = lambda: None
        cluster.nodes["node-b"].live = FakeSet.of(NEW, "z")
        return cluster

    @pytest.mark.parametrize("running", [True, False])
    async def test_cm_is_not_started_and_each_node_is_told(self, running):
        cluster = self.mixed(running=running)
        before = picture(cluster)

        result = await recovered(cluster)

        assert_told_of_every_node(result)
        assert "different sets" in result.why
        assert picture(cluster) == before


class TestProofOfARollback:
    async def test_nodes_that_hold_different_old_sets_are_no_cluster_as_before(self):
        cluster = FakeCluster()
        cluster.check_invariants = lambda: None
        cluster.nodes["node-b"].live = FakeSet.of(FOREIGN, "z")
        cluster.nodes["node-b"].loaded = cluster.nodes["node-b"].live
        async with cluster.coordinator("alice@h1:1") as coordinator:
            cluster.state_seen_by = lambda prober: ClusterState("Normal")
            plan = await coordinator.plan(NEW)
            cluster.die_after(12)
            assert await until_death(cluster, coordinator.replace(plan, NEW)) is None
        cluster.bring_back()

        for _ in range(2):  # and not only once
            result = await recovered(cluster)
            assert exit_code(result) is ExitCode.IN_DOUBT
            assert {error.reason for error in result.failures} >= {Reason.NOT_PROVEN}

        known = await recovered(cluster, accept_state=True)  # the operator's word for it
        assert known.verdict is Verdict.ROLLED_BACK
        assert {found.node for found in known.findings if found.code == "NOT_PROVEN"} >= set(NODES)

    async def test_a_chain_that_does_not_verify_proves_nothing(self):
        cluster = FakeCluster()
        await replaced(cluster, 12)
        cluster.nodes["node-c"].broken_chain = True

        result = await recovered(cluster)

        assert exit_code(result) is ExitCode.IN_DOUBT
        assert Reason.NOT_PROVEN in {error.reason for error in result.failures}


class TestAnotherIsAtWork:
    @pytest.mark.parametrize("scope", [RestartScope.CLUSTER, RestartScope.NODE])
    @pytest.mark.parametrize("restarted", NODES)
    @pytest.mark.parametrize("at", ["prepare", "stop", "swap", "start", "commit", "purge"])
    async def test_an_agent_that_was_restarted_lets_nobody_in(self, at, restarted, scope):
        """The lease lives in the agent's memory: one node has forgotten it, the others have not."""
        cluster = FakeCluster()
        async with cluster.coordinator("alice@h1:1") as alice, cluster.coordinator("bob@h2:2") as bob:
            plan = await alice.plan(NEW, ReplaceOptions(restart=scope))
            got = await at_the_command(cluster, at, restarted, lambda: bob.recover(take_over=False))
            ended = await alice.replace(plan, NEW)

        (result,) = got
        if at == "prepare":  # nobody is in a transaction yet, and CM runs
            assert result.verdict is Verdict.NOTHING_DONE
        else:
            assert exit_code(result) is ExitCode.UNREACHABLE
            assert {error.reason for error in result.failures} == {Reason.LOCKED}
            assert all("alice@h1:1" in error.message for error in result.failures)
            assert restarted not in {error.node for error in result.failures}
        assert ended.verdict is Verdict.COMMITTED
        assert all(agent.state.holder == "alice@h1:1" for agent in cluster.agents.values())

    async def test_what_was_granted_before_another_node_refused_is_given_back_and_told(self):
        cluster = FakeCluster()
        await replaced(cluster, 12)
        cluster.vanish("node-c", "acquire")

        result = await recovered(cluster)

        assert exit_code(result) is ExitCode.IN_DOUBT
        said = " ".join(error.message for error in result.failures)
        assert "the fence of node-a, node-b was taken" in said
        assert "nothing was" not in said
        cluster.bring_back()
        cluster.now_s += 1
        assert {agent.lease_holder for name, agent in cluster.agents.items() if name != "node-c"} == {""}
        assert {agent.state.phase for agent in cluster.agents.values()} == {Phase.SWAPPED}

    async def test_a_node_that_is_foreign_only_once_acquired_leaves_no_lease(self):
        cluster = FakeCluster()
        await replaced(cluster, 12)
        cluster.check_invariants = lambda: None

        def tamper(rpc: str, node: str) -> None:
            cluster.nodes["node-c"].live = FakeSet.of(FOREIGN, "x")

        cluster.on_command = tamper
        result = await recovered(cluster)
        cluster.now_s += 1

        # The fence has moved: that nothing was touched would not be true.
        assert_told_of_every_node(result, left="no set was touched, but the fence was taken")
        assert not any("nothing was touched" in error.message for error in result.failures)
        assert {agent.lease_holder for agent in cluster.agents.values()} == {""}


class TestWhatIsSaid:
    async def test_a_participant_that_nobody_can_ask_is_told_with_the_phases_of_the_others(self):
        cluster = FakeCluster()
        await replaced(cluster, 12)
        cluster.names = NODES[:2]

        result = await recovered(cluster)

        assert exit_code(result) is ExitCode.IN_DOUBT
        assert [error.node for error in result.failures] == ["node-c", "node-a", "node-b"]
        assert "not in the inventory" in result.failures[0].message
        assert "recover --exclude node-c" in result.failures[0].remedy
        assert all("phase SWAPPED of transaction" in error.message for error in result.failures[1:])
        assert all(error.remedy for error in result.failures)

    @pytest.mark.parametrize(
        ("reason", "said"),
        [
            (Reason.FENCED, "has another coordinator by now"),
            (Reason.LOCKED, "has another coordinator by now"),
            (Reason.BUSY, "keeps its lease until it runs out"),
        ],
    )
    async def test_a_lease_that_could_not_be_given_back_is_told_as_it_is(self, reason, said):
        cluster, told = FakeCluster(), []
        await replaced(cluster, 12)
        cluster.script("node-c", "acquire", NodeRefusal(Reason.BUSY, "not now", node="node-c"))

        def on_command(rpc: str, node: str) -> None:
            if (rpc, node) == ("acquire", "node-c"):
                cluster.script("node-a", "acquire", NodeRefusal(reason, "no", node="node-a"))

        cluster.on_command = on_command
        await recovered(cluster, watch=told.append)

        notes = [each.detail for each in told if each.mark is Mark.NOTE and each.node == "node-a"]
        assert notes == [f"{said}: no"]


async def at_the_command(
    cluster: FakeCluster, at: str, restarted: str, act: Callable[[], Awaitable[Result]]
) -> list[Result]:
    """Before the first such command is carried out an agent is restarted, and somebody acts."""
    got: list[Result] = []
    begun, acted = asyncio.Event(), asyncio.Event()
    deliver = cluster.deliver

    async def delivered(agent, rpc, carry_out):
        if rpc == at and not begun.is_set():
            begun.set()
            cluster.agents[restarted].restart()
            got.append(await act())
            acted.set()
        elif rpc == at:
            await acted.wait()
        return await deliver(agent, rpc, carry_out)

    cluster.deliver = delivered
    return got


class TestTwoThatStand:
    async def both(self) -> FakeCluster:
        cluster = FakeCluster()
        cluster.check_invariants = lambda: None
        cluster.state_seen_by = lambda prober: ClusterState("Degraded")
        for bundle_, away in ((NEW, ("node-b", "node-c")), (SECOND, ("node-a",))):
            for node in NODES:
                (cluster.power_off if node in away else cluster.power_on)(node)
            async with cluster.coordinator() as coordinator:
                options = ReplaceOptions(restart=RestartScope.NODE, exclude=away)
                result = await coordinator.replace(await coordinator.plan(bundle_, options), bundle_)
                assert result.verdict is Verdict.COMMITTED
        cluster.power_on("node-a")
        return cluster

    @pytest.mark.parametrize("given", [None, NEW, SECOND])
    async def test_committed_without_each_other_they_are_told_and_not_touched(self, given):
        cluster = await self.both()
        before = picture(cluster)

        result = await asyncio.wait_for(recovered(cluster, bundle=given), 5)

        assert_told_of_every_node(result)
        assert "each without the nodes of the other" in result.why
        assert picture(cluster) == before


class TestTwoThatExcludeEachOther:
    """Neither is committed: the one is rolled back with CM left stopped, for the sake of the other, which is
    then rolled back as well."""

    async def both(self, scope: RestartScope) -> FakeCluster:
        cluster = FakeCluster()
        cluster.check_invariants = lambda: None
        cluster.state_seen_by = lambda prober: ClusterState("Degraded")
        for bundle_, away, died in ((NEW, ("node-b", "node-c"), 4), (SECOND, ("node-a",), 8)):
            for node in NODES:
                (cluster.power_off if node in away else cluster.power_on)(node)
            async with cluster.coordinator() as coordinator:
                options = ReplaceOptions(restart=scope, exclude=away)
                plan = await coordinator.plan(bundle_, options)
                cluster.die_after(died)
                assert await until_death(cluster, coordinator.replace(plan, bundle_)) is None
            cluster.bring_back()
        cluster.power_on("node-a")
        assert {agent.state.phase for agent in cluster.agents.values()} == {Phase.SWAPPED}
        return cluster

    async def test_both_are_rolled_back_and_cm_runs_everywhere(self):
        cluster = await self.both(RestartScope.NODE)

        result = await recovered(cluster)

        assert (result.verdict, exit_code(result), result.failures) == (
            Verdict.ROLLED_BACK,
            ExitCode.ROLLED_BACK,
            (),
        )
        assert {node.live.bundle_digest for node in cluster.nodes.values()} == {bundle("old").digest}
        assert all(node.loaded == node.live and not node.manual_stop for node in cluster.nodes.values())
        assert "NODES_EXCLUDED" not in {found.code for found in result.findings}
        assert {agent.lease_holder for agent in cluster.agents.values()} == {""}

    async def test_where_cm_cannot_be_started_there_that_is_told(self):
        cluster = await self.both(RestartScope.NODE)
        for node in NODES[1:]:
            cluster.nodes[node].cannot_start_with.add(cluster.nodes[node].stage.digest)

        result = await recovered(cluster)

        assert exit_code(result) is ExitCode.IN_DOUBT
        assert {error.node for error in result.failures} & set(NODES[1:])


async def test_a_piece_that_leaves_everything_as_it_was_ends_the_loop(monkeypatch):
    """Whatever makes it so: here a transaction that is settled as often as one likes, and never goes."""
    cluster = FakeCluster()
    await replaced(cluster, 16)
    monkeypatch.setattr("gausscert_coordinator.recoverer._goes_on", lambda piece, result: True)

    async def nothing(self: object, course: object) -> Result:
        return Result("20250101t000000z-000001", Verdict.COMMITTED)

    monkeypatch.setattr("gausscert_coordinator.engine.Engine.run", nothing)
    result = await asyncio.wait_for(recovered(cluster), 5)

    assert exit_code(result) is ExitCode.IN_DOUBT
    assert "left every node as it was" in result.failures[0].message


class TestWhatItSays:
    async def test_of_each_node_what_it_saw_and_did(self):
        cluster = FakeCluster()
        await replaced(cluster, 11)  # node-c has yet to swap

        result = await recovered(cluster)

        seen = {each.node: each for each in result.nodes}
        assert list(seen) == list(NODES)
        assert [each.phase for each in seen.values()] == [Phase.SWAPPED, Phase.SWAPPED, Phase.PREPARED]
        assert [each.live for each in seen.values()] == [LiveState.NEW, LiveState.NEW, LiveState.OLD]
        assert {each.holder for each in seen.values()} == {"alice@h1:1"}
        assert all(each.lease_left_s > 0 for each in seen.values())
        steps = (Step.ACQUIRE, Step.ROLLBACK_STOP, Step.ABORT, Step.ROLLBACK_START, Step.CLEAN)
        assert {each.did for each in seen.values()} == {steps}

    async def test_a_node_that_is_through_is_told_with_its_outcome(self):
        cluster = FakeCluster()
        await replaced(cluster, 20)

        seen = {each.node: each for each in (await recovered(cluster)).nodes}

        assert [seen[node].outcome for node in NODES] == [Outcome.COMMITTED, Outcome.COMMITTED, None]

    async def test_who_began_it_whoever_tried_to_recover_since(self):
        cluster = FakeCluster()
        await replaced(cluster, 12)
        cluster.vanish("node-c", "rollback_stop")
        assert (await recovered(cluster)).verdict is Verdict.IN_DOUBT
        cluster.bring_back()
        cluster.expire_leases()

        async with cluster.coordinator("eve@h3:3") as eve:
            plan = await eve.plan(SECOND)
            seen = (await eve.recover()).nodes

        said = [error.message for error in plan.blocked]
        assert len(said) == len(NODES)
        assert all("of alice@h1:1" in each and "bob@h2:2 has taken it over" in each for each in said)
        assert {(each.begun_by, each.holder) for each in seen} == {("alice@h1:1", "bob@h2:2")}


async def test_a_prepared_node_whose_lease_has_run_out_is_still_prepared():
    """No timer decides anything: who recovers finds it as it was left, and may still finish it."""
    cluster = FakeCluster()
    await replaced(cluster, 6)
    cluster.expire_leases()
    assert {agent.state.phase for agent in cluster.agents.values()} == {Phase.PREPARED}

    result = await recovered(cluster, Choice.FINISH, take_over=False)

    assert result.verdict is Verdict.COMMITTED
