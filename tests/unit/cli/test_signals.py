"""Ctrl-C, SIGTERM, Ctrl-Z and a closed terminal while a transaction runs."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal

import pytest
from gausscert_common.protocol.coordinator import Stage, Verdict
from gausscert_coordinator.cli.presses import APART_S
from gausscert_coordinator.report import Mark, Progress
from support.cli_fakes import Given, cli, result


def apart(seconds=APART_S):
    """A clock by which that much passes between any two looks at it."""
    ticks = itertools.count()
    return lambda: next(ticks) * seconds


def during(*numbers):
    """Send signals to ourselves, one after the other, and remember the count after each."""
    counts = []

    async def send(interrupt):
        heard = []
        interrupt.listen(heard.append)
        for number in numbers:
            os.kill(os.getpid(), number)
            await asyncio.sleep(0.02)
            counts.append(len(heard))

    return send, counts


@pytest.mark.parametrize(
    ("numbers", "counts"),
    [
        ((signal.SIGINT,), [1]),
        ((signal.SIGTERM,), [1]),
        ((signal.SIGINT, signal.SIGINT, signal.SIGINT), [1, 2, 3]),
        ((signal.SIGTERM, signal.SIGTERM, signal.SIGTERM), [1, 1, 1]),
        ((signal.SIGTERM, signal.SIGINT), [1, 2]),
        ((signal.SIGHUP,), [0]),
    ],
)
def test_signals_ask_the_engine_and_only_ctrl_c_insists(numbers, counts):
    send, seen = during(*numbers)
    given = Given(result=result(Verdict.ROLLED_BACK, interrupted=True), during=send)

    run = cli("recover", given=given, clock=apart())

    assert run.code == 1
    assert seen == counts


@pytest.mark.parametrize(
    ("moments", "count"),
    [
        ((0.0, 0.03, 0.06), 1),
        ((0.0, 0.9, 1.8, 2.7), 1),
        ((0.0, 1.0, 1.5), 2),
        ((0.0, 1.0, 2.0), 3),
    ],
    ids=["a held key", "pressed again and again", "twice, the second time doubly", "three times, each meant"],
)
def test_what_is_pressed_at_once_counts_once(moments, count):
    send, seen = during(*[signal.SIGINT] * len(moments))

    cli("recover", given=Given(result=result(), during=send), clock=iter(moments).__next__)

    assert seen[-1] == count


@pytest.mark.parametrize("quiet", [(), ("--quiet",)])
def test_a_press_that_nobody_hears_yet_is_answered_with_what_the_third_one_does(quiet):
    async def press(interrupt):
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.sleep(0.02)

    run = cli("recover", *quiet, given=Given(result=result(), during=press), clock=apart())

    first, second, third = [line for line in run.err.splitlines() if line.startswith("interrupted")]
    assert "noted" in first
    assert "a second time changes nothing" in first
    assert "a third time abandons it as it is, in doubt and perhaps with CM down" in first
    assert "a third time abandons it as it is, in doubt and perhaps with CM down" in second
    assert "for the third time: abandoned" in third


@pytest.mark.parametrize("quiet", [(), ("--quiet",)])
def test_a_press_after_the_last_step_says_that_nothing_is_left_to_stop(quiet):
    async def press(interrupt):
        interrupt.ended = True
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.sleep(0.02)

    run = cli("recover", *quiet, given=Given(result=result(), during=press), clock=apart())

    said = [line for line in run.err.splitlines() if line.startswith("interrupted")]
    assert said == ["interrupted, which changes nothing: it has ended already, and how is told next"] * 3


def test_a_recovery_that_was_abandoned_before_it_told_anybody_is_to_be_run_again():
    given = Given(result=result(Verdict.IN_DOUBT, proof=(), why="not acted upon", interrupted=True))

    run = cli("recover", given=given)

    assert run.code == 3
    assert "in doubt: run gausscert recover" in run.out


def test_quiet_shows_what_an_interruption_does_and_nothing_else():
    told = (
        Progress(0.1, Stage.STOP, Mark.STARTED),
        Progress(0.2, Stage.STOP, Mark.NOTE, detail="a note like any other"),
        Progress(0.3, Stage.STOP, Mark.NOTE, detail="interrupted: it is turned back", urgent=True),
        Progress(0.4, Stage.STOP, Mark.FAILED, "n1", "no"),
    )

    run = cli("recover", "--quiet", given=Given(result=result(), progress=told))

    assert run.err == "interrupted: it is turned back\n"


def test_nothing_that_a_terminal_does_stops_it_in_the_middle():
    """Looked at, not sent: what it would stop is this process."""
    seen = []

    async def look(interrupt):
        seen.extend(map(signal.getsignal, (signal.SIGHUP, signal.SIGTSTP, signal.SIGTTOU)))

    cli("recover", given=Given(result=result(), during=look))

    assert seen == [signal.SIG_IGN] * 3


def test_all_handlers_are_as_before_afterwards():
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP, signal.SIGTTOU)
    before = [signal.getsignal(number) for number in numbers]
    send, _ = during(signal.SIGINT)

    cli("recover", given=Given(result=result(), during=send))

    assert [signal.getsignal(number) for number in numbers] == before
