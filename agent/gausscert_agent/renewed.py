"""The renewed credential: one file in the agent's state directory, private key and certificate together.

The files that the configuration names belong to whoever installed them and are never written. What a renewal
brings counts instead of them as long as the configured certificate is the one that it followed; new files in
their place therefore count at once. One file, because two could not be put in place at one instant.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from gausscert_common import credentials
from gausscert_common.errors import InvalidInput

from gausscert_agent import files
from gausscert_agent.files import Disk

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from gausscert_common.credentials import Credential

    from gausscert_agent.config import AgentConfig

FILE: Final = "credential.pem"
_NEW: Final = "credential.pem.new"
_MODE: Final = 0o400
_FOLLOWS: Final = b"follows "
_CERTIFICATE: Final = b"-----BEGIN CERTIFICATE-----"


class _Files(NamedTuple):
    ca: Path
    cert: Path
    key: Path


def path_of(config: AgentConfig) -> Path:
    """Where it lies."""
    return config.state_dir / FILE


def follows(config: AgentConfig) -> bool:
    """Whether there is one that followed the configured certificate. One that cannot be read follows it, too:
    loading it tells why."""
    try:
        with path_of(config).open("rb") as opened:
            first = opened.readline(credentials.MAX_BYTES)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return first.strip() == _FOLLOWS + _mark(config)


def load(config: AgentConfig, now: datetime) -> Credential:
    """The renewed credential.

    Raises:
        InvalidInput: As `credentials.load_node`.
    """
    return _load(config, path_of(config), now)


def install(config: AgentConfig, key_pem: bytes, cert_pem: bytes, now: datetime) -> Credential:
    """Put a renewed credential in place, durably and at one instant.

    Raises:
        InvalidInput: CREDENTIAL_INVALID: this agent could not serve with it; nothing has changed.
        NodeFailure: STORE_FAILED.
    """
    disk = Disk()
    body = b"%s%s\n%s%s" % (_FOLLOWS, _mark(config), key_pem, cert_pem)
    with (
        files.store_errors(
            "keep the renewed credential",
            config.state_dir,
            f"run gausscert pki renew --node {config.name} again",
        ),
        files.opened(config.state_dir) as directory,
    ):
        files.write_anew(disk, directory, _NEW, body, _MODE)
        try:
            loaded = _load(config, config.state_dir / _NEW, now)
        except InvalidInput as error:
            disk.unlink(directory, _NEW)
            error.file = ""  # of no use to whoever sent it
            raise
        disk.replace(directory, _NEW, FILE)
        disk.sync(directory)
    return loaded


def discard_leftover(config: AgentConfig) -> None:
    """Remove what an agent that died amid `install` has left: it holds a key that nothing uses."""
    with suppress(OSError), files.opened(config.state_dir) as directory:
        if files.exists(directory, _NEW):
            Disk().unlink(directory, _NEW)


def _load(config: AgentConfig, path: Path, now: datetime) -> Credential:
    named = _Files(config.tls.ca, path, path)
    loaded = credentials.load_node(named, cluster=config.cluster, name=config.name, now=now)
    key, mark, cert = loaded.cert_pem.partition(_CERTIFICATE)
    # Each part is passed on alone: a certificate is shown to everybody.
    return replace(loaded, cert_pem=mark + cert, key_pem=key.partition(b"\n")[2])


def _mark(config: AgentConfig) -> bytes:
    """What tells the configured certificate from others; "" where there is none."""
    try:
        return hashlib.sha256(config.tls.cert.read_bytes()).hexdigest().encode()
    except OSError:
        return b""
