"""The state diagrams of docs/states.md: drawn by asking the core what it does, row by row, flag by flag."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Final

from gausscert_common.errors import NodeRefusal
from gausscert_common.protocol.commands import AcquireCommand, Command, PrepareCommand
from gausscert_common.protocol.coordinator import TABLE, Course, Stage, Verdict
from gausscert_common.protocol.node import accept, complete, reconcile
from gausscert_common.protocol.rules import Effect, StageFacts
from gausscert_common.protocol.state import NodeState, SslSetting, Transaction, View
from gausscert_common.protocol.words import Fence, LiveState, Phase, RestartScope, SslWish, Step

_ID: Final = "transaction"
_LIVE: Final = (LiveState.OLD, LiveState.NEW)
_TRANSACTION: Final = Transaction(
    _ID, (), LiveState.OLD, SslWish.KEEP, RestartScope.NODE, 0.0, LiveState.NEW, abort_ended=True
)

_FLAGS: Final = {
    "touched_cm": (False, "CM untouched"),
    "ensure_up": (True, "CM's start not seen"),
    "moved": (True, "a set moved before"),
    "waits": (True, "begun without a node"),
    "outside": (True, "joining"),
}
"""The value of each flag that leads elsewhere, and how it is called."""

Arrow = tuple[str, str, str]
"""From, to, and what leads there."""


def node_diagram() -> str:
    """The phases of a node."""
    arrows: dict[Arrow, None] = {}
    for phase, step, live in product(Phase, Step, _LIVE):
        arrows |= dict.fromkeys(_commanded(phase, step, live))
    for phase in Phase:
        settled = {live: reconcile(_state(phase), live).phase for live in _LIVE}
        for live, after in settled.items():
            where = "" if len(set(settled.values())) == 1 else f", {live.lower()} set live"
            if after is not phase:
                arrows[phase, after, f"agent restarts{where}"] = None
    return _mermaid([str(phase) for phase in Phase], Phase.NONE, list(arrows), ends=())


def coordinator_diagram() -> str:
    """The stages of a coordinator."""
    arrows: dict[Arrow, None] = {}
    for stage in Stage:
        row = TABLE[stage]
        for usual, word in ((row.then, "all"), (row.otherwise, "fails")):
            for to, flags in _led(stage, failing=word == "fails").items():
                arrows[stage, to, word if to == usual else f"{word}, {flags}"] = None
    names = [*map(str, Stage), *map(str, Verdict)]
    return _mermaid(names, Stage.ACQUIRE, list(arrows), ends=tuple({to for _, to, _ in arrows} & {*Verdict}))


def _led(stage: Stage, *, failing: bool) -> dict[str, str]:
    """Where a stage leads, with the flags that decide it."""
    targets: dict[str, str] = {}
    usual = Course(stage, RestartScope.NODE, touched_cm=True)
    courses = [(usual, "")]
    courses += [(replace(usual, **{flag: value}), word) for flag, (value, word) in _FLAGS.items()]
    for course, word in courses:
        to = str((course.failed() if failing else course.succeeded()).now)
        known = targets.get(to)
        targets[to] = word if known is None else f"{known} or {word}" if known and word else known
    return targets


def _commanded(phase: Phase, step: Step, live: LiveState) -> list[Arrow]:
    """The arrows of one command in one phase; none where it is refused or leads nowhere else."""
    command = _command(step)
    try:
        accepted = accept(_state(phase), View(live, cm_running=False), command)
    except NodeRefusal:
        return []
    facts = StageFacts(LiveState.NEW, "", SslSetting()) if Effect.BUILD_STAGE in accepted.effects else None
    after = complete(accepted.intent, command, facts)
    name = step.name.replace("_", " ").capitalize()
    between, to = accepted.intent.phase, after.phase
    if after.tombstones:
        return [(phase, to, f"{name} (tombstone {after.tombstones[0].outcome.lower()})")]
    arrows = [(phase, between, name), (between, to, f"{name} done")] if between not in (phase, to) else []
    return arrows or ([(phase, to, name)] if to is not phase else [])


def _command(step: Step) -> Command:
    if step is Step.ACQUIRE:
        return AcquireCommand(_ID, 1, step, "holder")
    if step is Step.PREPARE:
        return PrepareCommand(_ID, 1, step, (), LiveState.OLD, SslWish.KEEP, RestartScope.NODE, 0.0)
    return Command(_ID, 1, step)


def _state(phase: Phase) -> NodeState:
    transaction = None if phase is Phase.NONE else _TRANSACTION
    if phase is Phase.PREPARING:
        transaction = replace(_TRANSACTION, new_digest="")
    return NodeState(Fence(1), _ID, "holder", phase, transaction)


def _mermaid(names: list[str], first: str, arrows: list[Arrow], *, ends: tuple[str, ...]) -> str:
    def ident(name: str) -> str:
        return str(name).replace(" ", "_")

    lines = ["```mermaid", "stateDiagram-v2"]
    lines += [f'    state "{name}" as {ident(name)}' for name in names if " " in name]
    lines += [f"    [*] --> {ident(first)}"]
    lines += [f"    {ident(before)} --> {ident(after)}: {why}" for before, after, why in arrows]
    lines += [f"    {ident(end)} --> [*]" for end in sorted(ends)]
    return "\n".join([*lines, "```"]) + "\n"
