"""`gausscert agents`: what is told, asked and answered, over an ssh that reaches nobody."""

from __future__ import annotations

import io
import json
import re
import shutil
import signal
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from gausscert_common import denylist
from gausscert_common.denylist import Denied
from gausscert_common.errors import NodeFailure, Reason, Unreachable
from gausscert_common.identity import Role
from gausscert_coordinator import history_reader, inventory_file, naming, pki, pki_register
from gausscert_coordinator.cli.main import run as run_command
from gausscert_coordinator.cli.settings import Invocation
from gausscert_coordinator.cli.terminal import Terminal
from gausscert_coordinator.rollout.ssh import Ended
from support import software
from support.cli_fakes import Run, Tty
from support.rollout_fakes import FakeDoctor, FakeSsh, look, running, trouble

NODES = ("n1", "n2")


class Desk:
    """An operator with an inventory of two nodes, a bundle, and a CA with a passphrase."""

    def __init__(self, root: Path, bundle: Path) -> None:
        self.root = root
        self.bundle = str(bundle)
        self.ssh = FakeSsh({name: {"look": here()} for name in NODES})
        self.doctor = FakeDoctor()
        pki.init(root / "pki", "prod", b"a passphrase")
        pki.issue(root / "pki", Role.OPERATOR, "alice", passphrase=b"a passphrase")
        (root / "ca.pass").write_text("a passphrase\n")
        (root / "ca.pass").chmod(0o600)
        (root / "agent.toml").write_text('[cm]\nhome = "/opt/cm"\n')
        text = f'[cluster]\nname = "prod"\n[history]\nfile = "{root}/history.db"\n'
        text += '[credentials]\nca = "pki/ca.crt"\n'
        text += 'cert = "pki/operator-alice.crt"\nkey = "pki/operator-alice.key"\n'
        for name in NODES:
            text += f'[[node]]\nname = "{name}"\naddress = "{name}:7443"\n'
        (root / "gausscert.toml").write_text(text)

    def run(
        self, verb: str, *arguments: str, typed: str | None = None, out: io.StringIO | None = None
    ) -> Run:
        stdin = Tty(typed) if typed is not None else io.TextIOWrapper(io.BytesIO(b""))
        out, err = out or io.StringIO(), io.StringIO()
        invocation = Invocation(
            load_inventory=lambda path, cluster: inventory_file.load(
                path or Path("nowhere"), cluster=cluster
            ),
            open_terminal=lambda: Terminal(stdin, err),
            open_ssh=lambda: self.ssh,
            open_doctor=lambda inventory: self.doctor,
        )
        with redirect_stdout(out), redirect_stderr(err):
            code = run_command(
                ["agents", verb, "--ssh", *arguments, "--inventory", str(self.root / "gausscert.toml")],
                invocation,
            )
        return Run(code, out.getvalue(), err.getvalue())

    def gausscert(self, *arguments: str) -> Run:
        """Any other verb."""
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = run_command([*arguments, "--inventory", str(self.root / "gausscert.toml")])
        return Run(code, out.getvalue(), err.getvalue())

    def deploy(self, *arguments: str, out: io.StringIO | None = None) -> Run:
        passphrase = ("--passphrase-file", str(self.root / "ca.pass"))
        return self.run("deploy", "--bundle", self.bundle, *passphrase, *arguments, out=out)


def cli_history(desk: Desk, *arguments: str) -> Run:
    return desk.gausscert("history", *arguments)


def here(**changes: Any) -> dict[str, Any]:
    """A bare node of this machine's kind: the bundle fits it."""
    import platform
    import sys

    kind = {
        "python": list(sys.version_info[:2]),
        "machine": platform.machine(),
        "libc": list(platform.libc_ver()),
    }
    return look(**kind, **changes)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return software.make(tmp_path_factory.mktemp("software") / "bundle")


@pytest.fixture
def desk(tmp_path: Path, bundle: Path) -> Desk:
    return Desk(tmp_path, bundle)


def test_all_nodes_are_deployed_with_credentials_of_the_operators_ca(desk: Desk):
    done = desk.deploy("--output", "json")

    assert done.code == 0, done.err
    document = json.loads(done.out)
    assert document["schema"] == "gausscert/agents-deploy/v1"
    assert [each["state"] for each in document["nodes"]] == ["deployed", "deployed"]
    assert "n1  upload: " in done.err
    assert "n2  health" in done.err
    (sent,) = [body for argv, body in desk.ssh.sent if b'"action": "credential"' in body and "n1" in argv]
    assert sent.count(b"-----BEGIN PRIVATE KEY-----") == 1
    assert b"PRIVATE KEY" not in done.out.encode() + done.err.encode()


def test_while_the_control_plane_changes_its_ca_nodes_get_both(desk: Desk):
    """Whichever of the two signs. The usual place of the first one has both CAs by then: runbook, step 2."""
    pki.init(desk.root / "new", "prod", b"a passphrase")
    first, second = ((desk.root / name / "ca.crt").read_bytes() for name in ("pki", "new"))
    both = desk.root / "pki" / "ca.crt"
    both.chmod(0o600)
    both.write_bytes(first + second)

    for signer, arguments in ((first, ()), (second, ("--pki", str(desk.root / "new")))):
        desk.ssh.sent.clear()
        done = desk.deploy(*arguments)

        assert done.code == 0, done.err
        sent = [certificates(body) for _, body in desk.ssh.sent if b'"action": "credential"' in body]
        assert len(sent) == len(NODES)
        for *cas, cert in sent:
            assert set(cas) == set(x509.load_pem_x509_certificates(first + second))
            cert.verify_directly_issued_by(x509.load_pem_x509_certificate(signer))


def certificates(parcel: bytes) -> list[x509.Certificate]:
    """Those of a parcel, in the order in which they are sent: ca.crt before the node's own."""
    pems = re.findall(b"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n", parcel, re.DOTALL)
    return [x509.load_pem_x509_certificate(pem) for pem in pems]


def test_a_ca_that_the_operator_does_not_trust_is_refused_for_all_nodes_before_anything_is_begun(desk: Desk):
    pki.init(desk.root / "new", "prod", b"a passphrase")

    done = desk.deploy("--pki", str(desk.root / "new"))

    assert done.code == 2
    assert all(f"{name}: the CA that would issue" in done.err for name in NODES)
    assert {action for _, action in desk.ssh.asked} == {"look"}
    assert not list((desk.root / "new").glob("pending-*"))


def history(desk: Desk) -> list[Any]:
    """Every roll-out that was recorded, the newest first."""
    path = desk.root / "history.db"
    runs = history_reader.runs(path, "prod", limit=10)
    return [history_reader.transaction(path, "prod", each.transaction_id)[0] for each in runs]


def test_a_roll_out_is_in_the_history_with_the_releases_of_every_node(desk: Desk):
    desk.ssh.answers["n2"]["look"] = here(release="0.0.9-old", releases=["0.0.9-old"])

    done = desk.deploy("--output", "json")

    release = json.loads(done.out)["nodes"][0]["release"]
    (account,) = history(desk)
    assert (account.run.kind, account.run.verdict, account.run.participants) == ("agents deploy", "done", 2)
    assert account.run.holder.startswith(naming.person())
    told = {each.node: (each.former, each.release, each.state) for each in account.agents}
    assert told == {"n1": ("", release, "deployed"), "n2": ("0.0.9-old", release, "deployed")}
    assert account.agents[0].done.startswith("upload,install,credential")
    assert desk.run("deploy", "--bundle", desk.bundle, "--dry-run").code == 0
    assert len(history(desk)) == 1


@pytest.mark.usefixtures("interruptible")
def test_what_failed_and_what_was_stopped_is_in_the_history_too(desk: Desk):
    desk.ssh.answers["n2"]["install"] = trouble("no space left")
    assert desk.deploy().code == 2
    desk.ssh.answers["n2"]["install"] = signal.SIGINT
    assert desk.deploy().code == 2

    stopped, failed = history(desk)
    assert (failed.run.verdict, failed.run.interrupted) == ("failed", False)
    assert {each.node: (each.state, each.failed_at) for each in failed.agents} == {
        "n1": ("untouched", ""),
        "n2": ("failed", "install"),
    }
    assert [each.message for each in failed.failures] == ["no space left"]
    assert (stopped.run.verdict, stopped.run.interrupted) == ("failed", True)
    assert {each.state for each in stopped.agents} == {"begun"}


def test_the_history_shows_roll_outs_beside_transactions(desk: Desk):
    desk.deploy()
    (account,) = history(desk)

    shown = cli_history(desk)
    one = cli_history(desk, account.run.transaction_id)
    document = cli_history(desk, account.run.transaction_id, "--output", "json")

    assert "agents deploy" in shown.out
    assert account.agents[0].release in one.out
    assert "deployed" in one.out
    (run,) = json.loads(document.out)["runs"]
    assert [each["node"] for each in run["agents"]] == ["n1", "n2"]
    assert run["agents"][0]["former_release"] == ""
    assert cli_history(desk, "--verify", "--no-nodes").code == 0


def test_a_removal_is_in_the_history(desk: Desk):
    desk.ssh.answers["n1"] = {"look": here(release="0.1-a", releases=["0.1-a"]), "remove": ["/opt/gausscert"]}
    desk.ssh.answers["n2"] = {"look": here(), "remove": trouble("it does not end")}

    assert desk.run("remove", "--yes").code == 2

    (account,) = history(desk)
    assert (account.run.kind, account.run.verdict) == ("agents remove", "failed")
    assert [(each.node, each.former, each.release, each.state) for each in account.agents] == [
        ("n1", "0.1-a", "", "removed"),
        ("n2", "", "", "failed"),
    ]


def test_a_history_that_cannot_be_written_keeps_no_agent_from_its_node(desk: Desk):
    (desk.root / "history.db").mkdir()

    done = desk.deploy("--output", "json")

    assert done.code == 0, done.err
    document = json.loads(done.out)
    assert [each["state"] for each in document["nodes"]] == ["deployed", "deployed"]
    assert [each["code"] for each in document["findings"]] == ["HISTORY_NOT_WRITTEN"]


def states(desk: Desk) -> dict[str, bool]:
    """Whether what was issued to each node is on it, for all that is known."""
    entries = pki_register.entries(desk.root / "pki")
    return {each.identity.name: not each.pending for each in entries if each.role is Role.NODE}


def test_a_credential_counts_as_issued_once_it_is_on_its_node(desk: Desk):
    desk.ssh.answers["n2"]["credential"] = trouble("no space")

    assert desk.deploy().code == 2
    assert states(desk) == {"n1": True, "n2": False}

    del desk.ssh.answers["n2"]["credential"]
    assert desk.deploy("--node", "n2").code == 0
    entries = [each for each in pki_register.entries(desk.root / "pki") if each.identity.name == "n2"]
    assert [each.pending for each in entries] == [False, True]


def test_what_a_roll_out_that_was_cut_short_has_put_on_a_node_is_seen_by_the_next(desk: Desk):
    signed = pki.sign(desk.root / "pki", Role.NODE, "n1", passphrase=b"a passphrase")
    pki.register(desk.root / "pki", [signed])
    ca = (desk.root / "pki" / "ca.crt").read_text()
    credential = {"cert": signed.cert_pem.decode(), "ca": ca, "key_fits": True}
    desk.ssh.answers["n1"] = {"look": here(credential=credential)}

    assert desk.deploy("--node", "n1").code == 0

    assert states(desk) == {"n1": True}


@pytest.mark.parametrize(
    ("address", "listen"), [("n1:7443", "0.0.0.0:7443"), ("[fd00::1]:7443", "[::]:7443")]
)
def test_an_agent_listens_where_its_address_can_be_reached(desk: Desk, address: str, listen: str):
    """One that is reached by IPv6 would listen in vain on 0.0.0.0."""
    inventory = desk.root / "gausscert.toml"
    inventory.write_text(inventory.read_text().replace("n1:7443", address))
    desk.ssh.answers[address.rpartition(":")[0].strip("[]")] = {"look": here()}

    assert desk.deploy("--node", "n1").code == 0
    (config,) = (each["config"] for each in desk.ssh.requests if each["action"] == "configure")
    assert f'listen = "{listen}"' in config


@pytest.mark.parametrize("spoil", ["nonsense", "another CA"])
def test_a_credential_of_the_operators_that_cannot_be_used_is_refused_before_anything_is_begun(
    desk: Desk, spoil: str
):
    """It was a bug, or a failure at the last step: without it no agent can be asked for its health."""
    ca = desk.root / "pki" / "ca.crt"
    pki.init(desk.root / "other", "prod", None)
    ca.chmod(0o600)
    ca.write_text("nonsense" if spoil == "nonsense" else (desk.root / "other" / "ca.crt").read_text())

    done = desk.deploy()

    assert done.code == 2, done.err
    assert "error CREDENTIAL_INVALID" in done.err
    assert {action for _, action in desk.ssh.asked} == {"look"}


def own_settings(desk: Desk, **texts: str) -> None:
    """Of each node its own file."""
    head, *nodes = (desk.root / "gausscert.toml").read_text().split("[[node]]")
    entries = [
        f'[[node]]{entry.rstrip()}\nagent.settings = "{name}.toml"\n'
        for name, entry in zip(NODES, nodes, strict=True)
    ]
    (desk.root / "gausscert.toml").write_text(head + "".join(entries))
    for name, text in texts.items():
        (desk.root / f"{name}.toml").write_text(text)


def test_what_is_wrong_with_the_settings_of_any_node_is_told_before_anything_is_asked(desk: Desk):
    """It was the first bad file alone."""
    own_settings(desk, n1='[cm]\nhome = ""\nlog_path = 1\n', n2="[cm")

    refused = desk.deploy("--output", "json")

    assert refused.code == 2
    error = json.loads(refused.out)["error"]
    assert error["reason"] == "CONFIG_INVALID"
    assert [Path(each["file"]).name for each in error["findings"]] == ["n1.toml", "n1.toml", "n2.toml"]
    assert desk.ssh.asked == []
    shown = desk.deploy().err
    assert "3 things to mend" in shown
    assert shown.count("n2.toml") == 1


def test_paths_that_cannot_stand_in_a_unit_are_told_of_all_nodes(desk: Desk):
    own_settings(desk, **{name: f'[cm]\nhome = "/{name}$x"\n' for name in NODES})

    refused = desk.deploy("--output", "json")

    assert refused.code == 2
    error = json.loads(refused.out)["error"]
    assert [(each["node"], each["cause"][:7]) for each in error["findings"]] == [
        ("n1", "'/n1$x'"),
        ("n2", "'/n2$x'"),
    ]
    assert {action for _, action in desk.ssh.asked} == {"look"}
    shown = desk.deploy().err
    assert "n1: '/n1$x' cannot stand in a unit" in shown
    assert "n2: '/n2$x' cannot stand in a unit" in shown


def test_a_dry_run_asks_for_no_passphrase_and_begins_nothing(desk: Desk):
    done = desk.run("deploy", "--bundle", desk.bundle, "--dry-run")

    assert done.code == 0, done.err
    assert "nothing was changed" in done.out
    assert "credential: issue a credential" in done.out
    assert {action for _, action in desk.ssh.asked} == {"look"}


def test_everything_that_speaks_against_it_is_told_of_all_nodes_and_nothing_is_begun(desk: Desk):
    desk.ssh.answers["n1"] = {"look": here(account=None, free_bytes=1)}
    desk.ssh.answers["n2"] = {"look": Ended(255, "", "Host key verification failed.")}

    done = desk.deploy()

    assert done.code == 2
    for said in ("ROLLOUT_NO_USER", "ROLLOUT_NO_SPACE", "host key is not known"):
        assert said in done.out
    assert {action for _, action in desk.ssh.asked} == {"look"}


@pytest.mark.parametrize(
    ("answers", "code"),
    [
        ({"look": Ended(255, "", "Connection refused")}, 4),
        (
            {
                "look": here(
                    service="system",
                    service_state="active",
                    running=running("old"),
                    journal={"phase": "SWAPPED", "transaction": "t-1"},
                )
            },
            4,
        ),
        ({"look": here(), "install": Ended(255, "", "Connection timed out")}, 4),
        ({"look": here(), "install": Ended(1, "", "killed")}, 2),
        ({"look": here(), "activate": Ended(255, "", "Connection timed out")}, 2),  # others are there by now
        ({"look": here(), "install": ValueError("a bug")}, 5),
    ],
)
def test_the_exit_code_says_what_to_do_next(desk: Desk, answers: dict[str, Any], code: int):
    desk.ssh.answers["n2"] = answers

    assert desk.deploy().code == code


def test_an_agent_that_does_not_answer_after_its_start_is_a_step_that_failed(desk: Desk):
    desk.doctor.ill["n2"] = Unreachable(Reason.UNREACHABLE, "nobody answers", node="n2")

    done = desk.deploy()

    assert done.code == 2
    assert "failed at health" in " ".join(done.out.split())


def test_an_agent_that_is_not_healthy_is_a_failure_with_its_own_words(desk: Desk):
    desk.doctor.ill["n1"] = NodeFailure(
        Reason.ROLLOUT_FAILED, "no cm_ctl", node="n1", remedy="correct cm.home"
    )

    done = desk.deploy()

    assert done.code == 2
    assert "failed at health" in done.out
    assert "no cm_ctl" in done.out
    assert "correct cm.home" in done.out


def test_a_wrong_passphrase_is_refused_before_anything_is_begun(desk: Desk):
    (desk.root / "ca.pass").write_text("another\n")

    assert desk.deploy().code == 2
    assert {action for _, action in desk.ssh.asked} == {"look"}


def test_a_node_that_the_inventory_does_not_have_is_a_usage_error(desk: Desk):
    done = desk.deploy("--node", "n7")

    assert done.code == 2
    assert "no such node" in done.err
    assert not desk.ssh.asked


def test_one_node_alone(desk: Desk):
    assert desk.deploy("--node", "n2").code == 0
    assert {host for host, _ in desk.ssh.asked} == {"n2"}


@pytest.mark.parametrize("verb", ["deploy", "upgrade", "status", "remove"])
def test_every_verb_works_as_root_by_sudo_where_it_is_told_to(desk: Desk, verb: str):
    more = {"deploy": ("--bundle", desk.bundle, "--dry-run"), "remove": ("--yes",), "status": ()}
    more["upgrade"] = more["deploy"]
    for name in NODES:
        desk.ssh.answers[name]["remove"] = []

    assert desk.run(verb, *more[verb]).code == 0
    assert not any("sudo -n -- " in argv[-1] for argv, _ in desk.ssh.sent)
    desk.ssh.sent.clear()
    assert desk.run(verb, *more[verb], "--sudo").code == 0

    assert desk.ssh.sent
    assert all("sudo -n -- " in argv[-1] for argv, _ in desk.ssh.sent)


def test_a_node_whose_sudo_wants_a_password_is_told_with_the_line_for_sudoers(desk: Desk):
    desk.ssh.answers["n2"] = {"look": Ended(1, "", "sudo: a password is required\n")}

    refused = desk.deploy("--sudo", "--output", "json")

    assert refused.code == 2
    document = json.loads(refused.out)
    assert not document["begun"]
    error = next(each["error"] for each in document["nodes"] if each["node"] == "n2")
    assert error["reason"] == "SUDO_REFUSED"
    assert "NOPASSWD: NOLOG_INPUT: /usr/bin/python3 -I -c import" in error["remedy"]
    assert {action for _, action in desk.ssh.asked} == {"look"}


def test_the_way_must_be_named(desk: Desk):
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = run_command(["agents", "status"], Invocation())

    assert code == 2
    assert "--ssh" in err.getvalue()


def test_status_shows_every_node_that_could_be_looked_at(desk: Desk):
    desk.ssh.answers["n2"] = {"look": Ended(255, "", "Connection refused")}

    done = desk.run("status", "--output", "json")

    assert done.code == 4
    document = json.loads(done.out)
    assert [each["node"] for each in document["nodes"]] == ["n1"]
    assert document["errors"][0]["node"] == "n2"
    assert desk.run("status").out.startswith("agents of cluster prod")


@pytest.mark.parametrize(("arguments", "typed"), [((), None), ((), "n\n")])
def test_a_removal_wants_a_yes(desk: Desk, arguments: tuple[str, ...], typed: str | None):
    done = desk.run("remove", *arguments, typed=typed)

    assert done.code == 2
    assert not desk.ssh.asked


@pytest.mark.parametrize("arguments", [(), ("--with-state",)])
def test_the_question_before_a_removal_says_what_goes(desk: Desk, arguments: tuple[str, ...]):
    done = desk.run("remove", *arguments, typed="n\n")

    assert "remove the agents of n1, n2" in done.err
    assert ("journals" in done.err) is bool(arguments)
    assert "CM goes on" in done.err


@pytest.mark.parametrize(("arguments", "typed"), [(("--yes",), None), (("-y",), None), ((), "y\n")])
def test_a_removal_tells_what_went(desk: Desk, arguments: tuple[str, ...], typed: str | None):
    for name in NODES:
        desk.ssh.answers[name]["remove"] = ["/opt/gausscert/current"]

    done = desk.run("remove", *arguments, typed=typed)

    assert done.code == 0
    assert "n1: removed /opt/gausscert/current" in done.out


def test_a_removal_that_ssh_breaks_off_is_a_step_that_failed(desk: Desk):
    """Exit code 4 says that nothing was removed anywhere."""
    desk.ssh.answers["n1"]["remove"] = ["/opt/gausscert/current"]
    desk.ssh.answers["n2"]["remove"] = Ended(255, "", "Connection timed out")

    done = desk.run("remove", "--yes")

    assert done.code == 2
    assert "n1: removed /opt/gausscert/current" in done.out


def test_nothing_is_removed_anywhere_while_one_node_is_in_a_transaction(desk: Desk):
    busy = {"phase": "PREPARED", "transaction": "t-1"}
    desk.ssh.answers["n2"]["look"] = here(journal=busy)

    done = desk.run("remove", "--yes")

    assert done.code == 4
    assert "t-1" in done.out
    assert {action for _, action in desk.ssh.asked} == {"look"}


@pytest.mark.parametrize(
    ("journal", "said"),
    [
        (
            {"unreadable": "gausscert-agent: JOURNAL_DAMAGED: slot 1"},
            "`A damaged journal` in docs/runbook.md",
        ),
        ({"unreadable": "gausscert-agent: CONFIG_INVALID: agent.toml"}, "mend what the cause names"),
        ({"unrunnable": "gausscert-agent: No such file or directory"}, "deploy the bundle that it had"),
    ],
)
def test_an_agent_of_which_nobody_can_tell_is_not_removed_and_nobody_is_told_to_wait(
    desk: Desk, journal: dict[str, str], said: str
):
    desk.ssh.answers["n2"]["look"] = here(journal=journal)

    done, shown = desk.run("remove", "--yes"), desk.run("status", "--output", "json")

    assert done.code == 2
    assert said in " ".join(done.out.split())
    assert "gausscert recover" not in done.out
    assert {action for _, action in desk.ssh.asked} == {"look"}
    assert next(iter(journal.values())) in shown.document["nodes"][1]["in_flight"]


def test_the_agent_of_another_node_is_neither_taken_over_nor_removed(desk: Desk):
    """Two hosts that were mixed up in the inventory."""
    desk.ssh.answers["n2"]["look"] = here(configured_cluster="prod", configured_node="n1")

    deployed, removed = desk.deploy(), desk.run("remove", "--yes")

    assert (deployed.code, removed.code) == (2, 2)
    assert "ROLLOUT_OTHER_AGENT" in deployed.out
    for said in (deployed.out, removed.out):
        assert "node n1 of cluster prod" in " ".join(said.split())
    assert {action for _, action in desk.ssh.asked} == {"look"}


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A shell may have started the tests in the background, with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_a_ctrl_c_in_the_middle_does_not_say_that_nothing_was_changed(desk: Desk):
    desk.ssh.answers["n1"]["install"] = signal.SIGINT

    done = desk.deploy()

    assert done.code == 2
    assert "may have been done" in done.err
    assert "run it again" in done.err


class CtrlC(io.StringIO):
    """Standard output, at which the operator has had enough."""

    def write(self, text: str) -> int:
        raise KeyboardInterrupt


def test_nor_does_one_while_the_result_is_told(desk: Desk):
    told = [desk.deploy(out=CtrlC()), desk.run("remove", "--yes", out=CtrlC())]

    assert [(run.code, "may have been done" in run.err) for run in told] == [(2, True), (2, True)]
    assert {action for _, action in desk.ssh.asked} >= {"activate", "remove"}


# ---- who is revoked


def installed(name: str) -> dict[str, Any]:
    """A node on which a former release serves."""
    former = "0.0.9-old"
    return here(
        service="system",
        service_state="active",
        release=former,
        releases=[former],
        running=running(former),
        configured_state="/var/lib/gausscert",
        configured_cluster="prod",
        configured_node=name,
        journal={"phase": "NONE"},
    )


def revoke(desk: Desk, name: str) -> Sequence[Denied]:
    pki_register.revoke(
        desk.root / "pki",
        [each for each in pki_register.entries(desk.root / "pki") if each.identity.name == name],
        "left",
    )
    return pki_register.deny_list(desk.root / "pki").entries


def test_a_node_that_is_deployed_later_denies_who_was_revoked_before(desk: Desk):
    pki.issue(desk.root / "pki", Role.OPERATOR, "bob", passphrase=b"a passphrase")
    revoked = revoke(desk, "bob")
    desk.ssh.answers["n2"]["look"] = installed("n2")

    done = desk.deploy("--output", "json")

    assert done.code == 0, done.out + done.err
    (laid,) = [each for each in desk.ssh.requests if each.get("deny_list")]
    assert (laid["node"], laid["action"]) == ("n1", "activate")
    assert denylist.parse(laid["deny_list"]).entries == revoked
    assert {name: denylist.read(sent).entries for name, sent in desk.doctor.denied.items()} == {"n2": revoked}
    document = json.loads(done.out)
    assert [each["lacked"] for each in document["nodes"]] == [1, 1]
    assert document["findings"] == []
    shown = desk.run("deploy", "--bundle", desk.bundle, "--dry-run")
    assert "n1: is to deny 1 credential more, which are revoked" in shown.out


def test_an_agent_that_goes_on_letting_them_in_is_no_success(desk: Desk):
    pki.issue(desk.root / "pki", Role.OPERATOR, "bob", passphrase=b"a passphrase")
    revoke(desk, "bob")
    desk.ssh.answers["n2"]["look"] = installed("n2")
    desk.doctor.deaf["n2"] = Unreachable(Reason.UNREACHABLE, "no answer")

    done = desk.deploy()

    assert done.code == 2
    assert "ROLLOUT_NOT_DENIED" in done.out
    assert "n1: denies 1 credential more" in done.out
    assert "n2: denies" not in done.out


def test_who_runs_is_told_also_where_the_upgrade_of_another_one_fails(desk: Desk):
    pki.issue(desk.root / "pki", Role.OPERATOR, "bob", passphrase=b"a passphrase")
    revoke(desk, "bob")
    for name in NODES:
        desk.ssh.answers[name]["look"] = installed(name)
    desk.doctor.ill["n1"] = NodeFailure(Reason.ROLLOUT_FAILED, "not healthy")

    done = desk.deploy()

    assert done.code != 0
    assert set(desk.doctor.denied) == set(NODES)
    for name in NODES:
        assert f"{name}: denies 1 credential more" in done.out
    assert "ROLLOUT_NOT_DENIED" not in done.out


def test_without_the_register_that_is_told_and_no_failure(desk: Desk):
    register = desk.root / "elsewhere"
    revoke(desk, "nobody")
    (desk.root / "pki").rename(register)
    (desk.root / "pki").mkdir()
    for name in ("ca.crt", "operator-alice.crt", "operator-alice.key"):
        shutil.copy2(register / name, desk.root / "pki" / name)

    alone = desk.run("deploy", "--bundle", desk.bundle, "--dry-run", "--output", "json")
    named = desk.deploy("--pki", str(register), "--output", "json")

    assert [each["lacked"] for each in json.loads(alone.out)["nodes"]] == [None, None]
    assert [each["lacked"] for each in json.loads(named.out)["nodes"]] == [0, 0]
    (found,) = json.loads(alone.out)["findings"]
    assert (alone.code, found["code"], found["severity"]) == (0, "ROLLOUT_REVOKED_UNKNOWN", "warning")
    assert "--pki" in found["remedy"]
    assert (named.code, json.loads(named.out)["findings"]) == (0, [])


def test_a_copy_beside_the_inventory_does_not_overrule_the_register_that_is_named(desk: Desk):
    register = desk.root / "register"
    for name in ("bob", "carol"):
        pki.issue(desk.root / "pki", Role.OPERATOR, name, passphrase=b"a passphrase")
    revoke(desk, "bob")
    (desk.root / "pki").rename(register)
    (desk.root / "pki").mkdir()
    for name in ("ca.crt", "deny.list", "operator-alice.crt", "operator-alice.key"):
        shutil.copy2(register / name, desk.root / "pki" / name)
    carol = [each for each in pki_register.entries(register) if each.identity.name == "carol"]
    revoked = pki_register.revoke(register, carol, "left").entries

    done = desk.deploy("--pki", str(register), "--output", "json")

    assert done.code == 0, done.out + done.err
    laid = [each["deny_list"] for each in desk.ssh.requests if each.get("deny_list")]
    assert len(revoked) == 2
    assert [set(denylist.parse(each).entries) for each in laid] == [set(revoked)] * 2


def test_how_many_an_agent_lacked_is_null_where_nobody_can_tell(desk: Desk):
    """Its list is not understood. Where one register is missing, what the others tell is the least."""
    pki.issue(desk.root / "pki", Role.OPERATOR, "bob", passphrase=b"a passphrase")
    revoke(desk, "bob")
    desk.ssh.answers["n2"]["look"] = {**installed("n2"), "denied": "bob\n"}

    spoilt = json.loads(desk.deploy("--output", "json").out)

    assert [each["lacked"] for each in spoilt["nodes"]] == [1, None]
    assert [each["code"] for each in spoilt["findings"]] == ["ROLLOUT_DENY_LIST_UNUSABLE"]
    pki.init(desk.root / "new", "prod", None)
    both = desk.root / "pki" / "ca.crt"
    both.chmod(0o600)
    both.write_bytes(both.read_bytes() + (desk.root / "new" / "ca.crt").read_bytes())
    there = (desk.root / "pki" / "deny.list").read_text()
    desk.ssh.answers["n1"]["look"] = {**installed("n1"), "denied": there}
    desk.ssh.answers["n2"]["look"] = installed("n2")
    shown = desk.run("deploy", "--bundle", desk.bundle, "--dry-run", "--output", "json")
    assert [each["lacked"] for each in json.loads(shown.out)["nodes"]] == [None, 1]


def test_whoever_is_revoked_himself_deploys_nothing(desk: Desk):
    revoke(desk, "alice")

    done = desk.deploy()

    assert done.code == 2
    assert "this credential is revoked" in done.err
    assert {action for _, action in desk.ssh.asked} == {"look"}


def test_status_shows_how_many_each_denies_and_that_some_lack(desk: Desk):
    for name in ("bob", "carol"):
        pki.issue(desk.root / "pki", Role.OPERATOR, name, passphrase=b"a passphrase")
        revoke(desk, name)
    there = {**installed("n1"), "denied": (desk.root / "pki" / "deny.list").read_text()}
    desk.ssh.answers["n1"] = {"look": there}
    desk.ssh.answers["n2"] = {"look": {**installed("n2"), "denied": there["denied"].rpartition("serial")[0]}}

    shown = json.loads(desk.run("status", "--output", "json").out)["nodes"]

    assert [(each["denies"], each["lacks"]) for each in shown] == [(2, 0), (1, 1)]
    text = " ".join(desk.run("status").out.split())
    assert "1, lacks 1" in text
    assert "let in who is revoked: n2; gausscert pki revoke again" in text
    desk.ssh.answers["n2"] = {"look": {**installed("n2"), "denied": "alice"}}
    (desk.root / "pki" / "deny.list").unlink()
    again = json.loads(desk.run("status", "--output", "json").out)["nodes"]
    assert [(each["denies"], each["lacks"]) for each in again] == [(2, 0), (None, None)]
    garbled = {"denied": "serial ff M\ufffdller\n", "denied_sha256": "00" * 32}
    desk.ssh.answers["n2"] = {"look": {**installed("n2"), **garbled}}
    (_, one) = json.loads(desk.run("status", "--output", "json").out)["nodes"]
    assert (one["denies"], one["lacks"]) == (None, None)
