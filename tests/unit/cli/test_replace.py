"""`plan`, `replace` and `recover`: what is asked of the operator and of the cluster, and how it ends."""

from __future__ import annotations

import shlex
from dataclasses import replace

import pytest
from gausscert_common.bundle import Bundle
from gausscert_common.errors import InDoubt, NodeFailure, NodeRefusal, Reason
from gausscert_common.findings import Severity
from gausscert_common.model import ClusterState
from gausscert_common.protocol.coordinator import Stage, Verdict
from gausscert_common.protocol.recovery import Choice
from gausscert_common.protocol.words import Phase, RestartScope, SslWish
from gausscert_coordinator import objections
from gausscert_coordinator.report import InFlight, ReplaceOptions
from support.cli_fakes import (
    NEW,
    NODES,
    NOW,
    OLD,
    PROGRESS,
    SECRET,
    Given,
    cli,
    error,
    finding,
    plan,
    result,
    unreachable,
)


def asked(given, what):
    return [each for each in given.asked if each[0] == what]


def test_plan_shows_old_and_new_and_the_outage_and_changes_nothing(bundle, passwords):
    given = Given(plan=plan())

    run = cli("plan", str(bundle), *passwords, given=given)

    assert run.code == 0
    line = next(line for line in run.out.splitlines() if line.startswith("n1"))
    assert OLD[:12] in line
    assert f"-> {NEW[:12]}" in line
    assert "outage: CM of all nodes, under a minute" in run.out
    assert "nothing was changed" in run.err
    assert asked(given, "replace") == []


def test_the_bundle_and_the_options_reach_the_cluster(bundle, passwords):
    given = Given(plan=plan())
    chosen = ("--enable-ssl", "on", "--restart", "node", "--drop-crls", "--take-over")

    cli("plan", str(bundle), *chosen, *passwords, given=given)

    (_, sent, options) = asked(given, "plan")[0]
    assert isinstance(sent, Bundle)
    assert (sent.server_password, sent.client_password) == (SECRET, SECRET)
    assert sent.pem["server.crt"] == b"server.crt"
    assert options == ReplaceOptions(SslWish.ON, RestartScope.NODE, drop_crls=True, take_over=True)


REFUSED = [
    (
        {"findings": (finding(), finding("OTHER", node="n2"))},
        2,
        ("KEY_MISMATCH", "OTHER", "refused; nothing was"),
    ),
    (
        {"unreachable": (unreachable("n2"), unreachable("n3"))},
        4,
        ("n2: connection", "n3: connection", "refused: nodes are unreachable"),
    ),
    (
        {"blocked": (error(NodeRefusal, Reason.LOCKED, "locked by alice", node="n1", remedy="wait"),)},
        4,
        ("n1: locked by alice", "do: wait"),
    ),
    (
        {"blocked": (error(InDoubt, Reason.IN_DOUBT, "in phase SWAPPED", node="n1", remedy="recover"),)},
        3,
        ("n1: in phase SWAPPED", "run gausscert recover"),
    ),
]


@pytest.mark.parametrize(("changes", "code", "texts"), REFUSED)
def test_replace_refuses_with_everything_that_speaks_against_it(bundle, passwords, changes, code, texts):
    given = Given(plan=plan(**changes))

    run = cli("replace", str(bundle), "--yes", *passwords, given=given)

    assert run.code == code
    assert run.out == ""
    assert all(text in run.err for text in texts)
    assert asked(given, "replace") == []


def in_flight(lease_left_s: float):
    flight = InFlight("t-1", "ann@ops:7", NOW, (("n1", Phase.SWAPPED), ("n2", Phase.PREPARED)), lease_left_s)
    blocked = tuple(objections.not_over(node, phase, flight) for node, phase in flight.phases)
    advice = replace(finding("MANUALLY_STOPPED", node="n1"), remedy="start it with `cm_ctl start`")
    return plan(findings=(advice,), blocked=blocked, in_flight=(flight,))


@pytest.mark.parametrize("verb", [("plan",), ("replace", "--yes")])
@pytest.mark.parametrize(
    ("lease_left_s", "code", "command"),
    [(0.0, 3, "gausscert recover"), (90.0, 4, "gausscert recover --take-over")],
)
def test_a_transaction_in_flight_is_all_that_is_said(bundle, passwords, verb, lease_left_s, code, command):
    """The findings describe a cluster in the middle of it; to follow their advice would break it."""
    given = Given(plan=in_flight(lease_left_s))

    run = cli(verb[0], str(bundle), *verb[1:], *passwords, given=given)

    said = run.out + run.err
    assert run.code == code
    assert "transaction t-1 of ann@ops:7 since 2026-11-02 12:00:00 UTC: n1 SWAPPED, n2 PREPARED" in said
    assert command in said
    assert ("--take-over" in said) == (code == 4)
    for wrong in ("cm_ctl start", "MANUALLY_STOPPED", "outage:", "-> "):
        assert wrong not in said
    assert asked(given, "replace") == []


def test_each_unreachable_node_is_said_once_and_counted(bundle, passwords):
    seen = plan(nodes=plan().nodes[:2], unreachable=(unreachable("n3"),))

    run = cli("replace", str(bundle), "--yes", *passwords, given=Given(plan=seen))

    assert run.code == 4
    assert "cluster prod, 3 nodes, 1 unreachable" in run.err
    assert run.err.count("UNREACHABLE") == 1


def test_a_node_that_answers_but_cannot_look_is_not_counted_as_lost(bundle, passwords):
    run = cli("plan", str(bundle), *passwords, given=Given(plan=plan(unreachable=(unreachable("n3"),))))

    assert "cluster prod, 3 nodes\n" in run.out


def test_what_cm_ctl_wrote_is_no_state_of_the_cluster(bundle, passwords):
    broken = ClusterState("", cause="cm_ctl: no such file\nusage: cm_ctl query ...")

    run = cli("plan", str(bundle), *passwords, given=Given(plan=plan(cluster_state=broken)))

    assert "cluster now: unknown: `cm_ctl query` works on no node\n" in run.out
    assert "usage" not in run.out


def test_the_command_that_plan_ends_with_does_what_was_planned(tmp_path, bundle, passwords):
    spaced = bundle.rename(tmp_path / "new bundle")
    options = ("--enable-ssl", "on", "--restart", "node", "--drop-crls", "--take-over")
    inventory = ("--inventory", str(tmp_path / "several.toml"), "--cluster", "prod")

    run = cli("plan", str(spaced), *inventory, *options, *passwords, given=Given(plan=plan()))

    (line,) = (line for line in run.err.splitlines() if "to do it: " in line)
    words = shlex.split(line.partition("to do it: ")[2])
    assert words == ["gausscert", "replace", str(spaced), *inventory, *options, *passwords]
    assert str(spaced) in words


def test_a_plan_without_options_ends_with_a_command_without_options(bundle):
    run = cli("plan", str(bundle), given=Given(plan=plan()), typed="", hidden=("one", "two"))

    assert f"to do it: gausscert replace {bundle}\n" in run.err


def test_the_help_of_take_over_says_what_it_takes():
    said = " ".join(cli("replace", "--help").out.split())

    assert "has begun no transaction" in said
    assert "gausscert recover --take-over" in said


def test_the_document_of_a_plan_keeps_what_the_text_leaves_out(bundle, passwords):
    run = cli("plan", str(bundle), "--output", "json", *passwords, given=Given(plan=in_flight(90.0)))

    assert [each["code"] for each in run.document["findings"]] == ["MANUALLY_STOPPED"]
    assert run.document["in_flight"] == [
        {
            "transaction_id": "t-1",
            "holder": "ann@ops:7",
            "since": "2026-11-02T12:00:00Z",
            "phases": {"n1": "SWAPPED", "n2": "PREPARED"},
            "lease_left_s": 90.0,
            "waits": False,
            "excluded": {},
            "held_by": "",
        }
    ]


@pytest.mark.parametrize(("changes", "code", "texts"), REFUSED)
def test_a_refusal_is_one_document(bundle, passwords, changes, code, texts):
    run = cli(
        "replace", str(bundle), "--yes", "--output", "json", *passwords, given=Given(plan=plan(**changes))
    )

    assert run.code == code
    assert run.document["schema"] == "gausscert/replace/v1"
    assert run.document["result"] is None
    assert run.document["plan"]["feasible"] is False
    assert run.document["error"]["reason"] in {"BUNDLE_INVALID", "UNREACHABLE", "LOCKED", "IN_DOUBT"}


@pytest.mark.parametrize(("changes", "code", "texts"), REFUSED)
def test_plan_ends_with_the_same_code(bundle, passwords, changes, code, texts):
    assert cli("plan", str(bundle), *passwords, given=Given(plan=plan(**changes))).code == code


def test_a_key_that_others_may_read_is_a_finding_beside_those_of_the_nodes(bundle, passwords):
    (bundle / "server.key").chmod(0o644)

    run = cli("plan", str(bundle), "--output", "json", *passwords, given=Given(plan=plan()))

    codes = {each["code"] for each in run.document["findings"]}
    assert "KEY_FILE_READABLE" in codes


def test_a_link_instead_of_a_file_refuses(bundle, passwords):
    (bundle / "server.key").rename(bundle / "elsewhere")
    (bundle / "server.key").symlink_to("elsewhere")
    given = Given(plan=plan())

    run = cli("replace", str(bundle), "--yes", *passwords, given=given)

    assert run.code == 2
    assert "FILE_NOT_REGULAR" in run.err
    assert asked(given, "replace") == []


def test_without_terminal_and_without_yes_it_is_refused_before_anything_is_read(bundle, passwords):
    given = Given(plan=plan())

    run = cli("replace", str(bundle), *passwords, given=given)

    assert run.code == 2
    assert "--yes" in run.err
    assert given.asked == []


@pytest.mark.parametrize("answer", ["no\n", "\n", "", "nonsense\n", "Y e s\n"])
def test_anything_but_yes_changes_nothing(bundle, passwords, answer):
    given = Given(plan=plan(), result=result())

    run = cli("replace", str(bundle), *passwords, given=given, typed=answer)

    assert run.code == 2
    assert "not confirmed; nothing was changed" in run.err
    assert asked(given, "replace") == []


@pytest.mark.parametrize("answer", ["yes\n", "y\n", "YES\n"])
def test_the_question_says_what_will_be_down_and_yes_goes_on(bundle, passwords, answer):
    given = Given(plan=plan(), result=result())

    run = cli("replace", str(bundle), *passwords, given=given, typed=answer)

    assert run.code == 0
    assert "cluster prod on 3 nodes? [y/N] " in run.err
    assert run.err.count("CM of all nodes, under a minute") == 1
    assert len(asked(given, "replace")) == 1


def test_the_plan_is_shown_before_the_question_and_warnings_refuse_nothing(bundle, passwords):
    warning = finding("SOON", Severity.WARNING, "", "server.crt")

    run = cli(
        "replace",
        str(bundle),
        *passwords,
        given=Given(plan=plan(findings=(warning,)), result=result()),
        typed="yes\n",
    )

    assert run.code == 0
    assert run.err.index("-> " + NEW[:12]) < run.err.index("SOON") < run.err.index("[y/N]")


def test_the_question_says_the_outage_where_the_plan_is_not_shown(bundle, passwords):
    given = Given(plan=plan(), result=result())

    run = cli("replace", str(bundle), "--quiet", *passwords, given=given, typed="y\n")

    assert run.err.count("Outage: CM of all nodes, under a minute. [y/N] ") == 1


def test_the_question_wraps_at_the_terminals_width(bundle, passwords, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")

    run = cli("replace", str(bundle), *passwords, given=Given(plan=plan()), typed="n\n", terminal_out=True)

    asked_for = run.err[run.err.index("Replace the") : run.err.index("[y/N]") + 5]
    assert max(len(line) for line in asked_for.splitlines()) <= 40
    assert run.code == 2


def test_passwords_are_asked_at_the_terminal(bundle):
    given = Given(plan=plan(), result=result())

    run = cli("replace", str(bundle), "--yes", given=given, typed="", hidden=("one", "two"))

    (_, _, sent) = asked(given, "replace")[0]
    assert run.code == 0
    assert (sent.server_password, sent.client_password) == ("one", "two")


def test_committed_shows_the_proof_and_the_duration(bundle, passwords):
    run = cli("replace", str(bundle), "--yes", *passwords, given=Given(plan=plan(), result=result()))

    assert run.code == 0
    proof = next(line for line in run.out.splitlines() if line.startswith("10.0.0.1:5000"))
    assert NEW[:12] in proof
    assert all(node in proof for node in NODES)
    assert "committed" in run.out
    assert "12.3 s" in run.out


FAILED = (
    error(NodeFailure, Reason.CM_NOT_STARTED, "cm_server ended", node="n2", remedy="read its log"),
    error(NodeFailure, Reason.NOT_PROVEN, "serves the old one", node="n3"),
)


@pytest.mark.parametrize(
    ("ended", "code", "word"),
    [
        (result(Verdict.ROLLED_BACK, failures=FAILED, last_stage=Stage.START), 1, "rolled back"),
        (result(Verdict.IN_DOUBT, failures=FAILED, last_stage=Stage.COMMIT), 3, "run gausscert recover"),
        (result(Verdict.NOTHING_DONE, failures=FAILED), 2, "nothing was changed"),
        (result(Verdict.NOTHING_DONE, failures=(unreachable("n2"),)), 4, "nothing was changed"),
        (result(Verdict.NOTHING_DONE, interrupted=True), 1, "as you asked"),
        (result(Verdict.ROLLED_BACK, last_stage=Stage.STOP, interrupted=True), 1, "turned back at stop, as"),
        (
            result(Verdict.IN_DOUBT, last_stage=Stage.STOP, interrupted=True),
            3,
            "stopped at stop, interrupted",
        ),
    ],
)
def test_every_way_to_end_has_its_code_its_word_and_each_cause(bundle, passwords, ended, code, word):
    run = cli("replace", str(bundle), "--yes", *passwords, given=Given(plan=plan(), result=ended))

    assert run.code == code
    assert word in run.out.splitlines()[-1]
    for failure in ended.failures:
        assert f"{failure.node}: {failure.message}" in run.out
        assert failure.remedy in run.out


def test_what_several_nodes_see_alike_is_said_once_and_is_a_failure_of_each_in_the_document(
    bundle, passwords
):
    seen = [
        error(NodeFailure, Reason.NOT_PROVEN, f"cm_server {number} is unreachable", node=node, remedy="look")
        for node in NODES
        for number in (1, 2)
    ]
    ended = Given(plan=plan(), result=result(Verdict.ROLLED_BACK, failures=tuple(seen)))

    lines = cli("replace", str(bundle), "--yes", *passwords, given=ended).out.splitlines()
    document = cli("replace", str(bundle), "--yes", "--output", "json", *passwords, given=ended).document

    assert [line for line in lines if "unreachable" in line] == [
        f"error NOT_PROVEN n1, n2, n3: cm_server {number} is unreachable" for number in (1, 2)
    ]
    assert len(document["result"]["failures"]) == len(seen)


def test_the_result_is_one_document_and_progress_stays_out_of_it(bundle, passwords):
    given = Given(plan=plan(), result=result(), progress=PROGRESS)

    run = cli("replace", str(bundle), "--yes", "--output", "json", *passwords, given=given)

    assert run.document["error"] is None
    ended = run.document["result"]
    assert ended["verdict"] == "committed"
    assert ended["duration_s"] == 12.346
    assert [each["seen_from"] for each in ended["proof"]] == list(NODES)
    assert ended["proof"][0]["fingerprint"] == NEW
    assert "prepare n3 failed: no space" in run.err


def test_quiet_leaves_only_the_result(bundle, passwords):
    given = Given(plan=plan(), result=result(), progress=PROGRESS)

    run = cli("replace", str(bundle), "--yes", "--quiet", *passwords, given=given)

    assert run.err == ""
    assert "committed" in run.out


def test_no_password_is_in_any_output(bundle, passwords):
    for more in ((), ("--output", "json"), ("--verbose",)):
        given = Given(plan=plan(), raises=None, result=result(Verdict.ROLLED_BACK, failures=FAILED))
        run = cli("replace", str(bundle), "--yes", *passwords, *more, given=given)
        assert SECRET not in run.out + run.err


@pytest.mark.parametrize(
    ("args", "sent"),
    [
        ((), (Choice.ROLL_BACK, False, None)),
        (("--roll-back",), (Choice.ROLL_BACK, False, None)),
        (("--finish", "--take-over", "--restart", "node"), (Choice.FINISH, True, RestartScope.NODE)),
    ],
)
def test_recover_passes_the_operators_choice_on(args, sent):
    given = Given(result=result(why="every node has voted for the new set"))

    run = cli("recover", *args, given=given)

    assert run.code == 0
    assert asked(given, "recover") == [("recover", *sent, None)]
    assert "every node has voted for the new set" in run.out


@pytest.mark.parametrize(
    ("ended", "code"),
    [
        (result(Verdict.COMMITTED), 0),
        (result(Verdict.NOTHING_DONE, why="no transaction is in doubt"), 0),
        (result(Verdict.ROLLED_BACK), 1),
        (result(Verdict.IN_DOUBT), 3),
    ],
)
def test_recover_ends_with_the_code_of_its_verdict(ended, code):
    run = cli("recover", "--output", "json", given=Given(result=ended))

    assert run.code == code
    assert run.document["schema"] == "gausscert/recover/v1"
    assert run.document["verdict"] == ended.verdict.value
