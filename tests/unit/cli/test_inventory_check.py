"""`inventory check`: the table, the document, and what a script learns."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from datetime import timedelta

import pytest
from gausscert_common.errors import InvalidInput, Reason, Unreachable
from gausscert_common.findings import Finding, Severity
from gausscert_coordinator import node_check
from gausscert_coordinator.cli.main import run
from gausscert_coordinator.cli.settings import Invocation
from gausscert_coordinator.diagnosis import Looked, Reached
from gausscert_coordinator.inventory_check import InventoryCheck
from gausscert_coordinator.node_check import Answer
from support.cli_fakes import NOW, Run, inventory, report

LOST = Looked(
    Reached.NOTHING, Unreachable(Reason.UNREACHABLE, "nothing listens", remedy="start gausscert-agent")
)
WRONG = Looked(
    Reached.TLS, InvalidInput(Reason.CREDENTIAL_INVALID, "n9 answers instead", remedy="mend the address")
)


def fit(name, **changes):
    answer = Answer(report(name, **changes), NOW, NOW + timedelta(seconds=1))
    return node_check.judge(name, f"{name}:7443", Looked(Reached.AGENT), answer, "0.1.0")


def stopped(name, looked):
    return node_check.judge(name, f"{name}:7443", looked, None, "0.1.0")


def check(*nodes, json_wanted=False, findings=(), raises=None):
    async def check_inventory(_):
        if raises is not None:
            raise raises
        return InventoryCheck("prod", nodes, findings)

    out, err = io.StringIO(), io.StringIO()
    invocation = Invocation(load_inventory=inventory, check_inventory=check_inventory)
    with redirect_stdout(out), redirect_stderr(err):
        code = run(["inventory", "check", *(("--output", "json") if json_wanted else ())], invocation)
    return Run(code, out.getvalue(), err.getvalue())


def row(run, node):
    return next(line for line in run.out.splitlines() if line.startswith(node)).split()


def test_nodes_that_are_there_and_fit_are_a_line_each():
    run = check(fit("n1"), fit("n2"))

    assert run.code == 0
    assert row(run, "n1") == ["n1", "n1:7443", "ok", "prod/n1", "0.1.0", "+0.0", "s", "works"]
    assert "every node is there and fit" in run.out


def test_every_trouble_is_told_with_its_remedy():
    run = check(fit("n1", clock=NOW + timedelta(seconds=901)), stopped("n2", LOST), stopped("n3", WRONG))

    assert row(run, "n2") == ["n2", "FAILED", "-", "-", "-", "-", "-"]
    assert row(run, "n3") == ["n3", "n3:7443", "ok", "FAILED", "-", "-", "-"]
    for words in (
        "failed CLOCK_SKEW n1: clock: its clock is 900 s ahead of this machine's",
        "failed UNREACHABLE n2: address: nothing listens",
        "  do: start gausscert-agent",
        "failed CREDENTIAL_INVALID n3: identity: n9 answers instead",
        "  do: mend the address",
    ):
        assert words in run.out, words


@pytest.mark.parametrize(
    ("nodes", "code"),
    [
        ((fit("n1"),), 0),
        ((fit("n1", agent_version="0.1.9"),), 0),
        ((fit("n1"), stopped("n2", LOST)), 4),
        ((fit("n1"), stopped("n2", WRONG)), 2),
        ((stopped("n1", LOST), stopped("n2", WRONG)), 2),
        ((fit("n1", agent_version="0.2.0"),), 2),
    ],
)
def test_what_is_to_be_mended_weighs_more_than_a_node_that_does_not_answer(nodes, code):
    assert check(*nodes).code == code


def test_a_finding_about_all_nodes_counts():
    missing = Finding("NODE_NOT_IN_INVENTORY", Severity.ERROR, "CM's node 3 is missing", "add it")
    unknown = Finding("TOPOLOGY_UNKNOWN", Severity.WARNING, "nobody could tell", "compare it yourself")

    assert check(fit("n1"), findings=(missing,)).code == 2
    assert "CM's node 3 is missing" in check(fit("n1"), findings=(missing,)).out
    assert check(fit("n1"), findings=(unknown,)).code == 0


def test_an_unusable_credential_is_refused():
    run = check(raises=InvalidInput(Reason.CREDENTIAL_INVALID, "it has expired"), json_wanted=True)

    assert run.code == 2
    assert json.loads(run.out)["error"]["reason"] == "CREDENTIAL_INVALID"


def test_the_document_has_all_of_it():
    run = check(fit("n1"), stopped("n2", LOST), json_wanted=True)

    assert run.code == 4
    document = run.document
    assert document["schema"] == "gausscert/inventory-check/v1"
    assert (document["ok"], document["unreachable"]) == (False, ["n2"])
    first, second = document["nodes"]
    assert (first["agent_version"], first["clock_offset_s"], first["round_trip_s"]) == ("0.1.0", 0.0, 1.0)
    assert [each["mark"] for each in first["checks"]] == ["ok"] * 6
    assert second["agent_version"] is None
    assert second["checks"][0] == {
        "subject": "address",
        "mark": "failed",
        "code": "UNREACHABLE",
        "cause": "nothing listens",
        "remedy": "start gausscert-agent",
    }
