"""A real agent server with a fake node behind it, and a control plane to talk to it.

    with Edge(tmp_path) as edge:                   # cluster "prod", node "N_1", port chosen by the kernel
        channel = edge.channel(edge.person(Role.OPERATOR, "alice"))
        edge.node.raises = NodeRefusal(...)        # whatever the node is to do next

`FakeNode.seen` has every call with the values that came through the wire.
"""

from __future__ import annotations

import gc
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from gausscert_agent.config import AgentConfig, CmSettings, TlsFiles
from gausscert_agent.credential_source import CredentialSource
from gausscert_agent.server import AgentServer
from gausscert_agent.watch import Hub, Subscription
from gausscert_common.findings import Finding, Severity
from gausscert_common.identity import Identity, Role, node_dns_name
from gausscert_common.model import (
    CertificateSet,
    ExpiryReport,
    JudgedSet,
    NodeReport,
    Overlap,
    OverlapRefusal,
    PreparedSet,
    ProbeReport,
    SetState,
    Side,
    SslSwitch,
    SslValue,
    WatchEvent,
)
from gausscert_common.protocol.words import Fence, Phase, Step
from gausscert_coordinator import pki, pki_certificates
from gausscert_coordinator.inventory import Credentials, Inventory, InventoryNode, Timeouts

CLUSTER = "prod"
NODE = "N_1"
THEN = datetime(2026, 1, 1, tzinfo=UTC)
EVENT = WatchEvent("tx-00000001", Phase.PREPARED, Fence(1, Step.PREPARE), "waiting", THEN)
OVERLAP = Overlap((OverlapRefusal(Side.NEW, Side.FORMER, "unknown CA"),), unknown="")
WARNING = Finding("EXPIRES_SOON", Severity.WARNING, "in 3 days", node=NODE)


class FakeNode:
    """Remembers what it was asked, answers something recognisable, raises or waits when told to."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, object]] = []
        self.raises: list[BaseException] = []
        """One for each of the next calls."""
        self.gate = threading.Event()
        """Commands wait for it."""
        self.gate.set()
        self.inside = threading.Semaphore(0)
        """Released by every command that has come in."""
        self.finished: list[str] = []
        self.hub = Hub()
        self.name = NODE
        self.cluster = CLUSTER
        self.in_transaction = True
        self.live = CertificateSet(SetState.WHOLE, "d" * 64, "b" * 64)

    def _called(self, name: str, value: object) -> None:
        self.seen.append((name, value))
        self.inside.release()
        if self.raises:
            raise self.raises.pop(0)

    def _command(self, name: str, value: object) -> None:
        self._called(name, value)
        assert self.gate.wait(30)
        self.finished.append(name)

    def report(self, *, preflight: bool) -> NodeReport:
        self._called("report", preflight)
        return self._report()

    def _report(self) -> NodeReport:
        return NodeReport(self.cluster, self.name, "0.1.0", THEN, live=self.live)

    def judge(self, source, *, drop_crls: bool) -> JudgedSet:
        self._called("judge", (source, drop_crls))
        return JudgedSet(self.live, (WARNING,), OVERLAP)

    def expiry(self) -> ExpiryReport:
        self._called("expiry", None)
        return ExpiryReport(NODE, THEN, (), 90)

    def probe(self, *, query: bool, timeout_s: float) -> ProbeReport:
        self._called("probe", (query, timeout_s))
        return ProbeReport()

    def watch(self) -> Subscription:
        self._called("watch", None)
        subscription = self.hub.subscribe()
        subscription.put(EVENT)
        return subscription

    def acquire(self, command, lease_s, is_active) -> NodeReport:
        assert is_active()
        self._command("acquire", (command, lease_s))
        return self._report()

    def prepare(self, command, source, is_active, *, drop_crls):
        self._command("prepare", (command, source, drop_crls))
        return PreparedSet(replace(self.live, digest="e" * 64), (WARNING,), OVERLAP)

    def restart(self, command, orders, is_active) -> None:
        self._command("restart", (command, orders))

    def move(self, command, is_active) -> CertificateSet:
        self._command("move", command)
        return self.live

    def end(self, command, is_active) -> None:
        self._command("end", command)

    def encrypt_live(self, request_id, server_password, client_password, is_active) -> CertificateSet:
        self._command("encrypt_live", (request_id, server_password, client_password))
        return self.live

    def set_enable_ssl(self, request_id, wish, is_active) -> SslSwitch:
        self._command("set_enable_ssl", (request_id, wish))
        return SslSwitch(SslValue.ON, SslValue.ON)

    def drain(self, timeout_s: float) -> bool:
        self.hub.close()
        return self.gate.wait(timeout_s)


def make_ca(directory: Path, cluster: str = CLUSTER) -> Path:
    pki.init(directory, cluster, None)
    return directory


def copy_private(source: Path, target: Path) -> Path:
    target.touch(0o600)
    target.write_bytes(source.read_bytes())
    return target


def credentials_of(issued: pki.Issued) -> Credentials:
    return Credentials(issued.ca, issued.cert, issued.key)


def expired(ca: Path, role: Role, name: str, out: Path) -> Credentials:
    """An identity that was good until yesterday."""
    past = datetime.now(UTC) - timedelta(days=2)
    return credentials_of(pki.issue(ca, role, name, days=1, out=out, now=past))


def odd_identity(ca: Path, uris: list[str], out: Path) -> Credentials:
    """A certificate of this CA that `pki` would never make: with any URI SANs."""
    authority = pki.open_authority(ca, None)
    key = ec.generate_private_key(ec.SECP256R1())
    names = x509.SubjectAlternativeName(
        [x509.DNSName("odd.example.org"), *(x509.UniformResourceIdentifier(uri) for uri in uris)]
    )
    anybody = Identity("odd", Role.OPERATOR, "odd")
    end = authority.cert.not_valid_after_utc
    cert = pki_certificates.leaf(authority, anybody, key.public_key(), names, datetime.now(UTC), end)
    for path, body in (
        (out / "odd.crt", pki._pem(cert)),
        (out / "odd.key", pki._key_pem(key, serialization.NoEncryption())),
    ):
        path.touch(0o600)
        path.write_bytes(body)
    return Credentials(ca / "ca.crt", out / "odd.crt", out / "odd.key")


@pytest.fixture(autouse=True)
def no_threads_are_left():
    """Import it where servers are made. Threads of gRPC's core that have logged once stay known to Python
    as dummies; they are not ours."""
    before = set(threading.enumerate())
    yield

    def left() -> set[threading.Thread]:
        return {
            thread
            for thread in set(threading.enumerate()) - before
            if not isinstance(thread, threading._DummyThread)
        }

    gc.collect()  # grpc.aio ends its poller with the last of its objects, and errors keep those in cycles
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and left():
        time.sleep(0.02)
    assert not left(), left()


class Edge:
    """See the module."""

    def __init__(
        self, root: Path, *, node: str = NODE, cluster: str = CLUSTER, drain_s: float = 20.0
    ) -> None:
        self.root = root
        self.ca = make_ca(root / "ca", cluster)
        self.issued = pki.issue(self.ca, Role.NODE, node, out=root / "node")
        self.config = AgentConfig(
            name=node,
            cluster=cluster,
            listen="127.0.0.1:0",
            state_dir=root / "state",
            tls=TlsFiles(self.issued.ca, self.issued.cert, self.issued.key),
            cm=CmSettings(root / "home"),
            drain_s=drain_s,
        )
        self.config.state_dir.mkdir(0o700)
        self.node = FakeNode()
        self.node.name, self.node.cluster = node, cluster
        self.server = AgentServer(self.config, CredentialSource(self.config))
        self.server.answer(self.node)
        self.port = 0
        self._channels: list[grpc.Channel] = []
        self._stopped = False

    def __enter__(self) -> Self:
        self.port = self.server.start()
        return self

    def __exit__(self, *_: object) -> None:
        for channel in self._channels:
            channel.close()
        self.node.gate.set()
        self.drain()

    def drain(self) -> None:
        if not self._stopped:
            self._stopped = True
            self.server.drain()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def person(self, role: Role, name: str, *, ca: Path | None = None) -> Credentials:
        out = self.root / f"{role}-{name}"
        return credentials_of(pki.issue(ca or self.ca, role, name, out=out))

    def channel(self, credentials: Credentials | None, **options) -> grpc.Channel:
        """A plain channel, as anybody with these files could open."""
        tls = grpc.ssl_channel_credentials(self.issued.ca.read_bytes())
        if credentials is not None:
            tls = grpc.ssl_channel_credentials(
                credentials.ca.read_bytes(), credentials.key.read_bytes(), credentials.cert.read_bytes()
            )
        name = node_dns_name(self.config.cluster, self.config.name)
        said = {"grpc.ssl_target_name_override": name, "grpc.enable_retries": 0} | options
        channel = grpc.secure_channel(self.address, tls, options=list(said.items()))
        self._channels.append(channel)
        return channel

    def inventory(self, credentials: Credentials, timeouts: Timeouts | None = None, **changes) -> Inventory:
        said = {"cluster": self.config.cluster, "name": self.config.name, "address": self.address} | changes
        node = InventoryNode(said["name"], said["address"])
        return Inventory(said["cluster"], (node,), credentials, timeouts or Timeouts())
