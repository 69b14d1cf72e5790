"""What each command needs, does and leads to at a node: the transaction of design section 5 as a table.

`node` decides by it, the agent carries its effects out, and the documents describe it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from gausscert_common.protocol.state import SslSetting
from gausscert_common.protocol.words import LiveState, Outcome, Phase, Step


class Effect(StrEnum):
    """What the runner carries out; each one ensures a state and may be repeated."""

    BUILD_STAGE = "build_stage"
    """Stage, encrypt, validate; answers the facts of `StageFacts`."""
    STOP_CM = "stop_cm"
    START_CM = "start_cm"
    REQUIRE_STOPPED = "require_stopped"
    """Refuse with NOT_STOPPED if a cm_server or cm_agent runs."""
    MAKE_NEW_LIVE = "make_new_live"
    MAKE_OLD_LIVE = "make_old_live"
    APPLY_SSL = "apply_ssl"
    RESTORE_SSL = "restore_ssl"
    RETIRE_OLD = "retire_old"
    TIDY = "tidy"
    """Removes generations beyond those that are kept, and what no transaction needs any more. Never fails."""
    REMOVE_STAGE = "remove_stage"


@dataclass(frozen=True, slots=True)
class StageFacts:
    """What only building the stage can tell."""

    new_digest: str
    bundle_digest: str
    previous_ssl: SslSetting


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the table."""

    phases: frozenset[Phase]
    """Phases in which the command is carried out."""
    effects: tuple[Effect, ...] = ()
    intent: Phase | None = None
    """Phase that is durable before the effects; None leaves it as it is."""
    result: Phase | None = None
    """Phase after the effects; None leaves it as it is."""
    afterwards: tuple[Effect, ...] = ()
    """Carried out once the result is durable, before the reply; nothing depends on them."""
    ends: Outcome | None = None
    """The command ends the transaction with this outcome."""
    ended_as: Outcome | None = None
    """The command is answered as done if the transaction already ended so."""
    needs_live: LiveState | None = None
    """The live set the command demands before it does anything."""
    needs_settled: bool = False
    """Every node that the transaction was begun without must have joined or be gone."""
    needs_restored: bool = False
    """Abort must have ended here: what is forgotten afterwards could not be restored from any more."""


def depends_on_processes(step: Step) -> bool:
    """Whether it matters to a command if CM runs: whether it may exchange sets."""
    effects = RULES[step].effects if step in RULES else ()
    return Effect.MAKE_NEW_LIVE in effects or Effect.MAKE_OLD_LIVE in effects


_ANY: Final = frozenset(Phase)

RULES: Final[dict[Step, Rule]] = {
    Step.PREPARE: Rule(
        phases=frozenset({Phase.NONE, Phase.PREPARING, Phase.PREPARED}),
        intent=Phase.PREPARING,
        effects=(Effect.BUILD_STAGE,),
        result=Phase.PREPARED,
        needs_live=LiveState.OLD,
    ),
    Step.STOP: Rule(phases=_ANY, effects=(Effect.STOP_CM,)),
    Step.SWAP: Rule(
        phases=frozenset({Phase.PREPARED, Phase.SWAPPED}),
        effects=(
            Effect.REQUIRE_STOPPED,
            Effect.MAKE_NEW_LIVE,
            Effect.REQUIRE_STOPPED,
            Effect.APPLY_SSL,
        ),
        result=Phase.SWAPPED,
    ),
    Step.START: Rule(phases=_ANY, effects=(Effect.START_CM,)),
    Step.COMMIT: Rule(
        phases=frozenset({Phase.SWAPPED, Phase.COMMITTED}),
        result=Phase.COMMITTED,
        needs_live=LiveState.NEW,
        ended_as=Outcome.COMMITTED,
    ),
    Step.PURGE: Rule(
        phases=frozenset({Phase.COMMITTED}),
        effects=(Effect.RETIRE_OLD,),
        afterwards=(Effect.TIDY,),
        ends=Outcome.COMMITTED,
        needs_live=LiveState.NEW,
        ended_as=Outcome.COMMITTED,
        needs_settled=True,
    ),
    Step.ROLLBACK_STOP: Rule(phases=_ANY, effects=(Effect.STOP_CM,)),
    Step.ABORT: Rule(
        phases=_ANY - {Phase.COMMITTED},
        intent=Phase.ABORTED,
        effects=(Effect.MAKE_OLD_LIVE, Effect.RESTORE_SSL),
        result=Phase.ABORTED,
        ended_as=Outcome.ABORTED,
    ),
    Step.ROLLBACK_START: Rule(phases=_ANY, effects=(Effect.START_CM,)),
    Step.CLEAN: Rule(
        phases=frozenset({Phase.ABORTED}),
        effects=(Effect.REMOVE_STAGE,),
        afterwards=(Effect.TIDY,),
        ends=Outcome.ABORTED,
        needs_live=LiveState.OLD,
        ended_as=Outcome.ABORTED,
        needs_restored=True,
    ),
}
