"""`recover` stops and starts CM: at a terminal it says so first, and asks."""

from __future__ import annotations

from dataclasses import replace

import pytest
from gausscert_common.protocol.words import Phase, RestartScope
from support.cli_fakes import Given, cli, cluster_status, in_transaction, result, status_of


def doubtful(**changes):
    told = replace(in_transaction(Phase.SWAPPED), participants=("n1", "n2", "n3"), **changes)
    return cluster_status(*(status_of(name, transaction=told) for name in ("n1", "n2", "n3")))


def given(status=None):
    return Given(status=status or doubtful(), result=result())


def recovered(given):
    return [each for each in given.asked if each[0] == "recover"]


def test_it_says_what_is_in_doubt_what_will_come_of_it_and_what_will_be_down():
    asked = given()

    run = cli("recover", given=asked, typed="yes\n")

    said = " ".join(run.err.split())
    assert run.code == 0
    assert "n1 SWAPPED, n2 SWAPPED, n3 SWAPPED" in said
    assert "Recover it, and roll back where the nodes' answers leave the choice, on cluster prod?" in said
    assert "What may be down: CM and the database of all nodes, from stop to start (one node for all)" in said
    assert "at most" in said
    assert "do: run gausscert recover" not in said, "that is what is being done"
    assert said.index("SWAPPED") < said.index("[y/N]")
    assert len(recovered(asked)) == 1


def test_the_wish_to_finish_and_the_way_to_restart_are_in_the_question():
    run = cli("recover", "--finish", "--restart", "node", given=given(), typed="yes\n")

    said = " ".join(run.err.split())
    assert "finish where the nodes' answers leave the choice" in said
    assert "(each node for itself)" in said


def test_a_node_that_is_to_be_left_out_is_in_the_question():
    run = cli("recover", "--exclude", "n3", given=given(), typed="no\n")

    assert "on cluster prod, without n3, which must not run CM" in " ".join(run.err.split())


def test_the_way_of_the_transaction_is_told_where_nobody_says_another_one():
    run = cli("recover", given=given(doubtful(restart=RestartScope.NODE)), typed="yes\n")

    assert "(each node for itself)" in " ".join(run.err.split())


@pytest.mark.parametrize("answer", ["no\n", "\n", ""])
def test_anything_but_yes_changes_nothing(answer):
    asked = given()

    run = cli("recover", given=asked, typed=answer)

    assert run.code == 2
    assert "not confirmed; nothing was changed" in run.err
    assert recovered(asked) == []


def test_with_quiet_it_asks_all_the_same():
    run = cli("recover", "--quiet", given=given(), typed="no\n")

    assert "[y/N]" in run.err
    assert run.code == 2


def test_no_is_one_document():
    run = cli("recover", "--output", "json", given=given(), typed="no\n")

    assert run.code == 2
    assert run.document["error"]["message"] == "not confirmed; nothing was changed"


@pytest.mark.parametrize(
    ("options", "typed", "status"),
    [
        (("--yes",), "", None),
        ((), None, None),
        ((), "", cluster_status()),
    ],
    ids=["--yes", "nobody is there", "nothing is in flight"],
)
def test_nobody_is_asked_without_need(options, typed, status):
    asked = given(status)

    run = cli("recover", *options, given=asked, typed=typed)

    assert run.code == 0
    assert "[y/N]" not in run.err
    assert len(recovered(asked)) == 1


def waiting():
    told = replace(in_transaction(Phase.COMMITTED), participants=("n1", "n2"), excluded=("n3",))
    return cluster_status(*(status_of(name, transaction=told) for name in ("n1", "n2")), status_of("n3"))


def test_where_nodes_are_brought_over_only_they_are_said_to_be_down(bundle, passwords):
    run = cli("recover", "--bundle", str(bundle), *passwords, given=given(waiting()), typed="yes\n")

    assert run.code == 0, run.err
    assert "What may be down: CM on the nodes that are brought over, and nowhere else." in " ".join(
        run.err.split()
    )


def test_without_a_bundle_a_transaction_that_waits_is_no_reason_to_ask():
    run = cli("recover", given=given(waiting()), typed="")

    assert run.code == 0
    assert "[y/N]" not in run.err


def test_the_question_fits_a_narrow_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")

    run = cli("recover", given=given(), typed="no\n", terminal_out=True)

    asked_for = run.err[: run.err.index("[y/N]") + 5]
    assert max(len(line) for line in asked_for.splitlines()) <= 40
