"""A small share of `make simulate`: schedules go well, and are the same whenever and wherever they are
played; those of broken variants of the product do not go well."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from simulation import __main__ as command
from simulation import campaign, coverage, report, schedule
from simulation.campaign import Tally
from simulation.faults import CHANCES, OF_OTHERS, Fault
from simulation.mutants import BY_NAME, MUTANTS

SHARE = 50
SAME = (3, 17, 722)
_DIGESTS = """
import sys
sys.path[:0] = sys.argv[1:2]
from simulation import schedule
print([schedule.run(int(seed)).digest for seed in sys.argv[2:]])
"""
QUICK = (
    "no-fence",
    "volatile-fence",
    "no-turns",
    "volatile-commit",
    "rolling",
    "stays-down",
    "another-epoch",
    "phases-roll-back",
    "purge-without-the-dead",
)
QUICK_WITHIN = 100


@pytest.mark.parametrize("first", range(1, 301, SHARE))
def test_schedules_go_well(first):
    tally = campaign.play(range(first, first + SHARE))
    assert report.wrong(tally) == []
    assert tally.seeds == SHARE


def test_a_seed_is_the_same_schedule_every_time_and_in_every_process():
    """Also where sets and dictionaries of strings have another order."""
    here = [schedule.run(seed).digest for seed in SAME]
    assert [schedule.run(seed).digest for seed in reversed(SAME)] == here[::-1]
    assert len(set(here)) == len(SAME)
    tests = Path(__file__).parent.parent
    for order in ("1", "4711"):
        there = subprocess.run(
            [sys.executable, "-c", _DIGESTS, str(tests), *map(str, SAME)],
            env={**os.environ, "PYTHONHASHSEED": order},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert there.stdout.strip() == str(here)


@pytest.mark.parametrize("name", QUICK)
def test_a_broken_variant_is_found_and_the_product_is_whole_afterwards(name):
    found = BY_NAME[name].found(range(1, QUICK_WITHIN + 1))
    assert found is not None
    assert found.violation
    with BY_NAME[name].applied():
        assert schedule.run(found.seed).violation == found.violation
    assert schedule.run(found.seed).violation == ""


def test_every_broken_variant_differs_from_the_product():
    for mutant in MUTANTS:
        for where, name, value in mutant.changes:
            now = where[name] if isinstance(where, dict) else vars(where)[name]
            assert now != value, (mutant.name, name)


def test_what_nobody_can_take_is_in_the_tables_and_is_not_wanted():
    wanted = set(coverage.wanted())
    assert not {f"node: {each}" for each in coverage.NEVER} & wanted
    assert all(coverage.NEVER.values())
    assert len(wanted) == len(coverage.wanted())


def test_every_kind_of_fault_has_a_chance_but_those_that_come_of_others():
    assert set(Fault) - set(CHANCES) == OF_OTHERS


def test_a_campaign_fails_on_a_violation_with_the_command_that_replays_it():
    tally = Tally(seeds=1, violations=[(722, "I3: n1 and n2 have loaded different sets")])
    [line] = report.wrong(tally)
    assert line == "seed 722: I3: n1 and n2 have loaded different sets\n    replay: make simulate SEED=722"


def test_a_long_campaign_fails_on_what_never_happened_and_a_short_one_does_not():
    nothing = Tally(seeds=report.ENOUGH)
    assert len(report.wrong(nothing)) == 2
    nothing.seeds -= 1
    assert report.wrong(nothing) == []

    full = Tally(seeds=report.ENOUGH)
    full.faults.update(Fault)
    full.taken.update(coverage.wanted())
    assert report.wrong(full) == []
    full.taken[coverage.wanted()[0]] = 0
    assert [coverage.wanted()[0] in line for line in report.wrong(full)] == [True]


def test_the_command_of_one_seed_shows_all_of_it_and_fails_if_it_does(monkeypatch, capsys):
    found = BY_NAME["no-fence"].found(range(1, QUICK_WITHIN + 1))
    assert found is not None
    monkeypatch.setattr(sys, "argv", ["simulation", "--seed", str(found.seed), "--mutant", "no-fence"])
    assert command.main() == 1
    assert f"VIOLATION: {found.violation}" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["simulation", "--seed", str(found.seed)])
    assert command.main() == 0
    assert "all went as it must" in capsys.readouterr().out


@pytest.mark.parametrize(("text", "seeds"), [("3", range(1, 4)), ("7-9", range(7, 10))])
def test_seeds_are_a_number_or_first_and_last(text, seeds):
    assert command.as_seeds(text) == seeds


def test_processes_share_a_campaign_and_tell_how_far_it_is():
    told: list[int] = []
    tally = campaign.play_all(range(1, 121), 2, lambda now: told.append(now.seeds))
    alone = campaign.play(range(1, 121))
    assert told == [50, 100, 120]
    assert (tally.faults, tally.taken, tally.violations) == (alone.faults, alone.taken, alone.violations)
