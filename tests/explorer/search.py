"""Breadth first: the first violation that is found is one of the shortest."""

from __future__ import annotations

import itertools
import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from explorer.captain import Mode
from explorer.invariants import violations
from explorer.site import Site
from explorer.world import Edge, State, World

Judge = Callable[[Sequence[Site]], Iterable[str]]

_NAMES: Final = "abcdefgh"
_KINDS: Final = 4096
"""More than there are kinds of things that happen."""


@dataclass
class Found:
    """What a search has seen."""

    world: World
    states: list[State]
    parents: array[int]
    transitions: int = 0
    depth: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    """What it would have taken on a core of its own."""
    complete: bool = False
    violation: str = ""
    """"" if there is none; else what the last state violates."""
    kinds: Counter[str] = field(default_factory=Counter)

    def path(self, number: int) -> list[State]:
        """The states from the first one to this one."""
        path = [self.states[number]]
        while number:
            number = self.parents[number]
            path.append(self.states[number])
        return path[::-1]


def explore(world: World, *, most: int = 0, judge: Judge = violations) -> Found:
    """Visit every state, until one violates an invariant or `most` were seen (0: no limit)."""
    start = world.start()
    began, cpu_began = time.monotonic(), time.process_time()
    states, parents, ids = [start], array("L", [0]), {start: 0}
    found = Found(world, states, parents)
    counts = [0] * _KINDS
    checked: set[State] = set()
    level_ends, number = 1, 0
    successors = world.successors
    while number < len(states):
        if number == level_ends:
            found.depth, level_ends = found.depth + 1, len(states)
        for edge, _, state in successors(states[number]):
            counts[edge.kind] += 1
            if state in ids:
                continue
            ids[state] = len(states)
            states.append(state)
            parents.append(number)
            violation = _violation(world, state, checked, judge)
            if violation:
                found.violation = violation
                break
        number += 1
        if found.violation or (most and len(states) >= most):
            break
    found.complete = number == len(states) and not found.violation
    found.transitions = sum(counts)
    found.kinds.update({kind: counts[place] for place, kind in enumerate(world.kinds)})
    found.seconds, found.cpu_seconds = time.monotonic() - began, time.process_time() - cpu_began
    return found


def _violation(world: World, state: State, checked: set[State], judge: Judge) -> str:
    nodes = world.nodes
    for head in state[nodes:]:
        captain = world.heads[head]
        if captain.mode is Mode.OVER and captain.name.startswith("I9"):
            return captain.name
    seen = world.nodes_of(state)
    if seen in checked:
        return ""
    checked.add(seen)
    return next(iter(judge(world.sites(state))), "")


def trace(world: World, path: list[State]) -> list[str]:
    """The path in words, with a name for every node that it keeps."""
    names = [site.name or _NAMES[place] for place, site in enumerate(world.sites(path[0]))]
    lines = []
    for before, after in itertools.pairwise(path):
        edge, place = next((e, p) for e, p, state in world.successors(before) if state == after)
        names = _renamed(world, before, names, edge, place, after, lines)
    return lines


def _renamed(
    world: World, before: State, names: list[str], edge: Edge, place: int, after: State, lines: list[str]
) -> list[str]:
    kind = world.kinds[edge.kind]
    if place >= world.nodes:
        number = place - world.nodes
        lines.append(f"coordinator {number + 1} {kind}" + (f" ({edge.how})" if edge.how else ""))
        moved = [world.comps[comp].site for comp in before[: world.nodes]]
    else:
        site = world.comps[edge.to].site
        lines.append(f"node {names[place]}: {kind}" + (f": {edge.how}" if edge.how else ""))
        lines[-1] += f"   -> {told(site)}"
        moved = [world.comps[comp].site for comp in before[: world.nodes]]
        moved[place] = site
    left = list(zip(moved, names, strict=True))
    renamed = []
    for site in world.sites(after):
        pair = next(each for each in left if each[0] == site)
        left.remove(pair)
        renamed.append(pair[1])
    return renamed


def told(site: Site) -> str:
    """A node in one line."""
    fence = site.state.fence
    words = [site.state.phase, f"fence {fence.epoch}.{fence.step}", f"live {site.live}", _cm(site)]
    words += [] if site.up else ["agent down"]
    words += [f"{site.busy.step.name} runs"] if site.busy else []
    words += [f"orphan {site.orphan.step.name}"] if site.orphan else []
    return ", ".join(words)


def _cm(site: Site) -> str:
    if not site.running:
        return "CM is down by hand" if site.manual else "CM is down"
    return f"CM runs {site.running}" + (" but is asked to stop" if site.manual else "")
