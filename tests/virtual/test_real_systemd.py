"""The agent's units under a real systemd, on a machine that boots, loses its power, and boots again.

One machine for all: it is emulated, and slow. The tests follow each other as an operator's days do.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from support import software
from support.rolling import by_node
from support.virtual_image import missing
from support.virtual_node import VirtualNode, until, virtual_node

pytestmark = [pytest.mark.virtual, pytest.mark.timeout(3600), pytest.mark.xdist_group("virtual")]

UNIT = "gausscert-agent"
DAEMONS = ("om_monitor", "cm_agent", "cm_server")


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VirtualNode]:
    assert not (lacking := missing()), f"needed here: {', '.join(lacking)}"
    with virtual_node(tmp_path_factory.mktemp("virtual")) as made:
        yield made


@pytest.fixture(scope="module")
def node(bare: VirtualNode) -> VirtualNode:
    """Its agent was deployed by somebody who may become root, once root has let him."""
    bare.operator.log_in_as("deployer")
    refused = bare.operator.agents("deploy", "--sudo", "--bundle", str(bare.bundle))
    error = by_node(refused)["n1"]["error"]
    assert (refused.code, error["reason"]) == (2, "SUDO_REFUSED")
    _, _, line = error["remedy"].partition(": ")
    bare.machine.write("/etc/sudoers.d/gausscert", line.replace("USER", "deployer", 1) + "\n", "440")
    bare.machine.sh("visudo --check")
    done = bare.operator.agents("deploy", "--sudo", "--bundle", str(bare.bundle))
    assert done.code == 0, done.out + done.err + log(bare)
    assert (by_node(done)["n1"]["service"], by_node(done)["n1"]["user"]) == ("system", "omm")
    settled(bare)
    return bare


def log(node: VirtualNode) -> str:
    return node.machine.run(f"journalctl --no-pager --unit {UNIT} --boot --lines 100").stdout


def settled(node: VirtualNode) -> None:
    """Wait until CM serves what is on the disk, as it does some time after a boot."""
    wait(node, node.settled)


def wait(node: VirtualNode, until: Callable[[], bool], within_s: float = 300.0) -> None:
    end_s = time.monotonic() + within_s
    while not until():
        assert time.monotonic() < end_s, log(node)
        time.sleep(2)


def shown(node: VirtualNode, *names: str) -> dict[str, str]:
    wanted = " ".join(f"--property {name}" for name in names)
    lines = node.machine.sh(f"systemctl show {UNIT} {wanted}").splitlines()
    return dict(line.split("=", 1) for line in lines)


def of_cm(node: VirtualNode) -> dict[str, str]:
    """CM's processes."""
    lines = node.machine.sh("ps -u omm -o pid=,args=").splitlines()
    found = (line.split(None, 1) for line in lines)
    return {
        name: pid
        for pid, args in found
        for name in DAEMONS
        if args.split()[1:2] == [f"{node.laid.home}/bin/{name}"]
    }


def test_the_unit_is_confined_as_it_says(node: VirtualNode):
    told = shown(node, "ActiveState", "SubState", "MainPID", "UnitFileState", "NRestarts", "User", "Group")
    pid = told.pop("MainPID")
    assert told == {
        "ActiveState": "active",
        "SubState": "running",
        "UnitFileState": "enabled",
        "NRestarts": "0",
        "User": "omm",
        "Group": "dbgrp",
    }
    status = dict(
        line.split(":\t", 1)
        for line in node.machine.sh(f"cat /proc/{pid}/status").splitlines()
        if ":\t" in line
    )
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")  # 2: a filter (proc(5))
    assert {status[f"Cap{which}"] for which in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {"0" * 16}
    exposure = node.machine.sh(f"systemd-analyze security --no-pager {UNIT} | tail -n 1")
    assert float(exposure.split(":")[1].split()[0]) < 2.0
    # The agent cannot write what its user may.
    as_omm = "setpriv --reuid omm --regid dbgrp --clear-groups"
    refused = node.machine.run(f"nsenter --mount --target {pid} {as_omm} touch /home/omm/here")
    assert "Read-only file system" in refused.stderr


def test_a_replacement_from_within_the_unit(node: VirtualNode):
    before, cm = node.live(), of_cm(node)
    bundle = node.new_bundle("first")

    with node.watched() as seen:
        done = node.replace(bundle)

    assert (done.code, done.document["result"]["verdict"]) == (0, "committed"), done.out + log(node)
    assert node.live() != before
    assert set(of_cm(node)) == set(DAEMONS)
    assert of_cm(node)["cm_server"] != cm["cm_server"]
    assert any(f"{node.laid.home}/bin/cm_ctl stop" in line for line in seen)
    assert any(f"{node.laid.home}/bin/cm_ctl start" in line for line in seen)
    assert not [line for line in seen if any(f"/bin/{name}" in line for name in DAEMONS)]


def test_an_agent_that_dies_is_started_again_and_one_that_is_stopped_leaves_cm_alone(node: VirtualNode):
    cm = of_cm(node)
    node.machine.sh(f"systemctl kill --signal KILL {UNIT}")
    again = {"ActiveState": "active", "NRestarts": "1"}
    wait(node, lambda: shown(node, *again) == again)
    settled(node)

    node.machine.sh(f"systemctl stop {UNIT}")

    assert shown(node, "ActiveState", "Result") == {"ActiveState": "inactive", "Result": "success"}
    assert of_cm(node) == cm
    node.machine.sh(f"systemctl start {UNIT}")
    settled(node)


@pytest.mark.parametrize("phase", ["prepare", "stop", "swap", "start", "verify"])
def test_the_power_goes_in_the_middle(node: VirtualNode, phase: str):
    """Whoever replaces goes on, and the node comes back; what is left in doubt is for `recover`."""
    before, bundle = node.live(), node.new_bundle(f"cut-in-{phase}")
    verified = node.operator.gausscert("bundle", "verify", str(bundle), *node.passwords()).document
    (new,) = [each["fingerprint"] for each in verified["certificates"] if each["kind"] == "server"]
    replacing = node.launch_replace(bundle)
    until(replacing, phase)
    node.machine.power_cut()

    node.machine.boot()

    replacing.communicate(timeout=1500)
    # A machine that boots in time is back for the rest of the transaction, or for its way back.
    live = {0: {new}, 1: {before}, 2: {before}, 3: {before, new}}[replacing.returncode]
    assert shown(node, "ActiveState")["ActiveState"] == "active", log(node)
    recovered = node.operator.gausscert("recover", "--yes")
    assert recovered.code in (0, 2), recovered.out + log(node)
    settled(node)
    assert node.live() in live
    names = node.machine.sh(f"ls -A {node.laid.home}/share/sslcert {node.laid.home}/share/sslcert/cm").split()
    assert not [name for name in names if "encrypt" in name or "stage" in name]


def test_a_release_that_is_not_healthy_gives_way_to_the_one_before(node: VirtualNode):
    (former,) = node.operator.agents("status", "--sudo").document["nodes"]
    spoilt = software.make(node.root / "spoilt", "0.1.1", software.NEVER_WELL)

    upgraded = node.operator.agents("upgrade", "--sudo", "--bundle", str(spoilt))

    assert upgraded.code == 2
    told = by_node(upgraded)["n1"]
    assert (told["failed_at"], told["put_back"]) == ("health", True)
    (now,) = node.operator.agents("status", "--sudo").document["nodes"]
    assert now["running"]["release"] == former["running"]["release"]
    settled(node)


def test_removed_it_leaves_its_state_and_comes_back_as_the_users_own_after_a_boot(node: VirtualNode):
    removed = node.operator.agents("remove", "--sudo", "--yes")
    assert removed.code == 0, removed.out
    left = node.machine.sh(f"ls -d /etc/gausscert /opt/gausscert /etc/systemd/system/{UNIT}* || true")
    assert left == ""
    assert node.machine.run(f"systemctl is-active {UNIT}").stdout.strip() in ("inactive", "unknown")

    node.machine.sh("loginctl enable-linger omm")
    node.operator.log_in_as("omm")
    done = node.operator.agents("deploy", "--bundle", str(node.bundle))

    assert done.code == 0, done.out + done.err
    assert (by_node(done)["n1"]["service"], by_node(done)["n1"]["user"]) == ("user", "omm")
    settled(node)
    node.machine.power_cut()
    node.machine.boot()
    settled(node)
    done = node.replace(node.new_bundle("last"))
    assert (done.code, done.document["result"]["verdict"]) == (0, "committed"), done.out
    assert node.operator.agents("remove", "--yes").code == 0
    assert node.machine.run("pgrep -u omm gausscert-agent").returncode == 1
