"""When the last transaction ended, kept for monitoring."""

from __future__ import annotations

import logging
import stat

import pytest
from gausscert_agent.last_end import FILE, End, LastEnd
from gausscert_common.protocol.state import NodeState
from gausscert_common.protocol.words import Outcome, Tombstone

NONE = NodeState()
FIRST = NodeState(tombstones=(Tombstone("tx-1", Outcome.COMMITTED),))
SECOND = NodeState(tombstones=(Tombstone("tx-2", Outcome.ABORTED), *FIRST.tombstones))


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_an_end_is_noted_once_and_outlives_the_agent(tmp_path):
    clock = Clock()
    kept = LastEnd(tmp_path, clock)
    kept.note(NONE)
    assert kept.of(NONE) is None
    assert not list(tmp_path.iterdir())
    kept.note(FIRST)
    clock.now = 200.0
    kept.note(FIRST)  # a repeated Purge
    assert kept.of(FIRST) == LastEnd(tmp_path, clock).of(FIRST) == End("tx-1", 100.0)
    kept.note(SECOND)
    assert LastEnd(tmp_path, clock).of(SECOND) == End("tx-2", 200.0)
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600


def test_a_transaction_that_ended_unseen_has_no_time(tmp_path):
    clock = Clock()
    LastEnd(tmp_path, clock).note(FIRST)
    assert LastEnd(tmp_path, clock).of(SECOND) is None


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"transaction_id": "tx-1"}', b'{"at": [], "transaction_id": 1}']
)
def test_a_file_that_is_torn_is_no_file(tmp_path, body):
    (tmp_path / FILE).write_bytes(body)
    kept = LastEnd(tmp_path, Clock())
    assert kept.of(FIRST) is None
    kept.note(FIRST)
    assert LastEnd(tmp_path, Clock()).of(FIRST) == End("tx-1", 100.0)


def test_a_disk_that_refuses_costs_the_note_and_nothing_else(tmp_path, caplog):
    kept = LastEnd(tmp_path / "gone", Clock())
    with caplog.at_level(logging.WARNING):
        kept.note(FIRST)
    assert kept.of(FIRST) == End("tx-1", 100.0)
    assert "cannot be noted" in caplog.text
