"""Two operators at once, each with a gausscert of his own."""

from __future__ import annotations

import signal
import threading

import pytest
from support.local_cluster import Done, LocalCluster, Run

pytestmark = [pytest.mark.xdist_group("cli_ends"), pytest.mark.timeout(180)]


def test_of_two_replacements_at_once_one_is_done_and_the_other_is_told_who_does_it(cluster: LocalCluster):
    bundles = [cluster.new_bundle("one"), cluster.new_bundle("two")]
    runs = [
        cluster.launch("replace", bundle, "--yes", "--output", "json", *cluster.passwords)
        for bundle in bundles
    ]
    ended = [run.done() for run in runs]

    assert sorted(done.code for done in ended) == [0, 4]
    loser = next(done for done in ended if done.code == 4)
    winner = runs[next(number for number, done in enumerate(ended) if done.code == 0)]
    said = loser.out + loser.err
    assert "LOCKED" in said, said
    assert f":{winner.process.pid}" in said, "the holder is named"
    assert len(set(cluster.picture().served.values())) == 1


@pytest.mark.parametrize(
    ("stage", "choice", "code"), [("stop started", "--roll-back", 1), ("start started", "--finish", 0)]
)
def test_take_over_in_mid_flight_fences_the_first_one_out(
    cluster: LocalCluster, stage: str, choice: str, code: int
):
    before = set(cluster.picture().served.values())
    bundle = cluster.new_bundle(stage.partition(" ")[0])
    seconds: list[Done] = []
    taking: list[threading.Thread] = []

    def take_over(_: Run) -> None:
        work = threading.Thread(target=lambda: seconds.append(cluster.run("recover", "--take-over", choice)))
        work.start()
        taking.append(work)

    first = cluster.replace(bundle=bundle, on={stage: take_over})
    for each in taking:
        each.join()

    assert first.acted == [stage]
    (second,) = seconds
    assert second.code == code, second.out + second.err
    told = first.document["result"]
    assert told["taken_over"] is True, first.out + first.err
    assert first.code in (code, 3), "3 as long as the other is at work"
    assert "bring back" not in first.out
    after = set(cluster.picture().served.values())
    assert len(after) == 1
    assert (after == before) == (code == 1)
    assert cluster.run("status").code == 0


@pytest.mark.parametrize("restarted", [pytest.param("n1", marks=pytest.mark.faults), "n2"])
def test_an_agent_that_was_restarted_meanwhile_lets_no_second_one_in(cluster: LocalCluster, restarted: str):
    """The lease lives in the agent's memory. The others still have it: nobody's fence is moved, and who is at
    work goes on."""
    bundle = cluster.new_bundle(f"restarted-{restarted}")
    seconds: list[Done] = []

    def act(run: Run) -> None:
        run.process.send_signal(signal.SIGSTOP)
        try:
            cluster.end_agent(restarted, signal.SIGKILL)
            cluster.start_agent(restarted)
            seconds.append(cluster.run("recover", "--output", "json"))
        finally:
            run.process.send_signal(signal.SIGCONT)

    first = cluster.replace(bundle=bundle, on={"swap done": act})

    (second,) = seconds
    assert second.code == 4, second.out + second.err
    said = second.document["failures"]
    assert {each["reason"] for each in said} == {"LOCKED"}
    assert restarted not in {each["node"] for each in said}
    assert first.code == 0, first.out + first.err
    assert cluster.run("status").code == 0
