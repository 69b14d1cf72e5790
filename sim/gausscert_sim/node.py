"""One node of a simulated cluster, as tests and the demo handle it."""

from __future__ import annotations

import hashlib
import os
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING

from gausscert_sim import client, faults, processes, settings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from gausscert_sim.faults import Faults
    from gausscert_sim.processes import Process
    from gausscert_sim.settings import NodeRecord, Settings


class SimulatedNode:
    """One simulated node; the cluster makes it."""

    def __init__(self, config: Settings) -> None:
        self.settings = config
        self.record: NodeRecord = config.local

    @property
    def id(self) -> int:
        """CM's node id, from 1."""
        return self.record.id

    @property
    def name(self) -> str:
        """ "n1" and so on."""
        return self.record.name

    @property
    def home(self) -> Path:
        """GAUSSHOME."""
        return self.record.home

    @property
    def data_path(self) -> Path:
        """cmDataPath."""
        return self.record.data_path

    @property
    def log_path(self) -> Path:
        """GAUSSLOG."""
        return self.record.log_path

    @property
    def address(self) -> str:
        """Where cm_server listens."""
        return self.record.address

    @property
    def port(self) -> int:
        """cm_server's port."""
        return self.record.port

    @property
    def set_directory(self) -> Path:
        """`<home>/share/sslcert/cm`."""
        return self.record.set_directory

    @property
    def cm_ctl(self) -> Path:
        """The executable."""
        return self.record.program("cm_ctl")

    @property
    def faults(self) -> Faults:
        """What is scripted to fail; assign to change it."""
        return faults.load(self.home)

    @faults.setter
    def faults(self, wanted: Faults) -> None:
        faults.save(self.home, wanted)

    def environment(self) -> dict[str, str]:
        """The smallest environment in which the node's programs work."""
        return {
            "GAUSSHOME": str(self.home),
            "GAUSSLOG": str(self.log_path),
            "HOME": str(self.home.parent),
            "PGHOST": str(self.record.pghost),
            "PATH": f"{self.home / 'bin'}:/usr/local/bin:/usr/bin:/bin",
            "USER": self.settings.user,
        }

    def configure(self, config: Settings) -> None:
        """Give the node other settings; running programs keep theirs."""
        settings.save(self.home, config)
        self.settings = config

    def install(self, files: Mapping[str, bytes]) -> None:
        """Replace the whole live set, without any care for running processes: 0400 files in 0700."""
        if self.set_directory.is_symlink() or not self.set_directory.exists():
            self.set_directory.mkdir(mode=0o700)
        for entry in self.set_directory.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        for name, body in files.items():
            self.put(name, body)

    def put(self, name: str, body: bytes, mode: int = 0o400) -> None:
        """Replace one file of the live set."""
        path = self.set_directory / name
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(body)
            os.fchmod(descriptor, mode)

    def installed(self) -> dict[str, bytes]:
        """The live set as it is now."""
        return {path.name: path.read_bytes() for path in self.set_directory.iterdir() if path.is_file()}

    def processes(self) -> tuple[Process, ...]:
        """om_monitor, cm_agent and cm_server of this node, as far as they run."""
        return processes.running(self.home)

    def served_fingerprint(self) -> str:
        """SHA-256 (hex) of what cm_server shows; "" when it shows nothing."""
        with suppress(client.NotReached):
            certificate = client.served_certificate(self.settings, self.record)
            if certificate:
                return hashlib.sha256(certificate).hexdigest()
        return ""
