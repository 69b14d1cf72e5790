"""Ctrl-C and SIGTERM in each phase: turned back to as before, or put off when there is no way back."""

from __future__ import annotations

import signal

import pytest
from support.local_cluster import LocalCluster, Run

pytestmark = pytest.mark.xdist_group("interrupts")


STAGES = ("acquire", "prepare", "stop", "swap", "start", "verify")


@pytest.mark.parametrize(
    ("stage", "number"),
    [
        *((stage, signal.SIGINT) for stage in STAGES),
        ("swap", signal.SIGTERM),
        *(pytest.param(each, signal.SIGTERM, marks=pytest.mark.soak) for each in STAGES if each != "swap"),
    ],
)
def test_an_interruption_before_commit_ends_as_before(
    steady: LocalCluster, stage: str, number: signal.Signals
):
    done = steady.run(
        "replace",
        "fresh",
        "--yes",
        "--output",
        "json",
        *steady.passwords,
        on={f"{stage} started": lambda run: run.interrupt(number)},
    )

    assert done.acted == [f"{stage} started"]
    assert done.code == 1, done.err
    assert done.document["result"]["interrupted"] is True


def test_an_interruption_during_the_rollback_is_put_off(steady: LocalCluster):
    def interrupt(run: Run) -> None:
        run.interrupt()

    done = steady.run(
        "replace",
        "fresh",
        "--yes",
        *steady.passwords,
        on={"start started": interrupt, "abort started": interrupt},
    )

    assert len(done.acted) == 2
    assert done.code == 1, done.err
    assert "interrupted: what runs now ends first" in done.err
    assert "interrupted again, which changes nothing: put off" in done.err


def test_an_interruption_after_commit_was_sent_only_finishes(cluster: LocalCluster):
    bundle = cluster.new_bundle("unstoppable")
    before = cluster.picture()

    done = cluster.run(
        "replace", bundle, "--yes", *cluster.passwords, on={"commit started": lambda run: run.interrupt()}
    )

    assert done.acted == ["commit started"]
    assert done.code == 0, done.err
    assert set(cluster.picture().served.values()).isdisjoint(before.served.values())
