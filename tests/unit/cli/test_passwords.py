"""Where passwords may come from, and where not."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from gausscert_common.bundle import Bundle, FactorFiles
from gausscert_common.errors import InvalidInput
from gausscert_coordinator.cli import verbs
from gausscert_coordinator.cli.passwords import STDIN, PasswordFiles, complete, read_both, read_one
from gausscert_coordinator.cli.terminal import Terminal
from support.cli_fakes import Tty, cli

SECRET = "Canary#7pw"


def nobody(piped=b""):
    return Terminal(io.TextIOWrapper(io.BytesIO(piped)), io.StringIO(), _never)


def somebody(*answers):
    given = iter(answers)
    return Terminal(Tty(""), io.StringIO(), lambda prompt: next(given))


def _never(prompt):
    raise AssertionError(f"asked for {prompt}")


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "pw"
    path.write_text(SECRET + "\n")
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_private_file_is_read_without_its_one_newline(file, mode):
    file.chmod(mode)

    assert read_one(file, "password", nobody()) == SECRET


@pytest.mark.parametrize(("body", "password"), [("pw", "pw"), ("pw\r\n", "pw"), (" p w \n", " p w ")])
def test_only_the_line_end_is_taken_off(file, body, password):
    file.write_bytes(body.encode())

    assert read_one(file, "password", nobody()) == password


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o620, 0o610])
def test_a_file_that_others_may_use_is_refused_with_the_remedy(file, mode):
    file.chmod(mode)

    with pytest.raises(InvalidInput) as refused:
        read_one(file, "password", nobody())

    assert refused.value.file == str(file)
    assert f"{mode:04o}" in refused.value.message
    assert refused.value.remedy == f"chmod 600 {file}"
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("body", [b"", b"\n", b"one\ntwo\n", b"\n\n", b"caf\xe9-canary\n"])
def test_what_is_no_single_line_of_text_is_refused(file, body):
    file.write_bytes(body)

    with pytest.raises(InvalidInput) as refused:
        read_one(file, "password", nobody())

    assert "canary" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_a_missing_file_and_a_directory_are_refused(tmp_path):
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(InvalidInput) as refused:
            read_one(path, "password", nobody())
        assert refused.value.file == str(path)


def test_a_dash_is_standard_input_one_line_each():
    terminal = nobody(b"first\nsecond\n")

    found = read_both(PasswordFiles(STDIN, STDIN), terminal)

    assert (found.server, found.client) == ("first", "second")


def test_a_dash_at_a_terminal_is_refused_because_it_would_echo():
    with pytest.raises(InvalidInput, match="terminal"):
        read_one(STDIN, "password", somebody(SECRET))


def test_at_a_terminal_the_operator_is_asked_for_what_no_file_has(file):
    found = read_both(PasswordFiles(file, None), somebody("typed"))

    assert (found.server, found.client) == (SECRET, "typed")


def test_new_passwords_are_asked_twice():
    found = read_both(PasswordFiles(), somebody("a", "a", "b", "b"), new=True)

    assert (found.server, found.client) == ("a", "b")


def test_two_different_entries_are_refused():
    with pytest.raises(InvalidInput, match="differ") as refused:
        read_both(PasswordFiles(), somebody("canary1", "canary2"), new=True)

    assert "canary" not in str(refused.value)


def test_without_a_terminal_both_missing_options_are_named_before_anything_is_read():
    terminal = nobody(b"first\n")

    with pytest.raises(InvalidInput) as refused:
        read_both(PasswordFiles(), terminal)

    assert "--server-password-file and --client-password-file" in refused.value.remedy
    assert terminal.piped_line(100) == b"first\n"


def test_ready_factor_files_need_no_password():
    bundle = Bundle({}, factor_files=FactorFiles(b"1", b"2", b"3", b"4"))

    assert complete(bundle, PasswordFiles(), nobody()) is bundle


def test_passwords_beside_factor_files_are_taken_so_that_they_can_be_compared(file):
    bundle = Bundle({}, factor_files=FactorFiles(b"1", b"2", b"3", b"4"))

    assert complete(bundle, PasswordFiles(file, file), nobody()).server_password == SECRET


def test_what_is_wrong_with_both_files_is_told_at_once_and_nobody_is_asked(file, tmp_path):
    file.chmod(0o644)
    missing = tmp_path / "missing"

    with pytest.raises(InvalidInput) as refused:
        read_both(PasswordFiles(file, missing), somebody())

    assert [each.file for each in refused.value.findings] == [str(file), str(missing)]
    assert f"chmod 600 {file}" in refused.value.remedy
    with pytest.raises(InvalidInput, match="No such file"):
        read_both(PasswordFiles(None, missing), somebody())


def test_a_repr_shows_no_password(file):
    assert SECRET not in repr(read_both(PasswordFiles(file, file), nobody()))


def test_no_option_takes_a_password_itself():
    tables = {"": verbs.ROOT, "agents ": verbs.AGENTS, "bundle ": verbs.BUNDLE, "pki ": verbs.PKI}
    for prefix, table in tables.items():
        for name in table:
            shown = cli(*f"{prefix}{name}".split(), "--help").out
            options = re.findall(r"--[a-z-]*(?:password|passphrase)[a-z-]*", shown)
            assert all(each.endswith("-file") or each == "--no-passphrase" for each in options), options


def test_a_prompt_on_a_real_terminal_shows_nothing_that_is_typed(tmp_path):
    """A pseudo-terminal of its own session: what getpass really does."""
    parent, child = pty.openpty()
    script = (
        "import sys\n"
        "from gausscert_coordinator.cli.terminal import Terminal\n"
        "got = Terminal(sys.stdin, sys.stderr).secret('password')\n"
        f"sys.exit(0 if got == {SECRET!r} else 9)\n"
    )
    asking = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=child,
        stdout=child,
        stderr=child,
        start_new_session=True,
    )
    os.close(child)
    shown = b""
    while b"password: " not in shown:
        shown += os.read(parent, 1024)
    os.write(parent, SECRET.encode() + b"\n")
    try:
        while chunk := os.read(parent, 1024):
            shown += chunk
    except OSError:
        pass  # EIO is how Linux tells that the other side has closed
    os.close(parent)

    assert asking.wait(10) == 0
    assert SECRET.encode() not in shown


def test_an_empty_password_is_asked_for_again_at_once():
    prompts = []
    answers = iter(["", "", "Server@123"])

    def hidden(prompt):
        prompts.append(prompt)
        return next(answers)

    assert read_one(None, "password", Terminal(Tty(""), io.StringIO(), hidden)) == "Server@123"
    assert ["cannot be empty" in prompt for prompt in prompts] == [False, True, True]


def test_who_gives_no_password_three_times_is_refused():
    answers = iter(["", "", ""])

    with pytest.raises(InvalidInput, match="empty"):
        read_one(None, "password", Terminal(Tty(""), io.StringIO(), lambda _: next(answers)))


def test_a_file_that_others_can_read_is_said_to_be_one(tmp_path):
    loose = tmp_path / "pw"
    loose.write_text("Server@123")
    loose.chmod(0o644)

    with pytest.raises(InvalidInput, match="the password file can be read or written by others") as caught:
        read_one(loose, "password", Terminal(io.StringIO(), io.StringIO()))

    assert caught.value.remedy == f"chmod 600 {loose}"


DESCRIPTOR = """
import sys
from pathlib import Path
from gausscert_common import hardening
from gausscert_coordinator.cli.passwords import read_one
from gausscert_coordinator.cli.terminal import Terminal
hardening.harden()
print(read_one(Path(f"/dev/fd/{sys.argv[1]}"), "password", Terminal(sys.stdin, sys.stderr)))
"""


def test_a_descriptor_is_named_as_a_file_as_shells_do_it_and_also_to_a_process_that_is_hardened():
    """`--server-password-file <(command)`, or 3< as a supervisor passes it: so there is no option for it."""
    reading, writing = os.pipe()
    os.write(writing, b"Prompt-Pass1\n")
    os.close(writing)
    done = subprocess.run(
        [sys.executable, "-c", DESCRIPTOR, str(reading)],
        pass_fds=[reading],
        capture_output=True,
        text=True,
        check=False,
    )
    os.close(reading)
    assert (done.stdout, done.stderr) == ("Prompt-Pass1\n", "")


@pytest.mark.parametrize("size", [4096, 4097, 100_000])
def test_what_is_too_long_is_refused_and_not_cut_off(file, size):
    """Half of a passphrase would encrypt a key that the whole one does not open."""
    file.write_bytes(b"x" * size)
    terminal = nobody(b"x" * size + b"\nsecond\n")

    if size == 4096:
        assert len(read_one(file, "passphrase", nobody())) == size
        return
    for given in (file, STDIN):
        with pytest.raises(InvalidInput, match="more than 4096 bytes"):
            read_one(given, "passphrase", terminal)


def asked_on_a_terminal(script: str, typed: bytes, until: bytes = b": ", **environment: str):
    """A pseudo-terminal of its own session; answers what was shown, and the exit code."""
    parent, child = pty.openpty()
    asking = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=child,
        stdout=child,
        stderr=child,
        start_new_session=True,
        env=os.environ | environment,
    )
    os.close(child)
    shown = b""
    while until not in shown:
        shown += os.read(parent, 1024)
    os.write(parent, typed)
    try:
        while chunk := os.read(parent, 1024):
            shown += chunk
    except OSError:
        pass  # EIO is how Linux tells that the other side has closed
    os.close(parent)
    return shown.decode(errors="replace"), asking.wait(20)


COMMAND = """
import sys
from gausscert_coordinator.cli.main import main
sys.argv = ["gausscert", *{words!r}]
main()
"""


@pytest.mark.parametrize("locale", ["C.UTF-8", "POSIX"])
def test_a_passphrase_that_is_no_text_is_no_bug_and_nothing_of_it_is_shown(tmp_path, locale):
    """A terminal of another encoding, or a key that sends what it should not."""
    words = ["pki", "init", "--dir", str(tmp_path / "pki"), "--cluster", "prod", "--verbose"]
    off = {} if locale == "C.UTF-8" else {"PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}

    shown, code = asked_on_a_terminal(COMMAND.format(words=words), b"canary-\xff\xfe\n", LC_ALL=locale, **off)

    assert code == 2, shown
    assert "is no text in this terminal's encoding" in shown
    assert "Traceback" not in shown
    assert "xff" not in shown
    assert not (tmp_path / "pki").exists()


def test_an_answer_that_is_no_text_is_a_no():
    stdin = io.TextIOWrapper(io.BytesIO(b"y\xff\n"), encoding="utf-8")

    assert Terminal(stdin, io.StringIO()).confirmed("Really?") is False


@pytest.mark.parametrize("size", [1023, 1024, 4000])
def test_a_passphrase_beyond_what_openssl_takes_is_refused_before_anything_is_made(tmp_path, file, size):
    file.write_bytes(b"x" * size)

    run = cli(
        "pki", "init", "--dir", str(tmp_path / "pki"), "--cluster", "prod", "--passphrase-file", str(file)
    )

    assert run.code == (0 if size == 1023 else 2), run.err
    assert (tmp_path / "pki").exists() == (size == 1023)


def test_the_passphrase_of_a_bundles_ca_is_held_to_the_same(tmp_path, file):
    (tmp_path / "long").write_bytes(b"x" * 1024)
    (tmp_path / "long").chmod(0o600)
    passwords = ("--server-password-file", str(file), "--client-password-file", str(file))

    run = cli(
        *("bundle", "new", str(tmp_path / "made"), "--key-type", "ec-p256", *passwords),
        *("--ca-passphrase-file", str(tmp_path / "long")),
    )

    assert run.code == 2, run.err
    assert not (tmp_path / "made").exists()
