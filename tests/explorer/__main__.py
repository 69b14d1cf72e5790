"""Explore the transaction: `make model`, or `make model ARGS="--nodes 3 --most 3000000"`."""

from __future__ import annotations

import argparse
import gc
import sys

from explorer.mutants import BUT_DEATH, BY_NAME, MUTANTS, Mutant
from explorer.readers import ALONE, BOUNDED, COMPETING, MORTAL, SURVIVORS, WITHOUT
from explorer.recoverability import recover
from explorer.report import missing, mutant_line, numbered, recovery_table, search_table, traced
from explorer.search import Found, explore
from explorer.world import World

COORDINATORS = {"one": ALONE, "bounded": BOUNDED, "two": COMPETING, "survivors": SURVIVORS}


DEFAULT_NODES = 2


def main() -> int:
    """Explore; 1 if anything is wrong, or a variant is not caught, or something never happened."""
    parser = argparse.ArgumentParser(prog="make model", description=__doc__)
    parser.add_argument("--nodes", type=int, default=DEFAULT_NODES, metavar="N")
    parser.add_argument(
        "--coordinators",
        choices=COORDINATORS,
        default="two",
        help="two: one begins, the other begins or recovers; bounded: the other only recovers; one: no other;"
        " survivors: it recovers, also without the second node if that is dead, with all faults: takes long",
    )
    parser.add_argument("--most", type=int, default=0, metavar="N", help="stop after so many states")
    parser.add_argument("--no-recovery", action="store_true", help="leave I9 out: with 3 nodes it takes long")
    parser.add_argument("--no-mutants", action="store_true", help="the true core only")
    parser.add_argument(
        "--trace", metavar="NAME", choices=sorted(BY_NAME), help="one broken variant, in full"
    )
    asked = parser.parse_args()
    gc.disable()  # millions of tuples, no cycles: collecting them takes longer than the search
    if asked.trace:
        return _one_mutant(BY_NAME[asked.trace])
    named = asked.coordinators == "survivors"
    world = World(asked.nodes, COORDINATORS[asked.coordinators], named=named)
    wrong = _true_core(world, asked.most, recovery=not asked.no_recovery)
    if asked.coordinators == "two" and asked.nodes == DEFAULT_NODES:
        wrong += _true_core(World(2, WITHOUT, without=True), 0, recovery=not asked.no_recovery)
        survivors = World(2, SURVIVORS, named=True, spared=BUT_DEATH)
        wrong += _true_core(survivors, 0, recovery=not asked.no_recovery)
    if not asked.no_mutants:
        wrong += _mutants()
    for line in wrong:
        _say(f"WRONG: {line}")
    return 1 if wrong else 0


def _true_core(world: World, most: int, *, recovery: bool) -> list[str]:
    left_out = ", of which one is dead and left out" if world.parted else ""
    left_out += ", of which one may die and be left out in the middle" if world.named else ""
    _say(f"\nThe core: {world.nodes} nodes{left_out}, {len(world.readers)} coordinators\n")
    found = explore(world, most=most)
    _say(*search_table(found))
    if found.violation:
        _say("", *traced(found))
        return [found.violation]
    wrong = [f"never happened: {kind}" for kind in missing(found)]
    if recovery:
        wrong += _recovery(found)
    if recovery and world.named:
        wrong += _recovery(found, MORTAL)
    return wrong


def _recovery(found: Found, gone: str = "") -> list[str]:
    _say(f"\nRecovery (I9){gone and f', and {gone} never comes back'}\n")
    recovery = recover(found, gone=gone)
    _say(*recovery_table(recovery))
    if recovery.violation:
        return [f"while recovering: {recovery.violation}"]
    if not recovery.lost:
        return []
    _say("", *numbered(recovery.steps(found)))
    return [f"I9: {len(recovery.lost)} states cannot be recovered from"]


def _mutants() -> list[str]:
    _say("\nBroken variants\n")
    wrong = []
    for mutant in MUTANTS:
        caught = mutant.caught()
        _say(mutant_line(mutant, caught))
        if not caught.violation.startswith(f"{mutant.trips}:"):
            wrong.append(f"{mutant.name} violates {caught.violation or 'nothing'}, not {mutant.trips}")
    _say("\nThe trace of one: make model ARGS=\"--trace 'volatile fence'\"")
    return wrong


def _one_mutant(mutant: Mutant) -> int:
    caught = mutant.caught()
    _say(f"{mutant.name}: without the rule that {mutant.breaks}\n", *numbered(caught.trace))
    _say(f"\n{caught.violation or 'not caught'}")
    return 0 if caught.violation else 1


def _say(*lines: str) -> None:
    for line in lines:
        sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
