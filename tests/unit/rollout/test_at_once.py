"""Several things that are wrong, told as one error."""

from __future__ import annotations

from gausscert_common.errors import InvalidInput, Reason
from gausscert_coordinator.cli import tables_errors
from gausscert_coordinator.rollout import at_once


def wrong(message: str, remedy: str, **where: str) -> InvalidInput:
    return InvalidInput(Reason.CREDENTIAL_INVALID, message, remedy=remedy, **where)


def test_what_is_alone_is_told_as_it_is():
    alone = wrong("too old", "renew it", node="n1")

    assert at_once.joined([alone]) is alone


def test_each_is_told_with_its_node_and_file_and_what_to_do_once():
    both = [
        wrong("too old", "renew it", node="n1"),
        wrong("missing", "renew it", node="n2", file="/x/ca.crt"),
    ]

    told = at_once.joined(both)

    assert (told.reason, told.remedy) == (Reason.CREDENTIAL_INVALID, "renew it")
    assert told.message == "n1: too old; n2: /x/ca.crt: missing"
    assert [(each.node, each.file, each.cause) for each in told.findings] == [
        ("n1", "", "too old"),
        ("n2", "/x/ca.crt", "missing"),
    ]


def test_people_are_told_node_and_file_of_each_but_not_again_what_all_have():
    both = [wrong("too old", "renew it", node="n1"), wrong("missing", "make it", node="n2", file="/x/ca.crt")]

    lines = [str(line) for line in tables_errors.failure(at_once.joined(both))]

    assert [line.strip() for line in lines[1::2]] == ["n1: too old", "n2: /x/ca.crt: missing"]
    of_one = at_once.joined([wrong("a", "r", file="/f"), wrong("b", "r", file="/f")])
    of_one.file = "/f"
    assert [str(line).strip() for line in tables_errors.failure(of_one)[1::2]] == ["a", "b"]
