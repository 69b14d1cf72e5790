"""The agent's credential as gRPC asks for it: anew for each connection, so that a renewed one counts without
a restart."""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, TypeAlias

import grpc
from gausscert_common import credentials, identity
from gausscert_common.errors import GausscertError, InvalidInput

from gausscert_agent import renewed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gausscert_common.credentials import Credential
    from gausscert_common.findings import Finding
    from gausscert_common.model import Certificate

    from gausscert_agent.config import AgentConfig

logger = logging.getLogger(__name__)

EXPIRY_ALARM: Final = timedelta(days=identity.CREDENTIAL_WARNED_DAYS)
CA_ALARM: Final = timedelta(days=identity.CA_WARNED_DAYS)
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
        self._loaded: Credential | None = None
        self._path = config.tls.cert
        self._waiting: grpc.ServerCertificateConfiguration | None = None

    def first(self) -> grpc.ServerCertificateConfiguration:
        """The credential to begin with.

        Raises:
            InvalidInput: CREDENTIAL_INVALID.
        """
        with self._lock:
            self._stamp = self._stamp_now()
            return _configuration(self._load())

    def as_client(self) -> grpc.ChannelCredentials:
        """For a call to the agent itself, which serves with the same one.

        Raises:
            InvalidInput: CREDENTIAL_INVALID.
        """
        with self._lock:
            loaded = self._load()
        return grpc.ssl_channel_credentials(loaded.ca_pem, loaded.key_pem, loaded.cert_pem)

    def changed(self) -> grpc.ServerCertificateConfiguration | None:
        """A new credential, or None: keep what there is. Never raises, whatever lies on the disk: gRPC
        calls this from a thread of its own."""
        with self._lock:
            self._refresh()
            found, self._waiting = self._waiting, None
            return found

    def current(self) -> Credential:
        """What the next connection will meet, without its key.

        Raises:
            InvalidInput: CREDENTIAL_INVALID: nothing was ever loaded, and cannot be now.
        """
        with self._lock:
            self._refresh()
            return self._loaded if self._loaded is not None else replace(self._load(), key_pem=b"")

    def install(self, key_pem: bytes, cert_pem: bytes) -> None:
        """Have the next connections meet a renewed credential. Open ones stay as they are.

        Raises:
            InvalidInput: CREDENTIAL_INVALID: this agent could not serve with it; nothing has changed.
            NodeFailure: STORE_FAILED.
        """
        with self._lock:
            loaded = renewed.install(self._config, key_pem, cert_pem, self._clock())
            self._stamp = self._stamp_now()
            self._failed_at = self._told = None
            self._take(loaded, renewed.path_of(self._config))
            self._waiting = _configuration(loaded)

    def left(self) -> timedelta | None:
        """How long the credential lasts that the next connection will meet; None where there is none yet."""
        with self._lock:
            self._refresh()
            return None if self._loaded is None else self._loaded.not_after - self._clock()

    def certificates(self) -> tuple[Certificate, ...]:
        """The agent's own credential, then the CAs that it trusts, the one that ends first first; () where
        there is none yet."""
        with self._lock:
            self._refresh()
            loaded, path = self._loaded, self._path
        if loaded is None:
            return ()
        from gausscert_common.model import Certificate, CertificateKind

        own = Certificate(str(path), 0, CertificateKind.CREDENTIAL, *loaded.own)
        ca = str(self._config.tls.ca)
        trusted = enumerate(loaded.authorities)
        return (own, *(Certificate(ca, n, CertificateKind.CREDENTIAL_CA, *one) for n, one in trusted))

    def findings(self) -> tuple[Finding, ...]:
        """What is to be said of the credential and of the CAs that it trusts: () while they last."""
        from gausscert_agent.node_findings import node_finding

        shown = self.certificates()
        now = self._clock()
        codes = [(_code(one, now, is_ca=number > 0), one) for number, one in enumerate(shown)]
        return tuple(
            node_finding(code, f"{one.subject}, not after {one.not_after:%Y-%m-%d %H:%M} UTC", file=one.file)
            for code, one in codes
            if code
        )

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
        """The renewed one, where there is one; the configured one also where that is spoilt."""
        if renewed.follows(self._config):
            try:
                return self._take(renewed.load(self._config, self._clock()), renewed.path_of(self._config))
            except InvalidInput as spoilt:
                try:
                    loaded = self._load_configured()
                except InvalidInput:
                    raise spoilt from None
                logger.error(
                    "the renewed credential cannot be used; the configured one is",
                    extra={"file": spoilt.file, "cause": spoilt.message},
                )
                return self._take(loaded, self._config.tls.cert)
        return self._take(self._load_configured(), self._config.tls.cert)

    def _load_configured(self) -> Credential:
        config = self._config
        return credentials.load_node(config.tls, cluster=config.cluster, name=config.name, now=self._clock())

    def _take(self, loaded: Credential, path: Path) -> Credential:
        # Without its key: gRPC has a copy, and nobody here needs another.
        self._loaded, self._path = replace(loaded, key_pem=b""), path
        return loaded

    def _stamp_now(self) -> _Stamp:
        tls = self._config.tls
        return tuple(_stamp_of(path) for path in (tls.ca, tls.cert, tls.key, renewed.path_of(self._config)))


def _code(certificate: Certificate, now: datetime, *, is_ca: bool) -> str:
    left = certificate.not_after - now
    if is_ca:
        code = "NODE_CREDENTIAL_CA_EXPIRED" if left < timedelta() else "NODE_CREDENTIAL_CA_EXPIRING"
        return code if left < CA_ALARM else ""
    if left < timedelta():
        return "NODE_CREDENTIAL_EXPIRED"
    if left < LAST_DAY:
        return "NODE_CREDENTIAL_LAST_DAY"
    return "NODE_CREDENTIAL_EXPIRING" if left < EXPIRY_ALARM else ""


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
