"""`gausscert agents` where something starts the agents: as root for the cluster's OS user, and as that user.

A real sshd, real logins, real users in a mount namespace with its own /opt, /etc, /home and /var/lib. Only
systemd is not there: `fake_systemctl` starts what unit and drop-in say, and systemd's own checker looks at
their text.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import software
from support.lone_agent import free_port
from support.rolling import Operator, Place, by_node
from support.sshd import Sshd, needs_namespaces, needs_sshd

pytestmark = [
    needs_sshd,
    needs_namespaces,
    pytest.mark.timeout(300),  # each installs a release, on a machine that may be busy
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can have another root directory"),
]

PREPARE = """\
mkdir "$1/up"
mount -t tmpfs -o mode=755 tmpfs "$1/up"
mkdir "$1/up/etc" "$1/up/work"
mount -t overlay -o "lowerdir=/etc,upperdir=$1/up/etc,workdir=$1/up/work" overlay /etc
cp "$1/passwd" /etc/passwd
echo 'omm:x:4242:4242::/home/omm:/bin/sh' >>/etc/passwd
echo 'dbgrp:x:4242:' >>/etc/group
for place in /opt /home /var/lib; do mount -t tmpfs -o mode=755 tmpfs "$place"; done
install -d -o omm -g dbgrp /home/omm /opt/cm /opt/cm/bin /opt/cm/share
install -d -o omm -g dbgrp -m 700 /opt/cm/share/sslcert
printf '#!/bin/sh\\nexit 1\\n' >/opt/cm/bin/cm_ctl
chmod 755 /opt/cm/bin/cm_ctl
mkdir -p /run/systemd/system /opt/fake
install -m 755 "$1/systemctl" /opt/fake
install -d -o omm -m 777 /opt/fake/state
mount --bind "$1/state" /opt/fake/state
chmod 777 /opt/fake/state
"""

OPEN = """\
mkdir -m 755 "$1/up/top" "$1/up/topwork"
mount -t overlay -o "lowerdir={top},upperdir=$1/up/top,workdir=$1/up/topwork" overlay {top}
"""
"""For a Python below a home that only its owner may enter: an overlay has the mode of its upper directory."""

LINGER = "mkdir -p /var/lib/systemd/linger && touch /var/lib/systemd/linger/omm"


def _opened(python: str) -> str:
    top = "/" + Path(python).parts[1]
    return "" if os.stat(top).st_mode & 0o001 else OPEN.format(top=top)


class Machine:
    """A node with users of its own."""

    def __init__(self, root: Path, login: str, more: str = "") -> None:
        self.root = root
        self.python = software.python()
        ssh = root / "ssh"
        (ssh / "state").mkdir(parents=True)
        fake = Path(__file__).parents[1] / "support" / "fake_systemctl.py"
        (ssh / "systemctl").write_text(f"#!{self.python}\n{fake.read_text()}")
        environment = {"PATH": "/opt/fake:/usr/bin:/bin:/usr/sbin:/sbin", "FAKE_SYSTEMD": "/opt/fake/state"}
        self.sshd = Sshd(ssh, environment, PREPARE + _opened(self.python) + more)
        self.state = ssh / "state"
        (root / "operator").mkdir(mode=0o700)
        settings = '[agent]\ndrain_s = 5.0\n[cm]\nhome = "/opt/cm"\nstopped_for_s = 0.5\n'
        place = Place("n1", f"127.0.0.1:{free_port()}", "", settings)
        options = [*self.sshd.options, f"User={login}"]
        self.login = login
        self.operator = Operator(root / "operator", [place], self.sshd.port, options, self.python)

    def sh(self, command: str) -> str:
        """Run something there, as who is logged in."""
        words = [word for option in self.operator.options for word in ("-o", option)]
        done = subprocess.run(
            ["ssh", "-T", "-p", str(self.sshd.port), *words, "127.0.0.1", command],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    def asked(self) -> list[Any]:
        """What systemctl was asked to change."""
        lines = (self.state / "asked").read_text().splitlines()
        quiet = ("is-active", "show-environment")
        return [words for line in lines if not set(quiet) & set(words := json.loads(line))]

    def end(self) -> None:
        """No agent outlives its test."""
        if (self.state / "pid").exists():
            try:
                os.kill(int((self.state / "pid").read_text()), signal.SIGKILL)
            except ProcessLookupError:
                return

    def log(self) -> str:
        """Of the agent."""
        log = self.state / "log"
        return log.read_text() if log.exists() else ""


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
    if shutil.which("systemd-analyze"):
        machine.sh("systemd-analyze verify /etc/systemd/system/gausscert-agent.service")
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
