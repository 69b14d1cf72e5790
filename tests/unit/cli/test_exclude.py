"""`--exclude` and `recover --bundle`: what is asked of the operator and of the cluster, and what is shown."""

from __future__ import annotations

import shlex
from dataclasses import replace

import pytest
from gausscert_common.errors import Reason
from gausscert_common.protocol.coordinator import Verdict
from gausscert_common.protocol.exclusion import Return
from gausscert_common.protocol.recovery import Choice
from gausscert_common.protocol.words import Phase, RestartScope
from gausscert_coordinator import objections
from gausscert_coordinator.report import ClusterStatus, InFlight, NodeStatus, ReplaceOptions
from support.cli_fakes import (
    NODES,
    NOW,
    SECRET,
    Given,
    cli,
    finding,
    in_transaction,
    plan,
    result,
    status_of,
    unreachable,
)

T = "20261102t120000z-abc123"


def options(given):
    return next(each[2] for each in given.asked if each[0] == "plan")


@pytest.mark.parametrize("verb", ["plan", "replace"])
@pytest.mark.parametrize(
    ("args", "wanted"),
    [
        ((), ReplaceOptions()),
        (("--exclude", "n3"), ReplaceOptions(restart=RestartScope.NODE, exclude=("n3",))),
        (
            ("--exclude", "n3", "--exclude", "n4", "--exclude", "n3"),
            ReplaceOptions(restart=RestartScope.NODE, exclude=("n3", "n4")),
        ),
        (
            ("--exclude", "n3", "--restart", "none"),
            ReplaceOptions(restart=RestartScope.NONE, exclude=("n3",)),
        ),
        (
            ("--exclude", "n3", "--restart", "cluster"),  # for the plan to refuse, with all else
            ReplaceOptions(restart=RestartScope.CLUSTER, exclude=("n3",)),
        ),
    ],
)
def test_who_is_left_out_is_passed_on_and_changes_the_usual_restart(bundle, passwords, verb, args, wanted):
    given = Given(plan=plan(options=wanted), result=result())

    cli(verb, str(bundle), *args, *passwords, *(("--yes",) if verb == "replace" else ()), given=given)

    assert options(given) == wanted


def test_plan_shows_who_is_left_out_and_the_command_to_run(bundle, passwords):
    excluded = plan(
        options=ReplaceOptions(restart=RestartScope.NODE, exclude=("n9",)), excluded=(unreachable("n9"),)
    )

    run = cli("plan", str(bundle), "--exclude", "n9", *passwords, given=Given(plan=excluded))

    assert f"{len(NODES) + 1} nodes, 1 unreachable" in run.out
    assert "without n9: connection refused" in run.out
    pasted = shlex.split(run.err.replace("\n", " ").split("to do it:")[1])
    assert pasted[:3] == ["gausscert", "replace", str(bundle)]
    assert pasted[pasted.index("--exclude") :][:2] == ["--exclude", "n9"]
    assert "--restart" not in pasted


def test_the_document_of_a_plan_has_them(bundle, passwords):
    excluded = plan(options=ReplaceOptions(exclude=("n9",)), excluded=(unreachable("n9"),))

    document = cli("plan", str(bundle), "--output", "json", *passwords, given=Given(plan=excluded)).document

    assert document["options"]["exclude"] == ["n9"]
    assert [each["node"] for each in document["excluded"]] == ["n9"]


def test_the_question_says_what_it_means(bundle, passwords):
    excluded = plan(options=ReplaceOptions(exclude=("n9",)), excluded=(unreachable("n9"),))
    given = Given(plan=excluded, result=result())

    run = cli("replace", str(bundle), *passwords, given=given, typed="n\n")

    shown = " ".join((run.out + run.err).split())
    assert f"on {len(NODES)} nodes, without n9, which must not run CM until it is brought over?" in shown
    assert run.code == 2


def test_the_verdict_names_who_is_waited_for(bundle, passwords):
    found = replace(finding("NODES_EXCLUDED"), node="n3")
    given = Given(plan=plan(), result=result(findings=(found,), waiting=("n3",)))

    run = cli("replace", str(bundle), "--yes", *passwords, given=given)
    document = cli("replace", str(bundle), "--yes", "--output", "json", *passwords, given=given).document

    assert run.code == 0
    assert "committed: every node has the new certificates, but for n3 (excluded)" in run.out
    assert document["result"]["waiting"] == ["n3"]


def waiting(returned: Return) -> InFlight:
    phases = (("n1", Phase.COMMITTED), ("n2", Phase.COMMITTED))
    return InFlight(T, "ann@ops:7", NOW, phases, 0.0, (("n3", returned),))


@pytest.mark.parametrize("returned", list(Return))
def test_a_new_replacement_is_refused_with_what_to_do(bundle, passwords, returned):
    flight = waiting(returned)
    blocked = tuple(objections.not_over(node, phase, flight) for node, phase in flight.phases)
    refused = plan(in_flight=(flight,), blocked=blocked)

    for verb in (("plan",), ("replace", "--yes")):
        run = cli(*verb, str(bundle), *passwords, given=Given(plan=refused))
        shown = " ".join((run.out + run.err).split())
        assert run.code == 2
        assert f"transaction {T}" in shown
        assert "committed, waiting for n3" in shown
        assert "gausscert recover" in shown
        assert ("--bundle DIR" in shown) is (returned in (Return.AWAY, Return.BACK))
        assert "in doubt" not in shown


def test_the_refusal_of_a_dead_node_names_the_override(bundle, passwords):
    run = cli(
        "replace", str(bundle), "--yes", *passwords, given=Given(plan=plan(unreachable=(unreachable("n3"),)))
    )

    assert run.code == 4
    assert "--exclude" in run.out + run.err


def standing(name):
    told = replace(in_transaction(Phase.COMMITTED), participants=("n1", "n2"), excluded=("n3",))
    return status_of(name, transaction=told)


def test_status_shows_that_it_waits():
    lost = NodeStatus("n3", "n3:7443", error=unreachable("n3"))
    found = ClusterStatus("prod", (standing("n1"), standing("n2"), lost))

    run = cli("status", given=Given(status=found))
    document = cli("status", "--output", "json", given=Given(status=found)).document

    shown = " ".join(run.out.split())
    assert run.code == 4
    assert "it is committed, waiting for n3 (excluded, does not answer)" in shown
    assert "in doubt" not in shown
    assert document["in_doubt"] is False
    assert [(each["transaction_id"], each["excluded"]) for each in document["waiting"]] == [
        (T, {"n3": "away"})
    ]


def test_status_shows_that_it_is_back_and_how_it_is_brought_over():
    back = status_of("n3")
    back = replace(back, report=replace(back.report, live=replace(back.report.live, bundle_digest="other")))
    found = ClusterStatus("prod", (standing("n1"), standing("n2"), back))

    run = cli("status", given=Given(status=found))

    shown = " ".join(run.out.split())
    assert run.code == 3
    assert "waiting for n3 (excluded, is back and holds another set or enable_ssl)" in shown
    assert f"run gausscert recover --bundle DIR, with the bundle of transaction {T}" in shown


def test_recover_hands_the_bundle_over(bundle, passwords):
    given = Given(result=result())

    run = cli("recover", "--bundle", str(bundle), *passwords, given=given)

    (asked,) = [each for each in given.asked if each[0] == "recover"]
    assert run.code == 0
    assert asked[:4] == ("recover", Choice.ROLL_BACK, False, None)
    assert asked[4].pem["server.key"] == b"server.key"
    assert asked[4].server_password == SECRET
    assert SECRET not in run.out + run.err


def test_recover_without_a_readable_bundle_asks_the_cluster_nothing(tmp_path, passwords):
    given = Given(result=result())

    run = cli("recover", "--bundle", str(tmp_path / "missing"), *passwords, given=given)

    assert run.code == 2
    assert [each[0] for each in given.asked if each[0] == "recover"] == []


def test_recover_names_what_is_wrong_with_the_files_before_it_asks_for_a_password(bundle):
    given = Given(result=result())
    key = bundle / "server.key"
    key.rename(bundle / "elsewhere")
    key.symlink_to("elsewhere")
    (bundle / "client.key").unlink()
    (bundle / "client.key").mkdir()

    run = cli("recover", "--bundle", str(bundle), given=given, typed="")

    assert run.code == 2
    assert "BUNDLE_INVALID" in run.err
    assert "server.key: it is a symbolic link" in run.err
    assert "client.key: it is no regular file" in run.err
    assert "password" not in run.err
    assert [each[0] for each in given.asked if each[0] == "recover"] == []


def test_recover_warns_of_a_key_that_others_can_read_and_goes_on(bundle, passwords):
    (bundle / "server.key").chmod(0o444)

    run = cli("recover", "--bundle", str(bundle), *passwords, given=Given(result=result()))

    assert run.code == 0
    assert "KEY_FILE_READABLE" in run.err


def test_passwords_without_a_bundle_are_refused_and_not_dropped(passwords):
    given = Given(result=result())

    run = cli("recover", *passwords[:2], given=given)

    assert run.code == 2
    assert "--server-password-file without --bundle" in run.err
    assert given.asked == []


def test_recover_that_still_waits_ends_with_the_code_of_what_is_away():
    given = Given(result=result(failures=(unreachable("n4"),), waiting=("n4",)))

    run = cli("recover", given=given)

    assert run.code == 4
    assert "but for n4 (excluded)" in run.out
    assert Reason.UNREACHABLE.value in run.out
    assert Verdict.COMMITTED is given.result.verdict


@pytest.mark.parametrize("verb", [("rollback",), ("ssl", "on"), ("ssl", "off")])
def test_only_a_replacement_leaves_nodes_out(verb):
    lost = plan(unreachable=(unreachable("n3"),), generation="" if verb == ("rollback",) else None)
    lost = replace(lost, only_ssl=verb[0] == "ssl")

    assert "no such option" in cli(*verb, "--exclude", "n3", "--yes").err
    refused = cli(*verb, "--yes", given=Given(plan=lost))

    assert refused.code == 4
    assert "nodes are unreachable" in refused.err
    assert "--exclude" not in refused.out + refused.err


@pytest.mark.parametrize("verb", [("rollback",), ("ssl", "on"), ("ssl", "off")])
def test_every_verb_tells_that_a_transaction_waits(verb):
    waiting = InFlight(T, "alice@ops:7", NOW, (("n1", Phase.COMMITTED),), 0.0, (("n3", Return.AWAY),))
    blocked = plan(
        in_flight=(waiting,),
        blocked=(objections.not_over("n1", Phase.COMMITTED, waiting),),
        generation="" if verb == ("rollback",) else None,
        only_ssl=verb[0] == "ssl",
    )

    given = Given(plan=blocked)

    run = cli(*verb, "--yes", given=given)

    assert run.code == 2
    assert "a committed transaction waits for nodes that were excluded" in " ".join(run.err.split())
    assert not [each for each in given.asked if each[0] in ("rollback", "switch_ssl")]


def test_recover_passes_on_who_died_in_the_middle():
    given = Given(result=result(waiting=("n3",)))

    run = cli("recover", "--exclude", "n3", "--exclude", "n4", given=given)

    assert run.code == 0
    assert ("recover", Choice.ROLL_BACK, False, None, None, ("n3", "n4")) in given.asked
    assert "but for n3 (excluded)" in run.out


def test_a_rollback_without_a_node_does_not_speak_for_that_node():
    """Its live set may be the new one."""
    rolled = result(Verdict.ROLLED_BACK, findings=(objections.rolled_back_without("n3"),))

    run = cli("recover", "--exclude", "n3", given=Given(result=rolled))

    assert run.code == 1
    assert "rolled back: every node has its old certificates, as before, but for n3 (excluded)" in run.out


@pytest.mark.parametrize("returned", [Return.AWAY, Return.WITHIN])
def test_status_tells_of_one_that_died_in_the_middle_what_to_do(returned):
    flight = replace(waiting(returned), missing=("n3",))

    assert "n3 (excluded" in objections.waiting_text(flight)
    assert objections.end_of(flight).startswith(
        "bring it back, then run gausscert recover;" if returned is Return.AWAY else "run gausscert recover"
    )
