"""All nodes and all coordinators together. A state of the world is a short tuple of small numbers: one for
each node with what the coordinators have heard from it, in sorted order because nodes are alike; then
one for each coordinator. What can follow is worked out once for every number and remembered.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from gausscert_common.protocol.words import Step

from explorer import captain as captains_
from explorer.captain import Ack, Captain, Mode, Reader, Turn
from explorer.events import events
from explorer.handler import Outcome, child_ended, handle
from explorer.numbering import Memo, Numbers
from explorer.quotient import ALIKE, Quotient
from explorer.readers import COMPETING
from explorer.site import NAMED, Site

State = tuple[int, ...]

_STEPS: Final = 16
"""More than there are steps: (epoch, step) as one number."""


class Comp(NamedTuple):
    """A node, and what each coordinator has heard from it about its present stage."""

    site: Site
    acks: tuple[Ack, ...]


class Edge(NamedTuple):
    """Something that can happen."""

    kind: int
    to: int
    """The number of the node or coordinator that it leads to."""
    how: str
    helps: bool = True
    fenced: bool = False
    """The fence of a node rises by it."""


class World:
    """The rules by which states follow each other.

    Args:
        nodes: How many.
        readers: For each coordinator, what it sets out to do.
        fences_hold: Requests below every node's fence are forgotten, for they can do nothing any more.
            Not so in variants without a fence.
        spared: Kinds of things that do not happen.
        without: One more node is there, but is dead, and the first transaction is begun without it.
        named: Nodes have names; one that dies in the middle may be left out.
        quotient: What is taken for one state.
    """

    def __init__(
        self,
        nodes: int = 2,
        readers: tuple[Reader, ...] = COMPETING,
        *,
        fences_hold: bool = True,
        spared: frozenset[str] = frozenset(),
        without: bool = False,
        named: bool = False,
        quotient: Quotient = ALIKE,
    ) -> None:
        self.nodes = nodes
        self.readers = readers
        self.captains = len(readers)
        self.fences_hold = fences_hold
        self.spared = spared
        self.quotient = quotient
        self.parted = without
        """T1 is begun without one of the nodes, which is dead then."""
        self.named = named
        self._apart = without or named
        """A coordinator may command some of the nodes only."""
        self.comps: Numbers[Comp] = Numbers()
        self.heads: Numbers[Captain] = Numbers()
        self.kinds: Numbers[str] = Numbers()
        self._sites: Numbers[Site] = Numbers()
        self._answers: Numbers[tuple[str, Ack]] = Numbers()
        self.fences: list[int] = []
        """By node's number in `comps`: its fence as one number,"""
        self.places: list[int] = []
        """what it is like, whoever has heard from it,"""
        self.heard: list[tuple[int, ...]] = []
        """and what each coordinator has heard."""
        self._events = Memo(self._all_events)
        self._delivered = Memo(self._all_delivered)
        self._turns_by_answers = Memo(self._all_turns_by_answers)
        self._turns_by_sight = Memo(self._all_turns_by_sight)
        self._looks = Memo(self._whether_it_looks)
        self._deaf = Memo(self._all_but_heard)
        self._pruned = Memo(self._without_dead_requests)
        self._handled: dict[tuple[Site, object], list[Outcome]] = {}

    def start(self, sites: tuple[Site, ...] | None = None, heads: tuple[Captain, ...] | None = None) -> State:
        """The state in which nothing has happened yet, or another one."""
        none: tuple[Ack, ...] = (None,) * self.captains
        dead = (Site(up=False, running="", excluded=True),) if self.parted else ()
        fresh = (*(Site(),) * (self.nodes - len(dead)), *dead)
        if self.named:
            fresh = tuple(Site(name=name) for name in NAMED[: self.nodes])
        nodes = sorted(self.comp(Comp(self.quotient.alike(site), none)) for site in sites or fresh)
        return (*nodes, *(self.heads.of(each) for each in heads or (Captain(),) * self.captains))

    def comp(self, comp: Comp) -> int:
        """The number of a node with what was heard from it."""
        number = self.comps.of(comp)
        if number == len(self.fences):
            fence = comp.site.state.fence
            self.fences.append(fence.epoch * _STEPS + fence.step)
            self.places.append(self._sites.of(comp.site))
            self.heard.append(tuple(self._answers.of((comp.site.who, ack)) for ack in comp.acks))
        return number

    def sites(self, state: State) -> list[Site]:
        """The nodes of a state."""
        return [self.comps[number].site for number in state[: self.nodes]]

    def nodes_of(self, state: State) -> State:
        """The nodes of a state, whoever has heard from them, as a key."""
        places = self.places
        return tuple([places[comp] for comp in state[: self.nodes]])

    def successors(self, state: State) -> Iterator[tuple[Edge, int, State]]:
        """What can follow, and at which place of the tuple it happens."""
        nodes, comps, heads = self.nodes, state[: self.nodes], state[self.nodes :]
        for place, comp in enumerate(comps):
            if place and comp == comps[place - 1]:
                continue  # alike
            others = (*comps[:place], *comps[place + 1 :])
            for edges in self._at_node(comp, heads):
                for edge in edges:
                    after = (*sorted((*others, edge.to)), *heads)
                    yield edge, place, self._forgotten(after) if edge.fenced else after
        for number, head in enumerate(heads):
            for edge in self._turns(number, head, comps):
                stops = edge.to == head
                yield edge, nodes + number, state if stops else self._with_head(comps, heads, number, edge.to)

    def _at_node(self, comp: int, heads: State) -> list[list[Edge]]:
        return [
            self._events[comp,],
            *[self._delivered[comp, head, number] for number, head in enumerate(heads)],
        ]

    def _turns(self, number: int, head: int, comps: State) -> list[Edge]:
        if self._looks[head,]:
            places = self.places
            return self._turns_by_sight[(number, head, *[places[comp] for comp in comps])]
        heard = self.heard
        return self._turns_by_answers[(number, head, *[heard[comp][number] for comp in comps])]

    def _with_head(self, comps: State, heads: State, number: int, to: int) -> State:
        deaf = [self._deaf[comp, number] for comp in comps]
        after = (*sorted(deaf), *heads[:number], to, *heads[number + 1 :])
        return self._forgotten(after) if self.fences_hold else after

    def _forgotten(self, state: State) -> State:
        """Without the requests that no node would carry out any more, at any time."""
        comps, fences = state[: self.nodes], self.fences
        lowest = 0 if self._apart else min([fences[comp] for comp in comps])
        heads = []
        for number, head in enumerate(state[self.nodes :]):
            left = self._pruned[head, min(self._scope(comps, head)) if self._apart else lowest]
            if left != head and self.heads[left].mode is Mode.OVER:
                comps = tuple(sorted([self._deaf[comp, number] for comp in comps]))
            heads.append(left)
        return (*comps, *heads)

    def _scope(self, comps: State, head: int) -> list[int]:
        """The fences of the nodes that a coordinator addresses."""
        captain = self.heads[head]
        return [self.fences[comp] for comp in comps if captain.commands(self.comps[comp].site.who)]

    def _without_dead_requests(self, head: int, lowest: int) -> int:
        return self.heads.of(_pruned(self.heads[head], lowest))

    def _all_but_heard(self, comp: int, number: int) -> int:
        found = self.comps[comp]
        acks = (*found.acks[:number], None, *found.acks[number + 1 :])
        return self.comp(Comp(found.site, acks))

    def _all_events(self, comp: int) -> list[Edge]:
        found, alike = self.comps[comp], self.quotient.alike
        edges = [
            Edge(
                self.kinds.of(each.kind),
                self.comp(found._replace(site=alike(each.site))),
                each.how,
                each.helps,
            )
            for each in events(found.site)
        ]
        busy = found.site.busy
        if busy is not None:
            # Its caller may be gone; who still waits is told below, in `_all_delivered`.
            edges += [
                Edge(
                    self.kinds.of(_unfinished(outcome) or "reply lost"),
                    self.comp(found._replace(site=outcome.site)),
                    f"{busy.step.name}({busy.epoch}) {outcome.how}",
                    _did(outcome),
                )
                for outcome in self._alike(child_ended(found.site))
            ]
        return self._distinct(found, [edge for edge in edges if edge.to != comp])

    def _all_delivered(self, comp: int, head: int, number: int) -> list[Edge]:
        found, captain = self.comps[comp], self.heads[head]
        if not found.site.up or not captain.commands(found.site.who):
            return []
        if found.site.busy is not None:
            return self._ends_heard(found, captain, number)
        edges = []
        for step in Step:
            if captain.sent >> step & 1:
                edges += self._requested(found, captain, number, step)
        return edges

    def _ends_heard(self, found: Comp, captain: Captain, number: int) -> list[Edge]:
        busy = found.site.busy
        if busy is None or busy.epoch != captain.epoch or busy.transaction_id != captain.name:
            return []
        outcomes = self._alike(child_ended(found.site))
        return self._distinct(found, self._heard(found, captain, number, busy.step, outcomes, "cm_ctl ends"))

    def _requested(self, found: Comp, captain: Captain, number: int, step: Step) -> list[Edge]:
        request = captains_.request(number, captain, step)
        key = (found.site, request)
        outcomes = self._handled.get(key)
        if outcomes is None:
            outcomes = self._handled[key] = self._alike(handle(found.site, request))
        late = captain.step is not step
        again = found.site.state.fence == request.fence
        kind = (
            "request arrives late" if late else "request arrives again" if again else f"{step.name} arrives"
        )
        edges = self._heard(found, captain, number, step, outcomes, kind)
        for each in outcomes:
            if each.site != found.site:
                what = _unfinished(each) or (kind if late else "reply lost")
                to = self.comp(found._replace(site=each.site))
                # Nobody waits for a child before it has begun.
                helps = each.site.busy is not None
                edges.append(Edge(self.kinds.of(what), to, f"{step.name}({captain.epoch}) {each.how}", helps))
        return self._distinct(found, edges)

    def _heard(
        self, found: Comp, captain: Captain, number: int, step: Step, outcomes: list[Outcome], kind: str
    ) -> list[Edge]:
        """The replies that reach the coordinator and mean something to it."""
        edges = []
        for outcome in outcomes:
            if not outcome.replied and not outcome.failed:
                continue
            ack = captains_.ack_of(captain, step, outcome.site, failed=outcome.failed)
            if ack is None:
                continue
            acks = (*found.acks[:number], ack, *found.acks[number + 1 :])
            to = Comp(outcome.site, acks)
            if to != found:
                how = f"{step.name}({captain.epoch}) {outcome.how}"
                edges.append(
                    Edge(self.kinds.of(_unfinished(outcome) or kind), self.comp(to), how, _did(outcome))
                )
        return edges

    def _whether_it_looks(self, head: int) -> bool:
        return captains_.looks(self.heads[head])

    def _all_turns_by_answers(self, number: int, head: int, *heard: int) -> list[Edge]:
        captain, answers = self.heads[head], [self._answers[each] for each in heard]
        commanded = [each for each in answers if captain.commands(each[0])]
        return [self._turn(head, turn) for turn in captains_.turns_by_answers(captain, commanded)]

    def _all_turns_by_sight(self, number: int, head: int, *places: int) -> list[Edge]:
        sites = [self._sites[place] for place in places]
        turns = captains_.turns_by_sight(number, self.readers[number], self.heads[head], sites)
        return [self._turn(head, turn) for turn in turns]

    def _alike(self, outcomes: Iterable[Outcome]) -> list[Outcome]:
        alike = self.quotient.alike
        return list(dict.fromkeys([each._replace(site=alike(each.site)) for each in outcomes]))

    def _distinct(self, found: Comp, edges: list[Edge]) -> list[Edge]:
        """One of those that differ in their words only; helpful ones first."""
        edges = [edge for edge in edges if self.kinds[edge.kind] not in self.spared]
        edges.sort(key=lambda edge: edge.helps)
        before, fences = self.fences[self.comp(found)], self.fences
        return [
            edge._replace(fenced=self.fences_hold and fences[edge.to] != before)
            for edge in {(edge.kind, edge.to): edge for edge in edges}.values()
        ]

    def _turn(self, head: int, turn: Turn) -> Edge:
        """One that stops leads to where it is: there it may stay."""
        captain, kind = turn.captain, self.kinds.of(turn.kind)
        if turn.stuck:
            captain = captain._replace(name=f"I9: {turn.stuck}")
        elif captain.mode is Mode.OVER and not self.quotient.stopped:
            return Edge(kind, head, turn.why, turn.helps)
        return Edge(kind, self.heads.of(captain), turn.why, turn.helps)


def _pruned(captain: Captain, lowest: int) -> Captain:
    epoch, step = divmod(lowest, _STEPS)
    if captain.mode is Mode.IDLE or captain.name.startswith("I9"):
        return captain
    if captain.epoch < epoch:
        return Captain(Mode.OVER)
    sent = captain.sent if captain.epoch > epoch else captain.sent >> step << step
    if captain.mode is Mode.OVER:
        whom = {
            "participants": captain.participants,
            "settled": captain.settled,
            "brief": captain.brief,
        }
        return Captain(Mode.OVER, captain.name, captain.epoch, sent=sent, planned=captain.planned, **whom)
    return captain._replace(sent=sent)


def _did(outcome: Outcome) -> bool:
    return outcome.replied and "only claims" not in outcome.how


def _unfinished(outcome: Outcome) -> str:
    """What became of a command that was not carried out; "" if it was."""
    if outcome.replied:
        return "cm_ctl only claims success" if "only claims" in outcome.how else ""
    if outcome.failed:
        return "cm_ctl fails" if "cm_ctl" in outcome.how else "an effect fails"
    return "cm_ctl begins" if outcome.site.busy is not None else "agent dies in a command"
