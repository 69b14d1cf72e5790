"""One machine of a fake cluster: a disk with a live set and a stage, and a CM that loads it when it starts.

Used by `support.fake_agents`; tests reach it as `cluster.nodes["node-a"]` to look, or to script what is
wrong with the machine: `stale` (the cm_server goes on serving what it had), `deaf` (nothing listens),
`broken_chain` (the prober cannot verify this cm_server), `query_takes_s`, `refuses_to_stop`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from gausscert_common.bundle import Bundle
from gausscert_common.errors import NodeFailure, NodeRefusal, Reason
from gausscert_common.findings import Finding, errors
from gausscert_common.model import (
    Certificate,
    CertificateKind,
    CertificateSet,
    CmProcess,
    JudgedSet,
    Overlap,
    OverlapRefusal,
    Served,
    ServedState,
    SetState,
    Side,
    SslSwitch,
    SslValue,
)
from gausscert_common.protocol.rules import Effect
from gausscert_common.protocol.state import SslSetting, Transaction
from gausscert_common.protocol.words import SslWish
from gausscert_common.source import LiveSet, Source

EPOCH = datetime(2025, 1, 1, tzinfo=UTC)


def sha(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def bundle(label: str) -> Bundle:
    """A bundle whose files only look like PEM; two labels are two CAs."""
    names = ("cacert.pem", "server.crt", "server.key", "client.crt", "client.key")
    return Bundle(
        pem={name: f"{label} {name}".encode() for name in names},
        server_password="Server-1",
        client_password="Client-1",
    )


def server_certificate(of: Bundle) -> Certificate:
    """What describing a set finds in real ones."""
    return Certificate(
        file="server.crt",
        index=0,
        kind=CertificateKind.SERVER,
        subject=f"CN={of.pem['server.crt'].decode()}",
        issuer=f"CN={of.pem['cacert.pem'].decode()}",
        serial="1",
        fingerprint=sha(of.pem["server.crt"]),
        not_before=EPOCH,
        not_after=EPOCH + timedelta(days=365),
    )


@dataclass(frozen=True)
class FakeSet:
    """A set as it lies on one node; the digest differs between nodes and stagings, as real ones do."""

    digest: str
    bundle_digest: str
    server: Certificate
    ca: str

    @property
    def leaf(self) -> str:
        return self.server.fingerprint

    @classmethod
    def of(cls, source: Bundle, salt: str) -> FakeSet:
        digest = sha(f"{source.digest} {salt}".encode())
        return cls(digest, source.digest, server_certificate(source), sha(source.pem["cacert.pem"]))

    def report(self) -> CertificateSet:
        return CertificateSet(SetState.WHOLE, self.digest, self.bundle_digest, certificates=(self.server,))


def report_of(held: FakeSet | None) -> CertificateSet:
    return CertificateSet() if held is None else held.report()


@dataclass
class FakeNode:
    """Disk, configuration and processes of one machine."""

    name: str
    cm_node_id: int
    live: FakeSet | None
    stage: FakeSet | None = None
    generations: dict[str, FakeSet] = field(default_factory=dict)
    """Retired sets, newest first."""
    objections: tuple[Finding, ...] = ()
    """What the node finds wrong with whatever it judges."""
    ssl_server: bool = True
    ssl_agent: bool = True
    loaded: FakeSet | None = None
    """What the running cm_server has in memory; None when CM does not run."""
    ssl_loaded: bool = True
    manual_stop: bool = False
    paused: bool = False
    upgrading: bool = False
    starts: int = 0
    cannot_start_with: set[str] = field(default_factory=set)
    """Digests of live sets with which its cm_server ends at once."""
    causes: tuple[Finding, ...] = ()
    """What its logs say."""
    never_restarted: bool = False
    """Its processes are those of before, whatever was stopped and started."""
    stagings: int = 0
    stale: FakeSet | None = None
    deaf: bool = False
    broken_chain: bool = False
    query_takes_s: float = 0.0
    refuses_to_stop: bool = False

    @property
    def retired(self) -> list[FakeSet]:
        return list(self.generations.values())

    @property
    def running(self) -> bool:
        return self.loaded is not None

    @property
    def live_digest(self) -> str:
        return "" if self.live is None else self.live.digest

    @property
    def target(self) -> str:
        return f"10.0.0.{self.cm_node_id}:5000"

    def start(self) -> None:
        self.manual_stop = False
        if self.live is not None and not self.running and self.live_digest not in self.cannot_start_with:
            self.starts += 1
            self.loaded, self.ssl_loaded = self.live, self.ssl_server

    def stop(self) -> None:
        if self.refuses_to_stop:
            raise NodeFailure(Reason.CM_NOT_STOPPED, "cm_server still runs", node=self.name)
        self.loaded, self.manual_stop = None, True

    def require_stopped(self) -> None:
        if self.running:
            raise NodeRefusal(Reason.NOT_STOPPED, "CM runs", node=self.name)

    def build_stage(self, source: Source) -> FakeSet:
        self.stagings += 1
        if isinstance(source, Bundle):
            self.stage = FakeSet.of(source, f"{self.name} {self.stagings}")
        elif isinstance(source, LiveSet):
            assert self.live is not None
            self.stage = None
            return self.live
        elif source.name in self.generations:
            self.stage = self.generations[source.name]
        else:
            raise NodeRefusal(Reason.GENERATION_UNKNOWN, f"no generation {source.name}", node=self.name)
        return self.stage

    def judge(self, source: Source, found: tuple[Finding, ...]) -> JudgedSet:
        """With what its rules have found in a bundle."""
        if isinstance(source, LiveSet):
            return JudgedSet(report_of(self.live), self.objections)
        if isinstance(source, Bundle):
            if errors(found):  # its files may be missing or unreadable
                return JudgedSet(findings=(*self.objections, *found))
            new = FakeSet.of(source, f"{self.name} not staged")
            shown = replace(new.report(), digest="")
            return JudgedSet(shown, (*self.objections, *found), self._overlap(new))
        former = self.generations.get(source.name)
        if former is None:
            return JudgedSet()
        return JudgedSet(former.report(), self.objections, self._overlap(former))

    def _overlap(self, new: FakeSet) -> Overlap:
        if self.live is None:
            return Overlap(unknown="there is no former set")
        if self.live.ca == new.ca:
            return Overlap((), "", same_ca=True)
        refused = (OverlapRefusal(each, each, "unknown CA") for each in Side)
        return Overlap(tuple(refused), "")

    def make_live(self, wanted: str, other: str) -> None:
        """Ensure, never toggle; refuses what is neither. I7 and I10 are asserted here."""
        if self.live_digest == wanted:
            return
        assert self.live_digest == other, f"I10: foreign set touched on {self.name}"
        assert not self.running, f"I7: exchange under a running CM on {self.name}"
        staged = "" if self.stage is None else self.stage.digest
        assert staged == wanted, f"I5: the wanted set is gone from {self.name}"
        self.live, self.stage = self.stage, self.live

    def set_ssl(self, value: SslSetting) -> None:
        self.ssl_server = self.ssl_server if value.server is None else value.server
        self.ssl_agent = self.ssl_agent if value.agent is None else value.agent

    def carry_out(self, effect: Effect, transaction: Transaction) -> None:
        """Effects that concern the sets and the switch; Stop, Start and staging need the caller's orders."""
        old, new = transaction.old_digest, transaction.new_digest
        if effect is Effect.REQUIRE_STOPPED:
            self.require_stopped()
        elif effect is Effect.MAKE_NEW_LIVE:
            self.make_live(new, old)
        elif effect is Effect.MAKE_OLD_LIVE:
            self.make_live(old, new)
        elif effect is Effect.APPLY_SSL and transaction.ssl_wish is not SslWish.KEEP:
            on = transaction.ssl_wish is SslWish.ON
            self.set_ssl(SslSetting(on, on))
        elif effect is Effect.RESTORE_SSL:
            self.set_ssl(transaction.previous_ssl)
        elif effect is Effect.RETIRE_OLD and self.stage is not None:
            name = transaction.joins or transaction.transaction_id
            name = transaction.transaction_id if name in self.generations else name
            self.generations = {name: self.stage, **self.generations}
            self.stage = None
        elif effect is Effect.REMOVE_STAGE:
            self.stage = None

    def switch(self) -> SslSwitch:
        server, agent = (SslValue.ON if on else SslValue.OFF for on in (self.ssl_server, self.ssl_agent))
        return SslSwitch(server, agent)

    def processes(self) -> tuple[CmProcess, ...]:
        if not self.running:
            return ()
        names = ("cm_server", "cm_agent")
        starts = 0 if self.never_restarted else self.starts
        born = EPOCH + timedelta(minutes=starts)
        return tuple(
            CmProcess(name, 100 * self.cm_node_id + i, born, 1 + starts, "boot")
            for i, name in enumerate(names)
        )

    def served_to(self, prober: FakeNode) -> Served:
        shown = self.stale or self.loaded
        if shown is None or not self.running or self.deaf:
            return Served(self.cm_node_id, self.target, ServedState.UNREACHABLE, cause="connection refused")
        if not self.ssl_loaded:
            return Served(self.cm_node_id, self.target, ServedState.SSL_OFF)
        trusted = prober.live is not None and prober.live.ca == shown.ca and not self.broken_chain
        return Served(
            cm_node_id=self.cm_node_id,
            target=self.target,
            state=ServedState.SSL_ON,
            fingerprint=shown.leaf,
            chain_verified=trusted,
            not_after=shown.server.not_after,
            cause="" if trusted else "unable to get local issuer certificate",
        )
