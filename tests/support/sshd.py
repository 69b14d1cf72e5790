"""A real sshd on loopback, with keys of its own, in a directory of its own; ends with the `with` block.

with Sshd(tmp_path) as sshd:
    ...  # an inventory with sshd.port and sshd.options

As root it lives in a mount namespace of its own, for OpenSSH wants a user `sshd` and /run/sshd, and this
machine is not to have them afterwards. `prepare` is run there first, to give logins another /opt, say.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Self

import pytest
from support.local_cluster import wait_until
from support.lone_agent import free_port

PROGRAM = shutil.which(
    "sshd", path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))
)
_ROOT = os.geteuid() == 0


def _namespaces() -> bool:
    return subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode == 0


needs_sshd = pytest.mark.skipif(
    PROGRAM is None or shutil.which("ssh") is None, reason="sshd (Debian package openssh-server) is missing"
)
needs_namespaces = pytest.mark.skipif(
    _ROOT and not _namespaces(), reason="no right to mount: unshare --mount is refused"
)

_ENTER = """\
set -eu
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/sshd
install -m 644 "$1/authorized_keys" /run/sshd
cp /etc/passwd "$1/passwd"
grep -q ^sshd: "$1/passwd" || echo 'sshd:x:65001:65534::/run/sshd:/bin/false' >>"$1/passwd"
# A home without anybody's login scripts: what they wait for is not ours to wait for.
mkdir "$1/home"
sed -i "s#^root:\\([^:]*:[^:]*:[^:]*:[^:]*\\):[^:]*:#root:\\1:$1/home:#" "$1/passwd"
chmod 644 "$1/passwd"
mount --bind "$1/passwd" /etc/passwd
if [ -e "$1/prepare" ]; then . "$1/prepare"; fi
exec "$2" -D -e -f "$1/sshd_config"
"""

_CONFIG = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {root}/host_key
AuthorizedKeysFile {root}/authorized_keys /run/sshd/authorized_keys
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PidFile none
SetEnv {environment}
"""


class Sshd:
    """See the module.

    Args:
        root: An empty directory.
        environment: Of logins.
        prepare: Shell commands, run as root in the namespace before anybody logs in.
    """

    def __init__(self, root: Path, environment: dict[str, str] | None = None, prepare: str = "") -> None:
        self.root = root
        self.port = free_port()
        for name in ("host_key", "user_key"):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(root / name)], check=True
            )
        shutil.copy(root / "user_key.pub", root / "authorized_keys")
        public = (root / "host_key.pub").read_text().split()[:2]
        (root / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {' '.join(public)}\n")
        words = " ".join(
            f'"{key}={value}"' for key, value in {"LANG": "C.UTF-8", **(environment or {})}.items()
        )
        config = _CONFIG.format(port=self.port, root=root, environment=words)
        (root / "sshd_config").write_text(config)
        if prepare:
            assert _ROOT
            (root / "prepare").write_text(prepare)
        self._log = root / "sshd.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def options(self) -> list[str]:
        """For the inventory."""
        return [
            f"IdentityFile={self.root / 'user_key'}",
            "IdentitiesOnly=yes",
            f"UserKnownHostsFile={self.root / 'known_hosts'}",
            "StrictHostKeyChecking=yes",
        ]

    def __enter__(self) -> Self:
        inside = ["sh", "-c", _ENTER, "sh", str(self.root), str(PROGRAM)]
        plain = [str(PROGRAM), "-D", "-e", "-f", str(self.root / "sshd_config")]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                ["unshare", "--mount", *inside] if _ROOT else plain,
                stdout=log,
                stderr=log,
                env=_environment(),
            )
        wait_until(self._listens)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(30)

    def log(self) -> str:
        """All that it has said."""
        return self._log.read_text()

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def _environment() -> dict[str, str]:
    """An sshd that was unpacked and not installed has its libraries beside it."""
    libraries = sorted(Path(str(PROGRAM)).parents[1].glob("lib/*-linux-gnu")) if PROGRAM else []
    found = os.pathsep.join(str(path) for path in libraries)
    return (
        {**os.environ, "LD_LIBRARY_PATH": found}
        if found and libraries[0].parts[1] != "usr"
        else dict(os.environ)
    )
