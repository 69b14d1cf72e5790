"""What lies in a fresh simulated home: programs, configuration, the static config."""

from __future__ import annotations

import os
import struct
import time
from typing import TYPE_CHECKING, Final

from gausscert_sim import settings
from gausscert_sim.processes import PROGRAMS
from gausscert_sim.samples import conf_text

if TYPE_CHECKING:
    from pathlib import Path

    from gausscert_sim.settings import Settings

_PROGRAM: Final = """\
#!{interpreter}
# {name} of a simulated CM, for tests and demonstrations.
from gausscert_sim.{name} import main

main()
"""
_STATIC_VERSION: Final = 500


def build(config: Settings, *, interpreter: str, enable_ssl: bool) -> None:
    """Create the directories and files of one node.

    Raises:
        OSError: Something is there already or cannot be written.
    """
    node = config.local
    set_parent = node.set_directory.parent
    for directory in (
        node.home / "bin",
        node.home / "sim",
        set_parent,
        node.log_path,
        node.pghost,
        node.data_path / "cm_server",
        node.data_path / "cm_agent",
    ):
        directory.mkdir(mode=0o700, parents=True)
    node.set_directory.mkdir(mode=0o700)
    for name in PROGRAMS:
        _create(node.program(name), _PROGRAM.format(interpreter=interpreter, name=name).encode(), 0o700)
    for role in ("cm_server", "cm_agent"):
        text = conf_text(role, log_path=str(node.log_path), enable_ssl=enable_ssl)
        _create(node.conf(role), text.encode(), 0o600)
    _create(node.program(settings.STATIC_CONFIG), _static_config(config), 0o600)
    settings.save(node.home, config)


def _static_config(config: Settings) -> bytes:
    """Its header as CM writes it (facts section 7); of the nodes nothing but this remark."""
    tail = struct.pack("<IqII", _STATIC_VERSION, int(time.time()), len(config.nodes), config.node_id)
    return struct.pack("<II", 0, len(tail)) + tail + b"simulated CM: see ../sim/settings.json\n"


def _create(path: Path, body: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(body)
