"""How many fsyncs a transaction costs on a node, phase by phase: of files, of directories, of the journal.

A disk's fsync takes between 0.1 and 10 ms, so a count says more than a time (performance section 4). Counted
are `os.fsync` and `os.fdatasync` themselves, whoever calls them.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from typing import TYPE_CHECKING

from gausscert_agent.journal_file import FILE as JOURNAL
from gausscert_common.model import Layout
from gausscert_common.protocol.words import Step

from bench.measure import Count
from bench.node import material
from bench.node.core import STEPS, CoreNode

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gausscert_coordinator.issue import KeyType

GOALS = {Layout.EXCHANGE: 12, Layout.DATA_LINK: 13}
"""Until the vote. Nine files, their directory, its parent; the parent once more after the exchange. With
links the parent is `cm`, and the probe before tries whether it can be synced at all."""
RETIRING = 3
"""After it, which the goal of performance section 8 did not know yet: the former set's stamp, its new name,
and the name under which an older one is given up before its files go."""

_VOTED = STEPS[: STEPS.index(Step.SWAP) + 1]

_REST = STEPS[len(_VOTED) :]
_SET = ("file", "directory")


def measure(root: Path, key_type: KeyType, layout: Layout) -> list[Count]:
    """One count for the set, one for the journal, and what each phase needs."""
    node = CoreNode(root, material.pair(key_type), layout)
    state = os.stat(root / "state")
    by_step: dict[Step, Counter[str]] = {}

    def around(step: Step, do: Callable[[], object]) -> None:
        by_step[step] = _counted(do, state)

    try:
        node.transaction(around)  # with the data link layout the first one makes the links
        for _ in range(3):  # later ones also give up a former set
            node.transaction(around)
    finally:
        node.close()
    return [
        _count(f"fsyncs for the set, Prepare to Swap [{layout}]", by_step, _SET, _VOTED, GOALS[layout]),
        _count(f"fsyncs for the set, keeping the former one [{layout}]", by_step, _SET, _REST, RETIRING),
        _count(f"fsyncs of the journal [{layout}]", by_step, ("journal",), STEPS),
    ]


def _counted(do: Callable[[], object], state: os.stat_result) -> Counter[str]:
    found: Counter[str] = Counter()
    real = os.fsync, os.fdatasync

    def fsync(descriptor: int) -> None:
        found[_kind(descriptor, state)] += 1
        real[0](descriptor)

    def fdatasync(descriptor: int) -> None:
        found[_kind(descriptor, state)] += 1
        real[1](descriptor)

    os.fsync, os.fdatasync = fsync, fdatasync  # type: ignore[assignment] # descriptors only, as here
    try:
        do()
    finally:
        os.fsync, os.fdatasync = real
    return found


def _kind(descriptor: int, state: os.stat_result) -> str:
    found = os.fstat(descriptor)
    if os.path.samestat(found, state):
        return "journal"
    if stat.S_ISDIR(found.st_mode):
        return "directory"
    name = os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}"))
    return "journal" if name.startswith(JOURNAL) else "file"


def _count(
    what: str,
    by_step: dict[Step, Counter[str]],
    kinds: tuple[str, ...],
    steps: tuple[Step, ...],
    goal: int | None = None,
) -> Count:
    parts = {step: {kind: by_step[step][kind] for kind in kinds if by_step[step][kind]} for step in steps}
    detail = ", ".join(
        f"{step.name} {' + '.join(f'{number} {kind}' for kind, number in part.items())}"
        for step, part in parts.items()
        if part
    )
    return Count(what, sum(sum(part.values()) for part in parts.values()), goal, detail)
