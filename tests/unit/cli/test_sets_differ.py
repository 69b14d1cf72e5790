"""Nodes that hold different sets while nobody is in a transaction, as `status` and `check` tell of them; and
what `recover` tells of each node."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from gausscert_common.errors import InDoubt, Reason
from gausscert_common.findings import Finding, Severity
from gausscert_common.model import CertificateKind, SslSwitch, SslValue
from gausscert_common.protocol.coordinator import Verdict
from gausscert_common.protocol.words import LiveState, Outcome, Phase, Step
from gausscert_coordinator.report import NodeRecovery, Result
from support.cli_fakes import (
    NODES,
    Given,
    cli,
    cluster_status,
    expiry_report,
    in_transaction,
    live_set,
    status_of,
)

OTHER = replace(
    live_set(),
    bundle_digest="f0" * 32,
    certificates=(
        *live_set().certificates,
        replace(
            live_set().certificates[0], kind=CertificateKind.CA, file="cacert.pem", fingerprint="f0" * 32
        ),
    ),
)
OFF = SslSwitch(SslValue.OFF, SslValue.OFF)


def mixed(**changes):
    nodes = [status_of(name, **changes) for name in NODES[:2]]
    return cluster_status(*nodes, status_of("n3", live=OTHER, **changes))


def test_status_tells_who_is_alike():
    shown = cli("status", given=Given(mixed()))
    (found,) = cli("status", "--output", "json", given=Given(mixed())).document["findings"]

    assert "SETS_DIFFER" in shown.out
    assert (found["code"], found["severity"], found["node"]) == ("SETS_DIFFER", "warning", "")
    assert "n1 and n2; n3" in found["cause"]
    assert found["remedy"]


@pytest.mark.parametrize(("switch", "code"), [({}, 2), ({"enable_ssl": OFF}, 1)])
def test_check_is_critical_with_ssl_on_and_warns_with_ssl_off(switch, code):
    dated = tuple(expiry_report(name) for name in NODES)

    run = cli("check", "--output", "json", given=Given(mixed(**switch), dated))

    assert run.code == code
    assert [each["code"] for each in run.document["problems"]] == ["SETS_DIFFER"]


def test_alike_or_in_the_middle_of_a_transaction_there_is_nothing_to_tell():
    alike = cli("status", "--output", "json", given=Given(cluster_status()))
    working = mixed(transaction=in_transaction(Phase.SWAPPED, lease_left_s=60.0))
    at_work = cli("status", "--output", "json", given=Given(working))

    assert alike.document["findings"] == at_work.document["findings"] == []


def recovered(**changes):
    seen = NodeRecovery(
        "n1",
        Phase.SWAPPED,
        "t-1",
        LiveState.NEW,
        None,
        "bob@h2:2",
        30.0,
        "alice@h1:1",
        (Step.ABORT, Step.CLEAN),
    )
    through = NodeRecovery("n2", Phase.NONE, "", None, Outcome.ABORTED, "", 0.0)
    return Result("t-1", Verdict.ROLLED_BACK, why="so it is", nodes=(seen, through), **changes)


def test_recover_tells_of_each_node_what_it_saw_and_did():
    first, second = cli("recover", "--output", "json", given=Given(result=recovered())).document["nodes"]

    assert first == {
        "node": "n1",
        "phase": "SWAPPED",
        "transaction_id": "t-1",
        "live": "NEW",
        "outcome": None,
        "begun_by": "alice@h1:1",
        "holder": "bob@h2:2",
        "lease_left_s": 30.0,
        "did": ["ABORT", "CLEAN"],
    }
    assert (second["live"], second["outcome"], second["did"]) == (None, "ABORTED", [])
    shown = cli("recover", given=Given(result=recovered())).out
    for words in ("SWAPPED", "new", "aborted", "bob@h2:2, 30 s more", "abort, clean", "nobody"):
        assert words in shown


def test_a_recovery_that_may_do_nothing_does_not_say_recover_again():
    differ = InDoubt(Reason.IN_DOUBT, "the nodes hold different sets", node="n1", remedy="gausscert replace")
    refused = Result("", Verdict.IN_DOUBT, failures=(differ,), why="the nodes hold different sets")

    shown = cli("recover", given=Given(result=refused))

    assert shown.code == 3
    assert "in doubt: do what is said above" in shown.out
    assert "run gausscert recover" not in shown.out


def test_what_is_said_of_the_whole_cluster_is_not_said_of_the_bundle():
    roles = Finding("ROLES_MOVED", Severity.WARNING, "they have moved", "nothing")

    shown = cli("recover", given=Given(result=recovered(findings=(roles,)))).out

    assert "bundle" not in shown
    assert re.search(r"ROLES_MOVED +cluster", shown)


def test_a_finding_about_the_history_is_not_said_of_the_bundle():
    late = Finding("HISTORY_NOT_WRITTEN", Severity.WARNING, "the disk is full", "make room")

    shown = cli("recover", given=Given(result=recovered(findings=(late,)))).out

    assert "bundle" not in shown
    assert "history" in shown
