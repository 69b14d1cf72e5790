"""What a new user gets wrong: a clear error that names node, file, cause and remedy, and nothing changed."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace as replace_
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest
from gausscert_agent.journal import Journal
from gausscert_common.identity import Role
from gausscert_common.protocol.state import NodeState
from gausscert_common.protocol.words import Phase
from gausscert_coordinator import pki
from gausscert_coordinator.cli.demo_cluster import AGENT
from gausscert_sim import processes
from support.local_cluster import NODES, Done, LocalCluster, wait_until

pytestmark = pytest.mark.xdist_group("bad-input")


def codes(done: Done) -> set[str]:
    return {
        finding["code"] for finding in done.document["plan"]["findings"] if finding["severity"] == "error"
    }


def copy_of_fresh(cluster: LocalCluster, name: str) -> Path:
    target = cluster.root / name
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(cluster.root / "fresh", target)
    for path in target.iterdir():
        path.chmod(0o600)
    return target


def replace(cluster: LocalCluster, directory: Path | str, *options: str) -> Done:
    return cluster.run("replace", str(directory), "--yes", "--output", "json", *options)


def test_a_wrong_password_names_the_key(steady: LocalCluster):
    wrong = steady.root / "wrong.pw"
    wrong.write_text("Wrong-Pass9\n")
    wrong.chmod(0o600)

    done = replace(
        steady, "fresh", "--server-password-file", str(wrong), "--client-password-file", "client.pw"
    )

    assert done.code == 2
    findings = done.document["plan"]["findings"]
    assert {(each["code"], each["file"]) for each in findings} == {("KEY_PASSWORD_WRONG", "server.key")}
    assert all(each["remedy"] for each in findings)


def test_several_faults_are_told_at_once(steady: LocalCluster):
    bundle = copy_of_fresh(steady, "several")
    (bundle / "client.crt").unlink()
    (bundle / "server.key").write_text("not a key\n")
    (bundle / "cacert.pem").write_bytes(b"")

    done = replace(steady, bundle, *steady.passwords)

    assert done.code == 2
    assert len(codes(done)) >= 3
    files = {finding["file"] for finding in done.document["plan"]["findings"]}
    assert {"client.crt", "server.key", "cacert.pem"} <= files


def test_a_directory_that_is_no_bundle_is_refused_with_every_missing_file(steady: LocalCluster):
    (steady.root / "empty").mkdir(exist_ok=True)

    done = replace(steady, "empty", *steady.passwords)

    assert done.code == 2
    missing = {finding["file"] for finding in done.document["plan"]["findings"]}
    assert missing == {"cacert.pem", "server.crt", "server.key", "client.crt", "client.key"}


def test_a_password_file_that_others_can_read_is_refused(steady: LocalCluster):
    open_file = steady.root / "open.pw"
    open_file.write_text("Open-Pass9\n")
    open_file.chmod(0o644)

    done = replace(
        steady, "fresh", "--server-password-file", str(open_file), "--client-password-file", "client.pw"
    )

    assert done.code == 2
    assert "open.pw" in done.out + done.err
    assert "chmod" in done.out + done.err


def test_without_a_terminal_and_without_yes_nothing_happens(steady: LocalCluster):
    done = steady.run("replace", "fresh", *steady.passwords)

    assert done.code == 2
    assert "--yes" in done.err


def test_a_live_set_in_the_wrong_mode_is_told(steady: LocalCluster):
    path = steady.node("n2").set_directory / "server.key"
    path.chmod(0o600)
    try:
        done = steady.run("plan", "fresh", "--output", "json", *steady.passwords)
    finally:
        path.chmod(0o400)

    findings = [finding for finding in done.document["findings"] if finding["code"] == "NODE_SET_MODE"]
    assert [(finding["node"], "server.key" in finding["cause"]) for finding in findings] == [("n2", True)]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('[cluster]\nname = "demo"\ncolour = "red"', "colour"),
        ("[cluster]\nname = 5", "name"),
        ('[cluster]\nname = "demo"\n[[node]]\nname = "n1"\naddress = "nowhere"', "nowhere"),
        ("this is not toml", "toml"),
    ],
)
def test_a_bad_inventory_names_file_and_key(steady: LocalCluster, line: str, words: str):
    bad = steady.root / "bad.toml"
    bad.write_text(line)

    done = steady.run("--inventory", str(bad), "status")

    assert done.code == 2
    assert "bad.toml" in done.err
    assert words in done.err.lower()


def test_no_inventory_at_all_says_where_it_was_looked_for(steady: LocalCluster, tmp_path: Path):
    done = steady.run("--inventory", str(tmp_path / "none.toml"), "status")

    assert done.code == 2
    assert "none.toml" in done.err


def test_an_unknown_key_in_the_agents_configuration_is_told_with_the_likely_one(
    steady: LocalCluster, tmp_path: Path
):
    config = tmp_path / "agent.toml"
    good = (steady.root / "agent-n1.toml").read_text()
    config.write_text(good.replace("state_dir", "state_dri").replace("listen", "lissen"))

    done = subprocess.run(
        [*AGENT, "check-config", "--config", str(config)], capture_output=True, text=True, check=False
    )

    assert done.returncode == 2
    for words in ("state_dri", "state_dir", "lissen", "listen", str(config)):
        assert words in done.stderr + done.stdout


def test_a_second_agent_on_the_same_state_or_port_says_so_and_the_first_goes_on(
    steady: LocalCluster, tmp_path: Path
):
    good = (steady.root / "agent-n1.toml").read_text()
    same_state = tmp_path / "same-state.toml"
    same_state.write_text(good)
    same_port = tmp_path / "same-port.toml"
    (tmp_path / "state").mkdir(mode=0o700)
    same_port.write_text(good.replace(str(steady.root / "agent-n1"), str(tmp_path / "state"), 1))

    for config, words in ((same_state, "another agent"), (same_port, "7443")):
        done = subprocess.run(
            [*AGENT, "serve", "--config", str(config)],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )

        assert done.returncode not in (0, None)
        assert words in done.stderr.lower()
    assert steady.run("status").code == 0


def test_an_expired_operator_credential_is_named_as_such(steady: LocalCluster, tmp_path: Path):
    out = tmp_path / "expired"
    issued_at = datetime.now(UTC) - timedelta(days=30)
    pki.issue(steady.root / "pki", Role.OPERATOR, "late", days=1, out=out, now=issued_at)
    inventory = (steady.root / "gausscert.toml").read_text()
    inventory = inventory.replace("pki/operator-demo", str(out / "operator-late"))
    (steady.root / "late.toml").write_text(inventory)

    done = steady.run("--inventory", "late.toml", "status")

    assert done.code == 2
    assert "expired" in done.err
    assert "pki issue" in done.err


def test_an_observer_may_look_but_not_replace(steady: LocalCluster, tmp_path: Path):
    out = tmp_path / "observer"
    pki.issue(steady.root / "pki", Role.OBSERVER, "eve", out=out)
    inventory = (steady.root / "gausscert.toml").read_text()
    inventory = inventory.replace("pki/operator-demo", str(out / "observer-eve"))
    (steady.root / "eve.toml").write_text(inventory)

    looked = steady.run("--inventory", "eve.toml", "status")
    done = steady.run("--inventory", "eve.toml", "replace", "fresh", "--yes", *steady.passwords)

    assert looked.code == 0, looked.err
    assert done.code == 2, done.err
    assert "observer" in done.err


def test_files_replaced_under_a_running_cm_server_are_drift_to_a_monitoring_system(steady: LocalCluster):
    calm = steady.run("check")
    assert (calm.code, calm.out[:5]) == (0, "OK - "), calm.out
    path = steady.node("n2").set_directory / "server.crt"
    served = path.read_bytes()
    try:
        path.chmod(0o600)
        path.write_bytes((steady.root / "fresh" / "server.crt").read_bytes())
        path.chmod(0o400)
        alarmed = steady.run("check", "--output", "json")
    finally:
        path.chmod(0o600)
        path.write_bytes(served)
        path.chmod(0o400)

    # What is served still fits the cacert.pem on the disk: it is refused once that is replaced, too. But
    # with a set that no other node has CM is no part of the cluster any more once it starts there again.
    assert alarmed.code == 2
    assert [(each["state"], each["node"], each["code"]) for each in alarmed.document["problems"]] == [
        ("CRITICAL", "", "SETS_DIFFER"),
        ("WARNING", "n2", "DRIFT"),
    ]
    assert steady.run("check").code == 0


@pytest.fixture(scope="module")
def doubtful(cluster: LocalCluster) -> LocalCluster:
    """In doubt until the last test of all ends it."""
    done = cluster.replace(on={"start started": lambda run: run.process.kill()})
    assert done.code == -9
    assert cluster.in_flight() == list(NODES)
    # Start may have reached a node before the coordinator was dead, and is carried out there.
    wait_until(lambda: at_rest(cluster), within_s=100)
    return cluster


def at_rest(cluster: LocalCluster) -> bool:
    """Whether no agent carries out anything any more."""
    before = {name: records(cluster, name) for name in NODES}
    time.sleep(1)
    if any(processes.running(node.home, ("cm_ctl",)) for node in cluster.nodes):
        return False
    return {name: records(cluster, name) for name in NODES} == before


class TestNodesThatCannotBeBelieved:
    """The coordinator has died with all nodes swapped; then somebody tampers with one of them."""

    @pytest.mark.parametrize(
        "kind",
        [
            "unknown transaction",
            "foreign set",
            "disagreeing nodes",
            "forgotten transaction",
            "tampered journal",
            "lost journal",
        ],
    )
    def test_they_are_told_of_one_by_one_and_nothing_is_touched(self, doubtful: LocalCluster, kind: str):
        kept = tamper(doubtful, kind)
        before = doubtful.picture()
        journals = {name: records(doubtful, name) for name in NODES}
        try:
            ended = [
                doubtful.run("recover", "--take-over", choice, "--output", "json")
                for choice in ("--roll-back", "--finish")
            ]
            assert doubtful.picture() == before
            assert {name: records(doubtful, name) for name in NODES} == journals
            assert doubtful.run("status").code == 3
        finally:
            mend(doubtful, kept)

        for done in ended:
            assert done.code == 3, done.out + done.err
            told = done.document["failures"]
            sealed = kind in ("tampered journal", "lost journal")
            # Beside a damaged journal, too, each of the others is told of: a person has to decide by hand.
            reasons = dict.fromkeys(NODES, "IN_DOUBT") | ({"n2": "JOURNAL_DAMAGED"} if sealed else {})
            assert {each["node"]: each["reason"] for each in told} == reasons, told
            assert all(each["message"] and each["remedy"] for each in told)

    def test_once_it_is_as_it_was_it_is_rolled_back(self, doubtful: LocalCluster):
        done = doubtful.run("recover", "--take-over", "--output", "json")

        assert done.code == 1, done.out + done.err
        assert [(each["phase"], each["live"]) for each in done.document["nodes"]] == [("SWAPPED", "NEW")] * 3
        assert all(each["did"][-1] == "CLEAN" and each["begun_by"] for each in done.document["nodes"])
        assert doubtful.run("status").code == 0


def records(cluster: LocalCluster, name: str) -> bytes | None:
    path = cluster.root / f"agent-{name}" / "journal.json"
    return path.read_bytes() if path.exists() else None


def tamper(cluster: LocalCluster, kind: str) -> dict[Path, bytes]:
    """Answers what was where, to be put back."""
    journal = {name: cluster.root / f"agent-{name}" / "journal.json" for name in NODES}
    certificate = cluster.node("n2").set_directory / "cacert.pem"
    if kind == "foreign set":
        kept = {certificate: certificate.read_bytes()}
        certificate.chmod(0o600)
        certificate.write_bytes(kept[certificate] + b"\n")
        certificate.chmod(0o400)
        return kept
    touched = ("n1", "n2") if kind == "disagreeing nodes" else ("n2",)
    for name in touched:
        cluster.end_agent(name)
    kept = {journal[name]: journal[name].read_bytes() for name in touched}
    if kind == "lost journal":
        journal["n2"].unlink()
    elif kind == "tampered journal":
        whole = kept[journal["n2"]]
        journal["n2"].write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
    else:
        for name, changed in zip(touched, CHANGES[kind], strict=True):
            rewrite(cluster.root / f"agent-{name}", changed)
    for name in touched:
        cluster.start_agent(name)
    return kept


def rewrite(directory: Path, changed: Callable[[NodeState], NodeState]) -> None:
    with Journal(directory) as journal:
        journal.lock()
        journal.save(changed(journal.load()))


def mend(cluster: LocalCluster, kept: dict[Path, bytes]) -> None:
    for path, body in kept.items():
        name = path.parent.name.removeprefix("agent-")
        is_journal = path.name == "journal.json"
        if is_journal:
            cluster.end_agent(name)
        if path.exists():
            path.chmod(0o600)
        path.write_bytes(body)
        path.chmod(0o600 if is_journal else 0o400)
        if is_journal:
            cluster.start_agent(name)


def another_transaction(state: NodeState) -> NodeState:
    assert state.transaction is not None
    return replace_(state, transaction=replace_(state.transaction, transaction_id="20250101t000000z-unknown"))


CHANGES: Final[dict[str, list[Callable[[NodeState], NodeState]]]] = {
    "unknown transaction": [another_transaction],
    "disagreeing nodes": [
        lambda state: replace_(state, phase=Phase.COMMITTED),
        lambda state: replace_(state, phase=Phase.ABORTED),
    ],
    "forgotten transaction": [lambda state: replace_(state, phase=Phase.NONE, transaction=None)],
}
