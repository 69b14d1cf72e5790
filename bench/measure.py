"""Rounds in which ours and the bare part take turns, their medians, and what the goal says of them.

Machines are shared, disks differ: only what was measured side by side is compared, and only as a ratio. Each
round measures ours and the bare part once, in alternating order; the ratio that counts is the median of the
rounds' own ratios. CPU seconds gate what is work; wall seconds gate only what is a wait for somebody else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

Sample = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison."""

    what: str
    unit: str
    """"cpu ms", "wall ms" or "MiB"."""
    ours: Sequence[float]
    """One value per round."""
    bare: Sequence[float]
    against: str
    """What the bare part is."""
    goal: float | None = None
    """The highest ratio that is good; None where nothing was promised."""
    limit: float | None = None
    """Also good, whatever the ratio: ours is at most this, in the row's unit."""
    gates: bool = True
    """Whether a missed goal fails the run; wall figures beside a CPU figure of the same thing do not."""
    why: str = ""
    """What to say when the goal is missed: where the cost comes from."""

    @property
    def ratios(self) -> list[float]:
        """Round by round."""
        return [ours / bare for ours, bare in zip(self.ours, self.bare, strict=True)]

    @property
    def ratio(self) -> float:
        """The one that counts."""
        return median(self.ratios)

    @property
    def is_met(self) -> bool | None:
        """Whether the goal is met; None where there is none."""
        if self.limit is not None and median(self.ours) <= self.limit:
            return True
        return None if self.goal is None else self.ratio <= self.goal

    @property
    def fails(self) -> bool:
        """Whether the run fails for it."""
        return self.gates and self.is_met is False


@dataclass(frozen=True, slots=True)
class Count:
    """Something that is counted, not timed: the same in every run."""

    what: str
    found: int
    goal: int | None = None
    detail: str = ""

    @property
    def is_met(self) -> bool | None:
        """Whether the goal is met; None where there is none."""
        return None if self.goal is None else self.found <= self.goal

    @property
    def fails(self) -> bool:
        """Whether the run fails for it."""
        return self.is_met is False


@dataclass(slots=True)
class Findings:
    """What a benchmark has found out."""

    rows: list[Row] = field(default_factory=list)
    counts: list[Count] = field(default_factory=list)

    def add(self, *found: Row | Count) -> None:
        """Take rows and counts, in the order in which they are to be shown."""
        for one in found:
            if isinstance(one, Row):
                self.rows.append(one)
            else:
                self.counts.append(one)

    @property
    def failed(self) -> list[Row | Count]:
        """What misses a goal that counts."""
        everything: list[Row | Count] = [*self.rows, *self.counts]
        return [one for one in everything if one.fails]


def interleave(rounds: int, samples: dict[str, Sample], *, warm_up: int = 1) -> dict[str, list[float]]:
    """Take every sample once per round, every other round in the opposite order.

    Args:
        rounds: How many are kept.
        samples: By name; each measures itself and answers a figure.
        warm_up: Rounds before that, which are forgotten: first calls load libraries and fill caches.
    """
    found: dict[str, list[float]] = {name: [] for name in samples}
    for number in range(-warm_up, rounds):
        order = list(samples.items())
        for name, sample in order if number % 2 == 0 else reversed(order):
            value = sample()
            if number >= 0:
                found[name].append(value)
    return found


def total(*columns: Sequence[float]) -> list[float]:
    """Sums of several samples, round by round."""
    return [sum(values) for values in zip(*columns, strict=True)]
