"""A command at a node, or a starting agent, along the core's own script. Between any two moves, and within
an exchange, the agent may die, and before an effect CM may start by itself; nothing else gets between,
for a node carries out one command at a time.

Only while a cm_ctl child runs does the world go on: that is a state of its own (`Site.busy`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Final, NamedTuple

from gausscert_common.errors import GausscertError
from gausscert_common.protocol.commands import AcquireCommand, Command
from gausscert_common.protocol.rules import Effect
from gausscert_common.protocol.script import (
    Answer,
    CarryOut,
    EndOrphan,
    ForgetChild,
    ForgetStage,
    Hold,
    Look,
    LookAtLive,
    Move,
    Release,
    Save,
    Script,
    SyncDisk,
    carry_out,
    settle,
)
from gausscert_common.protocol.state import NodeState, Operation

from explorer.hands import act, already_so, child_ends, started, starts_by_itself
from explorer.site import Site

Answers = tuple[Answer | Exception, ...]

_RESTARTS: Final = frozenset({Effect.STOP_CM, Effect.START_CM})


class Reply(NamedTuple):
    """The script has come to its end."""


class Failed(NamedTuple):
    """The script has raised: a refusal, or what an effect failed with."""


class Outcome(NamedTuple):
    """What may have become of a site."""

    site: Site
    replied: bool
    """The command was carried out and is answered."""
    how: str
    """For the trace."""
    failed: bool = False
    """An effect failed; the caller is told so."""


def handle(site: Site, command: Command) -> Iterator[Outcome]:
    """Everything that can come of a command that reaches a serving node; nothing if it is refused."""
    yield from _along(site, site, command, ())


def child_ended(site: Site) -> Iterator[Outcome]:
    """Everything that can come of the end of the child that a busy agent waits for."""
    command = site.busy
    if command is None:
        return
    before = (site.view(), None, None, None)  # Look, Confirm, Save, Hold
    for ended in child_ends(command.step, site):
        now = ended.site._replace(busy=None)
        for outcome in _along(site, now, command, (*before, ended.answer)):
            yield outcome._replace(how=f"cm_ctl {ended.how}{outcome.how and ', ' + outcome.how}")


def start_agent(site: Site) -> Iterator[Outcome]:
    """Everything that can come of a starting agent."""
    yield from _along(site, site, None, ())


def _along(begun: Site, site: Site, command: Command | None, answers: Answers) -> Iterator[Outcome]:
    """Depth first along the script; `begun` is the site it began with, as the script knows it."""
    stack = [(site, answers)]
    seen: set[Outcome] = set()
    while stack:
        site, answers = stack.pop()
        move = _next_move(_known(begun), command, answers)
        for outcome in _make(begun, site, command, answers, move, stack):
            if (outcome.replied or outcome.site != begun) and outcome not in seen:
                seen.add(outcome)
                yield outcome


def _make(
    begun: Site, site: Site, command: Command | None, answers: Answers, move: object, stack: list
) -> Iterator[Outcome]:
    failed = any(isinstance(each, Exception) for each in answers)
    match move:
        case Reply():
            yield Outcome(site._replace(up=True), replied=True, how="")
        case Failed():
            yield Outcome(site, replied=False, how="an effect fails", failed=True)
        case CarryOut(effect=effect) if effect in _RESTARTS:
            yield from _restart(site, command, answers, stack)
        case CarryOut(effect=effect, transaction=transaction):
            yield _died(site, f"before {effect}")
            # om_monitor waits for nobody.
            if starts_by_itself(site):
                stack.append((started(site), answers))
            for done in act(effect, transaction, site):
                if done.ended:
                    stack.append((done.site, (*answers, done.answer)))
                else:
                    yield _died(done.site, f"in {effect}")
        case _:
            if isinstance(move, Save | ForgetChild | ForgetStage):
                yield _died(site, f"before {type(move).__name__}" + (" after a failure" if failed else ""))
            after, answer = _simple(site, command, move)
            stack.append((after, (*answers, answer)))


def _restart(site: Site, command: Command | None, answers: Answers, stack: list) -> Iterator[Outcome]:
    if command is None:
        raise ValueError("a starting agent neither stops nor starts CM")
    yield _died(site, "before cm_ctl")
    if already_so(command.step, site):
        stack.append((site, (*answers, None)))
        return
    journalled = replace(site.state, operation=Operation("child", command.epoch, int(command.step)))
    yield Outcome(site._replace(state=journalled, busy=command), replied=False, how="cm_ctl begins")


def _simple(site: Site, command: Command | None, move: object) -> tuple[Site, Answer]:
    if isinstance(move, Look):
        return site, site.view()
    if isinstance(move, LookAtLive):
        return site, site.live
    if isinstance(move, Hold) and isinstance(command, AcquireCommand):
        return site._replace(lease=command.holder), None
    return _changed(site, move), None


def _changed(site: Site, move: object) -> Site:
    match move:
        case Save(state=state):
            return site._replace(state=state)
        case Release():
            return site._replace(lease="")
        case ForgetChild():
            return site._replace(state=replace(site.state, operation=None))
        case ForgetStage(transaction_id=name):
            return site.with_stage(name, "")
        case EndOrphan():
            return site._replace(orphan=None)
        case SyncDisk():
            return site._replace(unsynced="")
    return site


def _died(site: Site, when: str) -> Outcome:
    return Outcome(dead(site), replied=False, how=f"the agent dies {when}")


def dead(site: Site) -> Site:
    """Its agent has died, and with it a child of it (`setpriv --pdeathsig`) and the lease."""
    return site._replace(up=False, lease="", busy=None)


def _known(begun: Site) -> NodeState:
    """The state that the script began with. A busy agent's is the intent itself: that the fence is taken
    already makes no difference to Stop and Start."""
    return replace(begun.state, operation=None) if begun.busy is not None else begun.state


@cache
def _next_move(state: NodeState, command: Command | None, answers: Answers) -> Move | Reply | Failed:
    """Scripts cannot be copied, so one is run anew up to the move that is wanted."""
    script: Script = settle(state) if command is None else carry_out(state, command)
    try:
        move = next(script)
        for answer in answers:
            move = script.throw(answer) if isinstance(answer, Exception) else script.send(answer)
    except StopIteration:
        return Reply()
    except GausscertError:
        return Failed()
    return move


def forget() -> None:
    """After a change of the core."""
    _next_move.cache_clear()
