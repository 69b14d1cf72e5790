"""The agent's credential as gRPC asks for it: anew for each connection, so that a renewed one counts without
a restart."""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, TypeAlias

import grpc
from gausscert_common import credentials
from gausscert_common.errors import GausscertError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gausscert_common.credentials import Credential
    from gausscert_common.findings import Finding

    from gausscert_agent.config import AgentConfig

logger = logging.getLogger(__name__)

EXPIRY_ALARM: Final = timedelta(days=30)
LAST_DAY: Final = timedelta(days=1)
"""From then on the agent is not healthy: it may be deaf tomorrow."""
AGAIN_S: Final = 60.0
"""How long after a failure the same files are tried again."""

_Stamp: TypeAlias = tuple[tuple[int, int, int], ...]


class CredentialSource:
    """Loads the credential, and loads it again when a file has changed.

    Args:
        config: Names the files, the cluster and the node.
        clock: The node's.
        monotonic: Seconds, never set back.
    """

    def __init__(
        self,
        config: AgentConfig,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._clock = clock
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._stamp: _Stamp = ()
        self._failed_at: float | None = None
        self._told: tuple[str, str] | None = None
        self._not_after: datetime | None = None
        self._waiting: grpc.ServerCertificateConfiguration | None = None

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
        with self._lock:
            self._refresh()
            found, self._waiting = self._waiting, None
            return found

    def left(self) -> timedelta | None:
        """How long the credential lasts that the next connection will meet; None where there is none yet."""
        with self._lock:
            self._refresh()
            return None if self._not_after is None else self._not_after - self._clock()

    def findings(self) -> tuple[Finding, ...]:
        """What is to be said of the credential: () while it lasts."""
        left, not_after = self.left(), self._not_after
        if left is None or not_after is None or left >= EXPIRY_ALARM:
            return ()
        from gausscert_agent.node_findings import node_finding

        code = "NODE_CREDENTIAL_EXPIRING" if left >= LAST_DAY else "NODE_CREDENTIAL_LAST_DAY"
        if left < timedelta():
            code = "NODE_CREDENTIAL_EXPIRED"
        detail = f"not after {not_after:%Y-%m-%d %H:%M} UTC"
        return (node_finding(code, detail, file=str(self._config.tls.cert)),)

    def _refresh(self) -> None:
        """Whoever watches must not wait for somebody to connect; what is loaded for him waits for gRPC."""
        try:
            self._waiting = self._changed() or self._waiting
        except Exception as error:  # noqa: BLE001 - the outermost loop of gRPC's thread
            logger.error("credential cannot be read", extra={"exception": type(error).__name__})

    def _changed(self) -> grpc.ServerCertificateConfiguration | None:
        stamp = self._stamp_now()
        if stamp == self._stamp and not self._due_again():
            return None
        self._stamp = stamp  # before loading: a bad one is tried once a minute, not on every connection
        self._failed_at = self._monotonic()
        try:
            loaded = self._load()
        except GausscertError as error:
            self._tell(error)
            return None
        self._failed_at = self._told = None
        logger.info("credential reloaded", extra={"not_after": loaded.not_after.isoformat()})
        return _configuration(loaded)

    def _due_again(self) -> bool:
        """A credential that cannot be used may come to be without a change of its files: when this node's
        clock, which is late, has reached its first day."""
        return self._failed_at is not None and self._monotonic() - self._failed_at >= AGAIN_S

    def _tell(self, error: GausscertError) -> None:
        # Without the numbers: a message that tells the time differs each time.
        cause = (error.file, re.sub(r"\d+", "", error.message))
        if cause == self._told:
            return
        self._told = cause
        logger.error(
            "credential has changed and cannot be used; the former one stays",
            extra={"file": error.file, "cause": error.message, "remedy": error.remedy},
        )

    def _load(self) -> Credential:
        now = self._clock()
        config = self._config
        loaded = credentials.load_node(config.tls, cluster=config.cluster, name=config.name, now=now)
        self._not_after = loaded.not_after
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
