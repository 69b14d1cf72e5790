"""The Python of Debian for another machine, run here by qemu's user mode, with a bundle's software in it.

    python = emulated_python("aarch64", bundle)
    subprocess.run([python, "-m", "gausscert_agent.cli", "version"])

Programs that it starts run as they are: the simulated cm_ctl is one of this machine.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Final

from support.virtual_image import BUILT

NEEDED: Final = ("debootstrap", "dpkg-deb", "qemu-aarch64-static")
_DEBIAN: Final = {"aarch64": "arm64"}
_PYTHON: Final = "usr/bin/python3.11"


def missing() -> list[str]:
    """What has to be there to make and run one."""
    return [program for program in NEEDED if shutil.which(program) is None]


def emulated_python(machine: str, bundle: Path) -> Path:
    """An interpreter with what the bundle holds, installed by its own pip and by hash, as `install.sh` does.

    Raises:
        subprocess.CalledProcessError: It could not be made; why is on standard error.
    """
    root = BUILT / machine
    if not (root / _PYTHON).exists():
        shutil.rmtree(root, ignore_errors=True)
        _unpack(root, _DEBIAN[machine])
    started = root / "usr/bin/python"
    emulator = f"qemu-{machine}-static -0 {started} -L {root} {root / _PYTHON}"
    # Who starts itself anew, as the agent does, must come by the emulator as well.
    started.unlink(missing_ok=True)
    started.write_text(f'#!/bin/sh\nexec {emulator} "$@"\n')
    started.chmod(0o755)
    packages = root / "usr/lib/python3/dist-packages"
    shutil.rmtree(packages, ignore_errors=True)
    _run(
        *(str(started), "-I", "-c", _PIP, str(next((bundle / "wheels").glob("pip-*.whl")))),
        *("install", "--quiet", "--no-index", "--find-links", str(bundle / "wheels"), "--require-hashes"),
        *("--only-binary", ":all:", "--root-user-action", "ignore", "--target", str(packages)),
        *("--requirement", str(bundle / "requirements.txt")),
    )
    return started


_PIP: Final = """\
import runpy, sys
sys.path.insert(0, sys.argv.pop(1))
runpy.run_module("pip", run_name="__main__", alter_sys=True)
"""


def _unpack(root: Path, architecture: str) -> None:
    """Nothing of it is configured, for that would have to run as on such a machine."""
    _run(
        *("debootstrap", f"--arch={architecture}", "--foreign", "--variant=minbase", "--include=python3"),
        *("bookworm", str(root)),
    )
    for package in sorted((root / "var/cache/apt/archives").glob("*.deb")):
        read = subprocess.run(["dpkg-deb", "--fsys-tarfile", str(package)], capture_output=True, check=True)
        unpack = ["tar", "-x", "-C", str(root), "--keep-directory-symlink"]
        subprocess.run(unpack, input=read.stdout, check=True)


def _run(*words: str) -> None:
    subprocess.run(words, check=True, stdin=subprocess.DEVNULL)
