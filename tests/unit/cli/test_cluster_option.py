"""--cluster and $GAUSSCERT_CLUSTER choose one of several clusters."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace

import pytest
from gausscert_coordinator import plan_file
from gausscert_coordinator.cli.main import run
from gausscert_coordinator.cli.settings import Invocation
from support.cli_fakes import FakeCluster, Given, cluster_status, plan
from support.plans import KEPT

INVENTORY = """
[clusters.prod.credentials]
ca = "x"
cert = "x"
key = "x"
[[clusters.prod.node]]
name = "n1"
address = "h1:7443"
[clusters.test.credentials]
ca = "x"
cert = "x"
key = "x"
[[clusters.test.node]]
name = "n2"
address = "h2:7443"
"""


@pytest.fixture
def status(tmp_path, monkeypatch):
    """Runs `status`, or another verb; answers exit code, clusters that were opened, and what was said."""
    path = tmp_path / "gausscert.toml"
    path.write_text(INVENTORY)
    (tmp_path / "x").touch()
    monkeypatch.delenv("GAUSSCERT_CLUSTER", raising=False)

    def run_status(*options: str, verb: tuple[str, ...] = ("status",)):
        opened = []

        def open_cluster(inventory):
            opened.append(inventory.cluster)
            return FakeCluster(Given(status=cluster_status(), plan=plan()))

        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = run([*verb, "--inventory", str(path), *options], Invocation(open_cluster=open_cluster))
        return code, opened, err.getvalue()

    return run_status


def test_the_option_names_the_cluster(status):
    assert status("--cluster", "test")[:2] == (0, ["test"])


def test_the_variable_does_so_too_and_the_option_wins(status, monkeypatch):
    monkeypatch.setenv("GAUSSCERT_CLUSTER", "prod")

    assert status()[:2] == (0, ["prod"])
    assert status("--cluster", "test")[:2] == (0, ["test"])


def test_without_either_nothing_is_asked_and_the_clusters_are_listed(status):
    code, opened, err = status()

    assert (code, opened) == (2, [])
    assert "which cluster? There are prod, test" in err


@pytest.mark.parametrize(
    ("options", "variable", "opened"),
    [((), "", "prod"), (("--cluster", "test"), "", "test"), ((), "test", "test")],
    ids=["nobody says", "the option says", "the variable says"],
)
def test_a_plan_on_file_names_its_cluster_where_nobody_else_does(
    status, tmp_path, bundle, passwords, monkeypatch, options, variable, opened
):
    monkeypatch.setenv("GAUSSCERT_CLUSTER", variable)
    path = tmp_path / "plan.json"
    plan_file.write(path, replace(KEPT, cluster="prod", origin=replace(KEPT.origin, directory=str(bundle))))

    _, seen, err = status(*options, verb=("replace", "--plan", str(path), "--yes", *passwords))

    assert seen == [opened]
    assert "which cluster" not in err


def test_a_wrong_name_lists_the_clusters(status):
    code, opened, err = status("--cluster", "tst")

    assert (code, opened) == (2, [])
    assert "no cluster 'tst' in it; there are prod, test" in err
    assert "did you mean 'test'?" in err
