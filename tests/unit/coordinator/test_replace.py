"""The transaction when all goes well, and what it proves; who is asked in which order."""

from __future__ import annotations

from dataclasses import replace

import pytest
from gausscert_common.errors import InvalidInput, NodeRefusal, Reason
from gausscert_common.findings import Finding, Severity
from gausscert_common.model import ServedState
from gausscert_common.protocol.coordinator import Stage, Verdict
from gausscert_common.protocol.words import Outcome, Phase, RestartScope, SslWish
from gausscert_coordinator.exit_codes import ExitCode, exit_code
from gausscert_coordinator.report import Mark, Progress, ReplaceOptions, Result
from support.fake_agents import Fault
from support.fake_cluster import ALWAYS, FakeCluster
from support.fake_node import bundle, sha

NEW = bundle("new")
FORWARD = ["acquire", "prepare", "stop", "swap", "start", "commit", "purge"]


async def replaced(
    cluster: FakeCluster, options: ReplaceOptions | None = None, told: list[Progress] | None = None
) -> Result:
    watch = [] if told is None else told
    async with cluster.coordinator() as coordinator:
        plan = await coordinator.plan(NEW, options)
        return await coordinator.replace(plan, NEW, watch=watch.append)


def commands(cluster: FakeCluster) -> list[str]:
    return list(dict.fromkeys(rpc for rpc, _ in cluster.calls))


@pytest.mark.parametrize("restart", [RestartScope.CLUSTER, RestartScope.NODE])
@pytest.mark.parametrize("names", [("only",), ("node-a", "node-b", "node-c"), tuple("abcdefghi")])
async def test_every_node_serves_the_new_set_and_it_is_proven(names, restart):
    cluster = FakeCluster(names)

    result = await replaced(cluster, ReplaceOptions(restart=restart))

    assert result.verdict is Verdict.COMMITTED
    assert exit_code(result) is ExitCode.DONE
    assert commands(cluster) == FORWARD
    for name, node in cluster.nodes.items():
        assert node.live.bundle_digest == node.loaded.bundle_digest == NEW.digest
        assert [each.bundle_digest for each in node.retired] == [bundle("old").digest]
        assert node.stage is None
        state = cluster.agents[name].state
        assert state.phase is Phase.NONE
        assert state.outcome_of(result.transaction_id) is Outcome.COMMITTED
    assert len(result.proof) == len(names) ** 2
    assert {proof.served.fingerprint for proof in result.proof} == {sha(NEW.pem["server.crt"])}
    assert result.cluster_state.cluster_state == "Normal"
    assert result.failures == ()
    assert result.last_stage is None


async def test_a_second_replacement_takes_a_higher_epoch():
    cluster = FakeCluster()
    await replaced(cluster)
    async with cluster.coordinator() as coordinator:
        newer = bundle("newer")
        plan = await coordinator.plan(newer)
        result = await coordinator.replace(plan, newer)

    assert result.verdict is Verdict.COMMITTED
    assert {agent.state.fence.epoch for agent in cluster.agents.values()} == {2}


async def test_the_epoch_is_above_the_highest_that_any_node_promised():
    cluster = FakeCluster()
    agent = cluster.agents["node-b"]
    agent.state = replace(agent.state, fence=replace(agent.state.fence, epoch=41))

    await replaced(cluster)

    assert {agent.state.fence.epoch for agent in cluster.agents.values()} == {42}


async def test_the_executor_stops_before_the_others_and_starts_after_them():
    cluster = FakeCluster()

    await replaced(cluster)

    stops = [node for rpc, node in cluster.calls if rpc == "stop"]
    starts = [node for rpc, node in cluster.calls if rpc == "start"]
    assert stops[0] == starts[-1] == "node-a"


async def test_no_node_starts_before_all_have_swapped():
    cluster = FakeCluster()

    await replaced(cluster, ReplaceOptions(restart=RestartScope.NODE))

    last_swap = max(i for i, (rpc, _) in enumerate(cluster.calls) if rpc == "swap")
    assert all(i > last_swap for i, (rpc, _) in enumerate(cluster.calls) if rpc == "start")


async def test_a_slow_node_is_waited_for():
    cluster = FakeCluster()
    for rpc in FORWARD:
        cluster.script("node-b", rpc, Fault.SLOW)

    result = await replaced(cluster)

    assert result.verdict is Verdict.COMMITTED
    assert result.duration_s >= 7 * 60


async def test_progress_tells_every_stage_and_every_node_once():
    told: list[Progress] = []

    await replaced(FakeCluster(), told=told)

    stages = list(dict.fromkeys(each.stage for each in told))
    assert stages == [
        Stage.ACQUIRE,
        Stage.PREPARE,
        Stage.STOP,
        Stage.SWAP,
        Stage.START,
        Stage.VERIFY,
        Stage.COMMIT,
        Stage.PURGE,
    ]
    for stage in stages:
        marks = [(each.mark, each.node) for each in told if each.stage is stage]
        nodes = () if stage is Stage.VERIFY else ("node-a", "node-b", "node-c")
        assert marks[0] == (Mark.STARTED, "")
        assert marks[-1] == (Mark.DONE, "")
        assert len(marks) == 2 + 2 * len(nodes)
        for node in nodes:
            assert marks.index((Mark.STARTED, node)) < marks.index((Mark.DONE, node))


async def test_a_watcher_that_fails_does_not_turn_the_transaction_back():
    cluster = FakeCluster()

    def watch(_: Progress) -> None:
        raise BrokenPipeError

    async with cluster.coordinator() as coordinator:
        result = await coordinator.replace(await coordinator.plan(NEW), NEW, watch=watch)

    assert result.verdict is Verdict.COMMITTED


class TestSsl:
    async def test_switched_off_every_cm_server_must_say_so(self):
        cluster = FakeCluster()

        result = await replaced(cluster, ReplaceOptions(ssl_wish=SslWish.OFF))

        assert result.verdict is Verdict.COMMITTED
        # Until `ssl off` there was nothing to show: now the answer of every cm_server is the proof.
        assert [each.served.state for each in result.proof] == [ServedState.SSL_OFF] * 9
        assert not any(
            node.ssl_server or node.ssl_agent or node.ssl_loaded for node in cluster.nodes.values()
        )

    async def test_switched_on_it_must_be_served(self):
        cluster = FakeCluster()
        for node in cluster.nodes.values():
            node.ssl_server = node.ssl_agent = node.ssl_loaded = False

        result = await replaced(cluster, ReplaceOptions(ssl_wish=SslWish.ON))

        assert result.verdict is Verdict.COMMITTED
        assert len(result.proof) == 9

    async def test_off_and_kept_off_is_proven_as_off(self):
        cluster = FakeCluster()
        for node in cluster.nodes.values():
            node.ssl_server = node.ssl_agent = node.ssl_loaded = False

        assert (await replaced(cluster)).verdict is Verdict.COMMITTED

    async def test_a_rollback_restores_the_switch(self):
        cluster = FakeCluster()
        before = cluster.snapshot()
        cluster.script("node-c", "start", Fault.FAILED)

        result = await replaced(cluster, ReplaceOptions(ssl_wish=SslWish.OFF))

        assert result.verdict is Verdict.ROLLED_BACK
        assert cluster.snapshot() == before


class TestRestartNone:
    NONE = ReplaceOptions(restart=RestartScope.NONE)

    async def test_cm_is_left_alone_and_that_nothing_is_proven_is_said(self):
        cluster, told = FakeCluster(running=False), []

        result = await replaced(cluster, self.NONE, told)

        assert result.verdict is Verdict.COMMITTED
        assert result.proof == ()
        assert not any(node.running for node in cluster.nodes.values())
        assert "start" not in commands(cluster)
        assert "stop" in commands(cluster)
        notes = [(each.stage, each.detail) for each in told if each.mark is Mark.NOTE]
        assert [stage for stage, _ in notes] == [Stage.START, Stage.VERIFY]
        assert all("not proven" in text for _, text in notes)

    async def test_a_cluster_that_came_up_meanwhile_is_not_swapped(self):
        cluster = FakeCluster(running=False)

        def operator_is_too_early(rpc: str, node: str) -> None:
            if (rpc, node) == ("prepare", "node-c"):
                for each in cluster.nodes.values():
                    each.start()

        cluster.on_command = operator_is_too_early

        result = await replaced(cluster, self.NONE)

        assert result.verdict is Verdict.ROLLED_BACK
        assert result.last_stage is Stage.STOP
        assert {error.reason for error in result.failures} == {Reason.NOT_STOPPED}
        assert all(node.live.bundle_digest == bundle("old").digest for node in cluster.nodes.values())


class TestRefusals:
    """Before anything changed: no outage, no trace but a tombstone."""

    async def test_an_infeasible_plan_is_not_begun(self):
        cluster = FakeCluster()
        cluster.script("node-b", "get_node", Fault.LOST_REQUEST, times=ALWAYS)
        before = cluster.snapshot()

        result = await replaced(cluster)

        assert result.verdict is Verdict.NOTHING_DONE
        assert exit_code(result) is ExitCode.UNREACHABLE
        assert cluster.calls == []
        assert cluster.snapshot() == before

    async def test_a_plan_for_another_bundle_or_cluster_is_refused(self):
        cluster = FakeCluster()
        async with cluster.coordinator() as coordinator:
            plan = await coordinator.plan(NEW)
            for misfit, handed in (
                (plan, bundle("another")),
                (replace(plan, cluster="test"), NEW),
                (replace(plan, nodes=plan.nodes[:2]), NEW),
            ):
                with pytest.raises(InvalidInput) as caught:
                    await coordinator.replace(misfit, handed)
                assert caught.value.reason is Reason.ARGUMENT_INVALID
        assert cluster.calls == []

    async def test_a_node_that_changed_since_the_plan_is_found_before_anything_is_locked(self):
        cluster = FakeCluster()
        async with cluster.coordinator() as coordinator:
            plan = await coordinator.plan(NEW)
            cluster.nodes["node-b"].build_stage(bundle("somebody else's"))
            node = cluster.nodes["node-b"]
            node.live, node.stage = node.stage, None
            before = cluster.snapshot()
            result = await coordinator.replace(plan, NEW)

        assert result.verdict is Verdict.NOTHING_DONE
        assert [(error.node, error.reason) for error in result.failures] == [("node-b", Reason.LIVE_CHANGED)]
        assert cluster.calls == []
        assert cluster.snapshot() == before

    async def test_a_node_that_changes_while_it_is_acquired_is_let_go_again(self):
        cluster = FakeCluster()

        def changes(rpc: str, name: str) -> None:
            node = cluster.nodes["node-b"]
            if (rpc, name) == ("acquire", "node-a"):
                node.live, node.stage = node.build_stage(bundle("old")), None

        cluster.on_command = changes

        result = await replaced(cluster)

        assert result.verdict is Verdict.NOTHING_DONE
        assert result.last_stage is Stage.ACQUIRE
        assert commands(cluster) == ["acquire", "abort", "clean"]
        assert all(agent.lease_holder == "" for agent in cluster.agents.values())

    async def test_a_locked_node_lets_go_of_those_that_were_granted(self):
        cluster = FakeCluster()
        before = cluster.snapshot()
        locked = NodeRefusal(Reason.LOCKED, "locked by ann@host:1", node="node-b")
        cluster.script("node-b", "acquire", locked)

        result = await replaced(cluster)

        assert result.verdict is Verdict.NOTHING_DONE
        assert exit_code(result) is ExitCode.UNREACHABLE
        assert cluster.snapshot() == before
        later = [call for call in cluster.calls if call[0] != "acquire"]
        assert sorted(later) == [(rpc, node) for rpc in ("abort", "clean") for node in ("node-a", "node-c")]

    async def test_a_bundle_that_a_node_refuses_leaves_the_cluster_untouched(self):
        cluster = FakeCluster()
        before = cluster.snapshot()
        finding = Finding("CHAIN_INCOMPLETE", Severity.ERROR, "no issuer", file="server.crt")
        refusal = NodeRefusal(Reason.SET_INVALID, "1 error", node="node-b", findings=[finding])
        cluster.script("node-b", "prepare", refusal)

        result = await replaced(cluster)

        assert result.verdict is Verdict.NOTHING_DONE
        assert exit_code(result) is ExitCode.REFUSED
        assert result.failures[0].findings == (finding,)
        assert cluster.snapshot() == before
        assert commands(cluster) == ["acquire", "prepare", "abort", "clean"]

    async def test_two_coordinators_at_once_never_mix(self):
        cluster = FakeCluster()
        async with cluster.coordinator() as first, cluster.coordinator() as second:
            plans = (await first.plan(NEW), await second.plan(NEW))
            import asyncio

            results = await asyncio.gather(first.replace(plans[0], NEW), second.replace(plans[1], NEW))

        verdicts = sorted(result.verdict for result in results)
        assert verdicts in (
            [Verdict.COMMITTED, Verdict.NOTHING_DONE],
            [Verdict.NOTHING_DONE, Verdict.NOTHING_DONE],
        )
        live = {node.live.bundle_digest for node in cluster.nodes.values()}
        assert live == {NEW.digest if Verdict.COMMITTED in verdicts else bundle("old").digest}
        assert all(agent.state.phase is Phase.NONE for agent in cluster.agents.values())
