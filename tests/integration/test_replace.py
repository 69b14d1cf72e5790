"""The main job on real processes: every node serves the new set, and the tool proves it."""

from __future__ import annotations

import os
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from gausscert_common import certset
from gausscert_coordinator.cli import demo_claims
from gausscert_sim.faults import Faults
from support import openssl_bundles, sim_certs, sim_run
from support.local_cluster import NODES, Done, LocalCluster, Picture, wait_until

pytestmark = pytest.mark.xdist_group("replace")


def write_passwords(directory: Path, password: str) -> tuple[str, ...]:
    options: list[str] = []
    for role in ("server", "client"):
        path = directory / f"{role}.password"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as opened:
            opened.write(f"{password}\n")
        options += [f"--{role}-password-file", str(path)]
    return tuple(options)


@dataclass
class Replaced:
    """One replacement, looked at from all sides: before, within, and right after it."""

    before: Picture
    done: Done
    seen: list[str]
    """Of every process of the machine: command line and environment."""
    after: Picture
    in_flight: list[str]
    again: Done
    """The same bundle once more."""
    after_again: Picture

    @property
    def result(self) -> dict[str, Any]:
        assert self.done.code == 0, self.done.err
        return self.done.document["result"]


@pytest.fixture(scope="module")
def replaced(cluster: LocalCluster) -> Replaced:
    """With a start that takes its time."""
    seen: list[str] = []

    def look(_: object) -> None:
        for entry in filter(str.isdigit, os.listdir("/proc")):
            for name in ("cmdline", "environ"):
                try:
                    seen.append(Path(f"/proc/{entry}/{name}").read_bytes().decode(errors="replace"))
                except OSError:
                    continue

    before = cluster.picture()
    for node in NODES:
        cluster.script(node, Faults(server_start_delay_s=2.0))
    done = cluster.replace(on={"prepare started": look, "stop started": look})
    cluster.mend()
    after, in_flight = cluster.picture(), cluster.in_flight()
    again = cluster.replace()
    return Replaced(before, done, seen, after, in_flight, again, cluster.picture())


def all_serve(cluster: LocalCluster, bundle: str, result: dict[str, Any], before: Picture, after: Picture):
    wanted = {each["fingerprint"] for each in result["proof"]}
    assert result["verdict"] == "committed"
    assert len(result["proof"]) == 9  # three cm_servers, each seen from three nodes
    assert wanted == set(after.served.values())
    assert wanted.isdisjoint(before.served.values())
    assert after.conf == before.conf
    assert all(demo_claims.holds_bundle(disk, cluster.root / bundle) for disk in after.disks.values())


def test_every_node_serves_the_new_certificate(cluster: LocalCluster, replaced: Replaced):
    all_serve(cluster, "fresh", replaced.result, replaced.before, replaced.after)
    assert replaced.in_flight == []


def test_every_node_serves_it_when_each_starts_its_own_cm(cluster: LocalCluster):
    bundle, before = cluster.new_bundle("bundle-node"), cluster.picture()

    done = cluster.replace("--restart", "node", bundle=bundle)

    assert done.code == 0, done.err
    all_serve(cluster, bundle, done.document["result"], before, cluster.picture())
    assert cluster.in_flight() == []


def test_what_a_node_does_is_told_while_it_is_waited_for(replaced: Replaced):
    """The longest phases were the silent ones."""
    started, told, ended = (
        next(number for number, line in enumerate(replaced.done.err.splitlines()) if line.endswith(words))
        for words in (" start started", " start n1 note: starting CM (cluster)", " start n1 done")
    )
    assert started < told < ended
    assert replaced.done.err.count("starting CM (cluster)") == 1


def test_a_retired_set_is_the_former_one_and_no_stage_is_left(cluster: LocalCluster, replaced: Replaced):
    generation = replaced.result["transaction_id"]
    for node in cluster.nodes:
        retired = node.set_directory.parent / f".cm.retired.{generation}"
        assert demo_claims._disk(retired) == replaced.before.disks[node.name]
        assert f".cm.{generation}" not in replaced.after.beside[node.name]


def test_the_history_shows_what_was_done_to_each_node_by_whom_and_the_evidence(
    cluster: LocalCluster, replaced: Replaced
):
    former, result = set(replaced.before.served.values()), replaced.result
    assert result["findings"] == []

    listed = cluster.run("history", "--limit", "100")
    shown = cluster.run("history", result["transaction_id"])
    (run,) = cluster.run("history", result["transaction_id"], "--output", "json").document["runs"]

    assert listed.code == shown.code == 0
    assert result["transaction_id"] in listed.out
    assert "committed" in listed.out
    assert (run["kind"], run["verdict"], run["participants"]) == ("replace", "committed", 3)
    assert f"@{socket.gethostname()}/" in run["holder"]
    told = [each for each in run["steps"] if each["mark"] != "note"]
    answers = {(each["stage"], each["node"]): each["mark"] for each in told}
    for stage in ("acquire", "prepare", "stop", "swap", "start", "commit", "purge"):
        assert [answers[stage, node] for node in NODES] == ["done"] * 3
        assert all(f"{node} " in shown.out for node in NODES)
    proof = [each for each in run["evidence"] if each["stage"] == "verify"]
    assert proof == [{"stage": "verify", **each} for each in result["proof"]]
    assert {each["old_server_fingerprint"] for each in run["nodes"]} == former
    assert {run["new_server_fingerprint"]} == {each["new_server_fingerprint"] for each in run["nodes"]}
    assert {run["new_server_fingerprint"]} == {each["fingerprint"] for each in proof}
    assert {each["file"] for each in run["certificates"]} == {"cacert.pem", "server.crt", "client.crt"}
    assert (cluster.root / "history.db").stat().st_mode & 0o077 == 0


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")
@pytest.mark.parametrize(
    "style",
    [
        "documented",
        pytest.param("om", marks=pytest.mark.faults),
        pytest.param("traditional", marks=pytest.mark.faults),
    ],
)
def test_bundles_made_by_openssl_are_served(cluster: LocalCluster, style: str):
    directory = cluster.root / f"openssl-{style}"
    openssl_bundles.make_bundle(directory, style=style)
    passwords = write_passwords(cluster.root, openssl_bundles.PASSWORD)

    done = cluster.run("replace", str(directory), "--yes", *passwords)

    assert done.code == 0, done.err
    picture = cluster.picture()
    assert all(demo_claims.holds_bundle(disk, directory) for disk in picture.disks.values())
    assert len(set(picture.served.values())) == 1


def test_ssl_is_switched_off_and_on_with_the_replacement(cluster: LocalCluster):
    for wish, served in (("off", False), ("on", True)):
        bundle = cluster.new_bundle(f"ssl-{wish}")

        done = cluster.run("replace", bundle, "--yes", "--enable-ssl", wish, *cluster.passwords)

        assert done.code == 0, done.err
        picture = cluster.picture()
        assert all(bool(fingerprint) is served for fingerprint in picture.served.values())
        assert all(f"enable_ssl = {wish}" in text for text in picture.conf.values())


def test_ssl_alone_is_switched_off_and_on_and_no_set_changes(cluster: LocalCluster):
    before = cluster.picture()

    off = cluster.run("ssl", "off", "--yes", "--output", "json")
    between = cluster.picture()
    again = cluster.run("ssl", "off", "--yes", "--output", "json")
    on = cluster.run("ssl", "on", "--yes", "--restart", "node", "--output", "json")

    assert (off.code, on.code) == (0, 0), off.err + on.err
    for done, state in ((off, "ssl off"), (on, "ssl on")):
        assert [each["state"] for each in done.document["result"]["proof"]] == [state] * 9
    assert (between.disks, between.beside) == (before.disks, before.beside)
    assert not any(between.served.values())
    assert all("enable_ssl = off" in text for text in between.conf.values())
    assert {each["code"] for each in again.document["plan"]["findings"]} >= {"SSL_UNCHANGED"}
    assert again.code == 2
    assert cluster.picture() == before
    (run,) = cluster.run("history", off.document["result"]["transaction_id"], "--output", "json").document[
        "runs"
    ]
    assert (run["kind"], run["verdict"], run["options"]["enable_ssl"]) == ("ssl", "committed", "off")


def run_with(cluster: LocalCluster, files: dict[str, bytes], state: str) -> None:
    """Every node runs with that set, as well as it can."""
    cluster.simulated.stop()
    for node in cluster.nodes:
        node.install(files)
    cluster.simulated.launch()
    wait_until(lambda: cluster.simulated.state() == state)


def test_a_cluster_of_which_every_certificate_has_expired_is_refused_and_replaced_with_one_flag(
    cluster: LocalCluster,
):
    """cm_server runs with what has expired, and refuses everybody: no primary, no answer to query."""
    run_with(cluster, sim_certs.expired_set(), "")
    wait_until(lambda: all(node.served_fingerprint() for node in cluster.nodes))
    expired = cluster.picture()
    bundle = cluster.new_bundle("after-expiry")

    refused = cluster.replace(bundle=bundle)
    off = cluster.run("ssl", "on", "--dry-run", "--accept-state", "--output", "json")

    assert refused.code == 2
    (found,) = (each for each in refused.document["plan"]["findings"] if each["severity"] == "error")
    assert found["code"] == "CLUSTER_NOT_NORMAL"
    assert "--accept-state" in found["remedy"]
    assert cluster.picture() == expired
    assert "CERTIFICATE_EXPIRED" in {each["code"] for each in off.document["plan"]["findings"]}

    done = cluster.replace("--accept-state", bundle=bundle)

    assert done.code == 0, done.err
    result = done.document["result"]
    assert (result["verdict"], result["cluster_state"]["cluster_state"]) == ("committed", "Normal")
    assert len(result["proof"]) == 9
    assert all(each["chain_verified"] for each in result["proof"])
    assert "accepted as it is: cm_ctl query does not tell how the cluster is" in done.err
    assert {each["code"] for each in result["findings"]} >= {"CLUSTER_NOT_NORMAL"}


def test_a_cluster_that_cannot_start_is_replaced_with_the_same_flag(cluster: LocalCluster):
    """Torn sets: cm_server ends at once, and cm_agent starts it again for ever."""
    torn = sim_certs.new_set() | {"server.key": sim_certs.new_set()["client.key"]}
    run_with(cluster, torn, "")
    wait_until(lambda: all("Failed to start dcc." in sim_run.server_log(node) for node in cluster.nodes))
    bundle = cluster.new_bundle("after-tearing")

    done = cluster.replace("--accept-state", bundle=bundle)

    assert done.code == 0, done.err
    result = done.document["result"]
    assert (result["verdict"], result["cluster_state"]["cluster_state"]) == ("committed", "Normal")
    assert len(result["proof"]) == 9


def test_ready_factor_files_are_taken_instead_of_passwords(cluster: LocalCluster):
    bundle = cluster.root / cluster.new_bundle("with-factors")
    first = cluster.run("replace", str(bundle), "--yes", *cluster.passwords)
    assert first.code == 0, first.err
    live = cluster.nodes[0].set_directory
    ready = cluster.root / "ready"
    shutil.copytree(bundle, ready)
    for name in certset.FACTOR_NAMES:
        shutil.copyfile(live / name, ready / name)
        (ready / name).chmod(0o600)
    second = cluster.run("replace", cluster.new_bundle("between"), "--yes", *cluster.passwords)
    assert second.code == 0, second.err

    done = cluster.run("replace", str(ready), "--yes")

    assert done.code == 0, done.err
    for node in cluster.nodes:
        for name in certset.NAMES:
            assert (node.set_directory / name).read_bytes() == (ready / name).read_bytes()


def test_the_same_bundle_again_is_refused_as_nothing_to_do(replaced: Replaced):
    assert replaced.again.code == 2
    assert {"SET_UNCHANGED"} == {each["code"] for each in replaced.again.document["plan"]["findings"]}
    assert replaced.after_again == replaced.after


def test_no_password_is_in_any_log_journal_or_command_line(cluster: LocalCluster, replaced: Replaced):
    assert len(replaced.done.acted) == 2
    assert any("gausscert_agent" in text for text in replaced.seen)
    assert (cluster.root / "history.db").is_file()
    written = [path for path in cluster.root.rglob("*") if path.is_file() and path.suffix != ".pw"]
    files = (path.read_bytes().decode(errors="replace") for path in written)
    for text in (*replaced.seen, replaced.done.out, replaced.done.err, *files):
        assert cluster.server_password not in text
        assert cluster.client_password not in text


def test_with_restart_none_the_operator_stops_and_starts_the_cluster_himself(cluster: LocalCluster):
    bundle = cluster.new_bundle("by-hand")
    running = cluster.run("replace", bundle, "--yes", "--restart", "none", *cluster.passwords)
    cluster.simulated.stop()

    done = cluster.run(
        "replace", bundle, "--yes", "--restart", "none", "--output", "json", *cluster.passwords
    )
    cluster.simulated.start()

    assert running.code == 2
    assert "CM_RUNS" in running.err + running.out
    assert done.code == 0, done.err
    assert done.document["result"]["proof"] == []
    picture = cluster.picture()
    assert all(demo_claims.holds_bundle(disk, cluster.root / bundle) for disk in picture.disks.values())
    assert len(set(picture.served.values())) == 1
