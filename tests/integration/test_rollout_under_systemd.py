"""`gausscert agents` where something starts the agents: as root for the cluster's OS user, and as that user.

A real sshd, real logins, real users in a mount namespace with its own /opt, /etc, /home and /var/lib. Only
systemd is not there: `fake_systemctl` starts what unit and drop-in say. systemd's own checker looks at their
text in test_deploy_files.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from gausscert_coordinator.rollout import doctor
from support import software
from support.machine import LINGER, SUDO, Machine
from support.rolling import by_node
from support.sshd import needs_namespaces, needs_sshd

pytestmark = [
    pytest.mark.xdist_group("rollout"),  # agents of the same name on one machine would be seen by each other
    needs_sshd,
    needs_namespaces,
    pytest.mark.timeout(300),  # each installs a release, on a machine that may be busy
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can have another root directory"),
]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(software.make(tmp_path_factory.mktemp("software") / "bundle"))


@pytest.fixture
def machine(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Machine]:
    made = Machine(tmp_path, *request.param)
    with made.sshd:
        yield made
        made.end()


@pytest.mark.parametrize("machine", [("root",)], indirect=True)
def test_root_installs_an_agent_for_the_owner_of_the_certificates_and_removes_it(
    machine: Machine, bundle: str
):
    done = machine.operator.agents("deploy", "--bundle", bundle)

    assert done.code == 0, done.out + done.err + machine.log()
    node = by_node(done)["n1"]
    assert (node["service"], node["user"], node["state"]) == ("system", "omm", "deployed")
    assert node["done"][-1] == "health"
    unit = ["gausscert-agent.service"]
    assert machine.asked() == [
        ["daemon-reload"],
        ["enable", *unit],
        ["daemon-reload"],  # once more, in case that whoever wrote the unit was cut off before the first
        ["reset-failed", *unit],
        ["restart", *unit],
    ]
    shown = machine.sh(
        "stat -c '%U:%G %a %n' /etc/gausscert /etc/gausscert/pki/* /var/lib/gausscert /opt/gausscert"
    )
    assert set(shown.splitlines()) == {
        "omm:dbgrp 700 /etc/gausscert",
        "omm:dbgrp 400 /etc/gausscert/pki/ca.crt",
        "omm:dbgrp 400 /etc/gausscert/pki/node-n1.crt",
        "omm:dbgrp 400 /etc/gausscert/pki/node-n1.key",
        "omm:dbgrp 700 /var/lib/gausscert",
        "root:root 755 /opt/gausscert",
    }
    assert "omm" in machine.sh(f"ps -o user= -p {(machine.state / 'pid').read_text()}")
    settings = machine.operator.root / "n1.toml"
    settings.write_text(settings.read_text().replace("drain_s = 5.0", "drain_s = 6.0"))

    changed = machine.operator.agents("deploy", "--bundle", bundle)

    assert changed.code == 0, changed.out + machine.log()
    assert by_node(changed)["n1"]["done"] == ["configure", "activate", "health"]
    assert by_node(changed)["n1"]["restarts"]
    again = machine.operator.agents("deploy", "--bundle", bundle)
    assert by_node(again)["n1"]["state"] == "unchanged"

    removed = machine.operator.agents("remove", "--yes")

    assert removed.code == 0, removed.out
    assert machine.asked()[-2:] == [["disable", "--now", *unit], ["daemon-reload"]]
    left = machine.sh(
        "ls -d /etc/gausscert /opt/gausscert /etc/systemd/system/gausscert* /var/lib/gausscert || true"
    )
    assert left.split() == ["/var/lib/gausscert"]


@pytest.mark.faults
@pytest.mark.parametrize("machine", [("root",)], indirect=True)
def test_an_agent_that_is_not_healthy_after_an_upgrade_gets_its_former_release_back(
    machine: Machine, bundle: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(doctor, "GrpcDoctor", partial(doctor.GrpcDoctor, within_s=10.0))
    first = machine.operator.agents("deploy", "--bundle", bundle)
    assert first.code == 0, first.out + first.err + machine.log()
    former = by_node(first)["n1"]["release"]
    units = "cat /etc/systemd/system/gausscert-agent.service.d/*.conf /etc/gausscert/agent.toml"
    before = machine.sh(units)
    settings = machine.operator.root / "n1.toml"
    settings.write_text(settings.read_text().replace("drain_s = 5.0", "drain_s = 6.0"))
    newer = software.make(tmp_path / "newer", "0.1.1", software.NEVER_WELL)

    upgraded = machine.operator.agents("upgrade", "--bundle", str(newer))

    assert upgraded.code == 2
    node = by_node(upgraded)["n1"]
    assert (node["state"], node["failed_at"], node["put_back"]) == ("failed", "health", True)
    assert node["error"]["message"].startswith("the agent answers, but is not healthy")
    (found,) = [each for each in upgraded.document["findings"] if each["code"] == "ROLLOUT_PUT_BACK"]
    assert found["cause"] == f"{former} serves again, and is healthy; {node['release']} was not"
    assert machine.sh("readlink /opt/gausscert/current").strip() == f"releases/{former}"
    assert machine.sh(units) == before
    shown = by_node(machine.operator.agents("status"))["n1"]
    assert (shown["running"]["release"], shown["running"]["stale"]) == (former, False)
    assert set(shown["releases"]) == {former, node["release"]}

    runs = machine.operator.gausscert("history").document["runs"]
    assert [(each["kind"], each["verdict"]) for each in runs] == [
        ("agents upgrade", "failed"),
        ("agents deploy", "done"),
    ]
    shown = machine.operator.gausscert("history", runs[0]["transaction_id"]).document["runs"][0]
    (agent,) = shown["agents"]
    assert (agent["former_release"], agent["release"], agent["state"], agent["failed_at"]) == (
        former,
        node["release"],
        "put back",
        "health",
    )
    assert machine.operator.gausscert("history", "--verify", "--no-nodes").code == 0


SWAPPED = """
from pathlib import Path
from gausscert_agent.journal import Journal
from gausscert_common.protocol.state import NodeState, Transaction
from gausscert_common.protocol.words import Phase, RestartScope, SslWish
begun = Transaction("t-1", ("n1",), "old", SslWish.KEEP, RestartScope.CLUSTER, 0.0, "new")
with Journal(Path("/var/lib/gausscert")) as journal:
    journal.lock()
    journal.save(NodeState(owner="t-1", phase=Phase.SWAPPED, transaction=begun))
"""


@pytest.mark.soak
@pytest.mark.parametrize("machine", [("root",)], indirect=True)
def test_an_agent_that_lost_its_python_in_the_middle_of_a_transaction_comes_back_as_it_was_and_only_so(
    machine: Machine, bundle: str, tmp_path: Path
):
    """The operating system was upgraded, with a transaction in doubt. See the same in test_activation."""
    first = machine.operator.agents("deploy", "--bundle", bundle)
    assert first.code == 0, first.out + first.err + machine.log()
    former = by_node(first)["n1"]["release"]
    machine.end()
    as_agent = "setpriv --reuid=4242 --regid=4242 --clear-groups /opt/gausscert/current/bin/python -c"
    machine.sh(f"{as_agent} {shlex.quote(SWAPPED)}")
    machine.sh("ln -sf /usr/bin/python3.0 /opt/gausscert/current/bin/python")
    units = "cat /etc/systemd/system/gausscert-agent.service.d/*.conf /etc/gausscert/agent.toml"
    before = machine.sh(units)
    newer = software.make(tmp_path / "newer", "0.1.1")

    upgraded = machine.operator.agents("upgrade", "--bundle", str(newer))

    assert upgraded.code == 2, upgraded.out
    node = by_node(upgraded)["n1"]
    assert (node["failed_at"], node["put_back"]) == ("activate", None)
    assert "t-1" in node["error"]["message"]
    assert "deploy the bundle that the agent had" in node["error"]["remedy"]
    assert machine.sh(units) == before
    assert machine.sh("readlink /opt/gausscert/current").strip() == f"releases/{former}"

    restored = machine.operator.agents("deploy", "--bundle", bundle)

    assert restored.code == 0, restored.out + restored.err + machine.log()
    assert by_node(restored)["n1"]["done"] == ["upload", "install", "activate", "health"]
    shown = by_node(machine.operator.agents("status"))["n1"]
    assert shown["running"]["release"] == former
    assert "t-1" in shown["in_flight"]
    assert machine.operator.agents("upgrade", "--bundle", str(newer)).code == 4  # it is waited for as ever


@pytest.mark.parametrize("machine", [("deploy", SUDO)], indirect=True)
def test_where_root_may_not_log_in_another_user_works_as_root_by_sudo(machine: Machine, bundle: str):
    refused = machine.operator.agents("deploy", "--sudo", "--bundle", bundle)

    error = by_node(refused)["n1"]["error"]
    assert (refused.code, error["reason"]) == (2, "SUDO_REFUSED")
    assert "sudo: a password is required" in error["message"]
    assert machine.sh("id -un; ls -d /opt/gausscert || true").split() == ["deploy"]
    machine.permit(error["remedy"])

    done = machine.operator.agents("deploy", "--sudo", "--bundle", bundle)

    assert done.code == 0, done.out + done.err + machine.log()
    node = by_node(done)["n1"]
    assert (node["service"], node["user"], node["state"]) == ("system", "omm", "deployed")
    shown = machine.sh("stat -c '%U:%G %a %n' /etc/gausscert /var/lib/gausscert /opt/gausscert")
    assert set(shown.splitlines()) == {
        "omm:dbgrp 700 /etc/gausscert",
        "omm:dbgrp 700 /var/lib/gausscert",
        "root:root 755 /opt/gausscert",
    }
    assert "omm" in machine.sh(f"ps -o user= -p {(machine.state / 'pid').read_text()}")
    assert by_node(machine.operator.agents("status", "--sudo"))["n1"]["login"] == "root"

    assert machine.operator.agents("remove", "--sudo", "--yes").code == 0
    assert machine.sh("ls -d /etc/gausscert /opt/gausscert || true") == ""


@pytest.mark.parametrize("machine", [("root", "install -d -o omm /opt/gausscert\n")], indirect=True)
def test_root_installs_nothing_where_another_user_could_exchange_it(machine: Machine, bundle: str):
    refused = machine.operator.agents("deploy", "--bundle", bundle)

    assert refused.code == 2
    (finding,) = refused.document["findings"]
    assert (finding["code"], finding["file"]) == ("ROLLOUT_OPEN_PLACE", "/opt/gausscert")
    assert machine.sh("ls -A /opt/gausscert") == ""


@pytest.mark.parametrize("machine", [("root", "install -d -o 4343 /etc/gausscert\n")], indirect=True)
def test_root_begins_nothing_where_the_agents_place_is_somebody_elses(machine: Machine, bundle: str):
    """It was found out once the software was installed. Of root's own, see the next test."""
    refused = machine.operator.agents("deploy", "--bundle", bundle)

    assert refused.code == 2
    (finding,) = refused.document["findings"]
    assert (finding["code"], finding["file"]) == ("ROLLOUT_CLOSED_PLACE", "/etc/gausscert")
    assert machine.sh("ls -d /opt/gausscert || true") == ""


OPERATORS = """\
echo 'alice:x:4343:4343::/home/alice:/bin/sh' >>/etc/passwd
install -d -m 755 /etc/gausscert
echo '# of the operators' >/etc/gausscert/gausscert.toml
echo '# what they say of all agents' >/etc/gausscert/agent.toml
"""


@pytest.mark.parametrize("machine", [("root", OPERATORS)], indirect=True)
def test_an_operators_machine_may_be_one_of_the_nodes(machine: Machine, bundle: str):
    """Runbook, The operator's machine is one of the nodes: both have their files below /etc/gausscert."""
    done = machine.operator.agents("deploy", "--bundle", bundle)

    assert done.code == 0, done.out + done.err + machine.log()
    shown = machine.sh(
        "stat -c '%U %a %n' /etc/gausscert /etc/gausscert/agent /etc/gausscert/agent/pki/*.key"
    )
    assert set(shown.splitlines()) == {
        "root 755 /etc/gausscert",
        "omm 700 /etc/gausscert/agent",
        "omm 400 /etc/gausscert/agent/pki/node-n1.key",
    }
    read = "setpriv --reuid=4343 --clear-groups cat /etc/gausscert/gausscert.toml"
    assert machine.sh(read) == "# of the operators\n"
    again = machine.operator.agents("deploy", "--bundle", bundle)
    assert by_node(again)["n1"]["state"] == "unchanged"

    removed = machine.operator.agents("remove", "--yes")

    assert removed.code == 0, removed.out
    left = {f"/etc/gausscert{each}" for each in ("", "/gausscert.toml", "/agent.toml")}
    assert set(machine.sh("find /etc/gausscert").split()) == left


@pytest.mark.soak
@pytest.mark.parametrize("machine", [("omm", LINGER)], indirect=True)
def test_the_clusters_own_user_has_an_agent_below_his_home(machine: Machine, bundle: str):
    done = machine.operator.agents("deploy", "--bundle", bundle)

    assert done.code == 0, done.out + done.err + machine.log()
    node = by_node(done)["n1"]
    assert (node["service"], node["user"], node["state"]) == ("user", "omm", "deployed")
    assert ["--user", "restart", "gausscert-agent.service"] in machine.asked()
    assert machine.sh("stat -c %a gausscert/etc/pki/node-n1.key").strip() == "400"
    assert machine.operator.agents("remove", "--yes", "--with-state").code == 0
    assert (
        machine.sh("ls -A gausscert .config/systemd/user 2>/dev/null || true").strip()
        == ".config/systemd/user:"
    )


@pytest.mark.parametrize("machine", [("omm",)], indirect=True)
def test_a_user_whose_services_end_with_his_sessions_is_refused_and_told_why(machine: Machine, bundle: str):
    refused = machine.operator.agents("deploy", "--bundle", bundle)

    assert refused.code == 2
    (finding,) = refused.document["findings"]
    assert (finding["code"], finding["remedy"]) == (
        "ROLLOUT_NO_LINGER",
        "as root on the node, once: loginctl enable-linger omm",
    )
    assert machine.sh("ls -A") == ""


@pytest.mark.faults
@pytest.mark.parametrize("machine", [("omm", LINGER)], indirect=True)
def test_another_login_brings_no_second_agent_beside_the_first(machine: Machine, bundle: str):
    """It had an empty state, and its unit stayed enabled once it had failed on the port that was taken."""
    first = machine.operator.agents("deploy", "--bundle", bundle)
    assert first.code == 0, first.out + first.err + machine.log()
    pid, asked = (machine.state / "pid").read_text(), machine.asked()
    machine.operator.log_in_as("root")
    machine.operator.options = tuple(
        each.replace("User=omm", "User=root") for each in machine.operator.options
    )

    refused = machine.operator.agents("deploy", "--bundle", bundle)

    assert refused.code == 2
    (found,) = refused.document["findings"]
    assert (found["code"], found["file"]) == ("ROLLOUT_OTHER_SERVICE", "/home/omm/gausscert/etc/agent.toml")
    assert found["cause"] == f"an agent of the same CM is there already (pid {pid}), installed as omm"
    assert machine.sh("ls -d /opt/gausscert /etc/gausscert /etc/systemd/system/gausscert* || true") == ""
    assert (machine.state / "pid").read_text() == pid
    assert machine.asked() == asked
    machine.end()
    (found,) = machine.operator.agents("deploy", "--bundle", bundle).document["findings"]
    assert ".config/systemd/user/gausscert-agent.service" in found["cause"]  # its next boot starts it

    machine.operator.log_in_as("omm")
    assert machine.operator.agents("remove", "--yes").code == 0
    machine.operator.log_in_as("root")
    moved = machine.operator.agents("deploy", "--bundle", bundle)
    assert moved.code == 0, moved.out + machine.log()
    machine.operator.log_in_as("omm")
    back = machine.operator.agents("deploy", "--bundle", bundle)

    assert back.code == 2
    (found,) = back.document["findings"]
    assert (found["code"], found["file"]) == ("ROLLOUT_OTHER_SERVICE", "/etc/gausscert/agent.toml")
    assert "installed as root" in found["cause"]
