"""Every state of the transaction, and every broken variant of it.

What `make model` explores as well, and takes long, is a soak here: CI runs `make model`. The searches here
keep apart what that takes for one state (`explorer.quotient`).
"""

from __future__ import annotations

import gc

import pytest
from explorer.mutants import CRASHES, LIES, MUTANTS, put_another_set
from explorer.quotient import APART
from explorer.readers import ALONE, BOUNDED, COMPETING, WITHOUT, read_to_bring_over, read_without
from explorer.recoverability import recover
from explorer.report import missing
from explorer.search import explore
from explorer.world import World
from gausscert_common.protocol import coordinator, exclusion, node, recovery
from gausscert_common.protocol.rules import RULES
from gausscert_coordinator import recovery_case, recovery_view

WAITS = "waits for the excluded"
SPARED = frozenset(
    {"lease expires", "power loss", "agent dies while it starts", "agent crash", "an effect fails"}
)
"""Left out beside a second coordinator to save time; the soak leaves nothing out."""


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


@pytest.mark.parametrize(
    "mutant",
    [pytest.param(each, marks=pytest.mark.soak if each.name == "noepoch" else ()) for each in MUTANTS],
    ids=lambda mutant: mutant.name,
)
def test_a_broken_variant_is_caught_and_the_core_is_as_before(mutant):
    def core():
        changed = (vars(node), vars(recovery), vars(exclusion), vars(recovery_case), vars(recovery_view))
        return dict(RULES), dict(coordinator.TABLE), *map(dict, changed)

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
