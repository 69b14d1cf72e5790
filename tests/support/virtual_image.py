"""A disk of Debian with systemd, for a machine under qemu, made by debootstrap into `build/virtual`.

Made once for each release of Debian, and kept; a test works on a copy.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

BUILT: Final = Path(__file__).parents[2] / "build" / "virtual"
NEEDED: Final = ("debootstrap", "qemu-system-x86_64", "mke2fs", "ssh", "ssh-keygen")
_PACKAGES: Final = (
    *("systemd", "systemd-sysv", "dbus", "dbus-user-session", "libpam-systemd"),
    *("openssh-server", "sudo", "iproute2", "procps", "python3", "python3-venv", "python3-pip"),
    *("linux-image-amd64", "initramfs-tools", "zstd"),
)
_SIZE: Final = "6G"
_SETTINGS: Final = {
    "etc/systemd/network/10.network": "[Match]\nName=en* eth*\n[Network]\nDHCP=ipv4\n",
    "etc/fstab": "/dev/vda / ext4 defaults 0 1\n",
    "etc/initramfs-tools/modules": "virtio_pci\nvirtio_blk\nvirtio_net\next4\n",
    "etc/hosts": "127.0.0.1 localhost virtual\n",
    "etc/hostname": "virtual\n",
}
_PREPARE: Final = """\
systemctl enable systemd-networkd ssh
groupadd dbgrp
useradd --create-home --gid dbgrp --shell /bin/bash omm
useradd --create-home --shell /bin/bash deployer
for user in root omm deployer; do
    home=$(getent passwd "$user" | cut -d: -f6)
    install -d -m 700 -o "$user" "$home/.ssh"
    install -m 600 -o "$user" /authorized_keys "$home/.ssh/authorized_keys"
done
rm /authorized_keys
update-initramfs -u
"""


@dataclass(frozen=True)
class Image:
    """What qemu boots."""

    disk: Path
    kernel: Path
    initrd: Path
    key: Path
    """The private key that opens root, omm and deployer."""


def missing() -> list[str]:
    """What has to be there to make and boot one."""
    found = [program for program in NEEDED if shutil.which(program) is None]
    return found if os.geteuid() == 0 else [*found, "root"]


def image(release: str = "bookworm", more: tuple[str, ...] = ()) -> Image:
    """The disk of a release of Debian; takes some minutes and a network the first time.

    Raises:
        subprocess.CalledProcessError: It could not be made; why is on standard error.
    """
    place = BUILT / release
    made = Image(place / "disk", place / "kernel", place / "initrd", place / "key")
    if not made.disk.exists():
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        _make(place / "root", made, release, more)
        shutil.rmtree(place / "root")
    return made


def _make(root: Path, made: Image, release: str, more: tuple[str, ...]) -> None:
    include = f"--include={','.join((*_PACKAGES, *more))}"
    _run("debootstrap", "--variant=minbase", include, release, str(root))
    for name, text in _SETTINGS.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "virtual", "-f", str(made.key))
    shutil.copy(made.key.with_suffix(".pub"), root / "authorized_keys")
    _run("chroot", str(root), "sh", "-eux", "-c", _PREPARE)
    for name, target in (("vmlinuz-*", made.kernel), ("initrd.img-*", made.initrd)):
        (found,) = (root / "boot").glob(name)
        shutil.copy(found, target)
    being_made = made.disk.with_suffix(".new")
    _run("truncate", "--size", _SIZE, str(being_made))
    _run("mke2fs", "-q", "-t", "ext4", "-d", str(root), str(being_made))
    being_made.rename(made.disk)


def _run(*words: str) -> None:
    subprocess.run(words, check=True, stdin=subprocess.DEVNULL)
