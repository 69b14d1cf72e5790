"""What is said of a campaign, and when it counts as passed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from simulation import coverage
from simulation.campaign import Catch, Tally
from simulation.faults import Fault
from simulation.mutants import BY_NAME
from simulation.schedule import Ended

ENOUGH: Final = 10_000
"""From so many seeds on everything that can happen must have happened."""
FAULTS_WANTED: Final = 0.95
TRANSITIONS_WANTED: Final = 1.0
_SHOWN: Final = 10
_WIDTH: Final = 100


def replay(seed: int, mutant: str = "") -> str:
    """The command that plays one seed again, with all that happens in it."""
    return f"make simulate SEED={seed}{mutant and f' MUTANT={mutant}'}"


def wrong(tally: Tally) -> list[str]:
    """Why a campaign has not passed; [] if it has."""
    found = [f"seed {seed}: {what}\n    replay: {replay(seed)}" for seed, what in tally.violations[:_SHOWN]]
    if len(tally.violations) > _SHOWN:
        found.append(f"and {len(tally.violations) - _SHOWN} more seeds")
    if tally.calm:
        found.append(f"{tally.calm} schedules injected no fault")
    found += [
        f"taken, although {where} says that nobody can: {what}"
        for where, what in (("coverage.py", each) for each in coverage.never_taken(tally.taken))
    ]
    if tally.seeds >= ENOUGH:
        found += _uncovered(tally)
    return found


def summary(tally: Tally) -> Iterator[str]:
    """What has happened, for a person."""
    wanted, missing = coverage.wanted(), coverage.missing(tally.taken)
    hit, never = _hit(tally)
    yield f"{tally.seeds} schedules, {len(tally.violations)} violations"
    yield f"fault kinds: {len(hit)} of {len(Fault)} ({_percent(len(hit), len(Fault))})"
    yield from (f"    {tally.faults[kind]:8} {kind}" for kind in sorted(hit, key=lambda k: -tally.faults[k]))
    yield from (f"    {'never':>8} {kind}" for kind in never)
    taken = len(wanted) - len(missing)
    yield f"transitions: {taken} of {len(wanted)} ({_percent(taken, len(wanted))})"
    yield from (f"    {tally.taken[each]:8} {each}" for each in wanted if tally.taken[each])
    yield from (f"    {'never':>8} {each}" for each in missing)
    yield f"left out, because nobody who follows the tables can take them: {len(coverage.NEVER)}"
    yield from (f"    {each}: {why}" for each, why in coverage.NEVER.items())


def caught(found: Catch) -> str:
    """One line of a broken variant."""
    mutant = BY_NAME[found.name]
    if not found.seed:
        return f"NOT CAUGHT within {mutant.within} seeds: {mutant.name} (without: {mutant.breaks})"
    shown = f"{found.violation[:_WIDTH]}... " if len(found.violation) > _WIDTH else found.violation
    told = f"{mutant.name}: seed {found.seed} of {mutant.within} at most: {shown}"
    return f"{told}\n    replay: {replay(found.seed, mutant.name)}"


def traced(ended: Ended) -> Iterator[str]:
    """All of one schedule."""
    yield from (f"{at:10.3f} {who:14} {what}" for at, who, what in ended.trace)
    yield ""
    yield f"seed {ended.seed}: {ended.seconds:.0f} s of its own time; {'; '.join(ended.ends)}"
    yield f"faults: {', '.join(f'{kind} ({times})' for kind, times in sorted(ended.faults.items()))}"
    yield f"VIOLATION: {ended.violation}" if ended.violation else "all went as it must"


def _uncovered(tally: Tally) -> Iterator[str]:
    hit, never = _hit(tally)
    if len(hit) < FAULTS_WANTED * len(Fault):
        yield f"fault kinds that never happened: {', '.join(never)}"
    missing = coverage.missing(tally.taken)
    if len(missing) > (1 - TRANSITIONS_WANTED) * len(coverage.wanted()):
        yield f"transitions that were never taken: {', '.join(missing)}"


def _hit(tally: Tally) -> tuple[list[Fault], list[Fault]]:
    return [kind for kind in Fault if tally.faults[kind]], [k for k in Fault if not tally.faults[k]]


def _percent(some: int, of: int) -> str:
    return f"{100 * some / of:.1f} %"
