"""Every field of a plan on file is compared with a plan made now, and only what differs is told."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import datetime, timedelta

import pytest
from gausscert_common.errors import Reason, Unreachable
from gausscert_common.findings import Severity
from gausscert_common.model import ClusterState, SslSwitch, SslValue
from gausscert_common.protocol.words import RestartScope, SslWish
from gausscert_coordinator import plan_document, plan_drift
from gausscert_coordinator.plan_record import Origin, PlanRecord, RecordedNode, lasting, record
from gausscert_coordinator.report import Plan, ReplaceOptions
from support.cli_fakes import certificate
from support.plans import KEPT, MADE, ORIGIN, PLAN, cm_node, planned, warning

LATER = MADE + timedelta(days=2)


def told(now: Plan, kept: PlanRecord = KEPT, moment: datetime = LATER) -> list[tuple[str, str]]:
    found = plan_drift.drift(kept, now, moment)
    assert all(each.code == "PLAN_DRIFTED" and each.severity is Severity.ERROR for each in found)
    assert all(each.remedy for each in found)
    return [(each.node, each.cause) for each in found]


def with_node(**changes) -> Plan:
    first, second, third = PLAN.nodes
    return replace(PLAN, nodes=(first, replace(second, **changes), third))


def state(word="Normal", **roles: str) -> ClusterState:
    return ClusterState(word, {int(number[1:]): role for number, role in roles.items()})


def test_a_world_that_stands_still_has_not_drifted():
    assert told(PLAN) == []
    assert told(PLAN, moment=ORIGIN.valid_until) == []


DRIFTED = {
    "bundle": (
        replace(PLAN, bundle_digest="e2" * 32),
        [("", "the bundle was e1e1e1e1e1e1, is e2e2e2e2e2e2")],
    ),
    "live set": (
        with_node(old_digest="d7" * 32, old_server=certificate(fingerprint="ee" * 32)),
        [
            (
                "n2",
                (
                    "the live set was d1d1d1d1d1d1, is d7d7d7d7d7d7"
                    " (server certificate aaaaaaaaaaaa, eeeeeeeeeeee)"
                ),
            )
        ],
    ),
    "live set is gone": (
        with_node(old_digest="", old_server=None),
        [("n2", "the live set was d1d1d1d1d1d1, is none (server certificate aaaaaaaaaaaa, none)")],
    ),
    "new certificate": (
        with_node(new_server=certificate(fingerprint="ee" * 32)),
        [("n2", "the server certificate it would get was bbbbbbbbbbbb, is eeeeeeeeeeee")],
    ),
    "enable_ssl of cm_server": (
        with_node(enable_ssl=SslSwitch(SslValue.OFF, SslValue.ON)),
        [
            (
                "n2",
                (
                    "enable_ssl was on (cm_server.conf) and on (cm_agent.conf),"
                    " is off (cm_server.conf) and on (cm_agent.conf)"
                ),
            )
        ],
    ),
    "enable_ssl of cm_agent": (
        with_node(enable_ssl=SslSwitch(SslValue.ON, SslValue.COMMENTED)),
        [
            (
                "n2",
                (
                    "enable_ssl was on (cm_server.conf) and on (cm_agent.conf),"
                    f" is on (cm_server.conf) and {SslValue.COMMENTED.value} (cm_agent.conf)"
                ),
            )
        ],
    ),
    "stopped": (
        replace(PLAN, stopped=frozenset({"n3"})),
        [("n3", "CM was not stopped on purpose, is stopped on purpose")],
    ),
    "number in CM": (
        with_node(cm_node_id=7),
        [("n2", "its number in CM was 2, is 7")],
    ),
    "cluster state": (
        replace(PLAN, cluster_state=state("Degraded", n1="Primary", n2="Standby")),
        [("", "the cluster was Normal, is Degraded")],
    ),
    "cluster state unknown": (
        replace(PLAN, cluster_state=None),
        [
            ("", "the cluster was Normal, is unknown"),
            ("n1", "cm_server 1 was Primary, is unknown"),
            ("n2", "cm_server 2 was Standby, is unknown"),
        ],
    ),
    "roles": (
        replace(PLAN, cluster_state=state(n1="Standby", n2="Primary")),
        [("n1", "cm_server 1 was Primary, is Standby"), ("n2", "cm_server 2 was Standby, is Primary")],
    ),
    "a further cm_server": (
        replace(PLAN, cluster_state=state(n1="Primary", n2="Standby", n4="Standby")),
        [("", "cm_server 4 was unknown, is Standby")],
    ),
    "topology, a node more": (
        replace(PLAN, topology=(*PLAN.topology, cm_node(4))),
        [
            (
                "",
                (
                    "CM lists node 4 otherwise: not at all before,"
                    " db4, cm_server 10.0.0.4:5000, cm_agent 10.0.0.4 now"
                ),
            )
        ],
    ),
    "topology, a node less": (
        replace(PLAN, topology=PLAN.topology[:2]),
        [
            (
                "n3",
                (
                    "CM lists node 3 otherwise: db3, cm_server 10.0.0.3:5000, cm_agent 10.0.0.3 before,"
                    " not at all now"
                ),
            )
        ],
    ),
    "topology, a port": (
        replace(PLAN, topology=(*PLAN.topology[:2], replace(cm_node(3), server_port=5001))),
        [
            (
                "n3",
                (
                    "CM lists node 3 otherwise: db3, cm_server 10.0.0.3:5000, cm_agent 10.0.0.3 before,"
                    " db3, cm_server 10.0.0.3:5001, cm_agent 10.0.0.3 now"
                ),
            )
        ],
    ),
    "inventory, a node more": (
        replace(PLAN, nodes=(*PLAN.nodes, planned(4))),
        [("n4", "the inventory has this node, the plan does not")],
    ),
    "inventory, a node less": (
        replace(PLAN, nodes=PLAN.nodes[:2]),
        [("n3", "the inventory no longer has this node")],
    ),
    "another warning": (
        replace(PLAN, findings=(warning(), warning("CLOCK_SKEW", "n1"))),
        [("n1", "there is a warning that the plan did not have: CLOCK_SKEW")],
    ),
    "the same warning at another node": (
        replace(PLAN, findings=(warning(), warning(node="n2"))),
        [("n2", "there is a warning that the plan did not have: CERTIFICATE_EXPIRES_SOON")],
    ),
    "enable_ssl wanted": (
        replace(PLAN, options=ReplaceOptions(SslWish.ON)),
        [("", "--enable-ssl was keep, is on")],
    ),
    "restart": (
        replace(PLAN, options=ReplaceOptions(restart=RestartScope.NODE)),
        [("", "--restart was cluster, is node")],
    ),
    "drop_crls": (
        replace(PLAN, options=ReplaceOptions(drop_crls=True)),
        [("", "--drop-crls was not given, is given")],
    ),
    "accept_state": (
        replace(PLAN, options=ReplaceOptions(accept_state=True)),
        [("", "--accept-state was not given, is given")],
    ),
    "outage": (
        replace(PLAN, outage="CM and the database of all nodes, at most 9500 s"),
        [
            (
                "",
                (
                    "what would be down was: CM and the database of all nodes, at most 95 s;"
                    " and is: CM and the database of all nodes, at most 9500 s"
                ),
            )
        ],
    ),
    "exclude": (
        replace(PLAN, options=ReplaceOptions(exclude=("n3",))),
        [("", "--exclude was nobody, is n3")],
    ),
    "cluster, and nothing else is said": (
        replace(PLAN, cluster="test", bundle_digest="e2" * 32, nodes=()),
        [("", "the plan is for cluster prod, the inventory is of test")],
    ),
}


@pytest.mark.parametrize("name", DRIFTED)
def test_what_differs_is_told_with_its_node(name):
    now, causes = DRIFTED[name]

    assert told(now) == causes


def test_everything_that_differs_is_told_at_once():
    now = replace(
        with_node(old_digest="d7" * 32, enable_ssl=SslSwitch(SslValue.OFF, SslValue.OFF)),
        bundle_digest="e2" * 32,
        cluster_state=state("Degraded", n1="Primary", n2="Standby"),
    )

    assert len(told(now, moment=MADE + timedelta(days=8))) == 5


def test_a_plan_that_is_too_old_is_refused_from_the_next_second():
    late = ORIGIN.valid_until + timedelta(seconds=1)

    assert told(PLAN, moment=late) == [
        ("", "it was good until 2026-11-09 12:00 UTC, and was made 2026-11-02 12:00 UTC")
    ]


def test_a_plan_from_the_future_is_refused_but_for_clocks_that_differ_a_little():
    assert told(PLAN, moment=MADE - timedelta(minutes=5)) == []
    (found,) = told(PLAN, moment=MADE - timedelta(minutes=6))
    assert "yet to come" in found[1]


def test_nodes_that_do_not_answer_are_no_drift():
    """The new plan says so itself, and ends with 4."""
    lost = Unreachable(Reason.UNREACHABLE, "connection refused", node="n3")

    assert told(replace(PLAN, nodes=PLAN.nodes[:2], unreachable=(lost,))) == []


def test_where_nobody_answers_neither_state_nor_topology_are_said_to_have_drifted():
    lost = tuple(Unreachable(Reason.UNREACHABLE, "gone", node=node.node) for node in PLAN.nodes)

    assert told(replace(PLAN, nodes=(), unreachable=lost, cluster_state=None, topology=())) == []


def test_a_node_that_was_left_out_is_a_node_of_the_plan():
    lost = Unreachable(Reason.UNREACHABLE, "gone", node="n3")
    without = replace(PLAN, nodes=PLAN.nodes[:2], excluded=(lost,), options=ReplaceOptions(exclude=("n3",)))
    kept = record(without, ORIGIN)

    assert told(without, kept) == []
    back = replace(PLAN, options=without.options)
    assert told(back, kept) == [], "that it answers again is a finding of the plan: EXCLUDED_ANSWERS"


def test_a_warning_that_has_gone_or_counts_other_days_is_no_drift():
    assert told(replace(PLAN, findings=())) == []
    assert told(replace(PLAN, findings=(warning(cause="78 days"),))) == []


def test_errors_are_the_new_plans_own_and_not_drift_as_well():
    error = replace(warning("KEY_MISMATCH"), severity=Severity.ERROR)

    assert told(replace(PLAN, findings=(warning(), error))) == []


def test_who_holds_the_nodes_is_no_part_of_a_plan():
    assert lasting(ReplaceOptions(take_over=True)) == ReplaceOptions()
    assert told(replace(PLAN, options=ReplaceOptions(take_over=True))) == []


def test_the_order_of_excluded_nodes_means_nothing():
    one, other = ReplaceOptions(exclude=("a", "b")), ReplaceOptions(exclude=("b", "a"))

    assert plan_drift.differing(lasting(one), lasting(other)) == {}


@pytest.mark.parametrize("kind", [PlanRecord, RecordedNode, Origin])
def test_a_field_that_is_new_is_compared_or_named_here(kind):
    """What the file knows and nobody compares would be approved in vain."""
    known = {
        PlanRecord: {
            "origin",
            "cluster",
            "bundle_digest",
            "options",
            "nodes",
            "topology",
            "cluster_state",
            "server_roles",
            "accepted",
            "outage",
        },
        # `old_server` is told beside the digest of the set that it is part of.
        RecordedNode: {
            "node",
            "cm_node_id",
            "old_digest",
            "old_server",
            "new_server",
            "enable_ssl",
            "stopped",
        },
        # Where it lies and who made it decide nothing.
        Origin: {"directory", "made_at", "made_by", "valid_until"},
    }

    assert {each.name for each in fields(kind)} == known[kind]


def test_a_record_survives_its_document():
    kept = record(
        replace(PLAN, stopped=frozenset({"n1"}), options=ReplaceOptions(SslWish.ON, exclude=("n9",))), ORIGIN
    )

    assert plan_document.from_document(plan_document.to_document(kept)) == kept


def test_a_plan_kept_before_the_outage_was_is_read_and_its_outage_is_not_compared():
    document = plan_document.to_document(KEPT)
    del document["outage"]
    kept = plan_document.from_document(document)

    assert kept == replace(KEPT, outage="")
    assert told(PLAN, kept) == []


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
def test_a_moment_that_is_none_in_another_zone_is_told_like_any_other(moment):
    document = plan_document.to_document(KEPT) | {"made_at": moment}

    with pytest.raises(ValueError, match="made_at: a time with its zone is expected"):
        plan_document.from_document(document)
