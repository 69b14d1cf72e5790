"""Whatever is handed in, it ends with one message or one document, the right code, and nobody is asked."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from gausscert_coordinator.cli.main import run as run_command
from gausscert_coordinator.cli.settings import Invocation
from gausscert_coordinator.cli.terminal import Terminal
from support.cli_fakes import SECRET, Given, Run, cli, cluster_status, plan
from support.documents import only_document

WRONG = {
    "no inventory": ("status",),
    "no inventory to expire": ("expiry",),
    "no inventory to recover": ("recover",),
    "no inventory for a history": ("history",),
    "no inventory for ssl": ("ssl", "on", "--dry-run"),
    "a missing inventory": ("status", "--inventory", "missing.toml"),
    "an inventory that is a directory": ("status", "--inventory", "directory"),
    "an inventory that is no TOML": ("status", "--inventory", "nonsense"),
    "an inventory that is not text": ("status", "--inventory", "bytes"),
    "an inventory without an end": ("status", "--inventory", "/dev/zero"),
    "an inventory that is a named pipe": ("status", "--inventory", "pipe"),
    "a cluster's description that is a named pipe": (
        *("inventory", "import", "pipe", "--cluster", "prod", "--operator", "alice", "--out", "new.toml"),
    ),
    "software that is a named pipe": ("agents", "deploy", "--ssh", "--bundle", "pipes"),
    "an inventory without a cluster": ("status", "--inventory", "empty"),
    "a missing bundle": ("plan", "missing", "--server-password-file", "pw", "--client-password-file", "pw"),
    "a bundle that is a file": ("plan", "nonsense"),
    "a bundle that is nothing": ("replace", "", "--yes"),
    "a missing password file": ("bundle", "verify", "directory", "--server-password-file", "missing"),
    "a password file that is a directory": (
        "bundle",
        "verify",
        "directory",
        "--server-password-file",
        "directory",
    ),
    "a password file that others read": (
        "bundle",
        "verify",
        "directory",
        "--server-password-file",
        "open",
        "--client-password-file",
        "open",
    ),
    "no password and nobody to ask": ("bundle", "verify", "directory"),
    "a missing plan": ("replace", "--plan", "missing", "--yes"),
    "a plan that is a directory": ("replace", "--plan", "directory", "--yes"),
    "a plan that is nonsense": ("replace", "--plan", "nonsense", "--yes"),
    "a plan that is bytes": ("replace", "--plan", "bytes", "--yes"),
    "nothing to replace with": ("replace", "--yes"),
    "nobody to confirm": ("rollback",),
    "a place for a plan that is taken": ("plan", "directory", "--out", "nonsense"),
    "a place for a bundle that is taken": ("bundle", "new", "full"),
    "a place for a bundle that is not there": ("bundle", "new", "missing/new"),
    "a CA that is not there": ("pki", "issue", "node", "n1", "--dir", "missing", "--out", "out"),
    "a CA in a place that is empty": ("pki", "init", "--dir", "", "--cluster", "prod", "--no-passphrase"),
    "a credential for a place that is empty": (
        "pki",
        "issue",
        "node",
        "n1",
        "--dir",
        "directory",
        "--out",
        "",
    ),
    "a password file that is a named pipe": (
        *("bundle", "verify", "directory", "--server-password-file", "pipe"),
        *("--client-password-file", "pipe"),
    ),
    "an unknown verb": ("statsu",),
    "an unknown verb of a group": ("bundle", "nwe"),
    "no verb": ("bundle",),
    "an unknown option": ("status", "--inventroy", "x"),
    "an option without its value": ("status", "--inventory"),
    "an unknown word": ("replace", "directory", "--restart", "twice"),
    "too much": ("status", "surplus"),
    "an unknown schema": ("schema", "nonsense"),
    "an unknown shell": ("completion", "tcsh"),
    "control characters": ("status", "--inventory", "a\x1b[2Jb\rc"),
    "a name without end": ("status", "--inventory", "x" * 10_000),
}
CHECK = {
    "no inventory": ("check",),
    "an unknown option": ("check", "--nonsense"),
    "limits that cross": ("check", "--warning", "3", "--critical", "9"),
}


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """What is named above lies here; there is no inventory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GAUSSCERT_INVENTORY", raising=False)
    (tmp_path / "directory").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "precious").write_text("precious")
    (tmp_path / "nonsense").write_text("non = sense = [")
    (tmp_path / "empty").write_text("")
    (tmp_path / "bytes").write_bytes(bytes(range(256)))
    (tmp_path / "pipes").mkdir()
    for name in ("pipe", "pipes/requirements.txt"):
        os.mkfifo(tmp_path / name, 0o600)
    for name, mode in (("pw", 0o600), ("open", 0o644)):
        (tmp_path / name).write_text(SECRET)
        (tmp_path / name).chmod(mode)
    return tmp_path


def ended(*args: str) -> Run:
    """The real command but for its terminal: there is none."""
    out, err = io.StringIO(), io.StringIO()
    stdin = io.TextIOWrapper(io.BytesIO(b""))
    with redirect_stdout(out), redirect_stderr(err):
        code = run_command(args, Invocation(open_terminal=lambda: Terminal(stdin, err)))
    return Run(int(code), out.getvalue(), err.getvalue())


@pytest.mark.parametrize("quiet", [(), ("--quiet",)], ids=["", "quiet"])
@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_one_message_with_a_code(name, quiet):
    run = ended(*WRONG[name], *quiet)

    assert run.code == 2
    assert run.out == ""
    assert len(re.findall("^error [A-Z_]+ ", run.err, re.MULTILINE)) == 1 or "Usage: " in run.err
    assert SECRET not in run.err
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", run.err)


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_exactly_one_document(name):
    run = ended(*WRONG[name], "--output", "json")

    assert run.code == 2
    document = only_document(run.out)
    assert document["schema"] == "gausscert/error/v1"
    assert document["error"]["message"]
    assert document["error"]["remedy"], "everybody is told what to do"
    assert run.err == ""
    assert SECRET not in run.out


@pytest.mark.parametrize("name", WRONG)
def test_nothing_that_was_there_is_touched(name, place):
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}

    ended(*WRONG[name])

    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("name", CHECK)
def test_check_is_unknown_in_one_line_and_in_one_document(name):
    run = ended(*CHECK[name])
    document = only_document(ended(*CHECK[name], "--output", "json").out)

    assert run.code == 3
    assert run.out.startswith("UNKNOWN - ")
    assert (document["schema"], document["state"]) == ("gausscert/check/v1", "UNKNOWN")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize(
    "args",
    [
        ("status", "--inventory", "empty"),
        ("replace", "--plan", "empty", "--yes"),
        ("bundle", "verify", "directory", "--server-password-file", "empty", "--client-password-file", "pw"),
    ],
)
def test_a_file_that_may_not_be_read_is_named(place, args):
    (place / "empty").chmod(0o000)

    run = ended(*args)

    assert run.code == 2
    assert "empty: " in run.err
    assert "Permission denied" in run.err


class Somebody:
    """Another user of this machine, who may not enter everybody's directories: root may."""

    def __init__(self, common: Path) -> None:
        self.common = common
        self.closed = common / "closed"
        self.closed.mkdir(mode=0o700)

    def run(self, *argv: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        other = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--")
        return subprocess.run(
            [*other, sys.executable, "-B", "-c", *argv],
            cwd=cwd,
            env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def gausscert(self, *args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        return self.run("from gausscert_coordinator.cli.main import main; main()", *args, cwd=cwd)


@pytest.fixture
def somebody():
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root can be somebody else")
    common = Path("/tmp") / f"gausscert-other-{os.getpid()}-{os.urandom(4).hex()}"
    common.mkdir()
    common.chmod(0o755)
    made = Somebody(common)
    if made.run("import gausscert_coordinator", cwd=common).returncode == 0:
        yield made
    else:
        pytest.skip("others cannot run this interpreter")
    shutil.rmtree(common)


def test_a_working_directory_that_may_not_be_entered_is_no_bug(somebody):
    """`sudo -u omm gausscert status` in root's home."""
    run = somebody.gausscert("status", cwd=somebody.closed)

    assert run.returncode == 2, run.stderr
    assert "no inventory: neither gausscert.toml nor /etc/gausscert/gausscert.toml" in run.stderr


def test_credentials_in_somebody_elses_directory_are_told_as_such(somebody):
    pki = somebody.closed / "pki"
    (somebody.common / "gausscert.toml").write_text(
        f'[cluster]\nname = "prod"\n[credentials]\nca = "{pki}/ca.crt"\ncert = "{pki}/a.crt"\n'
        f'key = "{pki}/a.key"\n[[node]]\nname = "n1"\naddress = "127.0.0.1:1"\n'
    )
    (somebody.common / "gausscert.toml").chmod(0o644)

    for verb in ("status", "check"):
        run = somebody.gausscert(verb, cwd=somebody.common)
        said = run.stdout + run.stderr

        assert run.returncode == (3 if verb == "check" else 2), said
        assert "a bug" not in said
        assert said.count("Permission denied") >= 3, said


def test_an_inventory_of_the_system_that_may_not_be_looked_for_is_named(somebody):
    """/etc/gausscert is for the agent's user alone: whether a gausscert.toml is there, others cannot see."""
    script = (
        "import sys\nfrom pathlib import Path\nfrom gausscert_coordinator import inventory_file\n"
        "hidden = Path(sys.argv[1])\nassert inventory_file.find(None, {}, system_file=hidden) == hidden\n"
        "try:\n    inventory_file.load(hidden)\nexcept Exception as error:\n    print(error)\n"
    )

    run = somebody.run(script, str(somebody.closed / "gausscert.toml"), cwd=somebody.common)

    assert (run.returncode, run.stderr) == (0, "")
    assert "cannot be read: Permission denied" in run.stdout


def test_a_ca_beside_the_new_credential_that_may_not_be_read_is_no_bug(somebody):
    from gausscert_coordinator import pki

    pki.init(somebody.common / "pki", "prod", None)
    os.chown(somebody.common / "pki", 65534, 65534)
    for path in (somebody.common / "pki").iterdir():
        os.chown(path, 65534, 65534)
    out = somebody.common / "out"
    out.mkdir(mode=0o700)
    (out / "ca.crt").touch(0o600)
    os.chown(out, 65534, 65534)
    words = ("pki", "issue", "node", "n1", "--dir", str(somebody.common / "pki"))

    run = somebody.gausscert(*words, "--out", str(out), cwd=somebody.common)

    assert run.returncode == 2, run.stderr
    assert "Permission denied" in run.stderr


def test_an_unknown_node_to_leave_out_is_asked_of_the_plan(bundle, passwords):
    """What the plan makes of it is its own business; the command line passes every name on."""
    given = Given(plan=plan())

    cli("plan", str(bundle), "--exclude", "n9\x1b[2J", *passwords, given=given)

    (options,) = (each[2] for each in given.asked if each[0] == "plan")
    assert options.exclude == ("n9\x1b[2J",)


def test_a_bug_is_one_document_too():
    run = cli("status", "--output", "json", given=Given(raises=ZeroDivisionError(SECRET)))

    assert run.code == 5
    assert run.document["error"]["reason"] == "INTERNAL"
    assert SECRET not in run.out


def test_closed_streams_are_no_bug(monkeypatch):
    """As a cron job may start it."""
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    given = Given(status=cluster_status())

    assert run_command(["version"]) == 0
    assert given.asked == []
