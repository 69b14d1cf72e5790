"""Audit logs as agents send them: read to an end, and judged here."""

from __future__ import annotations

import asyncio
from itertools import count

import pytest
from gausscert_common import auditing
from gausscert_common.auditing import NOTHING, Event
from gausscert_common.errors import Reason
from gausscert_coordinator import control_plane
from gausscert_coordinator.control_plane import ControlPlane
from gausscert_coordinator.inventory import Credentials, Inventory, InventoryNode


def lines(number):
    made, before = [], NOTHING
    for epoch in range(number):
        text, before = auditing.line(Event("", "", "", "", "Commit", "", epoch, "", "OK"), before)
        made.append(text)
    return made


class Agent:
    """Sends its log in pages."""

    def __init__(self, name, log, page=2):
        self.name, self._log, self._page = name, log, page

    async def read_audit(self, after):
        page = self._log[after : after + self._page]
        return page, after + len(page)

    async def close(self):
        pass


class Rotating(Agent):
    """Gives its oldest lines up, once it was asked for this page."""

    gone, asked = 0, 0

    async def read_audit(self, after):
        self.asked += 1
        start = max(after, self.gone)
        if self.asked == 2:
            self.gone = 6
        page = self._log[start : start + self._page]
        return page, start + len(page)


class Gap(Agent):
    """Somebody has taken a file out of the middle."""

    async def read_audit(self, after):
        start = after if after < 2 or after >= 6 else 6
        page = self._log[start : start + self._page]
        return page, start + len(page)


class Hostile(Agent):
    """Is asked a thousand times at most, so that the test has an end."""

    asked = 0

    async def read_audit(self, after):
        self.asked += 1
        assert self.asked < 1000
        return self.page(after)


class Stuck(Hostile):
    """Sends the same page for ever."""

    def page(self, after):
        return self._log[: self._page], 1


class Endless(Hostile):
    """Has always more."""

    def page(self, after):
        return ["x" * 1000], after + 1


def audits(tmp_path, *agents):
    files = Credentials(tmp_path, tmp_path, tmp_path)
    nodes = tuple(InventoryNode(each.name, f"h:{number}") for number, each in zip(count(1), agents))
    inventory = Inventory("prod", nodes, files)

    async def ask():
        async with ControlPlane(inventory, connect=lambda _: {each.name: each for each in agents}) as control:
            return await control.audits({})

    return asyncio.run(ask())


def test_all_pages_are_verified_as_one_log(tmp_path):
    whole, altered = audits(
        tmp_path,
        Agent("n1", lines(5)),
        Agent(
            "n2", [text.replace("Commit", "Purge_") if n == 3 else text for n, text in enumerate(lines(5))]
        ),
    )

    assert (whole.verified.head.number, whole.verified.fault, whole.error) == (5, None, None)
    assert altered.verified.fault.number == 4


def test_a_file_that_an_agent_gives_up_between_two_pages_is_no_gap(tmp_path):
    (found,) = audits(tmp_path, Rotating("n1", lines(11)))

    assert (found.verified.first, found.verified.head.number, found.verified.fault) == (7, 11, None)


def test_a_gap_that_stays_is_named(tmp_path):
    (found,) = audits(tmp_path, Gap("n1", lines(11)))

    assert (found.verified.head.number, found.verified.fault.number) == (2, 3)


@pytest.mark.parametrize("kind", [Stuck, Endless])
def test_a_log_without_end_is_not_read_for_ever_and_keeps_no_other_from_being_read(
    tmp_path, monkeypatch, kind
):
    monkeypatch.setattr(control_plane, "LONGEST_AUDIT", 100_000)

    good, bad = audits(tmp_path, Agent("n1", lines(5)), kind("n2", lines(5)))

    assert good.verified.head.number == 5
    assert (bad.error.reason, bad.error.node, bad.verified) == (Reason.AUDIT_BROKEN, "n2", None)
