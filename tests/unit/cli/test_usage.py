"""Wrong usage, errors and bugs: one exit code and one form each."""

from __future__ import annotations

import subprocess
import sys

import pytest
from gausscert_common.errors import (
    Denied,
    InDoubt,
    InternalError,
    InvalidInput,
    NodeFailure,
    NodeRefusal,
    Reason,
    Unreachable,
)
from gausscert_common.findings import Finding, Severity
from support.cli_fakes import Given, cli, cluster_status, error, finding


@pytest.mark.parametrize(
    "args",
    [
        ("nonsense",),
        ("status", "surplus"),
        ("status", "--nonsense"),
        ("status", "--output", "yaml"),
        ("replace",),
        ("replace", ".", "--restart", "twice"),
        ("replace", ".", "--enable-ssl", "perhaps"),
        ("completion", "tcsh"),
        ("pki", "issue", "king", "arthur", "--dir", "x", "--out", "y"),
        ("demo", "--nodes", "0"),
        ("demo", "--fail", "everything"),
    ],
)
def test_wrong_usage_is_refused_with_two_and_asks_no_node(args):
    given = Given(status=cluster_status())

    run = cli(*args, given=given)

    assert run.code == 2
    assert run.out == ""
    assert run.err.startswith("error USAGE ")
    assert "--help" in run.err
    assert given.asked == []


@pytest.mark.parametrize("where", [("--output", "json"), ("--output=json",)])
@pytest.mark.parametrize("before", [True, False])
def test_wrong_usage_is_a_document_too(where, before):
    args = (*where, "status", "--nonsense") if before else ("status", "--nonsense", *where)

    run = cli(*args)

    assert run.code == 2
    assert run.document["schema"] == "gausscert/error/v1"
    assert run.document["error"]["reason"] == "USAGE"


@pytest.mark.parametrize(
    ("args", "json"),
    [
        (("--output", "JSON"), True),
        (("--output=Json",), True),
        (("--output", "text", "--output", "json"), True),
        (("--output", "json", "--output=text"), False),
        (("--output", "json", "--output"), False),
        (("--", "--output", "json"), False),
        (("json",), False),
    ],
)
def test_the_last_output_option_decides_how_wrong_usage_is_told(args, json):
    run = cli("status", "--nonsense", *args)

    assert run.code == 2
    assert (run.out != "", run.err == "") == (json, json)


@pytest.mark.parametrize("before", [True, False])
def test_global_options_stand_before_or_after_the_verb(before):
    given = Given(status=cluster_status())
    args = ("--output", "json", "status") if before else ("status", "--output", "json")

    assert cli(*args, given=given).document["schema"] == "gausscert/status/v1"


@pytest.mark.parametrize("verb", [("completion",), ("pki", "issue")], ids=" ".join)
def test_choices_that_are_missing_are_told_in_one_line(verb):
    run = cli(*verb)

    first, _ = run.err.splitlines()
    assert run.code == 2
    assert "Choose from: " in first
    assert "\\t" not in run.err


def test_the_later_of_two_global_options_wins():
    given = Given(status=cluster_status())

    run = cli("--output", "json", "status", "--output", "text", given=given)

    assert run.out.startswith("cluster prod")


def test_a_global_option_given_before_is_not_undone_by_a_default_after():
    given = Given(status=cluster_status())

    assert cli("--output", "json", "bundle", "--quiet", "--help").code == 0
    assert cli("--output", "json", "status", "--quiet", given=given).document["cluster"] == "prod"


@pytest.mark.parametrize(
    ("kind", "reason", "code"),
    [
        (InvalidInput, Reason.CONFIG_INVALID, 2),
        (Denied, Reason.PERMISSION_DENIED, 2),
        (NodeRefusal, Reason.NODE_UNFIT, 2),
        (NodeFailure, Reason.STORE_FAILED, 2),
        (InDoubt, Reason.IN_DOUBT, 3),
        (NodeRefusal, Reason.LOCKED, 4),
        (Unreachable, Reason.DEADLINE, 4),
        (InternalError, Reason.INTERNAL, 5),
    ],
)
def test_an_error_has_its_exit_code_its_node_and_its_remedy(kind, reason, code):
    raised = error(kind, reason, "it failed", node="n2", file="server.key", remedy="mend it")

    run = cli("status", given=Given(raises=raised))

    assert run.code == code
    assert run.out == ""
    assert f"error {reason} n2: server.key: it failed" in run.err
    assert "do: mend it" in run.err


def test_an_error_as_a_document_has_all_its_fields_and_findings():
    raised = error(
        InvalidInput, Reason.CONFIG_INVALID, node="n2", file="f", remedy="r", findings=[finding(node="n2")]
    )

    run = cli("status", "--output", "json", given=Given(raises=raised))

    assert run.document["error"] == {
        "reason": "CONFIG_INVALID",
        "message": "it failed",
        "node": "n2",
        "file": "f",
        "remedy": "r",
        "findings": [
            {
                "code": "KEY_MISMATCH",
                "severity": "error",
                "node": "n2",
                "file": "server.key",
                "cause": "cause of KEY_MISMATCH",
                "remedy": "remedy for KEY_MISMATCH",
            }
        ],
    }
    assert run.err == ""


def test_a_bug_is_a_short_message_with_an_incident_and_without_the_exceptions_text():
    run = cli("status", given=Given(raises=ZeroDivisionError("canary")))

    assert run.code == 5
    assert "a bug in gausscert, ZeroDivisionError, incident " in run.err
    assert "canary" not in run.err
    assert "Traceback" not in run.err


def test_a_bug_shows_its_traceback_with_verbose_only():
    run = cli("status", "--verbose", given=Given(raises=ZeroDivisionError("canary")))

    assert run.code == 5
    assert "Traceback" in run.err
    assert "canary" in run.err


def test_a_bug_is_a_document_too():
    run = cli("status", "--output", "json", given=Given(raises=ZeroDivisionError("canary")))

    assert run.code == 5
    assert run.document["error"]["reason"] == "INTERNAL"
    assert "canary" not in run.out


def test_ctrl_c_before_anything_changed_is_a_refusal():
    run = cli("status", given=Given(raises=KeyboardInterrupt()))

    assert run.code == 2
    assert "nothing was changed" in run.err


def test_a_missing_inventory_is_refused(tmp_path):
    from gausscert_coordinator.cli.main import run as run_command

    assert run_command(["status", "--inventory", str(tmp_path / "none.toml"), "--quiet"]) == 2


def test_a_ctrl_c_after_a_transaction_never_says_that_nothing_was_changed():
    late = cli("recover", given=Given(raises=KeyboardInterrupt()))

    assert late.code == 5
    assert "nothing was changed" not in late.err
    assert "gausscert status" in late.err


def test_closed_standard_streams_are_no_bug(tmp_path):
    script = "from gausscert_coordinator.cli.main import main; main()"
    for closed in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
        done = subprocess.run(
            ["sh", "-c", f'exec "$0" -c "$1" status --inventory none.toml {closed}', sys.executable, script],
            cwd=tmp_path,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 2, (closed, done.stderr)
        assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("verb", [("plan",), ("replace", "--yes"), ("bundle", "verify")])
def test_a_bundle_that_is_not_there_is_said_to_be_missing_with_what_to_do(verb, tmp_path):
    run = cli(*verb, str(tmp_path / "absent"), given=Given(plan=None))

    assert run.code == 2
    assert f"{tmp_path / 'absent'}: the directory cannot be opened: No such file or directory" in run.err
    assert "gausscert bundle new makes one" in run.err


def test_several_things_wrong_with_one_file_are_each_told_once_with_the_file():
    causes = ("cluster.name: missing", "[[node]]: no nodes")
    found = [
        Finding("CONFIG_INVALID", Severity.ERROR, cause, f"mend {cause}", file="a.toml") for cause in causes
    ]
    raised = InvalidInput(
        Reason.CONFIG_INVALID, "; ".join(causes), file="a.toml", remedy="mend both", findings=found
    )

    run = cli("status", given=Given(raises=raised))

    assert run.err.count("a.toml") == 1
    assert "bundle" not in run.err
    for cause in causes:
        assert run.err.count(f"  {cause}\n") == 1
        assert run.err.count(f"do: mend {cause}") == 1


def test_one_thing_wrong_is_told_once():
    only = Finding("CONFIG_INVALID", Severity.ERROR, "cluster.name: missing", "write it", file="a.toml")
    raised = InvalidInput(
        Reason.CONFIG_INVALID, only.cause, file="a.toml", remedy=only.remedy, findings=[only]
    )

    run = cli("status", given=Given(raises=raised))

    assert run.err == "error CONFIG_INVALID a.toml: cluster.name: missing\n  do: write it\n"
