"""`status` and `expiry`: tables for people, documents for programs, exit codes for scripts."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from gausscert_common.findings import Severity
from gausscert_common.model import (
    Capabilities,
    CertificateKind,
    CertificateSet,
    CmNode,
    CmTopology,
    Served,
    ServedState,
    SslSwitch,
    SslValue,
)
from gausscert_common.protocol.words import Phase
from gausscert_coordinator.report import ClusterStatus, NodeExpiry, NodeStatus
from support.cli_fakes import (
    NEW,
    NOW,
    OLD,
    Given,
    certificate,
    cli,
    cluster_status,
    expiry_report,
    finding,
    in_transaction,
    live_set,
    report,
    served,
    status_of,
    unreachable,
)


def status(*nodes, json=False):
    args = ("--output", "json") if json else ()
    return cli("status", *args, given=Given(status=ClusterStatus("prod", nodes)))


def lost(name):
    return NodeStatus(name, f"{name}:7443", error=unreachable(name))


def row(run, node):
    return next(line for line in run.out.splitlines() if line.startswith(node))


def test_a_healthy_cluster_is_one_line_per_node():
    run = status(status_of("n1"), status_of("n2"))

    assert run.code == 0
    assert row(run, "n1").split() == ["n1", OLD[:12], OLD[:12], "400", "ok", "on", "running", "none", "no"]
    assert run.err == ""


def test_an_unreachable_node_is_four_and_says_why_and_what_to_do():
    run = status(status_of("n1"), lost("n2"))

    assert run.code == 4
    assert "UNREACHABLE" in row(run, "n2")
    assert "error UNREACHABLE n2: connection refused" in run.out
    assert "cluster prod, 2 nodes, 1 unreachable" in run.out
    assert "do: start gausscert-agent there" in run.out


def test_a_transaction_in_doubt_is_three_and_weighs_more_than_a_lost_node():
    run = status(status_of("n1", transaction=in_transaction()), lost("n2"))

    assert run.code == 3
    assert "run gausscert recover" in run.out
    assert "PREPARED" in row(run, "n1")
    assert "transaction 20261102t120000z-abc123 of alice@ops:7: n1 PREPARED" in run.out


def test_a_transaction_that_somebody_may_still_be_at_is_three_with_another_advice():
    carried = in_transaction(lease_left_s=30.0)

    run = status(status_of("n1", transaction=carried), status_of("n2"))

    assert run.code == 3
    assert "for at most 30 s more" in run.out
    assert "recover --take-over" in run.out


def test_a_lease_without_a_transaction_is_no_doubt():
    held = in_transaction(Phase.NONE, lease_left_s=5.0)

    run = status(status_of("n1", transaction=held), status_of("n2"))

    assert run.code == 0
    assert "recover" not in run.out


def test_drift_wrong_modes_stopped_cm_and_unequal_switches_are_shown():
    node = NodeStatus(
        "n1",
        "n1:7443",
        report(
            "n1", live=live_set(0o600), processes=(), enable_ssl=SslSwitch(SslValue.OFF, SslValue.COMMENTED)
        ),
        None,
        served(NEW),
    )

    shown = row(status(node), "n1")

    assert "DRIFT" in shown
    assert "WRONG" in shown
    assert "stopped" in shown
    assert "off/commented" in shown


def test_a_node_without_cm_server_or_without_ssl_is_no_drift():
    off = Served(1, "10.0.0.1:5000", ServedState.SSL_OFF)

    run = status(
        NodeStatus("n1", "a", report("n1"), None, None), NodeStatus("n2", "b", report("n2"), None, off)
    )

    assert "DRIFT" not in run.out
    assert "ssl off" in row(run, "n2")


@pytest.mark.parametrize("state", [ServedState.UNREACHABLE, ServedState.REFUSED])
def test_drift_is_unknown_where_nothing_could_be_asked(state):
    asked = NodeStatus("n1", "a", report("n1"), None, Served(1, "10.0.0.1:5000", state))
    unasked = NodeStatus("n2", "b", report("n2"), None, None)

    run = status(asked, unasked)
    document = status(asked, unasked, json=True).document

    assert row(run, "n1").split()[-1] == "?"
    assert row(run, "n2").split()[-1] == "?"
    assert [(node["drift"], node["drift_known"]) for node in document["nodes"]] == [(False, False)] * 2


def test_drift_is_known_where_there_is_no_cm_server_or_it_answered():
    topology = CmTopology(1, (CmNode(1, "n1"),))
    bare = NodeStatus("n1", "a", report("n1", topology=topology), None, None)

    run = status(bare, status_of("n2"))

    assert row(run, "n1").split()[-1] == "no"
    assert row(run, "n2").split()[-1] == "no"


def test_a_node_without_a_live_set_says_so_and_is_no_error():
    run = status(status_of("n1", live=CertificateSet()), status_of("n2"))

    assert run.code == 0
    assert run.out.count("NODE_NO_LIVE_SET") == 1
    assert "warning" in run.out


def test_a_node_whose_cm_ctl_tells_nothing_says_so_once():
    silent = status_of("n1", capabilities=Capabilities())
    telling = replace(finding("NODE_NOT_OBSERVED", Severity.WARNING, "n2"), cause="`cm_ctl view` failed")

    run = status(silent, status_of("n2", capabilities=Capabilities(), findings=(telling,)))

    assert run.code == 0
    assert run.out.count("NODE_CM_CTL_FAILS") == 1
    assert "`cm_ctl view` failed" in run.out


def test_a_node_that_cm_lists_and_the_inventory_lacks_is_named():
    topology = CmTopology(1, (CmNode(1, "n1"), CmNode(2, "n2")))

    alone = status(status_of("n1", topology=topology))
    whole = status(status_of("n1", topology=topology), lost("n2"))

    assert "CM also lists n2, which the inventory does not have" in alone.out
    assert "CM also lists" not in whole.out


def test_findings_of_nodes_are_listed_with_their_remedy():
    run = status(status_of("n1", findings=(finding("CLOCK_SKEW", Severity.WARNING, "n1", ""),)))

    assert "CLOCK_SKEW" in run.out
    assert "do: remedy for CLOCK_SKEW" in run.out


def test_the_status_document_is_whole():
    run = status(status_of("n1"), lost("n2"), json=True)
    document = run.document

    assert run.code == 4
    assert list(document) == [
        "schema",
        "cluster",
        "in_doubt",
        "waiting",
        "unreachable",
        "nodes",
        "findings",
    ]
    assert document["unreachable"] == ["n2"]
    node, other = document["nodes"]
    assert other["reachable"] is False
    assert other["error"]["reason"] == "UNREACHABLE"
    assert node["report"]["clock"] == "2026-11-02T12:00:00Z"
    assert node["report"]["live"]["certificates"][0]["fingerprint"] == OLD
    assert node["report"]["live"]["files"][0]["mode"] == "0400"
    assert node["report"]["days_left"] == 400
    assert node["report"]["modes_ok"] is True
    assert node["report"]["cm_running"] is True
    assert node["report"]["transaction"] is None
    assert node["served"]["fingerprint"] == OLD
    assert node["drift"] is False


def test_a_transaction_in_the_document_has_its_epoch_and_step():
    document = status(status_of("n1", transaction=in_transaction()), json=True).document

    told = document["nodes"][0]["report"]["transaction"]
    assert (told["epoch"], told["step"], told["phase"]) == (4, "PREPARE", "PREPARED")
    assert document["in_doubt"] is True


def test_extra_certificates_do_not_count_for_the_days_left():
    live = live_set()
    extra = certificate(CertificateKind.EXTRA, "ee" * 32, 3.0)
    node = status_of("n1", live=type(live)(live.state, certificates=(*live.certificates, extra)))

    assert status(node, json=True).document["nodes"][0]["report"]["days_left"] == 400


def test_expiry_lists_soonest_first_over_all_nodes():
    given = Given(
        expiry=(
            expiry_report("n1", certificate(days=50.0), certificate(CertificateKind.CA, "cc" * 32, 900.0)),
            expiry_report("n2", certificate(days=-0.5), certificate(days=90.5)),
        )
    )

    run = cli("expiry", "--output", "json", given=given)

    lines = [(line["node"], line["days_left"], line["state"]) for line in run.document["certificates"]]
    assert run.code == 0
    assert lines == [
        ("n2", -1, "expired"),
        ("n1", 50, "expiring"),
        ("n2", 90, "ok"),
        ("n1", 900, "ok"),
    ]


def test_a_certificate_of_tomorrow_is_not_yet_valid():
    early = certificate(days=90.0)
    early = type(early)(
        **{
            name: getattr(early, name)
            for name in ("file", "index", "kind", "subject", "issuer", "serial", "fingerprint", "not_after")
        },
        not_before=NOW + timedelta(days=1),
    )

    run = cli("expiry", given=Given(expiry=(expiry_report("n1", early),)))

    assert "not yet valid" in run.out


def test_expiry_lists_what_is_served_beside_what_lies_on_the_disk():
    shown = replace(certificate(fingerprint=NEW, days=3.0), file="served by cm_server")
    node = expiry_report("n1")
    given = Given(expiry=(replace(node, report=replace(node.report, served=shown)),))
    listed = cli("expiry", "--output", "json", given=given).document["certificates"]
    assert [(each["file"], each["days_left"]) for each in listed] == [
        ("served by cm_server", 3),
        ("server.crt", 400),
    ]
    assert "served by cm_server" in cli("expiry", given=given).out


@pytest.mark.parametrize("json", [True, False])
def test_expiry_with_a_lost_node_is_four(json):
    given = Given(expiry=(expiry_report("n1"), NodeExpiry("n2", error=unreachable("n2"))))

    run = cli("expiry", *(("--output", "json") if json else ()), given=given)

    assert run.code == 4
    assert "connection refused" in run.out


def test_a_cluster_is_closed_again_even_after_an_error():
    given = Given(raises=ZeroDivisionError())

    cli("status", given=given)

    assert given.asked == [("open",), ("close",)]


def test_status_needs_no_answering_cluster_to_be_a_document():
    assert cli("status", "--output", "json", given=Given(status=cluster_status(lost("n1")))).code == 4
