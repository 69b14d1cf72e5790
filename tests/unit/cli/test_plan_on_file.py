"""`plan --out` and `replace --plan`."""

from __future__ import annotations

import json
import shlex
import stat
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from gausscert_common import certset
from gausscert_common.errors import InDoubt, Reason
from gausscert_common.protocol.words import Phase, RestartScope, SslWish
from gausscert_coordinator import plan_document, plan_file
from gausscert_coordinator.report import InFlight, ReplaceOptions
from support.cli_fakes import NOW, SECRET, Given, cli, error, finding, plan, result, unreachable

ALL_OPTIONS = ("--enable-ssl", "on", "--restart", "node", "--drop-crls", "--accept-state")
CHOSEN = ReplaceOptions(SslWish.ON, RestartScope.NODE, drop_crls=True, accept_state=True)


def digest(bundle) -> str:
    """As the library has it; the fake cluster answers with a plan of the test's own."""
    return certset.bundle_digest({each.name: each.read_bytes() for each in bundle.iterdir()})


@pytest.fixture
def answer(bundle):
    """What the cluster plans."""
    return plan(bundle_digest=digest(bundle))


@pytest.fixture
def kept(tmp_path, bundle, passwords, answer):
    """A plan on file."""
    path = tmp_path / "plan.json"
    run = cli("plan", str(bundle), "--out", str(path), *passwords, given=Given(plan=answer))
    assert run.code == 0, run.err
    return path


def carry_out(path, passwords, *more, given):
    return cli("replace", "--plan", str(path), "--yes", *passwords, *more, given=given)


def asked(given, what):
    return [each for each in given.asked if each[0] == what]


def test_the_plan_is_written_private_and_the_next_command_is_told(tmp_path, bundle, passwords, answer):
    path = tmp_path / "saturday's plan.json"

    run = cli("plan", str(bundle), "--out", str(path), *passwords, given=Given(plan=answer))

    assert run.code == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (line,) = (line for line in run.err.splitlines() if "to do it: " in line)
    words = shlex.split(line.partition("to do it: ")[2])
    assert words == ["gausscert", "replace", "--plan", str(path), *passwords]
    assert plan_file.read(path).origin.directory == str(bundle)


def test_the_file_holds_no_password_and_nothing_of_a_key(bundle, passwords, answer, kept):
    text = kept.read_text()

    assert SECRET not in text
    for name in ("server.key", "client.key"):
        assert (bundle / name).read_text() not in text
    assert json.loads(text)["schema"] == plan_document.SCHEMA


def test_a_relative_directory_is_kept_as_an_absolute_one(tmp_path, bundle, passwords, answer, monkeypatch):
    monkeypatch.chdir(bundle.parent)

    cli("plan", bundle.name, "--out", "plan.json", *passwords, given=Given(plan=answer))

    assert plan_file.read(tmp_path / "plan.json").origin.directory == str(bundle)


def test_the_document_says_where_the_plan_is(tmp_path, bundle, passwords, answer):
    path = tmp_path / "plan.json"
    given = Given(plan=answer)

    written = cli("plan", str(bundle), "--out", str(path), "--output", "json", *passwords, given=given)
    not_asked = cli("plan", str(bundle), "--output", "json", *passwords, given=given)

    assert written.document["plan_file"] == str(path)
    assert not_asked.document["plan_file"] is None


def test_a_plan_that_is_refused_is_not_written(tmp_path, bundle, passwords, answer):
    path = tmp_path / "plan.json"
    bad = replace(answer, findings=(finding(),))

    run = cli("plan", str(bundle), "--out", str(path), *passwords, given=Given(plan=bad))

    assert run.code == 2
    assert f"{path} was not written" in run.err
    assert not path.exists()


def test_where_it_cannot_be_written_is_said_before_anybody_is_asked(tmp_path, bundle, answer):
    given = Given(plan=answer)

    run = cli("plan", str(bundle), "--out", str(tmp_path / "missing" / "plan.json"), given=given)

    assert run.code == 2
    assert "directory is missing" in run.err
    assert given.asked == []


def test_a_file_of_the_bundle_is_not_written_over(bundle, passwords, answer):
    key = bundle / "server.key"

    run = cli("plan", str(bundle), "--out", str(key), *passwords, given=Given(plan=answer))

    assert run.code == 2
    assert "only a plan is ever written over" in run.err
    assert key.read_text() == "server.key"


def test_valid_days_without_a_file_are_a_mistake(bundle, passwords):
    run = cli("plan", str(bundle), "--valid-days", "3", *passwords)

    assert run.code == 2
    assert "--out" in run.err


@pytest.mark.parametrize("days", ["0", "32", "-1", "week"])
def test_a_plan_is_good_for_a_month_at_most(tmp_path, bundle, passwords, days):
    run = cli("plan", str(bundle), "--out", str(tmp_path / "p"), "--valid-days", days, *passwords)

    assert run.code == 2
    assert run.err.startswith("error USAGE")


def test_the_days_are_those_that_were_asked_for(tmp_path, bundle, passwords, answer):
    path = tmp_path / "plan.json"

    cli("plan", str(bundle), "--out", str(path), "--valid-days", "3", *passwords, given=Given(plan=answer))

    origin = plan_file.read(path).origin
    assert origin.valid_until - origin.made_at == timedelta(days=3)


def test_a_plan_that_still_fits_is_carried_out_with_its_bundle(bundle, passwords, answer, kept):
    given = Given(plan=answer, result=result())

    run = carry_out(kept, passwords, given=given)

    assert run.code == 0, run.err
    ((_, done, sent),) = asked(given, "replace")
    assert done.bundle_digest == sent.digest == digest(bundle)
    assert (sent.server_password, sent.client_password) == (SECRET, SECRET)
    assert f"plan {kept} of " in run.err


def test_options_come_from_the_plan(tmp_path, bundle, passwords, answer):
    path = tmp_path / "plan.json"
    chosen = replace(answer, options=CHOSEN)
    cli("plan", str(bundle), "--out", str(path), *ALL_OPTIONS, *passwords, given=Given(plan=chosen))
    given = Given(plan=chosen, result=result())

    run = carry_out(path, passwords, given=given)

    assert run.code == 0, run.err
    assert asked(given, "plan")[0][2] == CHOSEN


def test_options_that_say_the_same_are_no_contradiction(tmp_path, bundle, passwords, answer):
    path = tmp_path / "plan.json"
    chosen = replace(answer, options=CHOSEN)
    cli("plan", str(bundle), "--out", str(path), *ALL_OPTIONS, *passwords, given=Given(plan=chosen))

    run = carry_out(path, passwords, *ALL_OPTIONS, given=Given(plan=chosen, result=result()))

    assert run.code == 0, run.err


@pytest.mark.parametrize(
    ("option", "told"),
    [
        (("--enable-ssl", "off"), "--enable-ssl: keep there, off here"),
        (("--restart", "none"), "--restart: cluster there, none here"),
        (("--drop-crls",), "--drop-crls: not given there, given here"),
        (("--accept-state",), "--accept-state: not given there, given here"),
        (("--exclude", "n3"), "--exclude: nobody there, n3 here"),
    ],
)
def test_an_option_that_contradicts_the_plan_is_wrong_usage_and_nobody_is_asked(
    bundle, passwords, answer, kept, option, told
):
    given = Given(plan=answer, result=result())

    run = carry_out(kept, passwords, *option, given=given)

    assert run.code == 2
    assert run.err.startswith("error USAGE ") or "error USAGE " in run.err
    assert told in run.err
    assert given.asked == []


def test_every_contradiction_is_told_at_once(passwords, answer, kept):
    run = carry_out(kept, passwords, *ALL_OPTIONS, given=Given(plan=answer))

    assert run.code == 2
    for option in ("--enable-ssl", "--restart", "--drop-crls", "--accept-state"):
        assert f"{option}: " in run.err


def test_whom_to_take_the_nodes_from_may_be_said_when_it_is_carried_out(passwords, answer, kept):
    given = Given(plan=answer, result=result())

    run = carry_out(kept, passwords, "--take-over", given=given)

    assert run.code == 0, run.err
    assert asked(given, "plan")[0][2] == ReplaceOptions(take_over=True)


def test_the_bundle_may_lie_elsewhere_by_then(tmp_path, bundle, passwords, answer, kept):
    moved = bundle.rename(tmp_path / "moved")
    given = Given(plan=answer, result=result())

    lost = carry_out(kept, passwords, given=given)
    found = carry_out(kept, passwords, str(moved), given=given)

    assert (lost.code, found.code) == (2, 0), found.err
    assert str(bundle) in lost.err
    assert len(asked(given, "replace")) == 1


def test_what_has_drifted_refuses_with_a_finding_for_each_node(bundle, passwords, answer, kept):
    first, second, third = answer.nodes
    drifted = replace(answer, nodes=(first, replace(second, old_digest="f" * 64), third))
    given = Given(plan=drifted, result=result())

    run = carry_out(kept, passwords, given=given)

    assert run.code == 2
    line = next(line for line in run.err.splitlines() if "PLAN_DRIFTED" in line)
    assert line.split()[2] == "n2"
    assert "the live set was d1d1d1d1d1d1, is ffffffffffff" in run.err
    assert "refused: the plan on file no longer fits; nothing was changed" in run.err
    assert asked(given, "replace") == []


def test_drift_of_the_whole_is_said_to_be_of_the_plan_and_not_of_the_bundle(passwords, answer, kept):
    drifted = replace(answer, cluster_state=None)

    run = carry_out(kept, passwords, given=Given(plan=drifted))

    line = next(line for line in run.err.splitlines() if "PLAN_DRIFTED" in line)
    assert line.split()[2] == "plan"


def test_drift_is_in_the_document_too(passwords, answer, kept):
    drifted = replace(answer, bundle_digest="f" * 64)
    given = Given(plan=drifted)

    run = carry_out(kept, passwords, "--output", "json", given=given)

    assert run.code == 2
    assert run.document["result"] is None
    assert run.document["error"]["reason"] == "ARGUMENT_INVALID"
    assert "the plan on file no longer fits" in run.document["error"]["message"]
    assert [each["code"] for each in run.document["plan"]["findings"]] == ["PLAN_DRIFTED"]


def test_another_bundle_than_the_plans_is_drift(bundle, passwords, answer, kept):
    (bundle / "server.crt").chmod(0o600)
    (bundle / "server.crt").write_text("another")
    given = Given(plan=replace(answer, bundle_digest=digest(bundle)), result=result())

    run = carry_out(kept, passwords, given=given)

    assert run.code == 2
    assert "the bundle was" in run.err
    assert asked(given, "replace") == []


def test_a_plan_that_is_too_old_is_refused(tmp_path, bundle, passwords, answer, kept):
    document = json.loads(kept.read_text())
    made = datetime.now(UTC) - timedelta(days=8)
    document["made_at"] = made.isoformat()
    document["valid_until"] = (made + timedelta(days=7)).isoformat()
    kept.write_text(json.dumps(document))
    given = Given(plan=answer, result=result())

    run = carry_out(kept, passwords, given=given)

    assert run.code == 2
    assert "it was good until" in run.err
    assert asked(given, "replace") == []


def test_nodes_that_do_not_answer_are_still_exit_code_4(passwords, answer, kept):
    lost = replace(answer, nodes=answer.nodes[:2], unreachable=(unreachable("n3"),))

    run = carry_out(kept, passwords, given=Given(plan=lost))

    assert run.code == 4
    assert "PLAN_DRIFTED" not in run.err


def test_a_transaction_in_doubt_is_still_all_that_is_said(passwords, answer, kept):
    flight = InFlight("t-1", "ann@ops:7", NOW, (("n1", Phase.SWAPPED),), 0.0)
    blocked = (error(InDoubt, Reason.IN_DOUBT, "in phase SWAPPED", node="n1", remedy="recover"),)
    doubtful = replace(answer, in_flight=(flight,), blocked=blocked, cluster_state=None)

    run = carry_out(kept, passwords, given=Given(plan=doubtful))

    assert run.code == 3
    assert "PLAN_DRIFTED" not in run.err


def test_where_the_plans_bundle_has_gone_it_may_be_said_where_it_lies_now(bundle, passwords, answer, kept):
    moved = bundle.rename(bundle.parent / "moved")
    given = Given(plan=answer, result=result())

    gone = carry_out(kept, passwords, given=given)
    assert gone.code == 2
    assert str(bundle) in gone.err
    assert f"gausscert replace DIR --plan {kept}" in gone.err
    assert "bundle new" not in gone.err
    assert given.asked == []

    assert carry_out(kept, passwords, str(moved), given=given).code == 0


def test_a_file_that_is_no_plan_is_refused_before_anybody_is_asked(bundle, passwords, answer):
    given = Given(plan=answer)

    run = carry_out(bundle / "server.key", passwords, given=given)

    assert run.code == 2
    assert "no plan that can be carried out" in run.err
    assert given.asked == []


def test_neither_a_bundle_nor_a_plan_is_wrong_usage():
    run = cli("replace", "--yes")

    assert run.code == 2
    assert "--plan FILE" in run.err
    assert "gausscert replace --help" in run.err
