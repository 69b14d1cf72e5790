"""A machine of its own under qemu: a real kernel, a real systemd, a disk that outlives a power cut.

    with VirtualMachine(image(), tmp_path, {7443: port}) as machine:
        machine.sh("systemctl is-system-running")

The processor is emulated: everything takes some ten times as long. The guest reaches nothing, and is reached
by ports of this machine's loopback.
"""

from __future__ import annotations

import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from support.lone_agent import free_port
from support.virtual_image import Image

_UP_S = 300.0


class VirtualMachine:
    """See the module.

    Args:
        image: What to boot; its disk is copied.
        root: An empty directory.
        forwarded: Ports of the guest, and the ones on this machine's loopback that lead there.
        memory_mb: Of the guest.
    """

    def __init__(self, image: Image, root: Path, forwarded: Mapping[int, int], memory_mb: int = 2048) -> None:
        self.ssh_port = free_port()
        self.console = root / "console"
        self.key = root / "key"
        shutil.copy(image.key, self.key)
        self.key.chmod(0o600)
        disk = root / "disk"
        subprocess.run(["cp", "--sparse=always", "--reflink=auto", str(image.disk), str(disk)], check=True)
        forwards = "".join(
            f",hostfwd=tcp:127.0.0.1:{here}-:{there}"
            for there, here in ({22: self.ssh_port} | dict(forwarded)).items()
        )
        self._command = [
            *("qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2"),
            *("-m", str(memory_mb), "-display", "none", "-monitor", "none", "-no-reboot"),
            *("-serial", f"file:{self.console}"),
            *("-kernel", str(image.kernel), "-initrd", str(image.initrd)),
            *("-append", "root=/dev/vda rw console=ttyS0"),
            # What the guest has flushed is on the disk, and what it has not is lost with its memory.
            *("-drive", f"file={disk},if=virtio,format=raw,cache=writethrough"),
            *("-netdev", f"user,id=n0,restrict=on{forwards}", "-device", "virtio-net-pci,netdev=n0"),
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def ssh_options(self, user: str) -> list[str]:
        """What ssh needs to be let in."""
        return [
            f"IdentityFile={self.key}",
            "IdentitiesOnly=yes",
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "LogLevel=ERROR",
            f"User={user}",
        ]

    def boot(self) -> None:
        """Until systemd says that it is done.

        Raises:
            AssertionError: It never was.
        """
        self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL)
        until = time.monotonic() + _UP_S
        while time.monotonic() < until:
            assert self._process.poll() is None, self.console.read_text(errors="replace")[-2000:]
            done = self.run("systemctl is-system-running --wait", timeout_s=_UP_S)
            if done.stdout.strip():
                return
            time.sleep(2)
        raise AssertionError(self.console.read_text(errors="replace")[-2000:])

    def power_cut(self) -> None:
        """What was in the guest's memory is gone."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def run(
        self, command: str, user: str = "root", stdin: bytes | None = None, timeout_s: float = 300.0
    ) -> subprocess.CompletedProcess[str]:
        """A shell's command there; its exit code is 255 where nobody could be reached."""
        options = [*self.ssh_options(user), "ConnectTimeout=30"]
        words = [word for option in options for word in ("-o", option)]
        done = subprocess.run(
            ["ssh", "-T", "-p", str(self.ssh_port), *words, "127.0.0.1", command],
            input=stdin or b"",
            capture_output=True,
            check=False,
            timeout=timeout_s,
        )
        return subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode(), done.stderr.decode(errors="replace")
        )

    def sh(
        self, command: str, user: str = "root", stdin: bytes | None = None, timeout_s: float = 600.0
    ) -> str:
        """The same, and it succeeds.

        Raises:
            AssertionError: It did not.
        """
        done = self.run(command, user, stdin, timeout_s)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def write(self, path: str, content: str | bytes, mode: str = "644") -> None:
        """A file there."""
        body = content.encode() if isinstance(content, str) else content
        quoted = shlex.quote(path)
        self.sh(f"mkdir -p $(dirname {quoted}); cat >{quoted}; chmod {mode} {quoted}", stdin=body)

    def send(self, directory: Path, target: str) -> None:
        """A whole directory, to a place that is made."""
        packed = subprocess.run(
            ["tar", "-C", str(directory), "-cf", "-", "."], capture_output=True, check=True
        ).stdout
        self.sh(f"mkdir -p {shlex.quote(target)}; tar -C {shlex.quote(target)} -xf -", stdin=packed)

    def __enter__(self) -> Self:
        self.boot()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self.power_cut()
