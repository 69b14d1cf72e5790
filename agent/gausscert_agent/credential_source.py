"""The agent's credential as gRPC asks for it: anew for each connection, so that a renewed one counts without
a restart."""

from __future__ import annotations

import logging
import os
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, TypeAlias

import grpc
from gausscert_common import credentials
from gausscert_common.errors import GausscertError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gausscert_common.credentials import Credential

    from gausscert_agent.config import AgentConfig

logger = logging.getLogger(__name__)

EXPIRY_ALARM: Final = timedelta(days=30)

_Stamp: TypeAlias = tuple[tuple[int, int, int], ...]


def _utc_now() -> datetime:
    return datetime.now(UTC)


class CredentialSource:
    """Loads the credential, and loads it again when a file has changed.

    Args:
        config: Names the files, the cluster and the node.
        clock: The node's.
    """

    def __init__(
        self, config: AgentConfig, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._config = config
        self._clock = clock
        self._lock = threading.Lock()
        self._stamp: _Stamp = ()

    def first(self) -> grpc.ServerCertificateConfiguration:
        """The credential to begin with.

        Raises:
            InvalidInput: CREDENTIAL_INVALID.
        """
        with self._lock:
            self._stamp = self._stamp_now()
            return _configuration(self._load())

    def changed(self) -> grpc.ServerCertificateConfiguration | None:
        """A new credential, or None: keep what there is. Never raises, whatever lies on the disk: gRPC
        calls this from a thread of its own."""
        try:
            with self._lock:
                return self._changed()
        except GausscertError as error:
            logger.error(
                "credential has changed and cannot be used; the former one stays",
                extra={"file": error.file, "cause": error.message, "remedy": error.remedy},
            )
        except Exception as error:  # noqa: BLE001 - the outermost loop of gRPC's thread
            logger.error("credential cannot be read", extra={"exception": type(error).__name__})
        return None

    def _changed(self) -> grpc.ServerCertificateConfiguration | None:
        stamp = self._stamp_now()
        if stamp == self._stamp:
            return None
        self._stamp = stamp  # before loading: a bad one is told once, not on every connection
        loaded = self._load()
        logger.info("credential reloaded", extra={"not_after": loaded.not_after.isoformat()})
        return _configuration(loaded)

    def _load(self) -> Credential:
        now = self._clock()
        config = self._config
        loaded = credentials.load_node(config.tls, cluster=config.cluster, name=config.name, now=now)
        if loaded.not_after - now < EXPIRY_ALARM:
            logger.warning(
                "the agent's own credential expires soon",
                extra={"not_after": loaded.not_after.isoformat(), "remedy": "gausscert pki issue"},
            )
        return loaded

    def _stamp_now(self) -> _Stamp:
        return tuple(
            _stamp_of(path) for path in (self._config.tls.ca, self._config.tls.cert, self._config.tls.key)
        )


def _stamp_of(path: Path) -> tuple[int, int, int]:
    try:
        status = os.stat(path)
    except OSError:
        return (0, 0, 0)
    return status.st_ino, status.st_mtime_ns, status.st_ctime_ns


def _configuration(loaded: Credential) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration(
        [(loaded.key_pem, loaded.cert_pem)], root_certificates=loaded.ca_pem
    )
