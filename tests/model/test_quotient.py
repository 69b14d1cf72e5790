"""What the explorer takes for one state may be taken for one: held against searches that keep all apart."""

from __future__ import annotations

import gc
from collections.abc import Iterable

import pytest
from explorer.captain import Mode
from explorer.mutants import BUT_DEATH, CRASHES, LIES, MUTANTS
from explorer.quotient import APART
from explorer.readers import ALONE, BOUNDED, COMPETING, MORTAL, WITHOUT, read_without
from explorer.recoverability import Recovery, recover
from explorer.search import Found, explore
from explorer.site import Site
from explorer.world import Comp, State, World

QUIET = frozenset({*CRASHES, *LIES, "lease expires"})
RULES = {
    "one coordinator": {"readers": ALONE},
    "a recoverer beside it": {"readers": BOUNDED, "spared": QUIET},
    "a node that is dead": {"readers": (read_without,), "without": True},
    "a node that dies": {"readers": ALONE, "named": True, "spared": BUT_DEATH},
    "two coordinators": {"readers": COMPETING},
    "two, and a node that is dead": {"readers": WITHOUT, "without": True},
}
LONG = ("two coordinators", "two, and a node that is dead")


@pytest.fixture(autouse=True)
def no_collector():
    """Millions of tuples without a cycle."""
    gc.disable()
    yield
    gc.enable()


class Seen:
    """States of a world that keeps all apart, as another world sees them."""

    def __init__(self, apart: World, alike: World) -> None:
        self.apart, self.alike = apart, alike

    def under_way(self, states: Iterable[State]) -> set[State]:
        """All in which no coordinator has stopped."""
        return {self.state(each) for each in states if _goes_on(self.apart, each)}

    def nodes(self, states: Iterable[State]) -> set[tuple[Site, ...]]:
        """The nodes of all states."""
        looked_at = {each[: self.apart.nodes] for each in states}
        return _nodes(self.alike, map(self.state, looked_at))

    def state(self, state: State) -> State:
        """One of them; nodes alone are left alone."""
        seen = self.alike.quotient.alike
        comps = [self.apart.comps[number] for number in state[: self.apart.nodes]]
        numbers = sorted(self.alike.comp(Comp(seen(comp.site), comp.acks)) for comp in comps)
        return (
            *numbers,
            *(self.alike.heads.of(self.apart.heads[head]) for head in state[self.apart.nodes :]),
        )

    def steps(self, state: State) -> set[tuple[str, State]]:
        """What follows in the one world, in the words of the other."""
        return {(kind, self.state(after)) for kind, after in _steps(self.apart, state)}


def _goes_on(world: World, state: State) -> bool:
    return all(world.heads[head].mode is not Mode.OVER for head in state[world.nodes :])


def _nodes(world: World, states: Iterable[State]) -> set[tuple[Site, ...]]:
    looked_at = {each[: world.nodes] for each in states}
    return {tuple(sorted(world.sites(each), key=repr)) for each in looked_at}


def _steps(world: World, state: State) -> set[tuple[str, State]]:
    """But for those that only stop a coordinator, or lead nowhere."""
    followers = [(world.kinds[edge.kind], after) for edge, _, after in world.successors(state)]
    return {each for each in followers if _goes_on(world, each[1]) and each[1] != state}


def _stays(world: World, state: State) -> set[tuple[str, State]]:
    """Whatever leaves everything as it is."""
    return {(kind, state) for kind in world.kinds}


def _kinds(found: Found) -> set[str]:
    return {kind for kind, count in found.kinds.items() if count}


@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    "name", [pytest.param(each, marks=pytest.mark.soak if each in LONG else ()) for each in RULES]
)
def test_a_search_comes_to_the_same_states_step_by_step(name):
    apart, alike = explore(World(2, quotient=APART, **RULES[name])), explore(World(2, **RULES[name]))
    seen = Seen(apart.world, alike.world)

    assert len(alike.states) < len(apart.states)
    assert seen.under_way(apart.states) == {each for each in alike.states if _goes_on(alike.world, each)}
    assert seen.nodes(apart.states) == _nodes(alike.world, alike.states)
    assert _kinds(apart) == _kinds(alike)
    for state in apart.states:
        if _goes_on(apart.world, state):
            image = seen.state(state)
            assert seen.steps(state) - _stays(alike.world, image) == _steps(alike.world, image)


@pytest.mark.soak
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", ["one coordinator", "a node that is dead", "a node that dies"])
def test_recovery_comes_to_the_same_states_and_all_of_them_lead_to_a_clean_end(name):
    rules = RULES[name]
    apart = recover(explore(World(2, quotient=APART, **rules)), APART)
    alike = recover(explore(World(2, **rules)))

    assert apart.lost == alike.lost == ()
    _alike(apart, alike)


@pytest.mark.parametrize("mutant", [each for each in MUTANTS if each.recovers], ids=lambda each: each.name)
def test_what_cannot_be_recovered_from_is_the_same(mutant):
    with mutant.applied(APART) as world:
        apart = recover(explore(world), APART, gone=MORTAL if mutant.named else "")
    with mutant.applied() as world:
        alike = recover(explore(world), gone=MORTAL if mutant.named else "")

    _alike(apart, alike)
    assert alike.lost
    lost = {alike.states[number] for number in alike.lost}
    seen = Seen(apart.world, alike.world).under_way(apart.states[number] for number in apart.lost)
    assert seen == {each for each in lost if _goes_on(alike.world, each)}


def _alike(apart: Recovery, alike: Recovery) -> None:
    seen = Seen(apart.world, alike.world)
    assert len(alike.states) < len(apart.states)
    assert seen.under_way(apart.states) == {each for each in alike.states if _goes_on(alike.world, each)}
    assert seen.nodes(apart.states) == _nodes(alike.world, alike.states)
