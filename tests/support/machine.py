"""A node with users, an /opt, an /etc, a /home and a /var/lib of its own, in a mount namespace behind sshd.
Only systemd is not there, and a fake systemctl is. Needs root.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

from support import software
from support.lone_agent import free_port
from support.rolling import Operator, Place
from support.sshd import Sshd

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

SUDO = """\
echo 'deploy:x:4343:4343::/home/deploy:/bin/sh' >>/etc/passwd
install -d -o deploy /home/deploy
install -m 755 "$1/sudo" /opt/fake/sudo
install -m 4755 "$(command -v setpriv)" /opt/fake/setpriv
printf '#!/bin/sh\\nexec /opt/fake/setpriv --reuid 0 --regid 0 --clear-groups "$@"\\n' >/opt/fake/become
chmod 755 /opt/fake/become
ln -s state/permitted /opt/fake/permitted
"""
"""A user `deploy`, who may become root by a fake sudo: `Machine.permit`."""

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
        fake = Path(__file__).with_name("fake_systemctl.py")
        (ssh / "systemctl").write_text(f"#!{self.python}\n{fake.read_text()}")
        (ssh / "sudo").write_bytes(Path(__file__).with_name("fake_sudo.sh").read_bytes())
        environment = {
            "PATH": "/opt/fake:/usr/bin:/bin:/usr/sbin:/sbin",
            "FAKE_SYSTEMD": "/opt/fake/state",
            "FAKE_SUDO": "/opt/fake",
        }
        self.sshd = Sshd(ssh, environment, PREPARE + _opened(self.python) + more)
        self.state = ssh / "state"
        (root / "operator").mkdir(mode=0o700)
        settings = '[agent]\ndrain_s = 5.0\n[cm]\nhome = "/opt/cm"\nstopped_for_s = 0.5\n'
        place = Place("n1", f"127.0.0.1:{free_port()}", "", settings)
        options = [*self.sshd.options, f"User={login}"]
        self.login = login
        self.operator = Operator(root / "operator", [place], self.sshd.port, options, self.python)

    def permit(self, line: str) -> None:
        """Have sudo permit what this line of sudoers does, its escapes taken away."""
        command = line.partition("NOLOG_INPUT: ")[2]
        (self.state / "permitted").write_text(re.sub(r"\\(.)", r"\1", command))

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
        quiet = ("is-active", "is-enabled", "show-environment", "show")
        return [words for line in lines if not set(quiet) & set(words := json.loads(line))]

    def start_by_hand(self, command: str) -> None:
        """Start an agent as omm; it is ready when this returns."""
        text = f"[Service]\nUser=omm\nExecStart={command}\n"
        self.sh(f"printf '{text}' >/etc/systemd/system/by-hand.service; systemctl restart by-hand.service")

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
