from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from gausscert_common.errors import InDoubt, NodeRefusal, Reason, Unreachable
from gausscert_common.findings import Finding, Severity
from gausscert_common.model import ClusterState, CmTopology, JudgedSet, ProbeReport, SslSwitch, SslValue
from gausscert_common.protocol.words import Phase, RestartScope, SslWish
from gausscert_coordinator import plan
from gausscert_coordinator.exit_codes import ExitCode, exit_code
from gausscert_coordinator.inventory import Timeouts
from gausscert_coordinator.plan_rules import Evidence, clock_offset_s
from gausscert_coordinator.report import ReplaceOptions
from support.fake_cluster import FakeCluster
from support.fake_node import FakeSet, bundle, server_certificate

NAMES = ("node-a", "node-b", "node-c")


def seen(options: ReplaceOptions | None = None, **changes: object) -> Evidence:
    """A healthy cluster of three."""
    cluster = FakeCluster()
    nodes = cluster.nodes
    evidence = Evidence(
        inventory=cluster.inventory(),
        options=options or ReplaceOptions(),
        bundle_digest=bundle("new").digest,
        reports={name: agent.report() for name, agent in cluster.agents.items()},
        probes={
            name: ProbeReport(
                tuple(each.served_to(node) for each in nodes.values()), cluster.state_seen_by(node)
            )
            for name, node in nodes.items()
        },
        judged={name: node.judge(bundle("new"), ()) for name, node in nodes.items()},
        clock_offsets_s=dict.fromkeys(NAMES, 0.0),
    )
    return replace(evidence, **changes)


def with_report(evidence: Evidence, node: str, **changes: object) -> Evidence:
    return replace(evidence, reports={**evidence.reports, node: replace(evidence.reports[node], **changes)})


def codes(evidence: Evidence) -> list[tuple[str, str, str]]:
    made = plan.make(evidence)
    return [(each.code, each.severity.value, each.node) for each in made.findings]


def test_nothing_speaks_against_a_healthy_cluster():
    made = plan.make(seen())

    assert made.feasible
    assert made.findings == ()
    assert [node.node for node in made.nodes] == list(NAMES)
    assert made.nodes[0].old_server == server_certificate(bundle("old"))
    assert made.nodes[0].new_server == server_certificate(bundle("new"))
    assert made.nodes[0].old_digest == seen().reports["node-a"].live.digest
    assert len(made.served) == 3
    assert made.cluster_state == ClusterState("Normal")
    assert exit_code(made) is ExitCode.DONE


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("offset_s", "expected"),
    [(60, []), (61, ["warning"]), (300, ["warning"]), (301, ["error"])],
)
def test_clock_skew(offset_s, expected, sign):
    found = codes(seen(clock_offsets_s={"node-a": 0.0, "node-b": sign * offset_s}))

    assert found == [("CLOCK_SKEW", severity, "node-b") for severity in expected]


def test_a_slow_answer_is_no_clock_skew():
    sent = datetime(2025, 1, 1, tzinfo=UTC)

    def offset(answered_s: float) -> float:
        answered, received = (sent + timedelta(seconds=s) for s in (answered_s, 200))
        return clock_offset_s(sent, answered, received)

    assert [offset(s) for s in (-5, 0, 100, 200, 207)] == [-5, 0, 0, 0, 7]


def test_another_node_or_cluster_at_an_address():
    assert codes(with_report(seen(), "node-b", name="node-x")) == [("NODE_MISNAMED", "error", "node-b")]
    assert codes(with_report(seen(), "node-b", cluster="test")) == [("CLUSTER_MISNAMED", "error", "node-b")]


def test_cm_lists_a_node_that_the_inventory_lacks():
    full = seen()
    reports = {name: full.reports[name] for name in ("node-a", "node-b")}

    made = plan.make(replace(full, reports=reports))

    assert [each.code for each in made.errors] == ["NODE_NOT_IN_INVENTORY"]
    assert "host-3" in made.errors[0].cause
    assert not made.feasible


def test_an_incomplete_inventory_is_not_claimed_while_a_node_is_away():
    full = seen()
    reports = {name: full.reports[name] for name in ("node-a", "node-b")}
    away = {"node-c": Unreachable(Reason.UNREACHABLE, "no route", node="node-c")}

    made = plan.make(replace(full, reports=reports, errors=away))

    assert made.findings == ()
    assert made.unreachable == (away["node-c"],)
    assert not made.feasible
    assert exit_code(made) is ExitCode.UNREACHABLE


def test_the_inventory_lists_a_node_that_cm_lacks():
    topology = seen().reports["node-c"].topology
    stranger = with_report(seen(), "node-c", topology=replace(topology, local_node_id=9))

    assert set(codes(stranger)) == {
        ("NODE_NOT_IN_CLUSTER", "error", "node-c"),
        ("NODE_NOT_IN_INVENTORY", "error", ""),
    }


def test_two_agents_of_one_cm_node():
    topology = seen().reports["node-a"].topology

    found = codes(with_report(seen(), "node-b", topology=topology))

    assert {("NODE_TWICE", "error", "node-a"), ("NODE_TWICE", "error", "node-b")} <= set(found)


def test_without_a_topology_completeness_is_not_checked_and_that_is_said():
    evidence = seen()
    for name in NAMES:
        evidence = with_report(evidence, name, topology=CmTopology())

    assert codes(evidence) == [("TOPOLOGY_UNKNOWN", "warning", "")]


@pytest.mark.parametrize(
    ("wish", "severity"), [(SslWish.KEEP, "error"), (SslWish.ON, "warning"), (SslWish.OFF, "warning")]
)
def test_enable_ssl_unequal_over_nodes(wish, severity):
    switch = SslSwitch(SslValue.OFF, SslValue.ON)

    found = codes(with_report(seen(ReplaceOptions(ssl_wish=wish)), "node-b", enable_ssl=switch))

    assert ("SSL_UNEQUAL", severity, "") in found


def test_a_node_without_cm_server_has_no_say_about_its_switch():
    switch = SslSwitch(SslValue.ABSENT, SslValue.ON)

    assert codes(with_report(seen(), "node-b", enable_ssl=switch)) == []


def test_switching_ssl_off_is_warned_of():
    assert codes(seen(ReplaceOptions(ssl_wish=SslWish.OFF))) == [("SSL_GOES_OFF", "warning", "")]


def state_everywhere(evidence: Evidence, **states: ClusterState) -> Evidence:
    probes = {
        name: replace(probe, cluster=states.get(name.replace("-", "_"), states.get("default", probe.cluster)))
        for name, probe in evidence.probes.items()
    }
    return replace(evidence, probes=probes)


@pytest.mark.parametrize("state", [ClusterState("Degraded"), ClusterState(cause="refused")])
def test_a_cluster_that_is_not_normal(state):
    found = state_everywhere(seen(), default=state)

    assert codes(found) == [("CLUSTER_NOT_NORMAL", "error", "")]


def test_one_node_that_cannot_ask_is_only_a_warning():
    found = state_everywhere(seen(), node_b=ClusterState(cause="refused"))

    assert codes(found) == [("CLUSTER_STATE_UNKNOWN", "warning", "node-b")]


def test_a_stopped_cluster_is_right_for_restart_none():
    stopped = FakeCluster(running=False)
    reports = {name: agent.report() for name, agent in stopped.agents.items()}
    evidence = state_everywhere(
        seen(ReplaceOptions(restart=RestartScope.NONE), reports=reports), default=ClusterState()
    )

    assert codes(evidence) == []


def test_restart_none_is_refused_while_cm_runs():
    found = codes(seen(ReplaceOptions(restart=RestartScope.NONE)))

    assert found == [("CM_RUNS", "error", name) for name in NAMES]


def test_a_manually_stopped_node_is_refused_where_cm_is_to_be_restarted():
    stopped = with_report(seen(), "node-b", manually_stopped=True)

    assert codes(stopped) == [("MANUALLY_STOPPED", "error", "node-b")]


def test_a_set_that_all_nodes_have_is_refused():
    same = seen(bundle_digest=bundle("old").digest)

    assert codes(same) == [("SET_UNCHANGED", "error", "")]


def test_the_same_set_with_another_enable_ssl_is_worth_a_restart():
    same = seen(ReplaceOptions(ssl_wish=SslWish.OFF), bundle_digest=bundle("old").digest)

    assert ("SET_UNCHANGED", "warning", "") in codes(same)
    assert plan.make(same).feasible


def test_nodes_with_different_sets_are_warned_of_and_are_not_unchanged():
    live = FakeSet.of(bundle("other"), "node-b").report()

    assert codes(with_report(seen(), "node-b", live=live)) == [("SETS_DIFFER", "warning", "")]


def test_nodes_that_differ_only_in_a_crl_of_their_own_hold_one_set():
    """As `status` and `recover` see it: each carries its own CRLs over, and the bundle digest covers them."""
    live = replace(seen().reports["node-b"].live, bundle_digest="another, for its CRL")

    assert codes(with_report(seen(), "node-b", live=live)) == []


def test_the_bundles_findings_are_said_once_where_all_nodes_agree():
    everywhere = Finding("SERIAL_REUSED", Severity.WARNING, "reused", file="server.crt")
    only_b = Finding("CERTIFICATE_NOT_YET_VALID", Severity.ERROR, "too early", file="server.crt")
    found = {"node-a": (everywhere,), "node-b": (everywhere, only_b), "node-c": (everywhere,)}
    judged = {node: JudgedSet(findings=said) for node, said in found.items()}

    assert codes(seen(judged=judged)) == [
        ("CERTIFICATE_NOT_YET_VALID", "error", "node-b"),
        ("SERIAL_REUSED", "warning", ""),
    ]


def test_a_nodes_own_findings_name_it_and_errors_come_first():
    warning = Finding("DISK_SPACE_LOW", Severity.WARNING, "low")
    error = Finding("SET_DIRECTORY_OWNER", Severity.ERROR, "root's")
    evidence = with_report(seen(), "node-a", findings=(warning,))

    assert codes(with_report(evidence, "node-c", findings=(error,))) == [
        ("SET_DIRECTORY_OWNER", "error", "node-c"),
        ("DISK_SPACE_LOW", "warning", "node-a"),
    ]


def told(evidence: Evidence, node: str, **changes: object) -> Evidence:
    transaction = replace(evidence.reports[node].transaction, holder="ann@host:1", **changes)
    return with_report(evidence, node, transaction=transaction)


def test_a_transaction_in_flight_blocks_with_its_name_holder_and_the_command_to_run():
    begun = datetime(2025, 1, 1, 12, 30, tzinfo=UTC)
    evidence = told(seen(), "node-b", phase=Phase.PREPARED, transaction_id="t-1", begun_at=begun)

    made = plan.make(evidence)

    (error,) = made.blocked
    assert isinstance(error, InDoubt)
    assert error.node == "node-b"
    for part in ("t-1", "ann@host:1", "2025-01-01 12:30:00", "gausscert recover"):
        assert part in str(error)
    assert not made.feasible
    assert exit_code(made) is ExitCode.IN_DOUBT


def test_a_lease_blocks_unless_it_is_taken_over():
    made = plan.make(told(seen(), "node-b", lease_left_s=90.0))
    taken = plan.make(told(seen(ReplaceOptions(take_over=True)), "node-b", lease_left_s=90.0))

    (error,) = made.blocked
    assert isinstance(error, NodeRefusal)
    assert error.reason is Reason.LOCKED
    assert exit_code(made) is ExitCode.UNREACHABLE
    assert taken.feasible


def in_flight(gone: frozenset[str] = frozenset(), **options: bool) -> Evidence:
    """A transaction that its coordinator still holds, on two of three nodes."""
    evidence = seen(ReplaceOptions(**options), gone=gone)
    for node, phase in (("node-a", Phase.SWAPPED), ("node-b", Phase.PREPARED)):
        evidence = told(evidence, node, phase=phase, transaction_id="t-1", lease_left_s=90.0)
    evidence = told(evidence, "node-c", lease_left_s=90.0)
    return with_report(evidence, "node-a", manually_stopped=True)


@pytest.mark.parametrize("take_over", [False, True])
def test_a_transaction_whose_coordinator_still_holds_it_is_locked_not_in_doubt(take_over):
    made = plan.make(in_flight(take_over=take_over))

    assert [error.node for error in made.blocked] == ["node-a", "node-b"]
    assert {error.reason for error in made.blocked} == {Reason.LOCKED}
    assert all("at most 90 s" in error.message for error in made.blocked)
    assert all("gausscert recover --take-over" in error.remedy for error in made.blocked)
    assert exit_code(made) is ExitCode.UNREACHABLE, "although MANUALLY_STOPPED would refuse"


def test_the_lease_of_a_coordinator_that_has_ended_holds_nothing():
    made = plan.make(in_flight(gone=frozenset({"ann@host:1"})))

    assert {error.reason for error in made.blocked} == {Reason.IN_DOUBT}
    assert {error.remedy for error in made.blocked} == {"run gausscert recover"}
    assert exit_code(made) is ExitCode.IN_DOUBT


def test_a_plan_knows_the_transaction_in_flight_with_the_phase_of_each_node():
    (flight,) = plan.make(in_flight()).in_flight

    assert (flight.transaction_id, flight.holder, flight.lease_left_s) == ("t-1", "ann@host:1", 90.0)
    assert flight.phases == (("node-a", Phase.SWAPPED), ("node-b", Phase.PREPARED))


def test_a_bare_lease_says_what_take_over_takes():
    (error,) = plan.make(told(seen(), "node-b", lease_left_s=90.0)).blocked

    assert "it has begun no transaction here" in error.message
    assert "--take-over takes the nodes" in error.remedy


@pytest.mark.parametrize("restart", list(RestartScope))
def test_the_outage_is_told_for_every_way_of_restarting(restart):
    text = plan.outage(restart, seen().inventory.timeouts)

    assert ("none by gausscert" in text) == (restart is RestartScope.NONE)


def test_the_worst_outage_is_that_of_a_proof_that_fails_at_its_end_and_a_rollback():
    text = plan.outage(RestartScope.CLUSTER, Timeouts(stop_s=100, start_s=200, verify_s=50))

    assert "at most 350 s before it is turned back" in text
    assert "in all 700 s" in text


async def test_planning_changes_nothing_and_locks_nothing():
    cluster = FakeCluster()
    before = cluster.snapshot()

    async with cluster.coordinator() as coordinator:
        made = await coordinator.plan(bundle("new"))

    assert made.feasible
    assert cluster.snapshot() == before
    assert cluster.calls == []


def test_of_what_cm_ctl_wrote_only_the_first_line_is_the_cause():
    said = ClusterState(cause="cm_ctl: cannot connect \nusage: cm_ctl query ...\n")
    probes = {node: replace(probe, cluster=said) for node, probe in seen().probes.items()}

    (found,) = plan.make(seen(probes=probes)).findings

    assert found.code == "CLUSTER_NOT_NORMAL"
    assert found.cause == "`cm_ctl query` works on no node: cm_ctl: cannot connect"
