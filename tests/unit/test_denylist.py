from __future__ import annotations

import pytest
from gausscert_common import denylist
from gausscert_common.denylist import Denied, DenyList
from gausscert_common.errors import InvalidInput, Reason

PRINT = "ab" * 32


def test_comments_notes_and_both_kinds_are_read():
    found = denylist.parse(
        f"# who has left\n\n  serial 00Ff  operator alice, left on 2026-11-20\nsha256 {PRINT.upper()}\n"
    )

    assert found.entries == (
        Denied("serial", "ff", "operator alice, left on 2026-11-20"),
        Denied("sha256", PRINT),
    )


@pytest.mark.parametrize(
    ("serial", "fingerprint", "denied"),
    [
        ("ff", "00" * 32, True),
        ("1", PRINT, True),
        ("1", "00" * 32, False),
        (PRINT, "ff", False),  # a number counts only as what it is
    ],
)
def test_whoever_is_on_it_is_known_by_either_number(serial, fingerprint, denied):
    assert denylist.parse(f"serial ff\nsha256 {PRINT}").holds(serial, fingerprint) is denied


@pytest.mark.parametrize(
    "line",
    [
        "ff",
        "serial",
        "serial 0",
        "serial 00",
        "serial xyz",
        "serial ff,ee",
        "serial " + "f" * 41,
        "sha256 " + "a" * 63,
        "sha256 " + "a" * 65,
        "Serial ff",
        "operator alice",
        "serial: ff",
    ],
)
def test_a_line_that_is_not_understood_spoils_the_list(line):
    with pytest.raises(InvalidInput) as caught:
        denylist.parse(f"serial ff\n{line}\n")

    assert caught.value.reason is Reason.DENY_LIST_INVALID
    assert "line 2" in caught.value.message


def test_all_wrong_lines_are_counted_and_the_first_are_told():
    with pytest.raises(InvalidInput) as caught:
        denylist.parse("x\n" * 9)

    assert "line 1" in caught.value.message
    assert "line 3" in caught.value.message
    assert "6 more" in caught.value.message


@pytest.mark.parametrize("body", [b"\xff\xfe", b"#" * (denylist.MAX_BYTES + 1)])
def test_what_is_no_text_or_too_long_is_refused(body):
    with pytest.raises(InvalidInput) as caught:
        denylist.read(body)
    assert caught.value.reason is Reason.DENY_LIST_INVALID


def test_a_line_is_read_as_it_is_written():
    written = denylist.entry(255, "operator alice\nserial 1")

    assert denylist.parse(written.line).entries == (written,)
    assert denylist.parse(written.line + "\n").entries == (written,)


def test_lists_of_several_sources_can_be_put_together_in_any_order():
    one, two = denylist.parse("serial 1 a\nserial 2"), denylist.parse("serial 2 b\nserial 3\nserial 3")

    assert [each.number for each in one.lacks(two.entries)] == ["3"]
    assert [each.number for each in two.lacks(one.entries)] == ["1"]
    assert DenyList().lacks(one.entries) == one.entries
