"""--accept-state: what may be accepted, and what "no worse than before" means; what process lists show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from gausscert_common.errors import NodeFailure, Reason
from gausscert_common.findings import Finding, Severity
from gausscert_common.model import ClusterState, ProbeReport, Served, ServedState
from gausscert_common.protocol.coordinator import Stage, Verdict
from gausscert_common.protocol.recovery import Choice
from gausscert_common.protocol.words import RestartScope
from gausscert_coordinator import proof, standing
from gausscert_coordinator.answers import Wanted
from gausscert_coordinator.baseline import Baseline
from gausscert_coordinator.expectation import Expectation
from gausscert_coordinator.report import Mark, Plan, Progress, ReplaceOptions, Result
from support.fake_cluster import FakeCluster, until_death
from support.fake_node import FakeNode, bundle

NEW = bundle("new")
ACCEPT = ReplaceOptions(restart=RestartScope.NODE, accept_state=True)
ROLES = {1: "Primary", 2: "Standby", 3: "Standby"}


def said(word: str) -> Callable[[FakeNode], ClusterState]:
    return lambda prober: (
        ClusterState(word, ROLES) if word else ClusterState(cause="can't connect to cm_server.")
    )


def served(number: int, state: ServedState = ServedState.SSL_ON) -> Served:
    return Served(number, f"10.0.0.{number}:5000", state, fingerprint="ab", chain_verified=True)


async def planned(cluster: FakeCluster, options: ReplaceOptions) -> Plan:
    async with cluster.coordinator() as coordinator:
        return await coordinator.plan(NEW, options)


async def run(
    cluster: FakeCluster, options: ReplaceOptions = ACCEPT, told: list[Progress] | None = None
) -> Result:
    watch = [] if told is None else told
    async with cluster.coordinator() as coordinator:
        plan = await coordinator.plan(NEW, options)
        assert plan.feasible, plan.errors
        return await coordinator.replace(plan, NEW, watch=watch.append)


# Pure


@pytest.mark.parametrize(
    ("before", "good", "bad"),
    [
        ({"Normal"}, {"Normal"}, {"Degraded", "Unavailable", "Starting", "NormalCNDeleted", ""}),
        ({"Degraded"}, {"Degraded", "Normal"}, {"Unavailable", "Starting", "Redistributing", ""}),
        ({"Unavailable", "Normal"}, {"Unavailable", "Degraded", "Normal"}, {"Unknown", ""}),
        (set(), {"Unknown", "Unavailable", "Normal"}, {""}),
        ({"a word of tomorrow"}, {"a word of tomorrow", "Unknown", "Normal"}, {""}),
    ],
)
def test_as_good_as_before_is_no_worse_than_the_worst_word(before, good, bad):
    words = standing.as_good_as(before)
    assert good <= words
    assert not bad & words


@pytest.mark.parametrize("code", sorted(standing.ACCEPTABLE))
def test_what_was_accepted_refuses_no_more_and_is_shown(code):
    (found,) = standing.accepted([Finding(code, Severity.ERROR, "it is so", "mend it")])
    assert (found.severity, found.cause) == (Severity.WARNING, "accepted (--accept-state): it is so")
    assert standing.was_accepted(found)


@pytest.mark.parametrize("code", ["NODE_CM_CTL_RUNNING", "NODE_WRONG_USER", "CERTIFICATE_EXPIRED"])
def test_nothing_else_can_be_accepted(code):
    finding = Finding(code, Severity.ERROR, "it is so", "mend it")
    assert standing.accepted([finding]) == (finding,)


HOPED = Expectation(
    {number: Wanted(frozenset({"ab"})) for number in (1, 2)}, normal=frozenset({"n1", "n2"}), forward=True
)


def test_a_cm_server_that_did_not_serve_before_need_not_serve_now():
    before = Baseline({1: served(1)}, answered=frozenset({"n1"}), words=frozenset({"Degraded"}))
    least = standing.least(HOPED, before)
    assert set(least.servers) == {1}
    assert (least.normal, least.words) == ({"n1"}, standing.as_good_as({"Degraded"}))


def test_where_nothing_served_before_all_must_serve_and_be_asked():
    least = standing.least(HOPED, Baseline())
    assert set(least.servers) == {1, 2}
    assert least.normal == {"n1", "n2"}
    assert "" not in least.words


def test_expired_servers_that_nobody_could_ask_must_be_askable_afterwards():
    """They ran, but every handshake with them failed (facts section 5)."""
    before = Baseline({number: replace(served(number), chain_verified=False) for number in (1, 2)})
    least = standing.least(HOPED, before)
    assert set(least.servers) == {1, 2}
    assert all(wanted.chain for wanted in least.servers.values())
    assert least.normal == {"n1", "n2"}


OF_THREE = Expectation(
    {number: Wanted(frozenset({"ab"})) for number in (1, 2, 3)},
    normal=frozenset({"n1", "n2", "n3"}),
    forward=True,
)
OWNERS = {"n1": 1, "n2": 2, "n3": 3}


def expired(*numbers: int) -> Baseline:
    """All handshakes fail, and so does `cm_ctl query`."""
    return Baseline({number: replace(served(number), chain_verified=False) for number in numbers})


def test_one_dead_cm_server_of_an_expired_cluster_does_not_exempt_the_others_from_being_asked():
    least = standing.least(OF_THREE, expired(1, 2), owners=OWNERS)
    assert set(least.servers) == {1, 2}
    assert least.normal == {"n1", "n2"}
    assert least.words == {"Degraded", "NormalCNDeleted", "Normal"}


@pytest.mark.parametrize("word", ["Unknown", "Unavailable", "Starting"])
def test_where_nothing_was_said_before_not_every_answer_will_do(word):
    for before in (Baseline(), expired(1, 2, 3), expired(1, 2)):
        assert word not in standing.least(OF_THREE, before, owners=OWNERS).words


def test_a_minority_that_can_have_no_primary_is_not_asked():
    least = standing.least(OF_THREE, expired(1), owners=OWNERS)
    assert set(least.servers) == {1}
    assert least.normal == frozenset()


def test_whoever_need_not_serve_is_told_unless_nothing_served():
    dead = Served(3, "10.0.0.3:5000", ServedState.UNREACHABLE, cause="connection refused")
    probes = {"n1": ProbeReport((served(1), dead)), "n2": ProbeReport((served(1), dead))}
    (told,) = standing.exempt(expired(1), probes)
    assert "cm_server 3 at 10.0.0.3:5000 does not serve before CM is stopped" in told.message
    assert standing.exempt(Baseline(), probes) == []
    assert standing.exempt(expired(1), probes, frozenset({3})) == []


def test_without_a_primary_the_usual_reasons_are_told():
    state = ClusterState(cause="can't connect", server_roles={1: "Standby", 2: "Standby"})
    expected = Expectation({}, normal=frozenset({"n1"}))
    (found,) = proof.state_objections(expected, {"n1": ProbeReport((), state)})
    assert "no cm_server is primary: enable_ssl or the CA differs" in found.message


# The plan


@pytest.mark.parametrize("word", ["Degraded", "Unavailable", ""])
async def test_a_cluster_that_is_not_normal_is_refused_with_the_way_out_unless_it_is_accepted(word):
    cluster = FakeCluster()
    cluster.state_seen_by = said(word)

    refused = await planned(cluster, replace(ACCEPT, accept_state=False))
    accepted = await planned(cluster, ACCEPT)

    (error,) = refused.errors
    assert error.code == "CLUSTER_NOT_NORMAL"
    assert "--accept-state" in error.remedy
    assert accepted.feasible
    assert any(standing.was_accepted(found) for found in accepted.findings)


async def test_a_node_that_was_stopped_on_purpose_is_started_only_if_that_is_accepted():
    cluster = FakeCluster()
    cluster.nodes["node-b"].stop()

    refused = await planned(cluster, replace(ACCEPT, accept_state=False))
    assert {found.code for found in refused.errors} == {"CLUSTER_NOT_NORMAL", "MANUALLY_STOPPED"}
    result = await run(cluster)

    assert result.verdict is Verdict.COMMITTED
    assert cluster.nodes["node-b"].running


async def test_one_that_is_stopped_only_after_the_plan_was_accepted_is_still_refused():
    cluster = FakeCluster()
    async with cluster.coordinator() as coordinator:
        plan = await coordinator.plan(NEW, ACCEPT)
        cluster.nodes["node-b"].stop()
        result = await coordinator.replace(plan, NEW)

    assert result.verdict is Verdict.NOTHING_DONE
    assert [(each.node, each.reason) for each in result.failures] == [("node-b", Reason.NODE_UNFIT)]


async def test_a_cluster_that_got_worse_since_it_was_accepted_is_not_stopped():
    cluster = FakeCluster()
    cluster.state_seen_by = said("Degraded")
    async with cluster.coordinator() as coordinator:
        plan = await coordinator.plan(NEW, ACCEPT)
        cluster.state_seen_by = said("Unavailable")
        result = await coordinator.replace(plan, NEW)

    assert result.verdict is Verdict.NOTHING_DONE
    assert all("worse than planned" in each.message and each.remedy for each in result.failures)
    assert not any(rpc == "stop" for rpc, _ in cluster.calls)


# Before and after


async def test_as_good_as_before_is_enough_after_better_was_waited_for():
    cluster, told = FakeCluster(), []
    cluster.state_seen_by = said("Degraded")

    result = await run(cluster, told=told)

    assert result.verdict is Verdict.COMMITTED
    assert result.duration_s >= cluster.timeouts.verify_s
    assert any(standing.was_accepted(found) for found in result.findings)
    short_of = [found.cause for found in result.findings if found.code == Reason.NOT_PROVEN]
    assert all("says Degraded, not Normal" in cause for cause in short_of)
    assert len(short_of) == 3
    notes = [each.detail for each in told if each.mark is Mark.NOTE]
    assert "accepted as it is: Degraded; cm_server 1 Primary, 2 Standby, 3 Standby" in notes


async def test_what_one_proof_fell_short_of_is_not_said_again_of_the_next():
    cluster = FakeCluster()

    def degraded(prober: FakeNode) -> ClusterState:
        # As good as before; but the mark of a stop is there, so that it is turned back all the same.
        cluster.nodes["node-b"].manual_stop = prober.live.bundle_digest == NEW.digest
        return ClusterState("Degraded", ROLES)

    cluster.state_seen_by = degraded

    result = await run(cluster)

    assert (result.verdict, result.last_stage) == (Verdict.ROLLED_BACK, Stage.VERIFY)
    short_of = [found.cause for found in result.findings if found.code == Reason.NOT_PROVEN]
    assert len(short_of) == 3
    assert all("says Degraded, not Normal" in cause for cause in short_of)


async def test_better_than_before_is_not_waited_for_any_longer_once_it_is_seen():
    cluster = FakeCluster()
    cluster.state_seen_by = lambda prober: ClusterState(
        "Normal" if prober.live.bundle_digest == NEW.digest else "Degraded"
    )

    result = await run(cluster)

    assert result.verdict is Verdict.COMMITTED
    assert result.duration_s < 5
    assert not [found for found in result.findings if found.code == Reason.NOT_PROVEN]


async def test_worse_than_before_is_turned_back():
    cluster = FakeCluster()
    before = cluster.snapshot()
    cluster.state_seen_by = lambda prober: ClusterState(
        "Unavailable" if prober.live.bundle_digest == NEW.digest else "Degraded"
    )

    result = await run(cluster)

    assert (result.verdict, result.last_stage) == (Verdict.ROLLED_BACK, Stage.VERIFY)
    assert cluster.snapshot() == before


async def test_a_rollback_must_bring_back_what_was_accepted():
    cluster = FakeCluster()
    cluster.state_seen_by = said("Degraded")
    cluster.script("node-b", "start", NodeFailure(Reason.STORE_FAILED, "no"))
    started = []

    def on_command(rpc: str, node: str) -> None:
        if rpc == "rollback_start":
            started.append(node)
            cluster.state_seen_by = said("Unavailable")

    cluster.on_command = on_command
    result = await run(cluster)

    assert started
    assert (result.verdict, result.last_stage) == (Verdict.IN_DOUBT, Stage.ROLLBACK_VERIFY)


async def test_a_cm_server_that_was_dead_before_and_is_dead_now_is_told_and_no_more():
    cluster = FakeCluster()
    cluster.nodes["node-c"].deaf = True
    cluster.state_seen_by = said("Degraded")

    result = await run(cluster)

    assert result.verdict is Verdict.COMMITTED
    assert any("cm_server 3 at 10.0.0.3:5000 is unreachable" in found.cause for found in result.findings)


async def test_one_that_served_before_must_serve_again_whatever_was_accepted():
    cluster = FakeCluster()
    cluster.nodes["node-c"].deaf = True
    cluster.state_seen_by = said("Degraded")

    def on_command(rpc: str, node: str) -> None:
        if (rpc, node) == ("start", "node-b"):
            cluster.nodes["node-b"].deaf = True
        if (rpc, node) == ("rollback_start", "node-b"):
            cluster.nodes["node-b"].deaf = False

    cluster.on_command = on_command
    result = await run(cluster)

    assert (result.verdict, result.last_stage) == (Verdict.ROLLED_BACK, Stage.VERIFY)


async def test_an_expired_cluster_with_one_dead_cm_server_that_nobody_can_ask_afterwards_is_turned_back():
    """Right certificates on the wire do not show that the new client certificates are accepted."""
    cluster = FakeCluster()
    cluster.nodes["node-c"].deaf = True
    cluster.state_seen_by = said("")

    result = await run(cluster)

    assert (result.verdict, result.last_stage) == (Verdict.ROLLED_BACK, Stage.VERIFY)
    assert {each.node for each in result.failures} == {"node-a", "node-b"}
    assert all("cm_ctl query says nothing" in each.message for each in result.failures)


async def test_a_cm_server_out_of_reach_for_a_moment_is_held_to_serve_again():
    cluster, told = FakeCluster(), []
    cluster.nodes["node-c"].deaf = True
    cluster.state_seen_by = said("Degraded")
    normal = cluster.sleep

    async def sleep(seconds: float) -> None:
        cluster.nodes["node-c"].deaf = any(rpc == "start" for rpc, _ in cluster.calls)
        await normal(seconds)

    def on_command(rpc: str, _: str) -> None:
        if rpc == "rollback_start":
            cluster.calls.clear()

    cluster.sleep, cluster.on_command = sleep, on_command
    result = await run(cluster, told=told)

    assert (result.verdict, result.last_stage) == (Verdict.ROLLED_BACK, Stage.VERIFY)
    assert any("cm_server 3 at 10.0.0.3:5000 is unreachable" in each.message for each in result.failures)
    assert not any("does not count" in each.detail for each in told)


async def test_one_that_is_exempt_is_told_before_cm_is_stopped():
    cluster, told = FakeCluster(), []
    cluster.nodes["node-c"].deaf = True
    cluster.state_seen_by = said("Degraded")

    result = await run(cluster, told=told)

    assert result.verdict is Verdict.COMMITTED
    text = "cm_server 3 at 10.0.0.3:5000 does not serve before CM is stopped"
    assert [each.stage for each in told if text in each.detail] == [Stage.PREPARE]
    assert any(text in found.cause for found in result.findings)


def dead(cluster: FakeCluster) -> None:
    """CM runs nowhere, and cannot start with the old set, as one that is torn."""
    for node in cluster.nodes.values():
        node.loaded = None
        node.cannot_start_with.add(node.live_digest)


async def test_a_cluster_that_could_not_start_ends_proven_with_the_new_set():
    cluster = FakeCluster()
    dead(cluster)

    result = await run(cluster)

    assert result.verdict is Verdict.COMMITTED
    assert len(result.proof) == 9
    assert result.cluster_state == ClusterState("Normal")


async def test_where_nothing_served_before_one_that_does_not_serve_the_new_set_turns_back():
    cluster = FakeCluster()
    dead(cluster)
    at = cluster.nodes["node-b"]

    def on_command(rpc: str, node: str) -> None:
        at.deaf = True

    cluster.on_command = on_command
    result = await run(cluster)

    assert (result.verdict, result.last_stage) == (Verdict.ROLLED_BACK, Stage.VERIFY)
    assert cluster.nodes["node-a"].live.bundle_digest == bundle("old").digest


async def test_recover_can_roll_back_to_a_set_with_which_nothing_runs_only_if_told_so():
    cluster = FakeCluster()
    dead(cluster)
    cluster.die_after(3 * 4)  # acquire, prepare, stop, swap
    async with cluster.coordinator() as coordinator:
        plan = await coordinator.plan(NEW, ACCEPT)
        assert await until_death(cluster, coordinator.replace(plan, NEW)) is None
    cluster.bring_back()
    cluster.expire_leases()

    async with cluster.coordinator() as coordinator:
        doubt = await coordinator.recover(Choice.ROLL_BACK)
    async with cluster.coordinator() as coordinator:
        done = await coordinator.recover(Choice.ROLL_BACK, take_over=True, accept_state=True)

    assert (doubt.verdict, doubt.last_stage) == (Verdict.IN_DOUBT, Stage.ROLLBACK_VERIFY)
    assert done.verdict is Verdict.ROLLED_BACK
    assert any("is unreachable" in found.cause for found in done.findings)


# What the process lists show


async def test_a_process_that_was_never_restarted_is_named_at_once_though_it_serves_the_right_certificate():
    cluster = FakeCluster()
    cluster.nodes["node-b"].never_restarted = True
    cluster.nodes["node-b"].starts = 0
    told: list[Progress] = []

    def on_command(rpc: str, node: str) -> None:
        if (rpc, node) == ("rollback_stop", "node-b"):
            cluster.nodes["node-b"].never_restarted = False

    cluster.on_command = on_command
    result = await run(cluster, replace(ACCEPT, accept_state=False), told)

    assert (result.verdict, result.last_stage) == (Verdict.ROLLED_BACK, Stage.VERIFY)
    (failure,) = result.failures
    assert (failure.node, failure.reason) == ("node-b", Reason.NOT_PROVEN)
    assert "was not restarted: cm_server (pid 200) since 00:00:00" in failure.message
    assert failure.remedy
    assert result.duration_s < 5


async def test_a_cm_that_comes_back_between_stop_and_swap_is_seen_by_the_coordinator():
    cluster = FakeCluster()
    before = cluster.snapshot()

    def on_command(rpc: str, node: str) -> None:
        if (rpc, node) == ("stop", "node-c"):
            cluster.nodes["node-a"].start()

    cluster.on_command = on_command
    result = await run(cluster, replace(ACCEPT, accept_state=False))

    assert (result.verdict, result.last_stage) == (Verdict.ROLLED_BACK, Stage.STOP)
    (failure,) = result.failures
    assert (failure.node, failure.reason) == ("node-a", Reason.CM_NOT_STOPPED)
    assert "CM runs although it was stopped: cm_server (pid 100), cm_agent (pid 101)" in failure.message
    assert cluster.snapshot() == before


async def test_a_cm_that_comes_up_before_all_have_swapped_is_turned_back():
    cluster = FakeCluster()
    before = cluster.snapshot()
    real = cluster.nodes["node-c"].make_live

    def make_live(wanted: str, other: str) -> None:
        real(wanted, other)
        if cluster.nodes["node-c"].live.bundle_digest == NEW.digest:
            cluster.nodes["node-a"].start()

    cluster.nodes["node-c"].make_live = make_live
    result = await run(cluster, replace(ACCEPT, accept_state=False))

    assert (result.verdict, result.last_stage) == (Verdict.ROLLED_BACK, Stage.SWAP)
    assert "before all nodes had exchanged their sets" in result.failures[0].message
    assert cluster.snapshot() == before


async def test_a_cm_server_that_does_not_run_is_named_before_those_who_miss_it():
    cluster = FakeCluster()

    def on_command(rpc: str, node: str) -> None:
        broken = cluster.nodes["node-b"]
        if (rpc, node) == ("start", "node-b"):
            broken.cannot_start_with.add(broken.live_digest)

    cluster.on_command = on_command
    result = await run(cluster, replace(ACCEPT, accept_state=False))

    assert (result.verdict, result.last_stage) == (Verdict.ROLLED_BACK, Stage.VERIFY)
    assert (result.failures[0].node, result.failures[0].reason) == ("node-b", Reason.NOT_PROVEN)
    assert result.failures[0].message == "no cm_server runs here; there is: nothing of CM"


async def test_a_start_that_says_success_and_starts_nothing_is_not_waited_for():
    """The mark is still there, so that nobody starts CM: waiting would only make the outage longer."""
    cluster = FakeCluster()
    lying = cluster.nodes["node-b"]
    started = lying.start

    def on_command(rpc: str, node: str) -> None:
        if (rpc, node) == ("start", "node-a"):
            vars(lying)["start"] = lambda: None
        elif rpc == "rollback_start":
            vars(lying)["start"] = started

    cluster.on_command = on_command
    result = await run(cluster, replace(ACCEPT, accept_state=False))

    assert (result.verdict, result.last_stage) == (Verdict.ROLLED_BACK, Stage.VERIFY)
    assert result.failures[0].node == "node-b"
    assert "bin/cluster_manual_start is there" in result.failures[0].message
    assert result.duration_s < cluster.timeouts.verify_s


CAUSE = Finding("CM_LOG_FILE_MODE", Severity.ERROR, "CM refuses the mode", "chmod 0400", node="node-b")


@pytest.mark.parametrize("at", ["start", "verify"])
async def test_what_cms_own_logs_say_is_in_the_result_and_in_the_progress(at):
    cluster, told = FakeCluster(), []

    def on_command(rpc: str, node: str) -> None:
        broken = cluster.nodes["node-b"]
        if (rpc, node) == ("start", "node-b"):
            broken.deaf, broken.causes = True, (CAUSE,)
        if (rpc, node) == ("rollback_start", "node-b"):
            broken.deaf, broken.causes = False, ()

    cluster.on_command = on_command
    if at == "start":
        cluster.script("node-c", "start", NodeFailure(Reason.CM_NOT_STARTED, "start node failed in (30)s!"))
    result = await run(cluster, replace(ACCEPT, accept_state=False), told)

    assert (result.verdict, result.last_stage) == (Verdict.ROLLED_BACK, Stage(at))
    assert [found for found in result.findings if found.code == CAUSE.code] == [CAUSE]
    notes = [(each.node, each.detail) for each in told if each.mark is Mark.NOTE]
    assert ("node-b", "CM refuses the mode (do: chmod 0400)") in notes
