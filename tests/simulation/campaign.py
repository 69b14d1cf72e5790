"""Many seeds, on all processors. Each worker is a fresh process and plays its share in order; what comes of a
seed does not depend on who plays it, or after which other one."""

from __future__ import annotations

import gc
import multiprocessing
import os
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import Final, TypeVar

from simulation import coverage, schedule
from simulation.coverage import Taken
from simulation.faults import Fault
from simulation.mutants import BY_NAME, MUTANTS

T = TypeVar("T")
U = TypeVar("U")

_SHARE: Final = 50
"""Seeds that a worker plays before it reports, and clears up the cycles that dead fibres leave behind."""


@dataclass
class Tally:
    """What came of many schedules."""

    seeds: int = 0
    calm: int = 0
    """In which nothing went wrong, whatever the luck."""
    faults: Counter[Fault] = field(default_factory=Counter)
    taken: Taken = field(default_factory=Counter)
    violations: list[tuple[int, str]] = field(default_factory=list)
    """Seed and what it shows."""

    def add(self, other: Tally) -> None:
        """Count it in."""
        self.seeds += other.seeds
        self.calm += other.calm
        self.faults.update(other.faults)
        self.taken.update(other.taken)
        self.violations += other.violations


@dataclass(frozen=True)
class Catch:
    """What came of a broken variant."""

    name: str
    seed: int
    """The first that shows it; 0 if none does."""
    violation: str


def play(seeds: range) -> Tally:
    """Play them one after the other, in this process."""
    tally = Tally(seeds=len(seeds))
    with coverage.watching() as taken:
        for seed in seeds:
            ended = schedule.run(seed)
            tally.calm += not ended.faults
            tally.faults.update(ended.faults)
            taken.update(f"errand: {end}" for end in ended.ends)
            if ended.violation:
                tally.violations.append((seed, ended.violation))
    tally.taken.update(taken)
    gc.collect()
    return tally


def play_all(seeds: range, jobs: int, on_progress: Callable[[Tally], None]) -> Tally:
    """Play them side by side; told how far it has come after every share."""
    shares = [seeds[at : at + _SHARE] for at in range(0, len(seeds), _SHARE)]
    tally = Tally()
    for part in _side_by_side(play, shares, jobs):
        tally.add(part)
        on_progress(tally)
    tally.violations.sort()
    return tally


def catch(name: str) -> Catch:
    """Look for the first seed that shows a broken variant, in this process."""
    mutant = BY_NAME[name]
    found = mutant.found(range(1, mutant.within + 1))
    return Catch(name, 0, "") if found is None else Catch(name, found.seed, found.violation)


def catch_all(names: list[str], jobs: int) -> Iterator[Catch]:
    """The same for many, side by side, in their order; all of them where none is named."""
    wanted = names or [mutant.name for mutant in MUTANTS]
    return _side_by_side(catch, wanted, jobs)


def _side_by_side(work: Callable[[T], U], things: list[T], jobs: int) -> Iterator[U]:
    """In this process where there is nothing to share."""
    jobs = min(jobs or os.cpu_count() or 1, len(things))
    if jobs <= 1:
        yield from map(work, things)
        return
    # Never fork: gRPC is loaded.
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(work, things)
