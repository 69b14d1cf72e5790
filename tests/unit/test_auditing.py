"""The chain of an audit log: whatever is done to it is named by the first line that does not fit."""

from __future__ import annotations

import json

import pytest
from gausscert_common import auditing
from gausscert_common.auditing import NOTHING, Event, Head, verify
from support.audit_lines import event_of

EVENT = Event(
    "2026-11-26T06:00:00.000Z",
    "gausscert://prod/operator/alice",
    "1f",
    "ipv4:10.0.0.9:5123",
    "Commit",
    "tx-00000001",
    3,
    "COMMIT",
    "OK",
)


def chain(count, before=NOTHING):
    lines, heads = [], []
    for number in range(count):
        text, before = auditing.line(EVENT._replace(epoch=number), before)
        lines.append(text)
        heads.append(before)
    return lines, heads


LINES, HEADS = chain(6)


def test_a_whole_log_is_followed_to_its_end():
    found = verify(LINES, {head.number: head.hash for head in HEADS})

    assert (found.first, found.head, found.fault) == (1, HEADS[-1], None)
    assert verify([]).head == NOTHING


def test_a_line_tells_what_happened():
    assert event_of(LINES[2]) == EVENT._replace(epoch=2)
    assert auditing.head_of(LINES[2]) == HEADS[2]
    assert all(len(text) < auditing.MAX_LINE_BYTES and "\n" not in text for text in LINES)


def altered(text: str) -> str:
    return text.replace("alice", "mallo")


def made_anew(text: str, **changes) -> str:
    """By somebody who knows how lines are made."""
    record = json.loads(text.partition(" ")[2])
    body = json.dumps(record | changes, ensure_ascii=True, separators=(",", ":"), sort_keys=True)
    return f"{auditing._hash(body)} {body}"


def hashed(body):
    return f"{auditing._hash(body)} {body}"


TAMPERED = {
    "altered": (lambda lines: [*lines[:2], altered(lines[2]), *lines[3:]], 3),
    "altered, with a hash of its own": (
        lambda lines: [*lines[:2], made_anew(lines[2], who="nobody"), *lines[3:]],
        4,
    ),
    "taken out": (lambda lines: [*lines[:2], *lines[3:]], 3),
    "two changed places": (lambda lines: [*lines[:2], lines[3], lines[2], *lines[4:]], 3),
    "written twice": (lambda lines: [*lines[:3], lines[2], *lines[3:]], 4),
    "put in": (lambda lines: [*lines[:3], made_anew(lines[3], who="nobody"), *lines[3:]], 5),
    "cut short": (lambda lines: [*lines[:2], lines[2][:-7], *lines[3:]], 3),
    "emptied": (lambda lines: [*lines[:2], "", *lines[3:]], 3),
    "the last one cut short": (lambda lines: [*lines[:5], lines[5][:50]], 6),
    "another beginning": (lambda lines: [made_anew(lines[0], before="1" * 64), *lines[1:]], 1),
    "no JSON": (lambda lines: [hashed("x"), *lines[1:]], 1),
    "no end to its brackets": (lambda lines: [*lines[:2], hashed("[" * 100_000), *lines[3:]], 3),
    "a number without end": (lambda lines: [*lines[:2], hashed('{"number":1e999,"before":""}')], 3),
    "a number that no history can keep": (
        lambda lines: [hashed(f'{{"number":{10**30},"before":"{auditing.FIRST}"}}'), *lines[1:]],
        1,
    ),
}


@pytest.mark.parametrize("how", list(TAMPERED))
def test_whatever_is_done_to_a_line_is_named(how):
    tamper, number = TAMPERED[how]

    found = verify(tamper(LINES))

    assert found.fault is not None
    assert found.fault.number == number
    assert found.fault.cause
    assert found.head.number == number - 1


def test_the_end_is_missed_only_by_a_head_that_was_kept_elsewhere():
    cut = LINES[:4]

    assert verify(cut).fault is None
    found = verify(cut, {6: HEADS[5].hash})
    assert (found.fault.number, "end is missing" in found.fault.cause) == (5, True)
    assert verify([], {6: HEADS[5].hash}).fault.number == 1


def test_a_whole_chain_made_anew_is_found_by_a_head_that_was_kept_elsewhere():
    forged, before = [], NOTHING
    for number in range(6):
        text, before = auditing.line(EVENT._replace(epoch=number, who="nobody"), before)
        forged.append(text)

    assert verify(forged).fault is None
    found = verify(forged, {4: HEADS[3].hash})
    assert (found.fault.number, found.head.number) == (4, 3)


def test_a_log_whose_first_lines_are_kept_no_more_is_followed_from_where_it_begins():
    kept = LINES[3:]

    found = verify(kept, {1: "of a line that is gone", 5: HEADS[4].hash})

    assert (found.first, found.head, found.fault) == (4, HEADS[-1], None)
    assert verify([*kept[:1], *kept[2:]]).fault.number == 5


def test_a_chain_made_anew_that_begins_after_all_that_was_seen_is_found():
    seen = {3: HEADS[2].hash}
    forged, _ = chain(4, Head(9, "f" * 64))

    assert verify(forged).fault is None  # by itself it is as good as any
    found = verify(forged, seen)
    assert (found.first, found.head.number, found.fault.number) == (10, 13, 10)
    assert "nothing that a history has seen is kept: line 3 was the last of it" in found.fault.cause


def test_a_chain_made_anew_right_after_the_last_line_that_was_seen_is_found():
    seen = {3: HEADS[2].hash}
    forged, _ = chain(4, Head(3, "f" * 64))

    found = verify(forged, seen)

    assert (found.first, found.head.number, found.fault.number) == (4, 3, 4)
    assert "does not follow" in found.fault.cause
    assert verify(LINES[3:], seen).fault is None


def test_what_was_altered_is_named_before_what_was_not_seen():
    kept = [LINES[3], altered(LINES[4]), LINES[5]]

    assert verify(kept, {1: HEADS[0].hash}).fault.number == 5
    assert verify(LINES[3:], {1: HEADS[0].hash}).fault.number == 4
    assert "the end is missing" in verify(LINES[3:], {1: HEADS[0].hash, 9: "9" * 64}).fault.cause


def test_heads_are_written_and_read():
    assert auditing.as_head(auditing.written(HEADS[2])) == HEADS[2]
    none = ("", "3", ":", "x:" + "0" * 64, "3:abc", "-1:" + "0" * 64)
    hostile = ("9" * 5000 + ":" + "0" * 64, f"{2**63}:" + "0" * 64, "3:" + "z" * 64)
    for text in (*none, *hostile):
        assert auditing.as_head(text) is None
    assert auditing.as_head(f"0:{auditing.FIRST}") == Head(0, auditing.FIRST)
