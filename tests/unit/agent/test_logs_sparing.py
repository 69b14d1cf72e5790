from __future__ import annotations

from gausscert_agent.logs import NAMED, Sparing


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


def test_a_flood_of_one_leaves_something_to_each_of_the_others():
    clock = [0.0]
    sparing = Sparing(4, 10.0, lambda: clock[0], each=2)

    assert [sparing.ask("eve") for _ in range(6)] == [True] * 4 + [False] * 2
    assert [sparing.ask("mallory") for _ in range(3)] == [True, True, False]
    assert not sparing.ask()
    assert sparing.told() == 4
    clock[0] += 100.1
    assert [sparing.ask("eve") for _ in range(5)] == [True] * 4 + [False]
    assert [sparing.ask("mallory") for _ in range(2)] == [True, False]


def test_no_more_are_remembered_than_may_be_and_those_who_rested_are_forgotten_first():
    clock = [0.0]
    sparing = Sparing(0, 10.0, lambda: clock[0], each=1)

    assert all(sparing.ask(f"eve-{number}") for number in range(NAMED))
    assert not sparing.ask("one too many")
    clock[0] += 100.1
    assert sparing.ask("another one")
    assert len(sparing._own) == 1
