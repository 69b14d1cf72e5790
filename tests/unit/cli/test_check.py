"""`check`: what a monitoring system reads of each state of a cluster."""

from __future__ import annotations

import io
import re
from contextlib import redirect_stdout
from dataclasses import replace

import pytest
from gausscert_common.errors import Denied, InvalidInput, NodeFailure, Reason
from gausscert_common.findings import Severity
from gausscert_common.model import (
    CertificateKind,
    CmNode,
    CmProcess,
    CmTopology,
    Served,
    ServedState,
)
from gausscert_common.protocol.words import Phase
from gausscert_coordinator.cli.main import run as run_command
from gausscert_coordinator.report import NodeExpiry, NodeStatus
from support.cli_fakes import (
    NEW,
    NODES,
    NOW,
    Given,
    certificate,
    cli,
    cluster_status,
    expiry_report,
    finding,
    in_transaction,
    live_set,
    served,
    status_of,
    unreachable,
)

LABEL = r"(?:'[^'=]+'|[^'= ]+)"
PERFORMANCE = re.compile(rf"{LABEL}=-?[0-9.]+(?:;[0-9.:]*){{0,4}}")
"""'label'=value[UOM];[warn];[crit];[min];[max], as the guidelines of the Monitoring Plugins say."""


def check(*arguments, statuses=(), expiries=(), **given):
    """Three good nodes, and those given instead."""
    nodes = {name: status_of(name) for name in NODES} | {each.node: each for each in statuses}
    dated = {name: expiry_report(name) for name in NODES} | {each.node: each for each in expiries}
    return cli(
        "check", *arguments, given=Given(cluster_status(*nodes.values()), tuple(dated.values()), **given)
    )


def first_line(run) -> tuple[str, str, list[str]]:
    """State, text and performance data; whatever is said, the form must be right."""
    line = run.out.splitlines()[0]
    head, bar, data = line.partition(" | ")
    state, dash, text = head.partition(" - ")
    assert bar
    assert dash
    assert "|" not in text + data
    parts = re.findall(rf"{LABEL}=\S+", data)
    assert " ".join(parts) == data
    assert all(PERFORMANCE.fullmatch(part) for part in parts), parts
    assert {"OK": 0, "WARNING": 1, "CRITICAL": 2, "UNKNOWN": 3}[state] == run.code
    return state, text, parts


def test_a_cluster_in_order():
    run = check()
    state, text, data = first_line(run)
    assert state == "OK"
    assert text == "3 certificates on 3 nodes, the first (server.crt on n1) expires in 400 days"
    assert data == [
        "'n1 server.crt'=400;90:;30:",
        "'n2 server.crt'=400;90:;30:",
        "'n3 server.crt'=400;90:;30:",
        "nodes=3",
        "silent=0;;0",
        "drift=0;0",
        "not_serving=0;0",
        "transactions=0;0",
    ]
    assert len(run.out.splitlines()) == 1
    assert run.err == ""


@pytest.mark.parametrize(
    ("days", "options", "state"),
    [
        (90.0, (), "OK"),
        (89.9, (), "WARNING"),
        (30.0, (), "WARNING"),
        (29.9, (), "CRITICAL"),
        (0.0, (), "CRITICAL"),
        (-3.0, ("--critical", "0", "--warning", "0"), "CRITICAL"),
        (0.1, ("--critical", "0", "--warning", "0"), "OK"),
        (50.0, ("--warning", "40"), "OK"),
        (20.0, ("--warning", "20"), "OK"),
        (19.0, ("--warning", "20"), "CRITICAL"),
        (100.0, ("--critical", "120"), "CRITICAL"),
        (9.5, ("--critical", "9", "--warning", "10"), "WARNING"),
    ],
)
def test_limits_are_the_nodes_or_the_callers(days, options, state):
    expiring = expiry_report("n2", certificate(days=days))
    assert first_line(check(*options, expiries=[expiring]))[0] == state


def test_a_certificate_that_is_not_valid_yet_is_critical():
    ahead = replace(certificate(), not_before=NOW.replace(year=2027))
    assert first_line(check(expiries=[expiry_report("n2", ahead)]))[0] == "CRITICAL"


def test_what_cm_ignores_is_never_critical():
    run = check(expiries=[expiry_report("n2", certificate(CertificateKind.EXTRA, days=-9.0))])
    assert first_line(run)[0] == "WARNING"


def test_each_problem_has_a_line_worst_first_and_the_first_line_has_the_first_of_them():
    run = check(
        statuses=[status_of("n1", live=live_set(0o600))],
        expiries=[expiry_report("n2", certificate(days=50.0)), expiry_report("n3", certificate(days=-2.0))],
    )
    state, text, data = first_line(run)
    assert state == "CRITICAL"
    assert text.startswith("n3: server.crt (server CN=server) expired 2 days ago; n1: files of the live set")
    assert "'n3 server.crt'=-2;90:;30:" in data
    words = [line.split()[:3] for line in run.out.splitlines()[1:]]
    assert words == [
        ["CRITICAL", "EXPIRED", "n3:"],
        ["WARNING", "NODE_SET_MODE", "n1:"],
        ["WARNING", "EXPIRING", "n2:"],
    ]
    assert len(check("--quiet", statuses=[status_of("n1", live=live_set(0o600))]).out.splitlines()) == 1


def test_the_credentials_of_the_control_plane_have_data_and_limits_of_their_own():
    """They last less long than what is replaced, and a finding of the node tells their end."""
    own = certificate(CertificateKind.CREDENTIAL, days=60.0, file="/etc/n1.crt")
    ca = certificate(CertificateKind.CREDENTIAL_CA, days=100.0, file="/etc/ca.crt")
    node = expiry_report("n1")
    node = replace(node, report=replace(node.report, control_plane=(own, ca)))

    state, _, data = first_line(check(expiries=[node]))

    assert state == "OK"
    assert {"'n1 credential'=60;30:;0:", "'n1 credential ca'=100;90:;0:"} <= set(data)


def silent(name, error):
    return NodeStatus(name, f"{name}:7443", None, error, None), NodeExpiry(name, None, error)


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (unreachable("n2"), "CRITICAL"),
        (NodeFailure(Reason.JOURNAL_DAMAGED, "is damaged", node="n2", file="/s/journal.json"), "CRITICAL"),
        (Denied(Reason.PERMISSION_DENIED, "not for you", node="n2"), "UNKNOWN"),
    ],
)
def test_a_node_without_an_answer_is_told_once(error, state):
    status, expiry = silent("n2", error)
    run = check(statuses=[status], expiries=[expiry])
    found, text, data = first_line(run)
    assert found == state
    assert text.startswith(f"n2: {error.message}")
    assert {"nodes=3", "silent=1;;0"} <= set(data)
    assert len(run.out.splitlines()) == 2


def test_what_is_wrong_weighs_more_than_what_is_unknown():
    status, expiry = silent("n2", Denied(Reason.PERMISSION_DENIED, "not for you", node="n2"))
    expiring = expiry_report("n3", certificate(days=50.0))
    assert first_line(check(statuses=[status], expiries=[expiry, expiring]))[0] == "WARNING"


@pytest.mark.parametrize(("lease_left_s", "state"), [(30.0, "WARNING"), (0.0, "CRITICAL")])
def test_a_transaction_at_work_is_no_doubt(lease_left_s, state):
    busy = status_of("n1", transaction=in_transaction(lease_left_s=lease_left_s))
    run = check(statuses=[replace(busy, served=served(NEW))])
    found, text, data = first_line(run)
    assert found == state
    assert "20261102t120000z-abc123" in text
    # Drift is part of it as long as somebody is at work; where nobody is, it is told.
    drift = int(not lease_left_s)
    assert {"transactions=1;0", f"drift={drift};0"} <= set(data)
    assert len(run.out.splitlines()) == 2 + drift


def test_drift_is_a_warning_until_it_is_refused():
    drifting = replace(status_of("n2"), served=served(NEW))
    state, _, data = first_line(check(statuses=[drifting]))
    assert state == "WARNING"
    assert "drift=1;0" in data
    refused = replace(served(NEW), chain_verified=False, cause="certificate has expired")
    state, text, _ = first_line(check(statuses=[replace(drifting, served=refused)]))
    assert state == "CRITICAL"
    assert "certificate has expired" in text


def test_a_cm_server_that_runs_and_cannot_be_seen():
    deaf = Served(1, "10.0.0.1:5000", ServedState.UNREACHABLE, cause="connection refused")
    assert first_line(check(statuses=[replace(status_of("n2"), served=deaf)]))[0] == "WARNING"


DOWN = Served(1, "10.0.0.1:5000", ServedState.UNREACHABLE, cause="connection refused")


def down(name, **changes):
    stopped = status_of(name, processes=(CmProcess("om_monitor", 1, NOW),), **changes)
    return replace(stopped, served=DOWN)


def test_a_node_whose_cm_server_does_not_run_is_not_ok():
    """It was, as long as no other part of the node was wrong."""
    state, text, data = first_line(check(statuses=[down("n2", manually_stopped=True)]))
    assert state == "WARNING"
    assert text == "n2: no cm_server runs here, although one belongs here; CM was stopped on purpose"
    assert "not_serving=1;0" in data


def test_a_cluster_without_any_cm_server_is_critical():
    state, _, data = first_line(check(statuses=[down(name) for name in NODES]))
    assert state == "CRITICAL"
    assert "not_serving=3;0" in data
    off = replace(status_of("n1"), served=Served(1, "10.0.0.1:5000", ServedState.SSL_OFF))
    assert first_line(check(statuses=[off, down("n2"), down("n3")]))[0] == "WARNING"


@pytest.mark.parametrize(
    ("phase", "lease_left_s", "told"),
    [
        (Phase.PREPARED, 30.0, 0),
        (Phase.SWAPPED, 30.0, 0),
        (Phase.ABORTED, 30.0, 0),
        (Phase.SWAPPED, 0.0, 3),
        (Phase.COMMITTED, 30.0, 3),
    ],
)
def test_cm_is_down_on_purpose_while_somebody_restarts_it(phase, lease_left_s, told):
    busy = in_transaction(phase, lease_left_s)
    run = check(statuses=[down(name, transaction=busy) for name in NODES])
    assert f"not_serving={told};0" in first_line(run)[2]
    assert run.out.count("NOT_SERVED") == told


def test_nobody_is_told_to_start_cm_beside_a_transaction_in_doubt():
    """Each node may hold another set; what ends it is recover."""
    stopped = [
        down(name, transaction=in_transaction(Phase.SWAPPED, 0.0), manually_stopped=True) for name in NODES
    ]
    run = check(statuses=stopped)
    assert "cm_ctl start" not in run.out
    assert run.out.count("(do: run gausscert recover; do not start CM by hand)") == len(NODES)


def test_a_cm_server_that_no_agent_can_look_at():
    node = CmNode(1, "db2", "10.0.0.2", 5000, "10.0.0.2")
    unseen = replace(status_of("n2", topology=CmTopology(1, (node,))), served=None)
    assert first_line(check(statuses=[unseen]))[:2] == (
        "WARNING",
        "n2: what cm_server serves could not be looked at",
    )


def test_what_is_served_counts_by_itself_unless_it_lies_on_the_disk():
    report = expiry_report("n2").report
    shown = replace(certificate(fingerprint=NEW, days=-2.0), file="served by cm_server")
    run = check(expiries=[NodeExpiry("n2", replace(report, served=shown))])
    state, text, data = first_line(run)
    assert state == "CRITICAL"
    assert text == "n2: served by cm_server (server CN=server) expired 2 days ago"
    assert "'n2 served by cm_server'=-2;90:;30:" in data

    old = certificate(days=50.0)
    report = expiry_report("n2", old).report
    same = replace(report, served=replace(old, file="served by cm_server"))
    assert len(check(expiries=[NodeExpiry("n2", same)]).out.splitlines()) == 2


@pytest.mark.parametrize(
    ("code", "severity", "state"),
    [
        ("NODE_ORPHAN", Severity.ERROR, "CRITICAL"),
        ("NODE_CREDENTIAL_EXPIRING", Severity.WARNING, "WARNING"),
        ("NODE_ALARM", Severity.WARNING, "OK"),
    ],
)
def test_what_nodes_find_counts_but_not_twice(code, severity, state):
    found = finding(code, severity, "n2")
    report = expiry_report("n2").report
    told = NodeExpiry("n2", replace(report, findings=(found,)))
    run = check(statuses=[status_of("n2", findings=(found,))], expiries=[told])
    assert first_line(run)[0] == state
    assert len(run.out.splitlines()) == (1 if state == "OK" else 2)


def test_names_from_certificates_cannot_forge_the_output():
    forged = certificate(days=1.0, subject="CN=a|x=1\nOK - \x1b[2J")
    run = check(expiries=[expiry_report("n2", forged)])
    assert first_line(run)[0] == "CRITICAL"
    assert "\x1b" not in run.out
    assert not any(line.startswith("OK") for line in run.out.splitlines())


def test_the_document():
    run = check("--output", "json", expiries=[expiry_report("n2", certificate(days=50.0))])
    document = run.document
    assert run.code == 1
    assert document["schema"] == "gausscert/check/v1"
    assert document["state"] == "WARNING"
    assert [(each["node"], each["code"]) for each in document["problems"]] == [("n2", "EXPIRING")]
    label = {"label": "n2 server.crt", "value": 50.0, "warning": "90:", "critical": "30:"}
    assert label in document["data"]
    assert document["error"] is None


@pytest.mark.parametrize(
    ("arguments", "raises"),
    [
        ((), InvalidInput(Reason.CREDENTIAL_INVALID, "it expired", file="alice.crt", remedy="renew it")),
        (("--bogus",), None),
        (("--warning", "soon"), None),
        (("--warning", "-1"), None),
        (("--warning", "5", "--critical", "6"), None),
        (("more",), None),
    ],
)
def test_whatever_goes_wrong_is_unknown_and_said_where_it_is_read(arguments, raises):
    run = cli("check", *arguments, given=Given(cluster_status(), (), raises=raises))
    assert run.code == 3
    assert run.out.startswith("UNKNOWN - ")
    assert len(run.out.splitlines()) == 1
    assert run.err == ""


@pytest.mark.parametrize("raised", [RuntimeError("secret"), KeyboardInterrupt()])
def test_a_bug_or_a_signal_is_unknown_too(raised):
    run = check(raises=raised)
    assert run.code == 3
    assert run.out.startswith("UNKNOWN - ")
    assert "secret" not in run.out


@pytest.mark.parametrize(
    "arguments", [("check", "--bogus", "--output", "json"), ("--output=json", "check", "x")]
)
def test_a_failure_is_a_document_where_one_was_asked_for(arguments):
    run = cli(*arguments, given=Given(cluster_status(), ()))
    assert run.code == 3
    assert run.document["schema"] == "gausscert/check/v1"
    assert run.document["state"] == "UNKNOWN"
    assert run.document["error"]["reason"] == "USAGE"


def test_without_an_inventory_nothing_is_known(tmp_path):
    out = io.StringIO()
    with redirect_stdout(out):
        code = run_command(["check", "--inventory", str(tmp_path / "none.toml")])
    assert code == 3
    assert re.match(r"UNKNOWN - CONFIG_INVALID: .*none\.toml", out.getvalue())


def test_help_is_help():
    run = cli("check", "--help")
    assert run.code == 0
    assert "UNKNOWN" in run.out


def standing(name):
    told = replace(in_transaction(Phase.COMMITTED), participants=("n1", "n2"), excluded=("n3",))
    return status_of(name, transaction=told)


def another_set(name, **changes):
    return status_of(name, live=replace(live_set(), bundle_digest="other"), **changes)


def test_nodes_that_were_left_out_are_told_until_nobody_waits_for_them():
    status, expiry = silent("n3", unreachable("n3"))

    run = check(statuses=[standing("n1"), standing("n2"), status], expiries=[expiry])

    state, _, data = first_line(run)
    assert state == "CRITICAL"  # for the node that nobody watches
    assert "transactions=1;0" in data
    (line,) = [each for each in run.out.splitlines()[1:] if "NODES_EXCLUDED" in each]
    assert line.startswith("WARNING")
    assert "committed, waiting for n3 (excluded, does not answer)" in line
    assert "IN_DOUBT" not in run.out


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, "CRITICAL"),
        ({"processes": ()}, "WARNING"),
        ({"transaction": in_transaction(Phase.SWAPPED, lease_left_s=30.0)}, "WARNING"),
    ],
)
def test_one_that_is_back_is_critical_while_cm_runs_there_with_another_set(changes, state):
    changes = dict(changes)
    if "transaction" in changes:  # it is being brought over
        told = replace(changes["transaction"], transaction_id="20261102t130000z-abc124")
        changes["transaction"] = replace(told, joins="20261102t120000z-abc123")

    run = check(statuses=[standing("n1"), standing("n2"), another_set("n3", **changes)])

    assert first_line(run)[0] == state
    critical = [line for line in run.out.splitlines()[1:] if line.startswith("CRITICAL NODES_EXCLUDED n3")]
    assert bool(critical) is (state == "CRITICAL")


def test_drift_is_seen_while_a_transaction_only_waits():
    drifting = replace(standing("n1"), served=served(NEW))

    run = check(statuses=[drifting, standing("n2"), another_set("n3", processes=())])
    state, text, data = first_line(run)

    assert state == "WARNING"
    assert "n1: the running cm_server serves another certificate than lies on the disk" in text
    assert "drift=1;0" in data


def test_days_are_those_that_status_and_expiry_tell():
    """A day that has begun is not left any more."""
    expiring = expiry_report("n2", certificate(days=50.9))

    assert "expires in 50 days" in check(expiries=[expiring]).out


@pytest.mark.parametrize("option", ["--warning", "--critical"])
@pytest.mark.parametrize("days", ["nan", "inf", "-inf", "-1"])
def test_limits_that_are_no_number_of_days_are_unknown_and_not_ok(option, days):
    """With nan no certificate would ever be worth a warning."""
    run = check(f"{option}={days}")

    assert run.code == 3
    assert run.out.startswith("UNKNOWN - ")
