"""What a bundle of software is made for: every machine and every Python that an agent may meet."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
LOCK: Final = HERE / "requirements.lock"
MACHINES: Final = ("x86_64", "aarch64")
PYTHONS: Final = ("3.11", "3.12", "3.13")


class Target(NamedTuple):
    """One machine with one Python."""

    machine: str
    python: str

    def __str__(self) -> str:
        """For people."""
        return f"Python {self.python} on {self.machine}"

    def options(self) -> list[str]:
        """For pip: wheels alone, and only such as run with glibc 2.17 (PEP 599): CM's systems have that."""
        platforms = (f"manylinux_2_17_{self.machine}", f"manylinux2014_{self.machine}")
        own = f"cp{self.python.replace('.', '')}"
        return [
            "--only-binary=:all:",
            *(word for platform in platforms for word in ("--platform", platform)),
            *("--implementation", "cp", "--python-version", self.python),
            *(word for abi in (own, "abi3", "none") for word in ("--abi", abi)),
        ]


def targets(machines: Sequence[str] = MACHINES, pythons: Sequence[str] = PYTHONS) -> Iterator[Target]:
    """All of them."""
    return (Target(machine, python) for machine in machines for python in pythons)


def pip(*arguments: str) -> None:
    """Run this interpreter's pip; its errors are for whoever makes the bundle to read."""
    argv = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    subprocess.run(argv, check=True, env={**os.environ, "PIP_PREFER_BINARY": "1"})
