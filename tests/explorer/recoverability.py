"""I9: from every state a fresh coordinator alone reaches a clean end.

Every state of the nodes that a search has reached is where recovery may have to begin. From there one
coordinator after another recovers, with everything that can go wrong still going wrong; whatever it leaves
behind is where the next one begins. A coordinator has a higher epoch than all before it, so lower fences
need not be told apart (`site.at_rest`) and there are only so many states however many coordinators come.

Then backwards: a state is recoverable if a clean end can be reached from it by moves of the coordinator,
answers of nodes, and what happens by itself; no lucky crash is needed.

Where a node may be left out in the middle, the same is asked once more of all states in which it is dead, as
if it never came back: the others come to an end without it.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from gausscert_common.protocol.state import NodeState
from gausscert_common.protocol.words import Phase

from explorer.captain import Captain, Mode
from explorer.invariants import violations
from explorer.quotient import ALONE, Quotient
from explorer.readers import BRINGER, MOURNER, RECOVERER
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


def ended_without(sites: Sequence[Site]) -> bool:
    """Clean but for a node that is gone: the transaction is over, or stands, on all others."""
    gone = {site.name for site in sites if site.gone}
    left = [site for site in sites if not site.gone]
    over = {"state": NodeState(), "beside": frozenset()}
    return clean([site._replace(**over) if _stands(site, gone) else site for site in left])


def _stands(site: Site, gone: set[str]) -> bool:
    told = site.state.transaction
    return told is not None and site.state.phase is Phase.COMMITTED and gone <= set(told.excluded)


def recover(searched: Found, quotient: Quotient = ALONE, *, gone: str = "") -> Recovery:
    """Recover from every state that a search has reached.

    Args:
        searched: The search.
        quotient: What is taken for one state.
        gone: Recover only where this node is dead, and without it for ever.
    """
    began = time.monotonic()
    world = searched.world
    readers = MOURNER if world.named else BRINGER if world.parted else RECOVERER
    rules = {"spared": world.spared, "without": world.parted, "named": world.named}
    again = World(world.nodes, readers, quotient=quotient, **rules)
    found = Recovery(again, [], array("L"))
    search = _Search(found, ended_without if gone else clean)
    looked_at: set[State] = set()
    for number, state in enumerate(searched.states):
        nodes = world.nodes_of(state)
        if nodes in looked_at:
            continue
        looked_at.add(nodes)
        sites = world.sites(state)
        if gone:
            sites = [_as_gone(site) if site.name == gone else site for site in sites]
            if not any(site.gone for site in sites):
                continue
        if all(site.busy is None for site in sites):  # else how the child ends was reached, too
            search.known(again.start(at_rest(sites)), 0)
            found.origins += [number] * (len(found.states) - len(found.origins))
    search.spread()
    search.look_back()
    found.seconds = time.monotonic() - began
    return found


def _as_gone(site: Site) -> Site:
    dead = not (site.up or site.running or site.orphan)
    return site._replace(gone=dead)


class _Search:
    """Forwards, and what was helpful backwards."""

    def __init__(self, found: Recovery, ended: Callable[[Sequence[Site]], bool]) -> None:
        self._found = found
        self._ended = ended
        self._world = found.world
        self._ids: dict[State, int] = {}
        self._judged: set[State] = set()
        self._at_rest: dict[State, State] = {}
        self._nobody = found.world.heads.of(Captain(Mode.OVER))
        self._helped: list[list[int]] = []
        """For every state, those that come to it by what helps."""

    def known(self, state: State, parent: int) -> int:
        """The number of a state."""
        number = self._ids.get(state)
        if number is None:
            number = self._ids[state] = len(self._found.states)
            self._found.states.append(state)
            self._found.parents.append(parent)
            self._helped.append([])
            self._judge(state)
        return number

    def spread(self) -> None:
        """Everything that can follow, until somebody sees what must not be."""
        found, number = self._found, 0
        while number < len(found.states) and not found.violation:
            for helps, after in self._followers(found.states[number]):
                to = self.known(after, number)
                if helps:
                    self._helped[to].append(number)
                found.transitions += 1
            number += 1

    def look_back(self) -> None:
        """From the clean ends."""
        found, world = self._found, self._world
        stack = [number for number, state in enumerate(found.states) if self._ended(world.sites(state))]
        reached = bytearray(len(found.states))
        found.clean = len(stack)
        for number in stack:
            reached[number] = 1
        while stack:
            for before in self._helped[stack.pop()]:
                if not reached[before]:
                    reached[before] = 1
                    stack.append(before)
        found.lost = tuple(number for number, mark in enumerate(reached) if not mark)

    def _judge(self, state: State) -> None:
        nodes = self._world.nodes_of(state)
        if nodes not in self._judged and not self._found.violation:
            self._judged.add(nodes)
            self._found.violation = next(violations(self._world.sites(state)), "")

    def _followers(self, state: State) -> Iterator[tuple[bool, State]]:
        """What may follow, and whether it helps."""
        world = self._world
        for edge, _, after in world.successors(state):
            yield edge.helps, self._next_one(state) if after is state else after
        mode = world.heads[state[-1]].mode
        if mode is Mode.OVER:
            follows = self._next_one(state)
            if follows[-1] != self._nobody:
                yield True, follows
        elif mode is not Mode.IDLE and not world.quotient.stopped:
            yield False, self._next_one(state)

    def _next_one(self, state: State) -> State:
        """The next coordinator comes; children that still run will have ended by the time it is let in."""
        nodes = self._world.nodes_of(state)
        follows = self._at_rest.get(nodes)
        if follows is None:
            sites = self._world.sites(state)
            busy = any(site.busy is not None for site in sites)
            nobody = (Captain(Mode.OVER),)
            follows = self._world.start(sites, nobody) if busy else self._world.start(at_rest(sites))
            self._at_rest[nodes] = follows
        return follows
