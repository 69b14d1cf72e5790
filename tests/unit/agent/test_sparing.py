from __future__ import annotations

from gausscert_agent.sparing import Sparing


def test_a_few_at_once_then_one_in_a_while_that_tells_how_many_were_left_out():
    clock = [100.0]
    sparing = Sparing(2, 10.0, lambda: clock[0])

    assert [sparing.ask() for _ in range(5)] == [0, 0, None, None, None]
    clock[0] += 9.9
    assert sparing.ask() is None
    clock[0] += 0.2
    assert sparing.ask() == 4
    assert sparing.ask() is None


def test_rest_gives_back_no_more_than_there_was():
    clock = [0.0]
    sparing = Sparing(2, 10.0, lambda: clock[0])
    clock[0] += 1e6

    assert [sparing.ask() for _ in range(3)] == [0, 0, None]
