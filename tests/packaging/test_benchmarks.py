"""The benchmarks run, end to end. What they measure is not judged here: a test machine is never quiet."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench import measure, report

ROOT = Path(__file__).parents[2]
NODE = (sys.executable, "-m", "bench.node")


@pytest.mark.faults
def test_one_round_of_the_benchmark_of_a_node_measures_everything(tmp_path):
    done = subprocess.run(
        [*NODE, "--rounds", "1", "--keys", "ec-p256", "--output", "json", "--directory", tmp_path],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    found = json.loads(done.stdout)
    assert done.returncode == (1 if found["missed"] else 0)
    assert all(len(row["ours"]) == len(row["bare"]) == 1 for row in found["rows"])
    assert all(min(row["ours"] + row["bare"]) > 0 for row in found["rows"])
    about = " ".join(row["what"] for row in found["rows"])
    for part in ("Prepare", "Swap", "validation", "stall", "window", "work", "idle", "start"):
        assert part in about
    assert all(count["found"] > 0 for count in found["counts"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.soak
def test_the_benchmark_of_abuse_measures_every_kind(tmp_path):
    done = subprocess.run(
        [
            *(sys.executable, "-m", "bench.abuse", "--rounds", "1", "--statuses", "3"),
            *("--output", "json", "--directory", tmp_path),
        ],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    found = json.loads(done.stdout)
    assert done.returncode == (1 if found["missed"] else 0)
    about = [row["what"] for row in found["rows"]]
    for kind in ("silent", "strangers", "pings", "calls", "bombs", "oversized"):
        assert {f"status beside {kind}, p{share}" for share in (50, 99)} <= set(about)


def row(ours, bare, **options):
    return measure.Row("thing", "cpu ms", ours, bare, "its bare part", **options)


def test_the_ratio_that_counts_is_the_median_of_the_rounds():
    assert row([2.0, 30.0, 4.0], [1.0, 1.0, 4.0]).ratio == 2.0


def test_a_goal_is_missed_by_the_median_alone():
    assert row([1.0, 1.0, 90.0], [1.0, 1.0, 1.0], goal=1.5).is_met
    assert row([2.0, 2.0, 1.0], [1.0, 1.0, 1.0], goal=1.5).fails


def test_what_is_below_the_limit_needs_no_ratio():
    assert row([20.0], [1.0], goal=5.0, limit=25.0).is_met
    assert row([26.0], [1.0], goal=5.0, limit=25.0).fails


def test_a_row_beside_the_one_that_gates_fails_nothing():
    beside = row([2.0], [1.0], goal=1.5, gates=False)
    assert beside.is_met is False
    assert not beside.fails


def test_rounds_take_turns_and_the_first_is_forgotten():
    order = []
    samples = {name: lambda name=name: order.append(name) or float(len(order)) for name in ("a", "b")}
    found = measure.interleave(2, samples)
    assert order == ["b", "a", "a", "b", "b", "a"]
    assert found == {"a": [3.0, 6.0], "b": [4.0, 5.0]}


def test_a_missed_goal_is_told_with_its_reason(capsys):
    found = measure.Findings()
    found.add(row([4.0], [2.0], goal=1.5, why="it is slow"), measure.Count("fsyncs", 13, 12))
    report.show("bench", {"cpu": "a good one"}, 1, found)
    said = capsys.readouterr().out
    assert "missed: thing: 2.00 x instead of at most 1.5 x; it is slow" in said
    assert "missed: fsyncs: 13 instead of at most 12" in said
