"""Simulate: `make simulate`, `make simulate SEEDS=1-500`; `make simulate SEED=722` for all of one schedule;
`make simulate MUTANTS=all` for broken variants of the product, each of which must be found."""

from __future__ import annotations

import argparse
import sys
import time

from simulation import campaign, report, schedule
from simulation.campaign import Tally
from simulation.mutants import BY_NAME, MUTANTS

_TENTHS = 10


def main() -> int:
    """Simulate; 1 if anything is wrong, or a variant is not caught, or something never happened."""
    parser = argparse.ArgumentParser(prog="make simulate", description=__doc__)
    parser.add_argument(
        "--seeds",
        type=as_seeds,
        default=range(1, report.ENOUGH + 1),
        metavar="N|FIRST-LAST",
        help=f"1 to N, or FIRST to LAST; everything must happen at least once in {report.ENOUGH} or more",
    )
    parser.add_argument("--seed", type=int, metavar="N", help="one, with all that happens in it")
    parser.add_argument("--mutants", metavar="all|NAME,...", help=f"of: {', '.join(sorted(BY_NAME))}")
    parser.add_argument("--mutant", choices=sorted(BY_NAME), help="with --seed: in this broken variant")
    parser.add_argument(
        "--jobs", type=int, default=0, metavar="N", help="processes; default: one per processor"
    )
    asked = parser.parse_args()
    if asked.seed is not None:
        return _one(asked.seed, asked.mutant)
    if asked.mutants is not None:
        return _broken([] if asked.mutants == "all" else asked.mutants.split(","), asked.jobs)
    return _many(asked.seeds, asked.jobs)


def _one(seed: int, mutant: str | None) -> int:
    if mutant is None:
        ended = schedule.run(seed)
    else:
        with BY_NAME[mutant].applied():
            ended = schedule.run(seed)
    _say(*report.traced(ended))
    return 1 if ended.violation else 0


def _many(seeds: range, jobs: int) -> int:
    begun = time.monotonic()
    told = 0

    def on_progress(tally: Tally) -> None:
        nonlocal told
        tenths = _TENTHS * tally.seeds // len(seeds)
        if tenths > told:
            told = tenths
            found = f", {len(tally.violations)} violations" if tally.violations else ""
            _say(f"{tally.seeds} of {len(seeds)} after {time.monotonic() - begun:.0f} s{found}")

    tally = campaign.play_all(seeds, jobs, on_progress)
    _say("", *report.summary(tally), "")
    wrong = report.wrong(tally)
    _say(*(f"WRONG: {line}" for line in wrong))
    return 1 if wrong else 0


def _broken(names: list[str], jobs: int) -> int:
    unknown = [name for name in names if name not in BY_NAME]
    if unknown:
        _say(f"no such variant: {', '.join(unknown)}")
        return 2
    escaped = 0
    for found in campaign.catch_all(names, jobs):
        _say(report.caught(found))
        escaped += not found.seed
    _say(f"{(len(names) or len(MUTANTS)) - escaped} caught, {escaped} not")
    return 1 if escaped else 0


def as_seeds(text: str) -> range:
    """1 to N, or FIRST to LAST."""
    first, dash, last = text.partition("-")
    seeds = range(int(first), int(last) + 1) if dash else range(1, int(first) + 1)
    if not seeds:
        raise ValueError(f"no seed in {text}")
    return seeds


def _say(*lines: str) -> None:
    for line in lines:
        sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
