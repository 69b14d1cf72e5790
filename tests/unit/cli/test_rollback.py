"""`rollback`: which generation reaches the cluster, what is asked of the operator, and how it ends."""

from __future__ import annotations

from dataclasses import replace

import pytest
from gausscert_common.protocol.coordinator import Stage, Verdict
from gausscert_common.protocol.words import RestartScope, SslWish
from gausscert_coordinator.report import ReplaceOptions
from support.cli_fakes import NEW, OLD, Given, cli, finding, plan, result, unreachable

GENERATION = "20261102t120000z-9f3c1a"


def back(**changes):
    return plan(generation=GENERATION, **changes)


def asked(given, what):
    return [each for each in given.asked if each[0] == what]


def test_the_generation_and_the_options_reach_the_cluster():
    given = Given(plan=back(), result=result())
    chosen = ("--enable-ssl", "off", "--restart", "node", "--drop-crls", "--take-over")

    run = cli("rollback", "--to", GENERATION, *chosen, "--yes", given=given)

    assert run.code == 0
    options = ReplaceOptions(SslWish.OFF, RestartScope.NODE, drop_crls=True, take_over=True)
    assert asked(given, "plan_rollback") == [("plan_rollback", GENERATION, options)]
    assert asked(given, "rollback") == [("rollback", given.plan)]


def test_without_to_the_nodes_decide_and_enable_ssl_is_kept():
    given = Given(plan=back(), result=result())

    cli("rollback", "--yes", given=given)

    assert asked(given, "plan_rollback") == [("plan_rollback", None, ReplaceOptions())]


def test_the_plan_is_shown_and_the_operator_is_asked_about_the_generation():
    given = Given(plan=back(), result=result())

    run = cli("rollback", given=given, typed="y\n")

    assert run.code == 0
    assert f"back to generation {GENERATION}" in run.err
    assert f"-> {NEW[:12]}" in run.err
    assert OLD[:12] in run.err
    question = " ".join(run.err.split())
    assert (
        f"Go back to the certificates of generation {GENERATION} of cluster prod on 3 nodes? [y/N]"
        in question
    )
    assert f"committed: every node has the certificates of generation {GENERATION} again" in run.out


@pytest.mark.parametrize("typed", ["n\n", "\n"])
def test_an_operator_who_does_not_say_yes_changes_nothing(typed):
    given = Given(plan=back())

    run = cli("rollback", given=given, typed=typed)

    assert run.code == 2
    assert "not confirmed" in run.err
    assert asked(given, "rollback") == []


def test_without_terminal_and_without_yes_no_node_is_asked():
    given = Given(plan=back())

    assert cli("rollback", given=given).code == 2
    assert given.asked == []


def test_dry_run_shows_the_plan_asks_nobody_and_changes_nothing():
    given = Given(plan=back())

    run = cli("rollback", "--dry-run", given=given)

    assert run.code == 0
    assert f"back to generation {GENERATION}" in run.out
    assert "nothing was changed" in run.err
    assert asked(given, "rollback") == []


REFUSED = [
    ({"findings": (finding("GENERATION_UNKNOWN", file=""),)}, 2, "GENERATION_UNKNOWN"),
    ({"findings": (finding("CERTIFICATE_EXPIRED", node="n2"),)}, 2, "CERTIFICATE_EXPIRED"),
    ({"unreachable": (unreachable("n2"),)}, 4, "n2: connection refused"),
]


@pytest.mark.parametrize("option", ["--yes", "--dry-run"])
@pytest.mark.parametrize(("changes", "code", "text"), REFUSED)
def test_it_is_refused_with_everything_that_speaks_against_it(option, changes, code, text):
    given = Given(plan=back(**changes))

    run = cli("rollback", option, given=given)

    assert run.code == code
    assert text in run.out + run.err
    assert asked(given, "rollback") == []


def test_what_all_nodes_say_is_of_the_generation_and_not_of_a_bundle():
    run = cli("rollback", "--yes", given=Given(plan=back(findings=(finding(),))))

    (line,) = (line for line in run.err.splitlines() if "KEY_MISMATCH" in line and "cause" in line)
    assert line.split()[:3] == ["error", "KEY_MISMATCH", "generation"]


def test_without_any_generation_nothing_is_said_of_one():
    given = Given(plan=plan(generation="", findings=(finding("GENERATION_NONE", file=""),)))

    run = cli("rollback", "--yes", given=given)

    assert run.code == 2
    assert "back to generation" not in run.err


def test_a_rollback_that_is_turned_back_does_not_claim_to_have_rolled_back():
    failed = replace(result(Verdict.ROLLED_BACK), last_stage=Stage.START)

    run = cli("rollback", "--yes", given=Given(plan=back(), result=failed))

    assert run.code == 1
    assert f"turned back: every node has what it had before, not generation {GENERATION}" in run.out
    assert "rolled back" not in run.out


def test_json_is_one_document_with_plan_and_result():
    run = cli("rollback", "--yes", "--output", "json", given=Given(plan=back(), result=result()))

    assert run.document["schema"] == "gausscert/rollback/v1"
    assert run.document["plan"]["generation"] == GENERATION
    assert run.document["plan"]["nodes"][0]["new_digest"] == ""
    assert run.document["result"]["verdict"] == "committed"
    assert run.document["error"] is None


def test_json_of_a_dry_run_has_the_same_form_without_a_result():
    run = cli("rollback", "--dry-run", "--output", "json", given=Given(plan=back()))

    assert run.document["schema"] == "gausscert/rollback/v1"
    assert run.document["plan"]["feasible"] is True
    assert run.document["result"] is None


def test_a_replacements_plan_goes_back_to_nothing():
    run = cli("rollback", "--dry-run", "--output", "json", given=Given(plan=plan()))

    assert run.document["plan"]["generation"] is None


def test_help_tells_rollback_from_recover():
    said = " ".join(cli("rollback", "--help").out.split())

    assert "the newest that all nodes have" in said
    assert "gausscert recover" in said
