"""What a run tells: a table, and for everything that went wrong a trace."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from explorer.mutants import Caught, Mutant
from explorer.recoverability import Recovery
from explorer.search import Found, told, trace

HAPPENS: Final = frozenset(
    {
        *(f"{step} arrives" for step in ("ACQUIRE", "PREPARE", "SWAP", "COMMIT", "PURGE", "ABORT", "CLEAN")),
        "request arrives again",
        "request arrives late",
        "reply lost",
        "cm_ctl begins",
        "cm_ctl ends",
        "cm_ctl fails",
        "cm_ctl only claims success",
        "an effect fails",
        "agent dies in a command",
        "agent crash",
        "agent crash, child survives",
        "orphan acts",
        "agent starts",
        "agent dies while it starts",
        "power loss",
        "power loss undoes an exchange",
        "CM starts by itself",
        "lease expires",
        "begins",
        "stage succeeds",
        "stage fails or is interrupted",
    }
)
"""In every run of the true core; a run without one of them has shown nothing."""
HAPPENS_BESIDE_A_RECOVERER: Final = HAPPENS | {
    "recovers",
    "recovery gives up",
    "nothing in doubt",
    "only starts CM",
}


HAPPENS_WITHOUT_A_NODE: Final = HAPPENS - {"begins"} | {
    "begins without a node",
    "joins",
    "recovers",
    "recovery gives up",
    "waits for the excluded",
}


def missing(found: Found) -> list[str]:
    """What should have happened in a run and did not, but for what it spares."""
    expected = HAPPENS if len(found.world.readers) == 1 else HAPPENS_BESIDE_A_RECOVERER
    if found.world.parted:
        expected = HAPPENS_WITHOUT_A_NODE
    if found.world.named:
        expected = HAPPENS_BESIDE_A_RECOVERER | {"recovers without a node"}
    return sorted(kind for kind in expected - found.world.spared if not found.kinds[kind])


def search_table(found: Found) -> Iterator[str]:
    """Figures of a search, and how often each kind of thing happened."""
    yield f"states {len(found.states):,}  transitions {found.transitions:,}  depth {found.depth}"
    yield f"complete {'yes' if found.complete else 'no'}  violations {found.violation or 0}"
    yield f"seconds {found.seconds:.1f}, of which on the core {found.cpu_seconds:.1f}"
    yield ""
    for kind, count in sorted(found.kinds.items()):
        if count:
            yield f"  {count:>12,}  {kind}"


def recovery_table(recovery: Recovery) -> Iterator[str]:
    """Figures of I9."""
    yield f"begun from {len(recovery.origins):,} states of the nodes, one coordinator after another:"
    yield f"states {len(recovery.states):,}  transitions {recovery.transitions:,}  clean {recovery.clean:,}"
    yield f"violations {recovery.violation or 0}  not recoverable {len(recovery.lost)}"
    yield f"seconds {recovery.seconds:.1f}"
    for number in recovery.lost[:3]:
        yield "  not recoverable: " + " | ".join(
            told(site) for site in recovery.world.sites(recovery.states[number])
        )


def mutant_line(mutant: Mutant, caught: Caught) -> str:
    """One row: how it was caught."""
    seen = caught.violation or "NOT CAUGHT"
    moves = len(caught.trace)
    return f"{mutant.name:<20} {caught.states:>8,} states {moves:>3} moves {caught.seconds:>5.1f} s  {seen}"


def numbered(lines: list[str]) -> list[str]:
    """A trace as it is printed."""
    return [f"{number:>4}  {line}" for number, line in enumerate(lines, start=1)]


def traced(found: Found) -> list[str]:
    """The way to the violation."""
    return numbered(trace(found.world, found.path(len(found.states) - 1)))
