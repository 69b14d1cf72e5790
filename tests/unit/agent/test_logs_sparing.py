from __future__ import annotations

from gausscert_agent.logs import Sparing


def test_a_few_at_once_then_one_in_a_while_and_the_others_are_counted():
    clock = [100.0]
    sparing = Sparing(2, 10.0, lambda: clock[0])

    assert [sparing.ask() for _ in range(5)] == [True, True, False, False, False]
    clock[0] += 9.9
    assert not sparing.ask()
    clock[0] += 0.2
    assert sparing.ask()
    assert sparing.told() == 4
    assert sparing.told() == 0
    assert not sparing.ask()


def test_rest_gives_back_no_more_than_there_was():
    clock = [0.0]
    sparing = Sparing(2, 10.0, lambda: clock[0])
    clock[0] += 1e6

    assert [sparing.ask() for _ in range(3)] == [True, True, False]
