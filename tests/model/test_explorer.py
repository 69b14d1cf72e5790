"""Every state of the transaction, and every broken variant of it.

What `make model` explores as well, and takes long, is a soak here: CI runs `make model`. The searches here
keep apart what that takes for one state (`explorer.quotient`).
"""

from __future__ import annotations

import gc
from dataclasses import replace

import pytest
from explorer.mutants import BUT_DEATH, CRASHES, LIES, MUTANTS, put_another_set
from explorer.quotient import APART
from explorer.readers import (
    ALONE,
    BOUNDED,
    COMPETING,
    MORTAL,
    SURVIVORS,
    WITHOUT,
    read_to_bring_over,
    read_without,
)
from explorer.recoverability import recover
from explorer.report import missing
from explorer.search import explore
from explorer.site import OLD, Site, at_rest
from explorer.world import World
from gausscert_common.protocol import coordinator, exclusion, node, recovery, recovery_without
from gausscert_common.protocol.rules import RULES
from gausscert_common.protocol.state import NodeState, Transaction
from gausscert_common.protocol.words import Fence, Phase, RestartScope, SslWish, Step
from gausscert_coordinator import recovery_case, recovery_view

WAITS = "waits for the excluded"
SPARED = frozenset(
    {"lease expires", "power loss", "agent dies while it starts", "agent crash", "an effect fails"}
)
"""Left out beside a second coordinator to save time; the soak leaves nothing out."""


SLOW = ("noepoch", "step only", "back in spite", "on in spite")
"""`make model` has these, too."""


@pytest.fixture(autouse=True)
def no_collector():
    """Millions of tuples without a cycle."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.soak
def test_one_coordinator_reaches_no_bad_state_and_all_can_be_recovered_from():
    found = explore(World(2, ALONE, quotient=APART))
    assert found.complete
    assert not found.violation
    assert missing(found) == []
    assert len(found.states) > 20_000

    recovered = recover(found, APART)
    assert not recovered.violation
    assert recovered.clean > 100
    assert recovered.lost == ()


@pytest.mark.soak
def test_a_recoverer_that_comes_at_any_time_reaches_no_bad_state():
    found = explore(World(2, BOUNDED, spared=SPARED, quotient=APART))
    assert found.complete
    assert not found.violation
    assert set(missing(found)) <= SPARED | {"power loss undoes an exchange"}
    assert len(found.states) > 40_000


def test_a_node_that_is_dead_is_left_out_and_brought_over_later():
    """The search begins without it; whoever recovers from there brings it over, in any number of tries."""
    found = explore(World(2, (read_without,), without=True, quotient=APART))
    assert found.complete
    assert not found.violation
    assert set(missing(found)) <= {"PURGE arrives", "joins", "recovers", "recovery gives up", WAITS}
    assert len(found.states) > 3_000

    recovered = recover(found, APART)
    assert not recovered.violation
    assert recovered.clean > 100
    assert recovered.lost == ()


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_coordinators_that_bring_a_node_over_side_by_side_reach_no_bad_state():
    everything = explore(World(2, WITHOUT, without=True, quotient=APART))
    assert everything.complete
    assert not everything.violation
    assert missing(everything) == []
    assert recover(everything, APART).lost == ()

    three = explore(World(2, (*WITHOUT, read_to_bring_over), without=True, spared=CRASHES | LIES))
    assert three.complete
    assert not three.violation
    assert three.kinds["joins"] > 100


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_two_competing_coordinators_reach_no_bad_state_and_all_can_be_recovered_from():
    found = explore(World(2, COMPETING, quotient=APART))
    assert found.complete
    assert not found.violation
    assert missing(found) == []
    assert len(found.states) >= 250_000

    assert recover(found, APART).lost == ()


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_survivors_recover_without_a_node_that_died_in_the_middle_and_with_it_when_it_is_back():
    found = explore(World(2, SURVIVORS, named=True, spared=BUT_DEATH))
    assert found.complete
    assert not found.violation
    assert missing(found) == []
    assert found.kinds["recovers without a node"] > 1000

    recovered = recover(found)
    assert not recovered.violation
    assert recovered.clean > 100
    assert recovered.lost == ()


def test_survivors_come_to_an_end_if_the_node_never_comes_back():
    found = explore(World(2, ALONE, named=True, spared=BUT_DEATH))
    assert found.complete
    assert not found.violation

    recovered = recover(found, gone=MORTAL)
    assert not recovered.violation
    assert recovered.clean > 10
    assert recovered.lost == ()


def test_how_far_coordinators_had_come_is_kept_in_their_order():
    """Whoever comes next is after all of them, and nothing else of the numbers matters."""
    told = Transaction("T1", ("n1", "n2"), OLD, SslWish.KEEP, RestartScope.NODE, 0.0, new_digest="new-1")
    early = NodeState(Fence(4, Step.START), phase=Phase.SWAPPED, transaction=told)
    late = NodeState(
        Fence(9), phase=Phase.SWAPPED, transaction=replace(told, reached=Fence(7, Step.ROLLBACK_STOP))
    )

    one, other = at_rest((Site(early, name="n1"), Site(late, name="n2")))

    assert one.state.reached.step is Step.START
    assert other.state.reached.step is Step.ROLLBACK_STOP
    assert one.state.reached < other.state.reached < Fence(1)
    assert one.state.fence == other.state.fence == Fence()


@pytest.mark.parametrize(
    "mutant",
    [pytest.param(each, marks=pytest.mark.soak if each.name in SLOW else ()) for each in MUTANTS],
    ids=lambda mutant: mutant.name,
)
def test_a_broken_variant_is_caught_and_the_core_is_as_before(mutant):
    def core():
        changed = (node, recovery, recovery_without, exclusion, recovery_case, recovery_view)
        return dict(RULES), dict(coordinator.TABLE), *(dict(vars(each)) for each in changed)

    before = core()
    caught = mutant.caught()
    assert caught.violation.startswith(f"{mutant.trips}:")
    assert caught.trace
    assert core() == before


def test_every_invariant_of_the_model_is_tripped_by_some_variant():
    assert {mutant.trips for mutant in MUTANTS} == {f"I{number}" for number in range(1, 11)}


def test_a_foreign_set_is_never_overwritten(monkeypatch):
    from explorer import events
    from explorer.invariants import seen_at_a_move

    monkeypatch.setattr(events, "EVENTS", [*events.EVENTS, put_another_set])
    found = explore(World(2, ALONE, spared=frozenset({"lease expires"})), judge=seen_at_a_move)
    assert found.complete
    assert not found.violation
    assert found.kinds["somebody puts another set"]
