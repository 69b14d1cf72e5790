"""I9: from every state a fresh coordinator alone reaches a clean end.

Every state of the nodes that a search has reached is where recovery may have to begin. From there one
coordinator after another recovers, with everything that can go wrong still going wrong; whatever it leaves
behind is where the next one begins. A coordinator has a higher epoch than all before it, so lower fences
need not be told apart (`site.at_rest`) and there are only so many states however many coordinators come.

Then backwards: a state is recoverable if a clean end can be reached from it by moves of the coordinator,
answers of nodes, and what happens by itself; no lucky crash is needed.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field

from gausscert_common.protocol.words import Phase

from explorer.captain import BRINGER, RECOVERER, Mode
from explorer.invariants import violations
from explorer.search import Found, told, trace
from explorer.site import Site, at_rest
from explorer.world import State, World


@dataclass
class Recovery:
    """What came of recovering from everything that was reached."""

    world: World
    states: list[State]
    parents: array[int]
    origins: list[int] = field(default_factory=list)
    """For each state that was begun from, the first one of the search that looked like it."""
    transitions: int = 0
    seconds: float = 0.0
    violation: str = ""
    lost: tuple[int, ...] = ()
    """States from which no clean end can be reached."""
    clean: int = 0

    def steps(self, found: Found) -> list[str]:
        """How the first state came about that is not recoverable: first in the search, then recovering."""
        path = [min(self.lost)]
        while path[-1] >= len(self.origins):
            path.append(self.parents[path[-1]])
        begun = trace(found.world, found.path(self.origins[path[-1]]))
        states = [self.states[each] for each in reversed(path)]
        return begun + [" | ".join(told(site) for site in self.world.sites(state)) for state in states]


def clean(sites: Sequence[Site]) -> bool:
    """One set runs on all nodes, and no trace of a transaction is left but tombstones."""
    return len({site.live for site in sites}) == 1 and all(
        site.up
        and site.busy is site.orphan is None
        and site.running == site.live
        and not (site.manual or site.beside or site.unsynced)
        and site.state.phase is Phase.NONE
        for site in sites
    )


def recover(searched: Found) -> Recovery:
    """Recover from every state that a search has reached."""
    began = time.monotonic()
    world = searched.world
    readers = BRINGER if world.parted else RECOVERER
    again = World(world.nodes, readers, spared=world.spared, without=world.parted)
    found = Recovery(again, [], array("L"))
    ids: dict[State, int] = {}
    looked_at: set[State] = set()
    for number, state in enumerate(searched.states):
        nodes = state[: world.nodes]
        if nodes in looked_at:
            continue
        looked_at.add(nodes)
        sites = world.sites(nodes)
        if all(site.busy is None for site in sites):  # else how the child ends was reached, too
            _known(found, ids, found.world.start(at_rest(sites)), 0)
            found.origins += [number] * (len(found.states) - len(found.origins))
    helped = _spread(found, ids)
    _look_back(found, helped)
    found.seconds = time.monotonic() - began
    return found


def _known(found: Recovery, ids: dict[State, int], state: State, parent: int) -> int:
    number = ids.get(state)
    if number is None:
        number = ids[state] = len(found.states)
        found.states.append(state)
        found.parents.append(parent)
        if not found.violation:
            found.violation = next(violations(found.world.sites(state)), "")
    return number


def _spread(found: Recovery, ids: dict[State, int]) -> list[list[int]]:
    """Forwards; answers for every state those that come to it by what helps."""
    world, helped, number = found.world, [[] for _ in found.states], 0
    while number < len(found.states) and not found.violation:
        state = found.states[number]
        followers = [(edge.helps, after) for edge, _, after in world.successors(state)]
        if world.heads[state[-1]].mode is Mode.OVER:
            followers.append((True, _next_one(world, state)))
        for helps, after in followers:
            to = _known(found, ids, after, number)
            if to == len(helped):
                helped.append([])
            if helps:
                helped[to].append(number)
        found.transitions += len(followers)
        number += 1
    return helped


def _next_one(world: World, state: State) -> State:
    """The next coordinator comes; children that still run will have ended by the time it is let in."""
    sites = world.sites(state)
    if any(site.busy is not None for site in sites):
        return state
    return world.start(at_rest(sites))


def _look_back(found: Recovery, helped: list[list[int]]) -> None:
    reached = bytearray(len(found.states))
    stack = [number for number, state in enumerate(found.states) if clean(found.world.sites(state))]
    found.clean = len(stack)
    for number in stack:
        reached[number] = 1
    while stack:
        for before in helped[stack.pop()]:
            if not reached[before]:
                reached[before] = 1
                stack.append(before)
    found.lost = tuple(number for number, mark in enumerate(reached) if not mark)
