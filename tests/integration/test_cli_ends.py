"""What only the command itself can show: the live board, a closed terminal, doubt and its end."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import time
from contextlib import suppress

import pytest
from gausscert_coordinator.cli.demo_cluster import GAUSSCERT
from support.local_cluster import LocalCluster

pytestmark = [pytest.mark.xdist_group("cli_ends"), pytest.mark.timeout(180)]


def fingerprint(cluster: LocalCluster, bundle: str) -> str:
    held = cluster.run("bundle", "verify", bundle, "--output", "json", *cluster.passwords).document
    return next(each["fingerprint"] for each in held["certificates"] if each["kind"] == "server")


def read_until(descriptor: int, words: bytes, within_s: float = 120.0) -> bytes:
    shown = b""
    deadline = time.monotonic() + within_s
    while words not in shown:
        assert time.monotonic() < deadline, shown.decode(errors="replace")
        shown += os.read(descriptor, 4096)
    return shown


def read_to_the_end(descriptor: int) -> bytes:
    shown = b""
    with suppress(OSError):  # EIO: nobody has the other end any more
        while chunk := os.read(descriptor, 4096):
            shown += chunk
    return shown


def at_a_terminal(
    cluster: LocalCluster, argv: list[str], *, columns: int
) -> tuple[subprocess.Popen[bytes], int]:
    """A command, and the other end of its terminal."""
    parent, child = pty.openpty()
    process = subprocess.Popen(
        argv,
        cwd=cluster.root,
        stdin=child,
        stdout=child,
        stderr=child,
        start_new_session=True,
        env={**os.environ, "TERM": "xterm", "COLUMNS": str(columns), "LINES": "40"},
    )
    os.close(child)
    return process, parent


def test_at_a_terminal_it_asks_shows_a_live_board_and_ends_with_the_proof(cluster: LocalCluster):
    bundle = cluster.new_bundle("shown")
    process, parent = at_a_terminal(cluster, [*GAUSSCERT, "replace", bundle, *cluster.passwords], columns=120)
    shown = read_until(parent, b"[y/N]")
    os.write(parent, b"yes\n")
    board = read_until(parent, b"committed: every node")
    code = process.wait(60)
    os.close(parent)

    assert code == 0
    assert fingerprint(cluster, bundle)[:12].encode() in shown
    assert b"elapsed" in board
    assert b"\x1b[1A" in board, "the board is redrawn in place"
    assert set(cluster.picture().served.values()) == {fingerprint(cluster, bundle)}


def test_no_at_a_terminal_changes_nothing(steady: LocalCluster):
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [*GAUSSCERT, "replace", "fresh", *steady.passwords],
        cwd=steady.root,
        stdin=child,
        stdout=child,
        stderr=child,
        start_new_session=True,
    )
    os.close(child)
    read_until(parent, b"[y/N]")
    os.write(parent, b"no\n")
    read_until(parent, b"not confirmed; nothing was changed")

    assert process.wait(60) == 2
    os.close(parent)


def test_a_closed_terminal_does_not_stop_it(cluster: LocalCluster):
    bundle = cluster.new_bundle("unseen")
    process = subprocess.Popen(
        [*GAUSSCERT, "replace", bundle, "--yes", *cluster.passwords],
        cwd=cluster.root,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert any(b"stop started" in line for line in process.stderr)
    process.stdout.close()
    process.stderr.close()
    process.send_signal(signal.SIGHUP)

    assert process.wait(120) == 0
    assert set(cluster.picture().served.values()) == {fingerprint(cluster, bundle)}


def test_recover_at_a_terminal_says_what_may_be_down_and_a_no_leaves_the_doubt(steady: LocalCluster):
    steady.launch(
        "replace",
        "fresh",
        "--yes",
        *steady.passwords,
        on={"swap started": lambda run: run.process.kill()},
    ).done()
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [*GAUSSCERT, "recover"],
        cwd=steady.root,
        stdin=child,
        stdout=child,
        stderr=child,
        start_new_session=True,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "200"},
    )
    os.close(child)
    asked = read_until(parent, b"[y/N]")
    os.write(parent, b"no\n")
    read_until(parent, b"not confirmed; nothing was changed")

    assert process.wait(60) == 2
    os.close(parent)
    assert b"CM and the database of all nodes" in asked
    assert steady.run("status").code == 3
    assert steady.run("recover").code == 1


@pytest.mark.parametrize("stage", ["swap started", pytest.param("start started", marks=pytest.mark.faults)])
def test_a_killed_coordinator_leaves_doubt_and_recover_rolls_back(steady: LocalCluster, stage: str):
    run = steady.launch(
        "replace", "fresh", "--yes", *steady.passwords, on={stage: lambda run: run.process.kill()}
    )
    run.done()

    status = steady.run("status")
    assert status.code == 3
    assert "do: run gausscert recover\n" in status.out, "its coordinator is known to have ended"
    refused = steady.run("replace", "fresh", "--yes", *steady.passwords)
    assert refused.code == 3
    assert "in doubt" in refused.err
    assert "gausscert recover" in refused.err
    assert "cm_ctl start" not in refused.err

    recovered = steady.run("recover", "--roll-back")

    assert recovered.code == 1, recovered.out + recovered.err
    assert "rolled back" in recovered.out
    assert steady.run("recover").code == 0


def test_recover_can_finish_where_all_have_voted(cluster: LocalCluster):
    bundle = cluster.new_bundle("finished")
    cluster.launch(
        "replace",
        bundle,
        "--yes",
        *cluster.passwords,
        on={"start started": lambda run: run.process.kill()},
    ).done()

    recovered = cluster.run("recover", "--take-over", "--finish")

    assert recovered.code == 0, recovered.out + recovered.err
    assert set(cluster.picture().served.values()) == {fingerprint(cluster, bundle)}
    assert cluster.run("status").code == 0


def test_a_plan_on_file_is_carried_out_once_and_refused_when_the_live_sets_are_others(cluster: LocalCluster):
    bundle, other = cluster.new_bundle("agreed"), cluster.new_bundle("overtaken")
    for directory in (bundle, other):
        made = cluster.run("plan", directory, "--out", f"{directory}.json", *cluster.passwords)
        assert made.code == 0, made.out + made.err

    done = cluster.run("replace", "--plan", f"{bundle}.json", "--yes", *cluster.passwords)

    assert done.code == 0, done.out + done.err
    assert set(cluster.picture().served.values()) == {fingerprint(cluster, bundle)}

    refused = cluster.run(
        "replace", "--plan", f"{other}.json", "--yes", "--output", "json", *cluster.passwords
    )

    assert refused.code == 2, refused.out + refused.err
    drifted = {
        each["node"]: each["cause"]
        for each in refused.document["plan"]["findings"]
        if each["code"] == "PLAN_DRIFTED" and "the live set was" in each["cause"]
    }
    assert set(drifted) == {node.name for node in cluster.nodes}
    assert set(cluster.picture().served.values()) == {fingerprint(cluster, bundle)}


def test_expiry_lists_every_certificate_of_every_node_soonest_first(steady: LocalCluster):
    document = steady.run("expiry", "--output", "json").document
    lines, control_plane = document["certificates"], document["control_plane"]

    for node in steady.nodes:
        files = {line["file"] for line in lines if line["node"] == node.name}
        assert files == {"server.crt", "client.crt", "cacert.pem", "served by cm_server"}
        # The agent's own credential and its CA end one day, too, but are no part of a set.
        own = {str(steady.root / "pki" / name) for name in (f"node-{node.name}.crt", "ca.crt")}
        assert {line["file"] for line in control_plane if line["node"] == node.name} == own
    assert len(lines) == 4 * len(steady.nodes)
    assert len(control_plane) == 2 * len(steady.nodes)
    assert [line["not_after"] for line in lines] == sorted(line["not_after"] for line in lines)


@pytest.mark.faults
def test_at_a_terminal_a_held_ctrl_c_turns_back_and_ctrl_z_does_not_stand_it_still(steady: LocalCluster):
    """The keys themselves, as a job of a shell: what has no job control cannot be stopped by a key. `steady`
    sees to it that all is as before."""
    job = ["setsid", "--ctty", "--wait", "sh", "-mc", '"$@"; exit $?', "sh"]
    process, parent = at_a_terminal(
        steady, [*job, *GAUSSCERT, "replace", "fresh", "--yes", *steady.passwords], columns=200
    )
    read_until(parent, b"\x1b[1mstart (")
    os.write(parent, b"\x1a")
    for _ in range(5):
        os.write(parent, b"\x03")
        time.sleep(0.05)  # as a held key repeats; what comes faster the kernel makes one of
    shown = read_to_the_end(parent)
    code = process.wait(60)
    os.close(parent)

    assert code == 1, shown.decode()
    assert b"interrupted: what runs now ends first, then everything is turned back" in shown
    assert b"a third time abandons it as it is, in doubt and perhaps with CM down" in shown
    assert b"interrupted again" not in shown
