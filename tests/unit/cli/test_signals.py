"""Ctrl-C, SIGTERM and a closed terminal while a transaction runs."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest
from gausscert_common.protocol.coordinator import Verdict
from support.cli_fakes import Given, cli, result


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

    run = cli("recover", given=given)

    assert run.code == 1
    assert seen == counts


def test_all_handlers_are_as_before_afterwards():
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    send, _ = during(signal.SIGINT)

    cli("recover", given=Given(result=result(), during=send))

    assert [signal.getsignal(number) for number in numbers] == before
