"""Before anything goes down, every verb says what and for how long; anything but yes changes nothing."""

from __future__ import annotations

import pytest
from gausscert_common.protocol.words import SslWish
from gausscert_coordinator.report import ReplaceOptions
from support.cli_fakes import Given, cli, plan, result

OUTAGE = "CM and the database of all nodes, from stop to start: at most 95 s"
VERBS = {
    ("replace",): (plan(outage=OUTAGE), "Replace the certificates of cluster prod on 3 nodes?"),
    ("rollback",): (
        plan(outage=OUTAGE, generation="20261102t120000z-abc123"),
        "Go back to the certificates of generation 20261102t120000z-abc123 of cluster prod on 3 nodes?",
    ),
    ("ssl", "on"): (
        plan(outage=OUTAGE, only_ssl=True, options=ReplaceOptions(SslWish.ON)),
        "Switch SSL on and restart CM of cluster prod on 3 nodes?",
    ),
    ("ssl", "off"): (
        plan(outage=OUTAGE, only_ssl=True, options=ReplaceOptions(SslWish.OFF)),
        "Switch SSL off and restart CM of cluster prod on 3 nodes?",
    ),
}


@pytest.fixture(params=VERBS, ids=" ".join)
def asked(request, bundle, passwords):
    """The words of a command line, what the cluster plans, and the question."""
    words = (*request.param, str(bundle), *passwords) if request.param == ("replace",) else request.param
    made, question = VERBS[request.param]
    return words, Given(plan=made, result=result()), question


def begun(given: Given) -> list[str]:
    return [each[0] for each in given.asked if each[0] in ("replace", "rollback", "switch_ssl")]


def test_the_outage_is_said_once_and_before_the_question(asked):
    words, given, question = asked

    run = cli(*words, given=given, typed="yes\n")

    said = " ".join(run.err.split())
    assert run.code == 0
    assert said.count(OUTAGE) == 1
    assert said.index(OUTAGE) < said.index(question) < said.index("[y/N]")
    assert len(begun(given)) == 1


def test_with_quiet_the_question_itself_says_it(asked):
    words, given, question = asked

    run = cli(*words, "--quiet", given=given, typed="yes\n")

    said = " ".join(run.err.split())
    assert f"{question} Outage: {OUTAGE}. [y/N]" in said


@pytest.mark.parametrize("answer", ["no\n", "", "\n", "yes please\n"])
def test_anything_but_yes_changes_nothing(asked, answer):
    words, given, _ = asked

    run = cli(*words, given=given, typed=answer)

    assert run.code == 2
    assert "not confirmed; nothing was changed" in run.err
    assert begun(given) == []


def test_nobody_to_ask_and_no_yes_is_refused_before_anybody_is_asked(asked):
    words, given, _ = asked

    run = cli(*words, given=given)

    assert run.code == 2
    assert "--yes" in run.err
    assert given.asked == []
