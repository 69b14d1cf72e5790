"""Which processes are those of before: told by what no clock changes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from gausscert_common.model import CmNode, CmProcess, CmTopology, NodeReport
from gausscert_coordinator import running

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
BOOT = "5d4a pid:[4026531836] 42"
BEFORE = CmProcess("cm_server", 7, NOW, 1200, BOOT)
SET_BACK, SET_FORWARD, SUMMER = timedelta(seconds=-6), timedelta(hours=1), timedelta(days=180)


def named(before: CmProcess, now: CmProcess) -> bool:
    report = NodeReport("c", "n1", "1", NOW, processes=(now,))
    return bool(running.not_restarted({"n1": report}, {"n1": (before,)}))


@pytest.mark.parametrize("step", [SET_BACK, SET_FORWARD, SUMMER, timedelta()])
def test_a_clock_that_was_set_hides_no_process_of_before(step):
    assert named(BEFORE, replace(BEFORE, started_at=NOW + step))


@pytest.mark.parametrize(
    "anew",
    [
        replace(BEFORE, start_ticks=1201),
        replace(BEFORE, pid=8),
        replace(BEFORE, boot="77aa pid:[4026531836] 42"),
        replace(BEFORE, boot="5d4a pid:[4026531836] 43"),
    ],
)
def test_a_new_process_is_not_taken_for_one_of_before_whatever_the_clock_says(anew):
    """Also where pid or ticks are the same after a boot, and where the clock makes the starts look alike."""
    assert not named(BEFORE, anew)


def test_a_boot_of_which_a_part_could_not_be_read_is_no_other_one():
    assert named(BEFORE, replace(BEFORE, boot="5d4a - 42"))


@pytest.mark.parametrize("marked", [True, False])
def test_a_cm_server_that_nothing_starts_is_not_looked_for_in_its_log(marked):
    """A `cm_ctl start` that says success and leaves the mark has started nothing."""
    topology = CmTopology(1, (CmNode(1, "host-1", "10.0.0.1", 5000),))
    (failure,) = running.absent(
        {"n1": NodeReport("c", "n1", "1", NOW, topology=topology, manually_stopped=marked)}
    )
    assert ("bin/cluster_manual_start is there" in failure.message) is marked
    assert ("cm_server's log" in failure.remedy) is not marked


@pytest.mark.parametrize(
    ("marked", "processes", "down"),
    [(True, (), {1}), (False, (), set()), (True, (BEFORE,), set())],
)
def test_only_one_that_is_gone_and_marked_is_not_waited_for(marked, processes, down):
    """One that is gone without the mark is started again by its cm_agent: it gets its time."""
    topology = CmTopology(1, (CmNode(1, "host-1", "10.0.0.1", 5000),))
    report = NodeReport("c", "n1", "1", NOW, topology=topology, manually_stopped=marked, processes=processes)
    assert running.held_down({"n1": report}) == down


def test_an_agent_that_tells_no_ticks_is_judged_by_the_start():
    old = replace(BEFORE, start_ticks=0, boot="")
    assert named(old, replace(old, started_at=NOW + timedelta(seconds=4)))
    assert named(BEFORE, replace(old, started_at=NOW + timedelta(seconds=4)))
    assert not named(old, replace(old, started_at=NOW + timedelta(seconds=6)))
