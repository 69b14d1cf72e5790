"""`recover --exclude`: a machine that dies for good in the middle, and what becomes of it when it is back."""

from __future__ import annotations

import pytest
from gausscert_common.errors import NodeFailure, Reason
from gausscert_common.protocol.coordinator import Verdict
from gausscert_common.protocol.recovery import Choice
from gausscert_common.protocol.words import Phase, RestartScope
from gausscert_coordinator.cli import documents
from gausscert_coordinator.exit_codes import ExitCode, exit_code
from gausscert_coordinator.report import ReplaceOptions, Result
from support.fake_agents import Fault
from support.fake_cluster import ALWAYS, FakeCluster, until_death
from support.fake_node import FakeSet, bundle

NEW, OLD, LATER = bundle("new"), bundle("old"), bundle("later")
DEAD = "node-c"
LEFT = ("node-a", "node-b")
STEPS = ("acquire", "prepare", "stop", "swap", "start", "commit", "purge")
BY_NODE = ReplaceOptions(restart=RestartScope.NODE)


async def died(
    commands: int, *, then_dead: str = DEAD, names: tuple[str, ...] = (*LEFT, DEAD)
) -> FakeCluster:
    """The coordinator and one machine die at once, after that many commands: it ran on that machine."""
    cluster = FakeCluster(names)
    async with cluster.coordinator() as coordinator:
        plan = await coordinator.plan(NEW, BY_NODE)
        cluster.die_after(commands)
        assert await until_death(cluster, coordinator.replace(plan, NEW)) is None
    cluster.bring_back()
    cluster.power_off(then_dead)
    return cluster


async def recovered(cluster: FakeCluster, *exclude: str, prefer=Choice.ROLL_BACK, **how: object) -> Result:
    async with cluster.coordinator() as coordinator:
        return await coordinator.recover(prefer, True, exclude=exclude, **how)


def phases(cluster: FakeCluster) -> dict[str, Phase]:
    return {name: each.state.phase for name, each in cluster.agents.items()}


def lives(cluster: FakeCluster) -> dict[str, str]:
    return {name: each.live.bundle_digest for name, each in cluster.nodes.items()}


def assert_over(cluster: FakeCluster, live: str) -> None:
    """One set everywhere, nothing in flight, CM runs with it."""
    assert set(lives(cluster).values()) == {live}
    assert set(phases(cluster).values()) == {Phase.NONE}
    for name, node in cluster.nodes.items():
        assert node.stage is None, name
        assert node.loaded == node.live, name


def come_back(cluster: FakeCluster) -> None:
    """CM of the machine is kept from starting, as the runbook has it."""
    cluster.nodes[DEAD].manual_stop = True
    cluster.power_on(DEAD)


@pytest.mark.parametrize("dead", ["node-a", "node-b", "node-c"])
@pytest.mark.parametrize("commands", range(1, 3 * len(STEPS)))
async def test_whenever_it_dies_the_others_come_to_an_end_and_it_follows_when_it_is_back(commands, dead):
    cluster = await died(commands, then_dead=dead)
    others = [name for name in cluster.names if name != dead]

    result = await recovered(cluster, dead)

    assert exit_code(result) in (ExitCode.DONE, ExitCode.ROLLED_BACK), result
    ends = {lives(cluster)[name] for name in others}
    assert len(ends) == 1
    assert all(cluster.nodes[name].loaded == cluster.nodes[name].live for name in others)
    assert not {node for _, node in cluster.calls[commands:]} & {dead}

    cluster.nodes[dead].manual_stop = True
    cluster.power_on(dead)
    after = await recovered(cluster)

    assert exit_code(after) in (ExitCode.DONE, ExitCode.ROLLED_BACK), after
    assert_over(cluster, *ends)


@pytest.mark.parametrize("prefer", list(Choice))
async def test_before_all_were_told_to_start_it_is_rolled_back_whatever_is_preferred(prefer):
    cluster = await died(3 * 4 + 1)  # one of three is started

    result = await recovered(cluster, DEAD, prefer=prefer)

    assert (result.verdict, exit_code(result)) == (Verdict.ROLLED_BACK, ExitCode.ROLLED_BACK)
    assert "nobody has committed" in result.why
    told = [found for found in result.findings if found.code == Reason.NODES_EXCLUDED]
    assert [found.node for found in told] == [DEAD]
    assert "cluster_manual_start" in told[0].remedy
    assert phases(cluster) == {"node-a": Phase.NONE, "node-b": Phase.NONE, DEAD: Phase.SWAPPED}


@pytest.mark.parametrize("prefer", list(Choice))
@pytest.mark.parametrize("committed_there", [False, True])
async def test_once_all_were_told_to_start_it_is_finished_whatever_is_preferred(prefer, committed_there):
    cluster = await died(3 * 5)
    if committed_there:
        agent = cluster.agents[DEAD]
        agent.state = type(agent.state)(
            fence=agent.state.fence,
            owner=agent.state.owner,
            holder=agent.state.holder,
            phase=Phase.COMMITTED,
            transaction=agent.state.transaction,
        )

    result = await recovered(cluster, DEAD, prefer=prefer)

    assert (result.verdict, exit_code(result), result.waiting) == (Verdict.COMMITTED, ExitCode.DONE, (DEAD,))
    assert "may have committed" in result.why
    assert [found.node for found in result.findings if found.code == Reason.NODES_EXCLUDED] == [DEAD]
    for name in LEFT:
        state = cluster.agents[name].state
        assert (state.phase, state.transaction.excluded) == (Phase.COMMITTED, (DEAD,))
        assert cluster.nodes[name].stage.bundle_digest == OLD.digest
        assert not cluster.nodes[name].retired
    come_back(cluster)

    after = await recovered(cluster)

    assert exit_code(after) is ExitCode.DONE
    assert_over(cluster, NEW.digest)
    assert all(node.retired for node in cluster.nodes.values())


async def test_without_the_option_nothing_is_touched():
    cluster = await died(3 * 5)
    before, calls = cluster.snapshot(), len(cluster.calls)

    result = await recovered(cluster)

    assert exit_code(result) is ExitCode.UNREACHABLE
    assert "--exclude" in result.why
    assert len(cluster.calls) == calls
    assert cluster.snapshot() == before


async def test_once_it_is_recorded_plain_recover_goes_on_without_it():
    cluster = await died(3 * 5)
    async with cluster.coordinator() as coordinator:
        cluster.die_after(len(LEFT))  # both have granted Acquire
        assert await until_death(cluster, coordinator.recover(take_over=True, exclude=(DEAD,))) is None
    cluster.bring_back()
    cluster.expire_leases()
    assert {cluster.agents[name].state.transaction.excluded for name in LEFT} == {(DEAD,)}

    result = await recovered(cluster)

    assert result.verdict is Verdict.COMMITTED
    assert {phases(cluster)[name] for name in LEFT} == {Phase.COMMITTED}


async def test_once_it_is_recorded_nobody_turns_back_while_cm_runs_there():
    cluster = await died(3 * 4 + 1)  # one of three is started: nobody can have committed
    async with cluster.coordinator() as coordinator:
        cluster.die_after(len(LEFT))
        assert await until_death(cluster, coordinator.recover(take_over=True, exclude=(DEAD,))) is None
    cluster.bring_back()
    cluster.expire_leases()
    cluster.nodes[DEAD].loaded = cluster.nodes[DEAD].live  # it has booted; its agent has not

    result = await refused(cluster)

    assert exit_code(result) is ExitCode.REFUSED
    assert [found.code for found in result.findings] == ["EXCLUDED_RUNS"]

    cluster.nodes[DEAD].loaded = None
    assert (await recovered(cluster)).verdict is Verdict.ROLLED_BACK


async def left_out_beside_another() -> FakeCluster:
    """One that an earlier transaction was rolled back without is back; it was left out of the next one, in
    the middle of which DEAD died, and that DEAD is left out is recorded."""
    cluster = await died(4 * 2, names=(*LEFT, DEAD, "node-d"), then_dead="node-d")
    await recovered(cluster, "node-d")
    async with cluster.coordinator() as coordinator:
        plan = await coordinator.plan(LATER, ReplaceOptions(restart=RestartScope.NODE, exclude=("node-d",)))
        cluster.die_after(3 * 4 + 1)  # one of three is started
        assert await until_death(cluster, coordinator.replace(plan, LATER)) is None
    cluster.bring_back()
    cluster.power_off(DEAD)
    cluster.power_off("node-d")
    async with cluster.coordinator() as coordinator:
        cluster.die_after(len(LEFT))
        recovery = coordinator.recover(take_over=True, exclude=(DEAD, "node-d"))
        assert await until_death(cluster, recovery) is None
    cluster.bring_back()
    cluster.power_off(DEAD)
    cluster.nodes["node-d"].manual_stop = True
    cluster.power_on("node-d")
    return cluster


async def test_nor_after_another_transaction_was_settled_first():
    cluster = await left_out_beside_another()
    cluster.nodes[DEAD].loaded = cluster.nodes[DEAD].live  # it has booted; its agent has not

    result = await recovered(cluster)

    assert exit_code(result) is ExitCode.REFUSED
    assert "EXCLUDED_RUNS" in [found.code for found in result.findings]
    assert phases(cluster)["node-d"] is Phase.NONE
    assert {phases(cluster)[name] for name in LEFT} == {Phase.SWAPPED}


async def test_nor_beside_one_that_it_was_begun_without_and_that_answers():
    cluster = await left_out_beside_another()
    cluster.agents["node-d"].state = type(cluster.agents["node-d"].state)()  # in nothing any more
    cluster.nodes["node-d"].stage = None
    cluster.nodes[DEAD].loaded = cluster.nodes[DEAD].live

    result = await recovered(cluster)

    assert exit_code(result) is ExitCode.REFUSED
    assert [found.code for found in result.findings] == ["EXCLUDED_RUNS"]
    assert {phases(cluster)[name] for name in LEFT} == {Phase.SWAPPED}


async def test_that_nodes_are_away_does_not_hide_what_was_rolled_back():
    """CM that was kept down is started only where all nodes are seen to hold one set."""
    cluster = await left_out_beside_another()

    result = await recovered(cluster)

    assert (result.verdict, exit_code(result)) == (Verdict.ROLLED_BACK, ExitCode.ROLLED_BACK)
    assert {phases(cluster)[name] for name in (*LEFT, "node-d")} == {Phase.NONE}
    assert not cluster.nodes["node-d"].running


@pytest.mark.parametrize("first", range(1, 3 * 6))
@pytest.mark.parametrize("second", range(1, 12))
async def test_whoever_recovers_without_it_may_die_anywhere_too(first, second):
    cluster = await died(first)
    async with cluster.coordinator() as coordinator:
        cluster.die_after(second)
        await until_death(cluster, coordinator.recover(take_over=True, exclude=(DEAD,)))
    cluster.bring_back()
    cluster.power_off(DEAD)

    stands = all(
        agent.state.phase is Phase.COMMITTED and agent.state.transaction.excluded and agent.node.running
        for agent in map(cluster.agents.__getitem__, LEFT)
    )

    result = await recovered(cluster, DEAD)
    ends = {lives(cluster)[name] for name in LEFT}
    come_back(cluster)
    after = await recovered(cluster)

    if stands:
        assert exit_code(result) is ExitCode.UNREACHABLE  # nothing is left to do without it
    else:
        assert exit_code(result) in (ExitCode.DONE, ExitCode.ROLLED_BACK), result
    assert exit_code(after) in (ExitCode.DONE, ExitCode.ROLLED_BACK), after
    assert_over(cluster, *ends)


@pytest.mark.parametrize("first", range(1, 3 * 6))
@pytest.mark.parametrize("second", range(1, 12))
async def test_or_it_is_back_before_that_is_over(first, second):
    cluster = await died(first)
    async with cluster.coordinator() as coordinator:
        cluster.die_after(second)
        await until_death(cluster, coordinator.recover(take_over=True, exclude=(DEAD,)))
    cluster.bring_back()
    cluster.nodes[DEAD].manual_stop = True
    cluster.power_on(DEAD)

    after = await recovered(cluster)

    assert exit_code(after) in (ExitCode.DONE, ExitCode.ROLLED_BACK), after
    assert_over(cluster, *set(lives(cluster).values()))


@pytest.mark.parametrize("silent", LEFT)
@pytest.mark.parametrize("first", range(3 * 3, 3 * 6))
@pytest.mark.parametrize("second", range(1, 6))
async def test_or_it_is_back_and_another_one_dies(first, second, silent):
    """Who recovered without it may have sent Commit to the one that is silent now: its own answer, that it
    was not told to start, says nothing of that."""
    cluster = await died(first)
    async with cluster.coordinator() as coordinator:
        cluster.die_after(second)
        await until_death(cluster, coordinator.recover(take_over=True, exclude=(DEAD,)))
    cluster.bring_back()
    come_back(cluster)
    cluster.power_off(silent)

    result = await recovered(cluster, silent)
    cluster.nodes[silent].manual_stop = True
    cluster.power_on(silent)
    after = await recovered(cluster)

    assert exit_code(result) in (ExitCode.DONE, ExitCode.ROLLED_BACK), result
    assert exit_code(after) in (ExitCode.DONE, ExitCode.ROLLED_BACK), after
    assert_over(cluster, *set(lives(cluster).values()))


async def test_a_coordinator_that_was_turning_back_is_followed():
    cluster = FakeCluster()
    cluster.script("node-b", "start", NodeFailure(Reason.CM_CTL_FAILED, "no"), times=ALWAYS)
    cluster.vanish(DEAD, at="abort")
    async with cluster.coordinator() as coordinator:
        plan = await coordinator.plan(NEW, BY_NODE)
        cut_short = await coordinator.replace(plan, NEW)
    assert cut_short.verdict is Verdict.IN_DOUBT
    cluster.bring_back()
    cluster.power_off(DEAD)

    result = await recovered(cluster, DEAD, prefer=Choice.FINISH)

    assert result.verdict is Verdict.ROLLED_BACK


async def test_only_the_node_that_is_back_is_stopped_where_it_was_rolled_back_without_it():
    cluster = await died(3 * 4 + 1)
    await recovered(cluster, DEAD)
    starts = {name: cluster.nodes[name].starts for name in LEFT}
    cluster.power_on(DEAD)  # nobody kept om_monitor from starting CM, but Stop was carried out there
    calls = len(cluster.calls)

    result = await recovered(cluster)

    assert (result.verdict, exit_code(result)) == (Verdict.ROLLED_BACK, ExitCode.ROLLED_BACK)
    assert {node for _, node in cluster.calls[calls:]} == {DEAD}
    assert {name: cluster.nodes[name].starts for name in LEFT} == starts
    assert_over(cluster, OLD.digest)


async def test_cm_is_not_started_with_a_set_that_the_others_have_no_more():
    cluster = await died(3 * 4 + 1)
    await recovered(cluster, DEAD)
    for name in LEFT:  # somebody has given both another one since, without the node that is away
        node = cluster.nodes[name]
        cluster.agents[name].state = type(cluster.agents[name].state)(
            fence=cluster.agents[name].state.fence, tombstones=cluster.agents[name].state.tombstones
        )
        node.live = FakeSet.of(LATER, name)
        node.loaded = node.live
        cluster._digests.clear()
    come_back(cluster)

    result = await recovered(cluster)

    assert exit_code(result) is ExitCode.IN_DOUBT
    assert not cluster.nodes[DEAD].running
    assert phases(cluster)[DEAD] is Phase.NONE
    assert lives(cluster)[DEAD] == OLD.digest


async def test_nor_are_the_others_stopped_for_it_where_cm_of_one_is_down():
    """They have another set by now than it had: what it is brought back to would start nowhere."""
    cluster = await died(3 * 4 + 1)
    await recovered(cluster, DEAD)
    for name in LEFT:
        cluster.nodes[name].live = cluster.nodes[name].loaded = FakeSet.of(LATER, name)
    cluster.nodes["node-b"].stop()
    cluster.check_invariants = lambda: None
    come_back(cluster)

    await recovered(cluster)

    assert cluster.nodes["node-a"].running
    assert cluster.nodes["node-a"].loaded == cluster.nodes["node-a"].live
    assert not cluster.nodes[DEAD].running
    assert lives(cluster)[DEAD] == OLD.digest


async def behind(cluster: FakeCluster) -> list[tuple[str, str]]:
    """What status says of nodes that are away."""
    async with cluster.coordinator() as coordinator:
        shown = await coordinator.status()
    told = documents.status(shown)["findings"]
    return [(each["node"], each["cause"]) for each in told if each["code"] == Reason.NODES_EXCLUDED]


async def test_status_tells_of_it_as_long_as_it_is_away():
    cluster = await died(3 * 4)
    (name,) = {each.state.transaction.transaction_id for each in cluster.agents.values()}
    assert await behind(cluster) == []  # in doubt: that says more
    await recovered(cluster, DEAD)

    ((node, cause),) = await behind(cluster)

    assert node == DEAD
    assert f"transaction {name}, which was rolled back" in cause
    come_back(cluster)
    assert await behind(cluster) == []
    await recovered(cluster)
    assert await behind(cluster) == []


async def test_status_tells_of_it_after_cm_of_the_others_was_only_started():
    cluster = await died(3 * 4)
    await recovered(cluster, DEAD)
    cluster.nodes["node-a"].loaded = None
    cluster.nodes["node-a"].manual_stop = True

    result = await recovered(cluster, DEAD)

    assert result.verdict is Verdict.NOTHING_DONE
    assert cluster.nodes["node-a"].loaded == cluster.nodes["node-a"].live
    assert [node for node, _ in await behind(cluster)] == [DEAD]


async def test_status_tells_of_it_until_a_transaction_has_it_again():
    cluster = await died(3 * 4)
    await recovered(cluster, DEAD)
    async with cluster.coordinator() as coordinator:
        without = ReplaceOptions(restart=RestartScope.NODE, exclude=(DEAD,))
        plan = await coordinator.plan(LATER, without)
        await coordinator.replace(plan, LATER)
    assert [node for node, _ in await behind(cluster)] == [DEAD]
    come_back(cluster)
    await recovered(cluster, bundle=LATER)
    assert_over(cluster, LATER.digest)

    cluster.power_off(DEAD)

    assert await behind(cluster) == []


async def test_a_new_replacement_may_leave_it_out_and_it_is_brought_over_later():
    cluster = await died(3 * 4 + 1)
    await recovered(cluster, DEAD)
    async with cluster.coordinator() as coordinator:
        plan = await coordinator.plan(LATER, ReplaceOptions(restart=RestartScope.NODE, exclude=(DEAD,)))
        assert plan.feasible, plan
        assert (await coordinator.replace(plan, LATER)).verdict is Verdict.COMMITTED
    come_back(cluster)

    result = await recovered(cluster, bundle=LATER)

    assert (result.verdict, exit_code(result)) == (Verdict.COMMITTED, ExitCode.DONE)
    assert_over(cluster, LATER.digest)


async def test_one_that_is_gone_for_good_is_waited_for_no_more():
    cluster = await died(3 * 5)
    await recovered(cluster, DEAD)
    waiting = await recovered(cluster)
    assert exit_code(waiting) is ExitCode.UNREACHABLE
    assert "waiting for node-c" in waiting.why
    cluster.remove(DEAD)

    result = await recovered(cluster)

    assert (result.verdict, exit_code(result)) == (Verdict.COMMITTED, ExitCode.DONE)
    assert_over(cluster, NEW.digest)


@pytest.mark.parametrize("stages", [2, 3, 4])
async def test_one_that_is_gone_for_good_keeps_no_other_one_in_doubt_that_was_rolled_back_without_too(stages):
    """It cannot be asked any more, nor need it be: the others remember how it ended."""
    four = (*LEFT, DEAD, "node-d")
    cluster = await died(4 * stages, names=four)
    cluster.power_off("node-d")
    assert (await recovered(cluster, DEAD, "node-d")).verdict is Verdict.ROLLED_BACK
    cluster.remove(DEAD)
    cluster.power_on("node-d", cm=stages == 2)

    result = await recovered(cluster)

    assert exit_code(result) is ExitCode.ROLLED_BACK, result
    assert_over(cluster, OLD.digest)


async def test_a_new_machine_keeps_no_other_one_in_doubt_that_was_rolled_back_without_too():
    """It remembers nothing, beside one that has swapped: but the others remember how that ended."""
    cluster = await died(4 * 4, names=(*LEFT, DEAD, "node-d"))
    cluster.power_off("node-d")
    assert (await recovered(cluster, DEAD, "node-d")).verdict is Verdict.ROLLED_BACK
    agent, node = cluster.agents[DEAD], cluster.nodes[DEAD]
    agent.state, node.live, node.stage = type(agent.state)(), FakeSet.of(OLD, "new machine"), None
    node.manual_stop = False
    cluster.power_on(DEAD)
    cluster.power_on("node-d", cm=False)

    result = await recovered(cluster)

    assert exit_code(result) is ExitCode.ROLLED_BACK, result
    assert_over(cluster, OLD.digest)


async def test_a_new_machine_in_its_place_joins_with_the_bundle():
    cluster = await died(3 * 5)
    await recovered(cluster, DEAD)
    agent, node = cluster.agents[DEAD], cluster.nodes[DEAD]
    agent.state = type(agent.state)()
    node.live, node.stage = FakeSet.of(OLD, "new machine"), None
    come_back(cluster)

    refused = await recovered(cluster)
    result = await recovered(cluster, bundle=NEW)

    assert exit_code(refused) is ExitCode.REFUSED
    assert "--bundle" in refused.failures[0].remedy
    assert (result.verdict, exit_code(result)) == (Verdict.COMMITTED, ExitCode.DONE)
    assert_over(cluster, NEW.digest)


# Refused.


async def refused(cluster: FakeCluster, *exclude: str, **how: object) -> Result:
    before, calls = cluster.snapshot(), len(cluster.calls)
    result = await recovered(cluster, *exclude, **how)
    assert len(cluster.calls) == calls
    assert cluster.snapshot() == before
    return result


async def test_a_node_whose_agent_answers_is_not_left_out():
    cluster = await died(3 * 5)
    cluster.nodes[DEAD].manual_stop = True
    cluster.power_on(DEAD)

    result = await refused(cluster, DEAD)

    assert exit_code(result) is ExitCode.REFUSED
    assert [(found.code, found.node) for found in result.findings] == [("EXCLUDED_ANSWERS", DEAD)]


async def test_nor_one_whose_cm_server_is_seen():
    cluster = await died(3 * 5)
    cluster.nodes[DEAD].loaded = cluster.nodes[DEAD].live

    result = await refused(cluster, DEAD)

    assert exit_code(result) is ExitCode.REFUSED
    assert [found.code for found in result.findings] == ["EXCLUDED_RUNS"]


async def test_nor_one_that_the_inventory_lacks_nor_with_cm_of_all_nodes():
    cluster = await died(3 * 5)

    result = await refused(cluster, DEAD, "node-x", restart=RestartScope.CLUSTER)

    assert exit_code(result) is ExitCode.REFUSED
    assert {found.code for found in result.findings} == {"EXCLUDED_UNKNOWN", "EXCLUDED_RESTART"}


async def test_a_minority_does_not_decide():
    cluster = await died(3 * 5)
    cluster.power_off("node-b")

    result = await refused(cluster, DEAD, "node-b")

    assert exit_code(result) is ExitCode.IN_DOUBT
    assert all("fewer than half" in error.message for error in result.failures)


async def test_but_it_follows_a_decision_that_it_knows():
    cluster = await died(3 * 5 + 3)
    cluster.power_off("node-b")

    result = await recovered(cluster, DEAD, "node-b")

    assert (result.verdict, result.waiting) == (Verdict.COMMITTED, ("node-b", DEAD))


async def test_where_nobody_knows_how_far_it_had_come_nothing_is_touched():
    """An agent of an older release, on which somebody has tried to recover."""
    cluster = await died(3 * 5)
    for name in LEFT:
        agent = cluster.agents[name]
        agent.state = type(agent.state)(
            fence=type(agent.state.fence)(7),
            owner=agent.state.owner,
            phase=agent.state.phase,
            transaction=agent.state.transaction,
        )

    result = await refused(cluster, DEAD)

    assert exit_code(result) is ExitCode.IN_DOUBT
    assert {error.node for error in result.failures} == set(LEFT)
    assert all("bring them back" in error.remedy for error in result.failures)


async def test_another_node_that_is_away_is_refused():
    cluster = await died(3 * 5)
    cluster.vanish("node-b", at="get_node")

    result = await refused(cluster, DEAD)

    assert exit_code(result) in (ExitCode.UNREACHABLE, ExitCode.REFUSED)


async def test_an_agent_that_cannot_remember_keeps_the_others_from_acting(monkeypatch):
    cluster = await died(3 * 5)
    agent = cluster.agents["node-b"]
    real = agent.acquire

    async def of_an_older_release(command, *, excluded, **how):
        assert excluded == (DEAD,)
        return await real(command, **how)

    monkeypatch.setattr(agent, "acquire", of_an_older_release)

    result = await recovered(cluster, DEAD)

    assert exit_code(result) is ExitCode.IN_DOUBT
    assert "upgrade it" in result.failures[0].remedy
    assert {phases(cluster)[name] for name in LEFT} == {Phase.SWAPPED}


async def test_cm_is_not_started_on_two_sets_although_one_node_is_left_out():
    """One has rolled back; the other one's journal is lost, and its new set was left alone."""
    cluster = FakeCluster()
    cluster.script("node-b", "start", NodeFailure(Reason.CM_CTL_FAILED, "no"), times=ALWAYS)
    async with cluster.coordinator() as coordinator:
        plan = await coordinator.plan(NEW, BY_NODE)
        cluster.die_after(3 * 5 + 3)
        assert await until_death(cluster, coordinator.replace(plan, NEW)) is None
    cluster.bring_back()
    cluster.power_off(DEAD)
    cluster.check_invariants = lambda: None
    cluster.agents["node-b"].state = type(cluster.agents["node-b"].state)()
    cluster.nodes["node-b"].stage = None
    assert phases(cluster)["node-a"] is Phase.ABORTED
    assert {lives(cluster)[name] for name in LEFT} == {OLD.digest, NEW.digest}

    result = await recovered(cluster, DEAD)

    assert exit_code(result) is ExitCode.IN_DOUBT
    assert not any(cluster.nodes[name].running for name in LEFT)


async def test_with_nothing_in_doubt_cm_is_started_on_those_that_are_left():
    cluster = FakeCluster()
    cluster.power_off(DEAD)
    for name in LEFT:
        cluster.nodes[name].stop()

    result = await recovered(cluster, DEAD)

    assert result.verdict is Verdict.NOTHING_DONE
    assert all(cluster.nodes[name].running for name in LEFT)


async def test_a_lost_reply_of_the_commit_is_no_loss():
    cluster = await died(3 * 5)
    cluster.script("node-b", "commit", Fault.LOST_REPLY, times=ALWAYS)
    first = await recovered(cluster, DEAD)
    cluster.bring_back()
    cluster.power_off(DEAD)

    result = await recovered(cluster)

    assert first.verdict is Verdict.IN_DOUBT
    assert "waiting for node-c" in result.why
    assert {phases(cluster)[name] for name in LEFT} == {Phase.COMMITTED}
