"""`bundle new`, `bundle verify`, `pki init`, `pki issue`: real files, real keys."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from gausscert_coordinator.cli.bundle_new import sorted_names
from support.cli_fakes import cli

SECRET = "Canary#7pw"
PASSPHRASE = "a long passphrase of the CA"


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, body in (("pw", SECRET), ("pass", PASSPHRASE)):
        Path(name).write_text(body + "\n")
        Path(name).chmod(0o600)
    return tmp_path


PASSWORDS = ("--server-password-file", "pw", "--client-password-file", "pw")
EC = ("--key-type", "ec-p256")


def make(*more, name="made"):
    return cli("bundle", "new", name, *EC, *PASSWORDS, *more)


def files(directory):
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in Path(directory).iterdir()}


def test_a_new_bundle_verifies_and_its_files_are_private(here):
    made = make()
    verified = cli("bundle", "verify", "made", *PASSWORDS)

    assert made.code == 0
    assert files("made") == dict.fromkeys(
        ("cacert.pem", "server.crt", "server.key", "client.crt", "client.key"), 0o400
    )
    assert stat.S_IMODE(Path("made").stat().st_mode) == 0o700
    assert "the CA's key was not kept" in made.out
    assert "gausscert bundle verify made" in made.err
    assert verified.code == 0
    assert "ok, 0 warnings" in verified.out


def test_no_password_is_in_the_output_or_in_the_clear_on_disk(here):
    made = make()

    assert SECRET not in made.out + made.err
    assert not any(SECRET.encode() in path.read_bytes() for path in Path("made").iterdir())


def test_options_reach_the_certificates(here):
    san = ("--san", "db1.example", "--san", "10.0.0.1", "--organization", "Example")

    run = make("--days", "90", "--ca-days", "180", "--output", "json", *san)

    leaf = x509.load_pem_x509_certificate(Path("made/server.crt").read_bytes())
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert run.document["schema"] == "gausscert/bundle-new/v1"
    assert run.document["ca_key"] is None
    assert {each["kind"] for each in run.document["certificates"]} == {"server", "client", "ca"}
    assert names.get_values_for_type(x509.DNSName) == ["db1.example"]
    assert [str(each) for each in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.1"]
    assert "O=Example" in leaf.subject.rfc4514_string()
    assert (leaf.not_valid_after_utc - leaf.not_valid_before_utc).days == 90


def test_a_kept_ca_key_is_encrypted_and_no_part_of_the_bundle(here):
    made = make("--ca-passphrase-file", "pass")
    verified = cli("bundle", "verify", "made", "--output", "json", *PASSWORDS)

    assert "keep it elsewhere" in made.out
    serialization.load_pem_private_key(Path("made/ca.key").read_bytes(), PASSPHRASE.encode())
    assert verified.document["unknown_files"] == []


def test_keep_ca_key_asks_for_the_passphrase_twice(here):
    run = cli(
        "bundle", "new", "made", *EC, *PASSWORDS, "--keep-ca-key", typed="", hidden=(PASSPHRASE, PASSPHRASE)
    )

    assert run.code == 0
    assert Path("made/ca.key").exists()


@pytest.mark.parametrize(
    "args",
    [
        ("--days", "0"),
        ("--days", "4000", "--ca-days", "100"),
        ("--san", "no such name"),
        ("--key-type", "dsa"),
        ("--keep-ca-key",),
    ],
)
def test_what_cannot_be_made_is_refused_and_writes_nothing(here, args):
    run = make(*args)

    assert run.code == 2
    assert not Path("made").exists()


def test_a_weak_password_is_refused_without_being_shown(here):
    Path("pw").write_text("canary\n")

    run = make()

    assert run.code == 2
    assert not Path("made").exists()
    assert "canary" not in run.out + run.err


def test_without_files_and_terminal_it_is_refused_at_once(here):
    run = cli("bundle", "new", "made", *EC)

    assert run.code == 2
    assert "--server-password-file and --client-password-file" in run.err
    assert not Path("made").exists()


def test_an_occupied_directory_is_refused_before_any_question(here):
    Path("made").mkdir()
    Path("made/mine").write_text("mine")

    run = cli("bundle", "new", "made", *EC, typed="", hidden=())

    assert run.code == 2
    assert "nothing is ever overwritten" in run.err
    assert files("made").keys() == {"mine"}


def test_a_missing_parent_is_refused(here):
    assert make(name="none/made").code == 2
    assert not Path("none").exists()


def test_verify_reports_everything_at_once_and_unknown_files_refuse_nothing(here):
    make()
    make(name="other")
    Path("made/README").write_text("hello")
    for name in ("server.key", "client.crt"):
        (Path("made") / name).unlink()
        (Path("made") / name).write_bytes((Path("other") / name).read_bytes())
        (Path("made") / name).chmod(0o400)

    run = cli("bundle", "verify", "made", "--output", "json", *PASSWORDS)

    assert run.code == 2
    assert run.document["ok"] is False
    assert run.document["unknown_files"] == ["README"]
    blamed = {each["file"] for each in run.document["findings"] if each["severity"] == "error"}
    assert {"server.crt", "client.crt"} & blamed
    assert len(run.document["findings"]) >= 3


def test_verify_names_unknown_files_of_a_good_bundle_and_ends_with_zero(here):
    make()
    Path("made/README").write_text("hello")

    run = cli("bundle", "verify", "made", *PASSWORDS)

    assert run.code == 0
    assert "README" in run.out


def test_verify_with_a_wrong_password_is_refused_and_does_not_show_it(here):
    make()
    Path("pw").write_text("Another#9Canary\n")

    run = cli("bundle", "verify", "made", *PASSWORDS)

    assert run.code == 2
    assert "Canary" not in run.out + run.err


def test_verify_takes_both_passwords_from_standard_input(here):
    import subprocess
    import sys

    make()
    done = subprocess.run(
        [
            *(sys.executable, "-c", "from gausscert_coordinator.cli.main import main; main()"),
            *("bundle", "verify", "made", "--server-password-file", "-", "--client-password-file", "-"),
        ],
        input=f"{SECRET}\n{SECRET}\n".encode(),
        capture_output=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr


def test_an_empty_directory_is_all_findings_and_no_crash(here):
    Path("empty").mkdir()

    run = cli("bundle", "verify", "empty", *PASSWORDS)

    assert run.code == 2
    assert run.out.count("cacert.pem") >= 1


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((), ((), ())),
        (("a.example", "::1", "10.0.0.1"), (("a.example",), ("::1", "10.0.0.1"))),
        (("10.0.0",), (("10.0.0",), ())),
    ],
)
def test_names_and_addresses_are_told_apart(given, expected):
    assert sorted_names(given) == expected


def init(*more):
    return cli("pki", "init", "--dir", "pki", "--cluster", "prod", *more)


def issue(*args):
    return cli("pki", "issue", *args, "--dir", "pki", "--out", "issued")


def test_init_and_issue_make_private_files_and_say_where_they_go(here):
    made = init("--no-passphrase")
    node = issue("node", "n1", "--dns", "db1.example", "--ip", "10.0.0.1")
    person = issue("operator", "alice")

    assert (made.code, node.code, person.code) == (0, 0, 0)
    assert "NOT encrypted" in made.out
    register = {name: mode for name, mode in files("pki").items() if name.startswith("issued-")}
    assert sorted(register.values()) == [0o400, 0o400]  # certificates only, so that they can be listed
    assert files("pki") == {"ca.crt": 0o400, "ca.key": 0o400} | register
    assert files("issued") == dict.fromkeys(
        ("ca.crt", "node-n1.crt", "node-n1.key", "operator-alice.crt", "operator-alice.key"), 0o400
    )
    assert "/etc/gausscert/pki" in node.err
    assert "gausscert.toml" in person.err


def test_a_passphrase_encrypts_the_ca_and_issue_asks_for_it(here):
    assert init("--passphrase-file", "pass").code == 0

    refused = issue("operator", "alice")
    granted = cli(
        "pki", "issue", "operator", "alice", "--dir", "pki", "--out", "issued", typed="", hidden=(PASSPHRASE,)
    )

    assert refused.code == 2
    assert "no terminal to ask" in refused.err
    assert granted.code == 0
    assert PASSPHRASE not in granted.out + granted.err


def test_a_wrong_passphrase_issues_nothing(here):
    init("--passphrase-file", "pass")

    run = issue("operator", "alice", "--passphrase-file", "pw")

    assert run.code == 2
    assert not Path("issued").exists()


def test_init_asks_twice_at_a_terminal(here):
    args = ("pki", "init", "--dir", "pki", "--cluster", "prod")

    differ = cli(*args, typed="", hidden=("one", "two"))
    assert differ.code == 2
    assert not Path("pki").exists()

    same = cli(*args, typed="", hidden=("one phrase", "one phrase"))
    assert same.code == 0
    assert b"ENCRYPTED" in Path("pki/ca.key").read_bytes()


def test_init_without_any_choice_and_without_terminal_is_refused(here):
    assert init().code == 2
    assert not Path("pki").exists()


def test_both_choices_exclude_each_other(here):
    assert init("--no-passphrase", "--passphrase-file", "pass").code == 2
    assert not Path("pki").exists()


def test_nothing_is_written_over(here):
    init("--no-passphrase")
    issue("node", "n1")
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}

    assert init("--no-passphrase").code == 2
    assert issue("node", "n1").code == 2
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before


def test_issue_without_a_ca_says_how_to_make_one(here):
    run = issue("node", "n1")

    assert run.code == 2
    assert "gausscert pki init" in run.err


def test_who_is_revoked_goes_with_the_credential_of_a_node(here):
    init("--no-passphrase")
    issue("operator", "alice")
    before = issue("node", "n1")
    cli("pki", "revoke", "alice", "--dir", "pki", "--no-send")

    after, person = issue("node", "n2"), issue("operator", "bob")

    assert [("deny.list" in run.err) for run in (before, after, person)] == [False, True, False]
    (here / "pki" / "deny.list").write_text("alice")
    spoilt = issue("node", "n3")
    assert (spoilt.code, "deny.list" in spoilt.err) == (0, True)
    assert "cannot be used: mend it first (gausscert pki list)" in spoilt.err
    assert "to its state directory" in after.err
    assert "to its state directory" not in spoilt.err  # an agent with that list would keep everybody out


def test_the_issued_document_names_the_identity(here):
    init("--no-passphrase")

    document = issue("observer", "nagios", "--output", "json").document

    assert document["identity"] == "gausscert://prod/observer/nagios"
    assert Path(document["cert"]).is_file()
    assert len(document["fingerprint"]) == 64


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (("--ip", "1.2.3"), ("--ip 1.2.3", "no IP address", "--dns")),
        (("--ip", "n1.example"), ("--ip n1.example", "no IP address")),
        (("--dns", "10.0.0.1"), ("--dns 10.0.0.1", "write --ip 10.0.0.1")),
        (("--dns", "fd00::1"), ("--dns fd00::1", "write --ip fd00::1")),
    ],
)
def test_names_and_addresses_of_a_node_are_not_confused(here, wrong, words):
    assert init("--no-passphrase").code == 0

    run = cli("pki", "issue", "node", "n1", "--dir", "pki", "--out", "out", *wrong)

    assert run.code == 2
    assert all(word in run.err for word in words)
    assert not (here / "out").exists()
