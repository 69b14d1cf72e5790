"""A replacement without a node that is dead: refused unless asked for, and kept open until it is back."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from gausscert_common.errors import Denied, InvalidInput, NodeFailure, Reason, Unreachable
from gausscert_common.model import ClusterState
from gausscert_common.protocol.coordinator import Verdict
from gausscert_common.protocol.exclusion import Return
from gausscert_common.protocol.recovery import Choice
from gausscert_common.protocol.state import NodeState
from gausscert_common.protocol.words import Outcome, Phase, RestartScope, SslWish
from gausscert_coordinator.exit_codes import ExitCode, exit_code
from gausscert_coordinator.interrupt import Interrupt
from gausscert_coordinator.report import ReplaceOptions, Result
from support.fake_agents import Fault
from support.fake_cluster import ALWAYS, FakeCluster, until_death
from support.fake_node import FakeSet, bundle, sha

NEW, OLD, OTHER = bundle("new"), bundle("old"), bundle("other")
OLD_CA = sha(OLD.pem["cacert.pem"])
DEAD = "node-c"
LEFT = ("node-a", "node-b")
WITHOUT = ReplaceOptions(restart=RestartScope.NODE, exclude=(DEAD,))
FORWARD = 6 * 2
"""Acquire, prepare, stop, swap, start and commit on two nodes."""
JOIN = 7
"""And purge, on one."""


def degraded(**changes: object) -> FakeCluster:
    cluster = FakeCluster(**changes)
    cluster.power_off(DEAD)
    return cluster


async def replaced(cluster: FakeCluster, options: ReplaceOptions = WITHOUT, **how: object) -> Result:
    async with cluster.coordinator() as coordinator:
        plan = await coordinator.plan(NEW, options)
        assert plan.feasible, plan
        return await coordinator.replace(plan, NEW, **how)


async def recovered(cluster: FakeCluster, given=None, prefer=Choice.ROLL_BACK, **how: object) -> Result:
    async with cluster.coordinator() as coordinator:
        return await coordinator.recover(prefer, True, bundle=given, **how)


async def standing() -> tuple[FakeCluster, str]:
    """Committed without the dead node, which is still dead."""
    cluster = degraded()
    result = await replaced(cluster)
    assert result.verdict is Verdict.COMMITTED
    return cluster, result.transaction_id


def lives(cluster: FakeCluster) -> dict[str, str]:
    return {name: each.live.bundle_digest for name, each in cluster.nodes.items()}


def phases(cluster: FakeCluster) -> dict[str, Phase]:
    return {name: each.state.phase for name, each in cluster.agents.items()}


def assert_over(cluster: FakeCluster, live: str = NEW.digest) -> None:
    """One set everywhere, nothing in flight, CM runs with it."""
    assert set(lives(cluster).values()) == {live}
    assert set(phases(cluster).values()) == {Phase.NONE}
    for name, node in cluster.nodes.items():
        assert node.stage is None, name
        assert node.loaded == node.live, name
        assert not node.manual_stop, name


# Begun.


async def test_a_dead_node_refuses_before_anybody_is_touched():
    cluster = degraded()
    before = cluster.snapshot()

    async with cluster.coordinator() as coordinator:
        plan = await coordinator.plan(NEW)
        result = await coordinator.replace(plan, NEW)

    assert exit_code(plan) is exit_code(result) is ExitCode.UNREACHABLE
    assert [error.node for error in plan.unreachable] == [DEAD]
    assert cluster.calls == []
    assert cluster.snapshot() == before


async def test_with_the_override_it_is_committed_on_all_others_and_stands_there():
    cluster = degraded()
    before = lives(cluster)

    result = await replaced(cluster)

    assert (result.verdict, exit_code(result), result.failures) == (Verdict.COMMITTED, ExitCode.DONE, ())
    assert result.waiting == (DEAD,)
    assert [(each.code, each.node) for each in result.findings] == [("NODES_EXCLUDED", DEAD)]
    assert lives(cluster) == dict.fromkeys(LEFT, NEW.digest) | {DEAD: before[DEAD]}
    for name in LEFT:
        state, node = cluster.agents[name].state, cluster.nodes[name]
        assert state.phase is Phase.COMMITTED
        assert state.transaction.participants == LEFT
        assert state.transaction.excluded == (DEAD,)
        assert node.loaded == node.live
        assert node.stage.bundle_digest == OLD.digest
        assert node.retired == []
        assert not cluster.agents[name].lease_holder
    assert {node for _, node in cluster.calls} == set(LEFT)
    assert not {rpc for rpc, _ in cluster.calls} & {"purge", "clean", "abort"}
    assert {each.served.cm_node_id for each in result.proof} == {1, 2}


async def test_the_plan_tells_what_it_means():
    cluster = degraded()
    async with cluster.coordinator() as coordinator:
        plan = await coordinator.plan(NEW, WITHOUT)

    assert plan.feasible
    assert [error.node for error in plan.excluded] == [DEAD]
    assert plan.absent == {3}
    said = {(each.code, each.severity.value, each.node) for each in plan.findings}
    assert said == {("NODE_EXCLUDED", "warning", DEAD), ("CLUSTER_NOT_NORMAL", "warning", "")}


async def test_the_loss_of_the_majority_is_told():
    cluster = FakeCluster(names=("node-a", "node-c"))
    cluster.power_off(DEAD)
    cluster.nodes["node-a"].stop()
    options = replace(WITHOUT, restart=RestartScope.NONE)

    async with cluster.coordinator() as coordinator:
        plan = await coordinator.plan(NEW, options)

    assert plan.feasible
    assert {each.code for each in plan.findings} == {"NODE_EXCLUDED", "EXCLUDED_QUORUM"}
    assert "1 of 2" in next(each.cause for each in plan.findings if each.code == "EXCLUDED_QUORUM")


async def test_everything_that_speaks_against_leaving_out_is_said_at_once():
    cluster = degraded()
    options = ReplaceOptions(exclude=("node-a", "node-b", DEAD, "node-x"))

    async with cluster.coordinator() as coordinator:
        plan = await coordinator.plan(NEW, options)
        result = await coordinator.replace(plan, NEW)

    wrong = [(each.code, each.node) for each in plan.errors]
    assert sorted(wrong) == [
        ("EXCLUDED_ALL", ""),
        ("EXCLUDED_ANSWERS", "node-a"),
        ("EXCLUDED_ANSWERS", "node-b"),
        ("EXCLUDED_RESTART", ""),
        ("EXCLUDED_UNKNOWN", "node-x"),
    ]
    assert exit_code(result) is ExitCode.REFUSED
    assert cluster.calls == []


async def test_an_agent_that_refuses_to_answer_is_one_that_answers():
    cluster = FakeCluster()
    denied = Denied(Reason.PERMISSION_DENIED, "may not", node=DEAD)
    cluster.script(DEAD, "get_node", denied, times=ALWAYS)

    async with cluster.coordinator() as coordinator:
        plan = await coordinator.plan(NEW, WITHOUT)

    assert ("EXCLUDED_ANSWERS", DEAD) in [(each.code, each.node) for each in plan.errors]
    assert plan.unreachable == (denied,)


async def test_cm_that_runs_where_only_the_agent_is_dead_refuses():
    cluster = FakeCluster()
    cluster.vanish(DEAD, at="get_node")

    async with cluster.coordinator() as coordinator:
        plan = await coordinator.plan(NEW, WITHOUT)

    assert [each.code for each in plan.errors] == ["EXCLUDED_RUNS"]
    assert "node 3" in plan.errors[0].cause


async def test_each_excluded_node_stands_for_one_node_of_cm_only():
    cluster = FakeCluster(names=("node-a", "node-b", "node-c", "node-d", "node-e"))
    cluster.power_off(DEAD)
    cluster.power_off("node-d")
    cluster.names = tuple(name for name in cluster.names if name != "node-d")

    async with cluster.coordinator() as coordinator:
        plan = await coordinator.plan(NEW, WITHOUT)

    assert {each.code for each in plan.errors} == {"NODE_NOT_IN_INVENTORY"}


async def test_more_nodes_left_out_than_cm_misses():
    cluster = FakeCluster(names=("node-a", "node-b", "node-c", "node-d", "node-e"))
    cluster.power_off(DEAD)
    cluster.power_off("node-d")
    del cluster.nodes["node-d"]

    async with cluster.coordinator() as coordinator:
        plan = await coordinator.plan(NEW, replace(WITHOUT, exclude=(DEAD, "node-d")))

    assert {each.code for each in plan.errors} == {"NODE_NOT_IN_CLUSTER"}


async def test_a_node_that_is_back_before_it_begins_refuses():
    cluster = degraded()
    async with cluster.coordinator() as coordinator:
        plan = await coordinator.plan(NEW, WITHOUT)
        cluster.power_on(DEAD)
        before = cluster.snapshot()
        result = await coordinator.replace(plan, NEW)

    assert (result.verdict, exit_code(result)) == (Verdict.NOTHING_DONE, ExitCode.REFUSED)
    assert [(error.node, error.reason) for error in result.failures] == [(DEAD, Reason.NODES_EXCLUDED)]
    assert cluster.calls == []
    assert cluster.snapshot() == before


async def test_a_node_that_comes_back_in_the_middle_with_the_old_set_turns_it_back():
    cluster = degraded()

    def come_back(rpc: str, node: str) -> None:
        if rpc == "start" and DEAD in cluster._off:
            cluster._off.discard(DEAD)
            cluster.nodes[DEAD].start()

    cluster.on_command = come_back
    result = await replaced(cluster)

    assert result.verdict is Verdict.ROLLED_BACK
    assert "although its node is excluded" in str(result.failures[0])
    assert_over(cluster, OLD.digest)


async def test_a_cluster_that_is_worse_than_degraded_afterwards_is_turned_back(monkeypatch):
    cluster = degraded()
    real = cluster.state_seen_by
    monkeypatch.setattr(
        cluster,
        "state_seen_by",
        lambda node: (
            replace(real(node), cluster_state="Unavailable")
            if node.live.bundle_digest == NEW.digest
            else real(node)
        ),
    )

    result = await replaced(cluster)

    assert result.verdict is Verdict.ROLLED_BACK
    assert all("says Unavailable, not Normal or Degraded" in error.message for error in result.failures)


async def test_an_interruption_turns_it_back_on_the_participants():
    cluster = degraded()
    interrupt = Interrupt()
    cluster.on_command = lambda rpc, node: interrupt.request() if rpc == "swap" else None

    result = await replaced(cluster, interrupt=interrupt)

    assert result.verdict is Verdict.ROLLED_BACK
    assert lives(cluster) == dict.fromkeys(cluster.names, OLD.digest)
    assert set(phases(cluster).values()) == {Phase.NONE}


# While it stands.


async def test_a_new_replacement_is_refused_and_names_it():
    cluster, name = await standing()
    before, calls = cluster.snapshot(), len(cluster.calls)

    async with cluster.coordinator() as coordinator:
        for options in (ReplaceOptions(), WITHOUT, replace(WITHOUT, ssl_wish=SslWish.OFF)):
            plan = await coordinator.plan(OTHER, options)
            result = await coordinator.replace(plan, OTHER)
            assert exit_code(plan) is exit_code(result) is ExitCode.REFUSED
            assert {error.reason for error in result.failures} == {Reason.NODES_EXCLUDED}
            assert all(name in error.message and DEAD in error.message for error in result.failures)
            assert all("gausscert recover --bundle DIR" in error.remedy for error in result.failures)

    assert len(cluster.calls) == calls
    assert cluster.snapshot() == before


async def test_recover_waits_for_the_dead_node_and_says_so():
    cluster, name = await standing()
    before, calls = cluster.snapshot(), len(cluster.calls)

    for given in (None, NEW):
        result = await recovered(cluster, given)

        assert (result.verdict, exit_code(result)) == (Verdict.NOTHING_DONE, ExitCode.UNREACHABLE)
        assert [error.node for error in result.failures] == [DEAD]
        assert f"transaction {name} is committed, waiting for {DEAD}" in result.why
    assert len(cluster.calls) == calls
    assert cluster.snapshot() == before


async def test_recover_starts_cm_again_on_participants_that_came_up_without_it():
    cluster, _ = await standing()
    cluster.nodes["node-a"].stop()

    result = await recovered(cluster)

    assert result.verdict is Verdict.COMMITTED
    assert exit_code(result) is ExitCode.UNREACHABLE
    assert cluster.nodes["node-a"].loaded == cluster.nodes["node-a"].live
    assert phases(cluster)["node-a"] is Phase.COMMITTED


async def test_another_node_that_is_away_is_not_waited_for_but_refused():
    cluster, _ = await standing()
    cluster.vanish("node-b", at="get_node")

    result = await recovered(cluster, NEW)

    assert exit_code(result) is ExitCode.UNREACHABLE
    assert {error.node for error in result.failures} == {"node-b"}


async def test_cm_of_all_nodes_at_once_is_refused():
    cluster, _ = await standing()
    result = await recovered(cluster, restart=RestartScope.CLUSTER)

    assert exit_code(result) is ExitCode.REFUSED
    assert "reach for those, too" in result.failures[0].message


# Back.


@pytest.mark.parametrize("cm", [True, False], ids=["CM started by itself", "kept stopped by hand"])
async def test_a_node_that_is_back_is_brought_over_and_then_all_is_purged(cm):
    cluster, name = await standing()
    cluster.nodes[DEAD].manual_stop = not cm
    cluster.power_on(DEAD)
    before = len(cluster.calls)

    result = await recovered(cluster, NEW)

    assert (result.verdict, exit_code(result), result.failures) == (Verdict.COMMITTED, ExitCode.DONE, ())
    assert result.waiting == ()
    assert_over(cluster)
    assert "NODES_EXCLUDED" not in {each.code for each in result.findings}
    assert ("JOIN_RUNS_OLD" in {each.code for each in result.findings}) is cm
    assert {agent.state.outcome_of(name) for agent in cluster.agents.values()} == {Outcome.COMMITTED, None}
    joined = [rpc for rpc, node in cluster.calls[before:] if node == DEAD]
    assert joined == ["acquire", "prepare", "stop", "swap", "start", "commit", "purge"]
    first_purge = cluster.calls.index(("purge", "node-a"))
    assert cluster.calls.index(("purge", DEAD)) < first_purge


async def test_every_node_sees_the_joined_one_serve_before_it_is_committed():
    cluster, _ = await standing()
    cluster.power_on(DEAD)
    seen: list[int] = []
    cluster.on_command = lambda rpc, node: (
        seen.append(sum(read == ("probe", "node-a") for read in cluster.reads)) if node == DEAD else None
    )
    await recovered(cluster, NEW)

    start, commit = seen[4], seen[5]
    assert commit - start >= 2


async def test_its_switch_becomes_that_of_the_others():
    cluster = degraded()
    await replaced(cluster, replace(WITHOUT, ssl_wish=SslWish.OFF))
    cluster.power_on(DEAD)

    await recovered(cluster, NEW)

    assert_over(cluster)
    assert not cluster.nodes[DEAD].ssl_loaded


async def test_without_the_bundle_nothing_is_touched():
    cluster, name = await standing()
    cluster.power_on(DEAD)
    before, calls = cluster.snapshot(), len(cluster.calls)

    result = await recovered(cluster)

    assert exit_code(result) is ExitCode.REFUSED
    assert [(error.node, error.reason) for error in result.failures] == [(DEAD, Reason.ARGUMENT_INVALID)]
    assert f"--bundle DIR, with the bundle of transaction {name}" in result.failures[0].remedy
    assert len(cluster.calls) == calls
    assert cluster.snapshot() == before


async def test_another_bundle_is_refused_with_both_digests():
    cluster, _ = await standing()
    cluster.power_on(DEAD)
    before, calls = cluster.snapshot(), len(cluster.calls)

    result = await recovered(cluster, OTHER)

    assert exit_code(result) is ExitCode.REFUSED
    assert OTHER.digest in result.failures[0].message
    assert NEW.digest in result.failures[0].message
    assert len(cluster.calls) == calls
    assert cluster.snapshot() == before


@pytest.mark.parametrize(
    ("rpc", "fault"),
    [
        ("prepare", Fault.REFUSED),
        ("prepare", Fault.FAILED),
        ("stop", Fault.FAILED),
        ("swap", Fault.FAILED),
        ("start", Fault.FAILED),
    ],
)
async def test_a_join_that_fails_is_rolled_back_there_alone_and_the_exclusion_stands(rpc, fault):
    cluster, name = await standing()
    cluster.power_on(DEAD)
    untouched = {node: state for node, state in cluster.snapshot().items() if node != DEAD}
    cluster.script(DEAD, rpc, fault, times=ALWAYS)

    result = await recovered(cluster, NEW)

    touched = rpc != "prepare"
    assert result.verdict is (Verdict.ROLLED_BACK if touched else Verdict.NOTHING_DONE)
    assert {node: state for node, state in cluster.snapshot().items() if node != DEAD} == untouched
    assert lives(cluster)[DEAD] == OLD.digest
    assert cluster.agents[DEAD].state.phase is Phase.NONE
    if touched:  # CM starts there with the cluster's set only
        assert "start" not in [each for each, node in cluster.calls if node == DEAD][-1:]
        assert cluster.nodes[DEAD].loaded is None or rpc == "stop"
        assert [each.code for each in result.findings if each.node == DEAD][-1] == "NODES_EXCLUDED"

    cluster.bring_back()
    again = await recovered(cluster, NEW)
    assert again.verdict is Verdict.COMMITTED
    assert_over(cluster)
    assert cluster.agents["node-a"].state.outcome_of(name) is Outcome.COMMITTED


async def test_one_that_was_repaired_by_hand_has_joined(monkeypatch):
    cluster, _ = await standing()
    model = cluster.nodes["node-a"].live
    cluster.nodes[DEAD].live = replace(model, digest="copied by hand")
    outside = cluster._outside
    monkeypatch.setattr(cluster, "_outside", lambda node, out=None: node != DEAD and outside(node, out))
    cluster.power_on(DEAD)

    result = await recovered(cluster)

    assert result.verdict is Verdict.COMMITTED
    assert_over(cluster)


async def test_one_that_is_gone_for_good_is_no_longer_waited_for():
    cluster, _ = await standing()
    cluster.remove(DEAD)

    result = await recovered(cluster)

    assert (result.verdict, exit_code(result)) == (Verdict.COMMITTED, ExitCode.DONE)
    assert_over(cluster)


async def test_one_that_cm_still_lists_is_not_gone():
    cluster, _ = await standing()
    before, calls = cluster.snapshot(), len(cluster.calls)
    cluster.remove(DEAD, cm_too=False)

    result = await recovered(cluster)

    assert exit_code(result) is ExitCode.REFUSED
    assert [error.node for error in result.failures] == [DEAD]
    assert "CM still lists" in result.failures[0].message
    assert len(cluster.calls) == calls
    assert cluster.snapshot() == before


async def test_those_that_are_back_are_brought_over_and_the_others_are_waited_for():
    names = ("node-a", "node-b", "node-c", "node-d", "node-e")
    cluster = degraded(names=names)
    cluster.power_off("node-e")
    await replaced(cluster, replace(WITHOUT, exclude=(DEAD, "node-e")))
    cluster.power_on(DEAD)

    result = await recovered(cluster, NEW)

    assert result.verdict is Verdict.COMMITTED
    assert exit_code(result) is ExitCode.UNREACHABLE
    assert (result.waiting, [error.node for error in result.failures]) == (("node-e",), ["node-e"])
    assert lives(cluster) == dict.fromkeys(names, NEW.digest) | {"node-e": OLD.digest}
    assert phases(cluster)["node-a"] is Phase.COMMITTED
    assert cluster.nodes["node-a"].retired == []

    cluster.power_on("node-e")
    assert (await recovered(cluster, NEW)).verdict is Verdict.COMMITTED
    assert_over(cluster)


# In doubt.


async def dies_while_replacing(point: int) -> FakeCluster:
    cluster = degraded()
    async with cluster.coordinator() as coordinator:
        plan = await coordinator.plan(NEW, WITHOUT)
        cluster.die_after(point)
        await until_death(cluster, coordinator.replace(plan, NEW))
    cluster.bring_back()
    return cluster


@pytest.mark.parametrize(
    ("point", "prefer", "back"), list(itertools.product(range(FORWARD + 1), Choice, [False, True]))
)
async def test_from_every_point_of_a_replacement_without_a_node(point, prefer, back):
    """Recovered by its participants alone, then joined, whether or not the node is back by then."""
    cluster = await dies_while_replacing(point)
    if back:
        cluster.power_on(DEAD)

    result = await recovered(cluster, NEW, prefer)
    if not back:
        cluster.power_on(DEAD)
        if result.verdict is Verdict.COMMITTED or cluster.agents["node-a"].state.transaction is not None:
            result = await recovered(cluster, NEW, prefer)

    committed = lives(cluster)["node-a"] == NEW.digest
    assert_over(cluster, NEW.digest if committed else OLD.digest)
    assert committed is (result.verdict is Verdict.COMMITTED)


@pytest.mark.parametrize("point", [4, 5, 8, 9])
async def test_one_that_was_kept_down_is_started_when_what_it_was_left_out_of_is_rolled_back(point):
    """By the recovery that rolls it back; it needed another one."""
    cluster = await dies_while_replacing(point)
    cluster.nodes[DEAD].manual_stop = True
    cluster.power_on(DEAD)

    result = await recovered(cluster)

    assert (result.verdict, exit_code(result)) == (Verdict.ROLLED_BACK, ExitCode.ROLLED_BACK), result
    assert_over(cluster, OLD.digest)


async def test_but_not_beside_others_with_another_set():
    cluster = await dies_while_replacing(4)
    node = cluster.nodes[DEAD]
    node.manual_stop, node.live = True, FakeSet.of(bundle("another"), "by hand")
    cluster.power_on(DEAD)

    result = await recovered(cluster)

    assert result.verdict is Verdict.ROLLED_BACK
    assert node.loaded is None


async def dies_while_joining(point: int) -> tuple[FakeCluster, str]:
    cluster, name = await standing()
    cluster.power_on(DEAD)
    async with cluster.coordinator() as coordinator:
        cluster.die_after(point)
        await until_death(cluster, coordinator.recover(take_over=True, bundle=NEW))
    cluster.bring_back()
    return cluster, name


FINISHING = JOIN + 4 * 2
"""And acquire, commit, purge and start, on two."""


@pytest.mark.parametrize(("point", "prefer"), list(itertools.product(range(FINISHING + 1), Choice)))
async def test_from_every_point_of_a_join(point, prefer):
    cluster, name = await dies_while_joining(point)

    result = await recovered(cluster, NEW, prefer)

    assert result.verdict in (Verdict.COMMITTED, Verdict.NOTHING_DONE), result
    assert_over(cluster)
    assert cluster.agents["node-a"].state.outcome_of(name) is Outcome.COMMITTED


@pytest.mark.parametrize("point", range(JOIN))
async def test_a_join_in_doubt_is_settled_without_the_bundle_too(point):
    """It is rolled back, or finished where it was committed; CM starts there with the new set only."""
    cluster, _ = await dies_while_joining(point)
    old = cluster.nodes[DEAD].live.bundle_digest == OLD.digest
    ran = cluster.nodes[DEAD].loaded is not None

    await recovered(cluster)

    node = cluster.nodes[DEAD]
    if cluster.agents[DEAD].state.phase is Phase.NONE and node.live.bundle_digest == OLD.digest:
        assert node.loaded is None or (old and ran)
        assert phases(cluster)["node-a"] is Phase.COMMITTED
    else:
        assert_over(cluster)


async def test_what_the_node_was_in_when_it_went_away_is_settled_first():
    """It had prepared in an earlier transaction, of which the others never heard; later they left it out."""
    cluster = FakeCluster()
    cluster.script("node-a", "prepare", Fault.REFUSED)
    async with cluster.coordinator() as coordinator:
        plan = await coordinator.plan(OTHER)
        cluster.vanish(DEAD, at="abort")
        result = await coordinator.replace(plan, OTHER)
    assert result.verdict is Verdict.IN_DOUBT
    for name in LEFT:  # by hand of somebody who knows what he does
        cluster.agents[name].state = replace(cluster.agents[name].state, phase=Phase.NONE, transaction=None)
        cluster.nodes[name].stage = None
        cluster.agents[name].lease_until_s = 0.0
    cluster.power_off(DEAD)
    cluster.bring_back()
    replaced_without = await replaced(cluster)
    assert replaced_without.verdict is Verdict.COMMITTED
    cluster.power_on(DEAD)
    assert phases(cluster) == dict.fromkeys(LEFT, Phase.COMMITTED) | {DEAD: Phase.PREPARED}

    result = await recovered(cluster, NEW)

    assert result.verdict is Verdict.COMMITTED
    assert_over(cluster)
    assert cluster.agents[DEAD].state.outcome_of(replaced_without.transaction_id) is None


async def test_transactions_that_do_not_leave_each_other_out_stay_a_contradiction():
    cluster, _ = await standing()
    cluster.power_on(DEAD)
    told = cluster.agents["node-a"].state.transaction
    cluster.agents["node-b"].state = replace(
        cluster.agents["node-b"].state, transaction=replace(told, transaction_id="another-1")
    )
    before = cluster.snapshot()

    async with cluster.coordinator() as coordinator:
        result = await coordinator.recover(take_over=True, bundle=NEW)

    assert (result.verdict, exit_code(result)) == (Verdict.IN_DOUBT, ExitCode.IN_DOUBT)
    assert "different transactions" in result.failures[0].message
    assert cluster.snapshot() == before


async def test_status_tells_what_has_become_of_it():
    cluster, name = await standing()
    from gausscert_coordinator.cli import judge

    async def look():
        async with cluster.coordinator() as coordinator:
            return await coordinator.status()

    away = await look()
    (flight,) = judge.flights(away)
    assert (flight.transaction_id, flight.waits, flight.excluded) == (name, True, ((DEAD, Return.AWAY),))
    assert judge.status_code(away) is ExitCode.UNREACHABLE
    assert not judge.in_doubt(away)

    cluster.power_on(DEAD)
    back = await look()
    assert judge.flights(back)[0].excluded == ((DEAD, Return.BACK),)
    assert judge.status_code(back) is ExitCode.IN_DOUBT
    assert isinstance(away.nodes[2].error, Unreachable)


# Beside rollback, SSL as a transaction, accepted states and damaged journals.


@pytest.mark.parametrize("back", [False, True])
@pytest.mark.parametrize("begin", ["rollback", "ssl"])
async def test_no_other_transaction_begins_while_one_stands(begin, back):
    cluster, transaction_id = await standing()
    if back:
        cluster.power_on(DEAD, cm=False)
    before, calls = cluster.snapshot(), list(cluster.calls)

    async with cluster.coordinator() as coordinator:
        if begin == "ssl":
            plan = await coordinator.plan_ssl(SslWish.OFF)
            result = await coordinator.switch_ssl(plan)
        else:
            plan = await coordinator.plan_rollback()
            result = await coordinator.rollback(plan)

    assert [(each.node, each.reason) for each in plan.blocked] == [
        (name, Reason.NODES_EXCLUDED) for name in LEFT
    ]
    assert transaction_id in plan.blocked[0].message
    assert result.verdict is Verdict.NOTHING_DONE
    assert exit_code(result) is exit_code(plan) is ExitCode.REFUSED
    assert (cluster.snapshot(), cluster.calls) == (before, calls)


@pytest.mark.parametrize("begin", ["rollback", "ssl"])
async def test_only_a_replacement_leaves_nodes_out(begin):
    cluster = degraded()
    options = ReplaceOptions(restart=RestartScope.NODE, exclude=(DEAD,))

    async with cluster.coordinator() as coordinator:
        asked = (
            coordinator.plan_ssl(SslWish.OFF, options)
            if begin == "ssl"
            else coordinator.plan_rollback(None, options)
        )
        with pytest.raises(InvalidInput) as caught:
            await asked

    assert caught.value.reason is Reason.ARGUMENT_INVALID
    assert cluster.calls == []


async def test_after_the_join_the_way_back_is_open_on_every_node():
    cluster, transaction_id = await standing()
    old = {name: cluster.nodes[name].stage or cluster.nodes[name].live for name in cluster.nodes}
    cluster.power_on(DEAD)
    joined = await recovered(cluster, NEW)
    assert joined.verdict is Verdict.COMMITTED

    async with cluster.coordinator() as coordinator:
        plan = await coordinator.plan_rollback(transaction_id)
        result = await coordinator.rollback(plan)

    assert result.verdict is Verdict.COMMITTED, result
    assert {name: node.live for name, node in cluster.nodes.items()} == old
    assert_over(cluster, OLD.digest)


async def test_one_that_answers_with_a_damaged_journal_only_is_not_dead():
    cluster = degraded()
    async with cluster.coordinator() as coordinator:
        plan = await coordinator.plan(NEW, WITHOUT)
        assert plan.feasible
        cluster.power_on(DEAD)
        sealed = NodeFailure(Reason.JOURNAL_DAMAGED, "the journal is damaged", node=DEAD)
        cluster.script(DEAD, "get_node", sealed, times=ALWAYS)
        result = await coordinator.replace(plan, NEW)
        again = await coordinator.plan(NEW, WITHOUT)

    assert result.verdict is Verdict.NOTHING_DONE
    assert [(each.node, each.reason) for each in result.failures] == [(DEAD, Reason.NODES_EXCLUDED)]
    assert "EXCLUDED_ANSWERS" in {each.code for each in again.errors}
    assert not again.excluded
    assert cluster.calls == []


async def test_nobody_is_brought_over_or_purged_past_a_damaged_journal():
    cluster, _ = await standing()
    cluster.power_on(DEAD, cm=False)
    sealed = NodeFailure(Reason.JOURNAL_DAMAGED, "the journal is damaged", node=DEAD)
    cluster.script(DEAD, "get_node", sealed, times=ALWAYS)
    before, calls = cluster.snapshot(), list(cluster.calls)

    result = await recovered(cluster, NEW)

    assert result.verdict is Verdict.NOTHING_DONE
    # Beside it how it stands with all others: whoever decides by hand needs to know.
    told = [(each.node, each.reason) for each in result.failures]
    assert told == [(DEAD, Reason.JOURNAL_DAMAGED), *((name, Reason.IN_DOUBT) for name in LEFT)]
    assert all("phase COMMITTED of transaction" in each.message for each in result.failures[1:])
    assert (cluster.snapshot(), cluster.calls) == (before, calls)


@pytest.mark.parametrize("words", [("Normal", "Degraded"), ("Degraded", "Degraded"), ("Degraded", "Normal")])
async def test_an_accepted_state_asks_no_more_of_a_cluster_without_a_node(words, monkeypatch):
    """CM may find out between the plan and the proof that a node is dead: with --accept-state that must not
    refuse what goes through without."""
    cluster = degraded()
    said = [words[0]]
    monkeypatch.setattr(cluster, "state_seen_by", lambda prober: ClusterState(said[0]))

    async with cluster.coordinator() as coordinator:
        plan = await coordinator.plan(NEW, replace(WITHOUT, accept_state=True))
        assert plan.feasible, plan.errors
        said[0] = words[1]
        result = await coordinator.replace(plan, NEW)

    assert result.verdict is Verdict.COMMITTED, result.failures
    assert result.waiting == (DEAD,)


async def test_worse_than_without_the_node_is_turned_back_also_where_a_state_was_accepted(monkeypatch):
    cluster = degraded()
    monkeypatch.setattr(
        cluster,
        "state_seen_by",
        lambda prober: ClusterState("Unavailable" if prober.live.ca != OLD_CA else "Degraded"),
    )

    result = await replaced(cluster, replace(WITHOUT, accept_state=True))

    assert result.verdict is Verdict.ROLLED_BACK
    assert {lives(cluster)[name] for name in LEFT} == {OLD.digest}


async def test_who_joins_must_serve_also_where_a_state_was_accepted():
    cluster, _ = await standing()
    cluster.power_on(DEAD, cm=False)
    cluster.nodes[DEAD].deaf = True

    result = await recovered(cluster, NEW, accept_state=True)

    assert result.verdict is Verdict.ROLLED_BACK
    assert lives(cluster) == dict.fromkeys(LEFT, NEW.digest) | {DEAD: OLD.digest}
    assert cluster.nodes[DEAD].loaded is None
    assert set(phases(cluster).values()) == {Phase.COMMITTED, Phase.NONE}


async def test_it_joins_a_cluster_that_is_not_normal_where_that_is_accepted(monkeypatch):
    cluster, _ = await standing()
    cluster.power_on(DEAD, cm=False)
    monkeypatch.setattr(cluster, "state_seen_by", lambda prober: ClusterState("Unavailable"))
    refused = await recovered(cluster, NEW)
    assert refused.verdict is Verdict.ROLLED_BACK

    result = await recovered(cluster, NEW, accept_state=True)

    assert result.verdict is Verdict.COMMITTED, result.failures
    assert_over(cluster)


async def test_the_right_set_with_another_enable_ssl_has_not_joined(monkeypatch):
    cluster = FakeCluster(running=False)
    for node in cluster.nodes.values():
        node.ssl_server = node.ssl_agent = False
        node.start()
    cluster.power_off(DEAD)
    await replaced(cluster, replace(WITHOUT, ssl_wish=SslWish.ON))
    model = cluster.nodes["node-a"].live
    cluster.nodes[DEAD].live = replace(model, digest="copied by hand")
    cluster.power_on(DEAD, cm=False)

    lacking = await recovered(cluster)
    result = await recovered(cluster, NEW)

    assert (lacking.verdict, exit_code(lacking)) == (Verdict.NOTHING_DONE, ExitCode.REFUSED)
    assert result.verdict is Verdict.COMMITTED, result.failures
    assert cluster.nodes[DEAD].ssl_loaded
    assert_over(cluster)


async def test_a_second_join_of_one_transaction_keeps_what_the_first_has_retired():
    cluster = FakeCluster(names=("node-a", "node-b", DEAD, "node-d", "node-e"))
    cluster.power_off(DEAD)
    cluster.power_off("node-d")
    options = replace(WITHOUT, exclude=(DEAD, "node-d"))
    async with cluster.coordinator() as coordinator:
        plan = await coordinator.plan(NEW, options)
        first = await coordinator.replace(plan, NEW)
    assert first.verdict is Verdict.COMMITTED, first.failures
    cluster.power_on(DEAD, cm=False)
    await recovered(cluster, NEW)
    node = cluster.nodes[DEAD]
    old = node.generations[first.transaction_id]
    node.stop()
    node.live, cluster.agents[DEAD].state = FakeSet.of(OTHER, "by hand"), NodeState()

    again = await recovered(cluster, NEW)

    assert again.waiting == ("node-d",)
    assert node.live.bundle_digest == NEW.digest
    assert node.generations[first.transaction_id] == old
    assert len(node.generations) == 2


# Abandoned.


def pressing(cluster: FakeCluster, interrupt: Interrupt, rpc: str, presses: int) -> None:
    """Whoever is back is asked to prepare, or judged before, and the operator presses Ctrl-C then."""

    def press() -> None:
        for _ in range(presses):
            interrupt.request()

    read = cluster.read

    async def reading(agent, called, look):
        answer = await read(agent, called, look)
        if (agent.name, called) == (DEAD, rpc):
            press()
        return answer

    cluster.read = reading
    cluster.on_command = lambda *called: press() if called == (rpc, DEAD) else None


@pytest.mark.parametrize("rpc", ["judge", "acquire"])
async def test_a_join_that_is_abandoned_before_it_changes_anything_commands_no_more(rpc):
    cluster, _ = await standing()
    cluster.power_on(DEAD)
    cluster.calls.clear()
    before, interrupt = cluster.snapshot(), Interrupt()
    pressing(cluster, interrupt, rpc, 3)

    result = await recovered(cluster, NEW, interrupt=interrupt)

    assert cluster.calls == ([("acquire", DEAD)] if rpc == "acquire" else [])
    assert cluster.snapshot() == before
    assert result.interrupted
    assert result.verdict is (Verdict.NOTHING_DONE if rpc == "acquire" else Verdict.IN_DOUBT)
    assert exit_code(result) is ExitCode.IN_DOUBT
    assert "gausscert recover" in result.failures[-1].remedy


@pytest.mark.parametrize(("rpc", "presses"), [("judge", 3), ("acquire", 3), ("acquire", 1)])
async def test_a_join_that_is_stopped_after_something_was_settled_is_no_end_of_all(rpc, presses):
    cluster = await dies_while_replacing(FORWARD - 1)
    cluster.power_on(DEAD)
    interrupt, before = Interrupt(), lives(cluster)
    pressing(cluster, interrupt, rpc, presses)

    result = await recovered(cluster, NEW, interrupt=interrupt)

    assert lives(cluster) == before
    assert (result.interrupted, exit_code(result)) == (True, ExitCode.IN_DOUBT)
    assert "gausscert recover" in result.failures[-1].remedy
    assert not any("nothing was changed by this" in error.message for error in result.failures)
    assert ("NODES_EXCLUDED", DEAD) in [(each.code, each.node) for each in result.findings]
    cluster.on_command = None
    assert (await recovered(cluster, NEW)).verdict is Verdict.COMMITTED
    assert_over(cluster)
