"""`ssl on` and `ssl off`, and --accept-state: what reaches the cluster, what is asked, and how it ends."""

from __future__ import annotations

from dataclasses import replace

import pytest
from gausscert_common.findings import Finding, Severity
from gausscert_common.model import ClusterState, ServedState
from gausscert_common.protocol.coordinator import Stage, Verdict
from gausscert_common.protocol.recovery import Choice
from gausscert_common.protocol.words import RestartScope, SslWish
from gausscert_coordinator.report import Proof, ReplaceOptions
from support.cli_fakes import Given, cli, finding, plan, result, served

ON, OFF = SslWish.ON, SslWish.OFF


def of_ssl(wish: SslWish, **changes):
    return plan(only_ssl=True, options=ReplaceOptions(ssl_wish=wish), **changes)


def asked(given, what):
    return [each for each in given.asked if each[0] == what]


@pytest.mark.parametrize("wish", [ON, OFF])
def test_the_wish_and_the_options_reach_the_cluster(wish):
    given = Given(plan=of_ssl(wish), result=result())

    run = cli("ssl", wish.value, "--restart", "node", "--take-over", "--accept-state", "--yes", given=given)

    assert run.code == 0
    options = ReplaceOptions(wish, RestartScope.NODE, take_over=True, accept_state=True)
    assert asked(given, "plan_ssl") == [("plan_ssl", wish, options)]
    assert asked(given, "switch_ssl") == [("switch_ssl", given.plan)]


@pytest.mark.parametrize("wish", [ON, OFF])
def test_the_plan_is_shown_the_operator_is_asked_and_the_end_says_what_became_of_the_switch(wish):
    run = cli("ssl", wish.value, given=Given(plan=of_ssl(wish), result=result()), typed="y\n")

    assert run.code == 0
    assert f"enable_ssl becomes {wish}; the sets stay as they are" in run.err
    assert f"Switch SSL {wish} and restart CM of cluster prod on 3 nodes? [y/N]" in " ".join(run.err.split())
    assert f"committed: enable_ssl is {wish} on every node, and every cm_server answers so" in run.out


def test_turned_back_it_speaks_of_the_switch():
    ended = result(Verdict.ROLLED_BACK, last_stage=Stage.VERIFY)
    run = cli("ssl", "off", "--yes", given=Given(plan=of_ssl(OFF), result=ended))
    assert run.code == 1
    assert "rolled back: enable_ssl is on every node as it was before" in run.out


def test_no_answer_of_the_operator_changes_nothing():
    given = Given(plan=of_ssl(ON), result=result())
    assert cli("ssl", "on", given=given, typed="n\n").code == 2
    assert asked(given, "switch_ssl") == []


def test_a_dry_run_shows_the_plan_and_changes_nothing():
    given = Given(plan=of_ssl(ON), result=result())
    run = cli("ssl", "on", "--dry-run", "--output", "json", given=given)
    assert run.code == 0
    assert asked(given, "switch_ssl") == []
    assert run.document["schema"] == "gausscert/ssl-on/v1"
    assert run.document["plan"]["only_ssl"]
    assert run.document["result"] is None


def test_what_speaks_against_it_refuses():
    given = Given(plan=of_ssl(ON, findings=(finding("CERTIFICATE_EXPIRED", node="n1"),)), result=result())
    run = cli("ssl", "on", "--yes", given=given)
    assert run.code == 2
    assert asked(given, "switch_ssl") == []
    assert "CERTIFICATE_EXPIRED" in run.err


def test_the_proof_of_ssl_off_is_the_answer_of_every_cm_server():
    off = replace(served(""), state=ServedState.SSL_OFF, chain_verified=False)
    ended = result(proof=tuple(Proof(name, off) for name in ("n1", "n2")))
    run = cli("ssl", "off", "--yes", given=Given(plan=of_ssl(OFF), result=ended))
    assert "ssl off" in run.out
    assert "no certificate" in run.out
    assert "n1, n2" in run.out


# --accept-state elsewhere


def test_what_is_accepted_is_shown_with_state_and_roles():
    found = Finding("CLUSTER_NOT_NORMAL", Severity.WARNING, "accepted (--accept-state): it says Degraded")
    shown = plan(
        options=ReplaceOptions(accept_state=True),
        cluster_state=ClusterState("Degraded", {1: "Primary", 2: "Down"}),
        findings=(found,),
    )
    run = cli("rollback", "--dry-run", "--accept-state", given=Given(plan=shown))
    assert "cluster now: Degraded; cm_server 1 Primary, 2 Down" in run.out
    assert "its state is accepted: afterwards it must be no worse" in run.out
    assert "accepted (--accept-state): it says Degraded" in " ".join(run.out.split())


def test_recover_passes_it_on():
    given = Given(result=result(Verdict.ROLLED_BACK))
    cli("recover", "--accept-state", given=given)
    assert asked(given, "recover") == [("recover", Choice.ROLL_BACK, False, None, None, True)]
    cli("recover", given=given)
    assert asked(given, "recover")[1] == ("recover", Choice.ROLL_BACK, False, None, None)


def test_what_cms_logs_say_is_in_both_outputs():
    cause = Finding("CM_LOG_FILE_MODE", Severity.ERROR, "CM refuses the mode", "chmod 0400", node="n2")
    ended = result(Verdict.ROLLED_BACK, findings=(cause,), last_stage=Stage.START)
    text = cli("ssl", "on", "--yes", given=Given(plan=of_ssl(ON), result=ended))
    document = cli("ssl", "on", "--yes", "--output", "json", given=Given(plan=of_ssl(ON), result=ended))
    words = " ".join(text.out.split())
    assert "CM_LOG_FILE_MODE" in words
    assert "CM refuses the mode" in words
    assert "do: chmod 0400" in words
    (told,) = document.document["result"]["findings"]
    assert (told["code"], told["node"], told["remedy"]) == ("CM_LOG_FILE_MODE", "n2", "chmod 0400")
