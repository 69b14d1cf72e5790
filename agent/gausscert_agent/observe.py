"""What this node is and holds, as one report. A part that cannot be seen becomes a finding; the rest
is reported all the same, because a node is looked at most when something is wrong with it."""

from __future__ import annotations

import hashlib
import ssl
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TypeVar

from gausscert_common import VERSION, certset, pem
from gausscert_common.errors import GausscertError
from gausscert_common.model import (
    Capabilities,
    CertificateSet,
    CmProcess,
    CmTopology,
    ExpiryReport,
    NodeReport,
    Paths,
    ProbeReport,
    RetiredSet,
    Served,
    ServedState,
    SetFile,
    SetState,
    SslSwitch,
    TransactionReport,
)

from gausscert_agent import preflight, preflight_look
from gausscert_agent.describe import Describer
from gausscert_agent.drivers import cm_probe
from gausscert_agent.drivers.cm_ctl import os_user
from gausscert_agent.expiry import DEFAULT_THRESHOLD_DAYS, expiry_report, unreadable, with_served
from gausscert_agent.looks import NOT_RUNNING, NotNow
from gausscert_agent.node_findings import node_finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gausscert_common.findings import Finding
    from gausscert_common.model import Certificate, ClusterState

    from gausscert_agent.cm import LocalCm
    from gausscert_agent.config import AgentConfig
    from gausscert_agent.layout_probe import LayoutProbe
    from gausscert_agent.set_on_disk import SetOnDisk
    from gausscert_agent.store import Store

T = TypeVar("T")

PROBE_S: Final = 5.0
"""For the node's own cm_server."""

_CA_FILE: Final = "cacert.pem"
_NO_RETIRED: Final[tuple[RetiredSet, ...]] = ()
_NO_PROCESSES: Final[tuple[CmProcess, ...]] = ()


class Observer:
    """Looks at one node; changes nothing.

    Args:
        config: The agent's.
        store: The sets on disk.
        cm: CM on this node.
        transaction: The durable state, as the runner tells it.
        more: What else is to be said of the node: of the agent's health, and its alarms.
        control_plane: The agent's own credential, and the CAs that it trusts.
        clock: The node's clock.
        probe_all: How cm_servers are probed.
    """

    def __init__(
        self,
        config: AgentConfig,
        store: Store,
        cm: LocalCm,
        *,
        transaction: Callable[[], TransactionReport],
        more: Callable[[], tuple[Finding, ...]] = tuple,
        control_plane: Callable[[], tuple[Certificate, ...]] = tuple,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        probe_all: Callable[[CmTopology, str, bytes, float], tuple[Served, ...]] = cm_probe.probe_all,
    ) -> None:
        self._config = config
        self._store = store
        self._cm = cm
        self._transaction = transaction
        self._more = more
        self._control_plane = control_plane
        self._clock = clock
        self._probe_all = probe_all
        self._layout: LayoutProbe | None = None

    def report(self, preflight: bool = False) -> NodeReport:
        """The node at this moment.

        Args:
            preflight: Also look for everything that would refuse a replacement.
        """
        look = _Look()
        return self._report(
            look,
            ssl=look.at("enable_ssl", self._cm.look_at_ssl, SslSwitch()),
            version=look.at("the version of CM", self._cm.version, ""),
            topology=look.at("the topology", self._cm.topology, CmTopology()),
            preflight=preflight,
        )

    def quick_report(self) -> NodeReport:
        """The node at this moment, without asking cm_ctl, which may take long: what it said last stands for
        what it would say. For the answer to Acquire, which must come before its caller gives up: the fence
        is taken already."""
        look = _Look()
        return self._report(
            look,
            ssl=look.at("enable_ssl", self._cm.last_ssl, SslSwitch()),
            version=self._cm.last_version(),
            topology=self._cm.last_topology(),
            preflight=False,
        )

    def _report(
        self, look: _Look, *, ssl: SslSwitch, version: str, topology: CmTopology, preflight: bool
    ) -> NodeReport:
        transaction = look.at("the transaction", self._transaction, TransactionReport())
        live = look.at("the live set", self._store.read_live, None)
        stage = look.at("the stage", lambda: self._stage(transaction), None)
        retired = look.at("the retired sets", self._retired, _NO_RETIRED)
        processes = look.at("the process list", self._cm.processes, _NO_PROCESSES)
        layout = look.at("the file system", lambda: self._probe_layout(again=preflight), None)
        paused, upgrading = preflight_look.interference(self._cm)
        return NodeReport(
            cluster=self._config.cluster,
            name=self._config.name,
            agent_version=VERSION,
            clock=self._clock(),
            cm_version=version,
            paths=self._paths(),
            capabilities=Capabilities(
                layout=None if layout is None else layout.layout,
                cm_ctl=bool(topology.nodes),
                factor_build=self._cm.factor_build(),
            ),
            transaction=transaction,
            live=describe_set(live),
            stage=describe_set(stage),
            retired=retired,
            enable_ssl=ssl,
            processes=processes,
            manually_stopped=self._cm.manually_stopped(),
            paused=paused,
            upgrading=upgrading,
            topology=topology,
            findings=self._findings(look.findings, live, layout, preflight),
        )

    def probe(self, query: bool, timeout_s: float) -> ProbeReport:
        """What each cm_server serves, seen from here.

        Args:
            query: Also run `cm_ctl query`.
            timeout_s: Longest time for each cm_server, and for the query.

        Raises:
            NodeFailure: CM_CTL_FAILED, CM_CTL_TIMEOUT; which cm_servers there are is not known. An
                empty answer would look as if there was nothing left to prove.
        """
        topology = self._cm.topology()
        served = self._probe_all(topology, os_user(), self._live_ca(), timeout_s)
        cluster = self._cm.query(timeout_s) if query else None
        return ProbeReport(served, cluster, self._causes(served, cluster))

    def _causes(self, served: tuple[Served, ...], cluster: ClusterState | None) -> tuple[Finding, ...]:
        """A log of a cluster that is well has lines, too, that would pass for a cause."""
        well = all(_is_well(one) for one in served) and (cluster is None or cluster.cluster_state)
        found = () if well else self._cm.log_findings()
        return tuple(finding.at_node(self._config.name) for finding in found)

    def served(self) -> Served | None:
        """As `served_now`; None also where that is not to be known at this moment.

        Raises:
            NodeFailure: CM_CTL_FAILED, CM_CTL_TIMEOUT; one runs, but its address is not known.
        """
        try:
            return self.served_now()
        except NotNow:
            return None

    def served_now(self) -> Served | None:
        """What this node's own cm_server shows; None where none belongs. Only it can be compared with this
        disk, and each cm_server has an agent beside it.

        Raises:
            NotNow: Somebody restarts it, or whether one belongs here is not known.
            NodeFailure: CM_CTL_FAILED, CM_CTL_TIMEOUT; one runs, but its address is not known.
        """
        if self._transaction().restarting:
            raise NotNow
        runs = any(process.name == "cm_server" for process in self._cm.processes())
        try:
            topology = self._cm.topology()
        except GausscertError as error:
            if runs:
                raise
            raise NotNow from error  # that cm_ctl does not work, the node's report tells
        local = topology.local
        if local is None or not local.server_address:
            return None
        if not runs:
            target = f"{local.server_address}:{local.server_port}"
            return Served(local.id, target, ServedState.UNREACHABLE, cause=NOT_RUNNING)
        alone = replace(topology, nodes=(local,))
        return next(iter(self._probe_all(alone, os_user(), self._live_ca(), PROBE_S)), None)

    def expiry(self) -> ExpiryReport:
        """Every certificate of the live set, soonest first, and the one that is served."""
        report = self.on_disk()
        try:
            return self.with_served(report, self.served())
        except GausscertError as error:
            unseen = node_finding("NODE_NOT_OBSERVED", f"what cm_server serves: {error}")
            return replace(report, findings=(*report.findings, unseen))

    def with_served(self, report: ExpiryReport, served: Served | None) -> ExpiryReport:
        """A report of the live set, and what is served beside it."""
        return with_served(report, served, _describe_leaf)

    def watched(self) -> ExpiryReport:
        """As `on_disk`, and what would keep CM from starting with that set again."""
        return self._on_disk(_unsound)

    def on_disk(self) -> ExpiryReport:
        """Every certificate of the live set, soonest first."""
        return self._on_disk(lambda _: ())

    def _on_disk(self, judge: Callable[[SetOnDisk], Iterable[Finding]]) -> ExpiryReport:
        look = _Look()
        live = look.at("the live set", self._store.read_live, None)
        if live is not None:
            look.findings.extend(judge(live))
        threshold = look.at("cm_server.conf", self.alert_threshold_days, DEFAULT_THRESHOLD_DAYS)
        report = expiry_report(
            self._config.name, _certificates(live), self._clock(), threshold, look.findings
        )
        return replace(report, control_plane=self._control_plane())

    def alert_threshold_days(self) -> int:
        """How long before expiry to warn, in days: ours, else CM's, else 90.

        Raises:
            NodeFailure: CONF_FAILED, CM_CTL_FAILED, CM_CTL_TIMEOUT.
        """
        if self._config.alert_threshold_days is not None:
            return self._config.alert_threshold_days
        days = self._cm.conf("server").alert_threshold_days
        return days if days is not None and days in preflight.THRESHOLD_DAYS else DEFAULT_THRESHOLD_DAYS

    def check_interval_s(self) -> int | None:
        """CM's ssl_cert_expire_check_interval, or None.

        Raises:
            NodeFailure: CONF_FAILED, CM_CTL_FAILED, CM_CTL_TIMEOUT.
        """
        return self._cm.conf("server").check_interval_s

    def _findings(
        self,
        unseen: list[Finding],
        live: SetOnDisk | None,
        layout: LayoutProbe | None,
        full: bool,
    ) -> tuple[Finding, ...]:
        judged: tuple[Finding, ...] = ()
        if full:
            facts = preflight_look.look(self._config.cm, self._config.state_dir, self._cm, layout)
            judged = preflight.judge(facts)
        if live is not None:
            judged += preflight.judge_live(live.files, live.modes, live.strays)
        found = tuple(finding.at_node(self._config.name) for finding in (*judged, *unseen, *self._more()))
        return tuple(dict.fromkeys(found))

    def _probe_layout(self, *, again: bool) -> LayoutProbe:
        """The last answer is good enough for a status; a preflight asks anew."""
        if self._layout is None or again:
            self._layout = self._store.probe_layout()
        return self._layout

    def _stage(self, transaction: TransactionReport) -> SetOnDisk | None:
        if not transaction.transaction_id:
            return None
        return self._store.read_stage(transaction.transaction_id)

    def _retired(self) -> tuple[RetiredSet, ...]:
        return tuple(
            RetiredSet(
                one.generation,
                one.contents.digest,
                _server_fingerprint(one.contents),
                _moment(one.retired_at),
            )
            for one in self._store.retired()
        )

    def _live_ca(self) -> bytes:
        """What to verify chains with; b"" has the probe say that there is nothing to do it with."""
        try:
            live = self._store.read_live()
        except GausscertError:
            return b""
        return b"" if live is None else live.files.get(_CA_FILE, b"")

    def _paths(self) -> Paths:
        cm = self._config.cm
        return Paths(str(cm.home), str(cm.set_directory), str(self._config.state_dir))


class _Look:
    """Collects what could not be seen."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []

    def at(self, what: str, see: Callable[[], T], otherwise: T) -> T:
        try:
            return see()
        except GausscertError as error:
            self._note(what, str(error))
        except OSError as error:
            self._note(what, error.strerror or str(error))
        return otherwise

    def _note(self, what: str, cause: str) -> None:
        self.findings.append(node_finding("NODE_NOT_OBSERVED", f"{what}: {cause}"))


def _unsound(live: SetOnDisk) -> Iterable[Finding]:
    if not live.files:  # that there is none is told by itself
        return ()
    return (*preflight.judge_live(live.files, live.modes, ()), *unreadable(live.files, _certificates(live)))


def _is_well(served: Served) -> bool:
    return served.state is ServedState.SSL_OFF or (
        served.state is ServedState.SSL_ON and served.chain_verified
    )


def describe_set(found: SetOnDisk | None) -> CertificateSet:
    """A set as a report tells it: names, modes, dates, digests, and no content."""
    if found is None:
        return CertificateSet()
    files = tuple(SetFile(name, found.modes[name], len(body)) for name, body in sorted(found.files.items()))
    return CertificateSet(
        state=SetState.WHOLE if certset.is_whole(found.files) else SetState.INCOMPLETE,
        digest=found.digest,
        bundle_digest=certset.bundle_digest(found.files),
        files=files,
        certificates=_certificates(found),
    )


def _moment(at: float) -> datetime | None:
    """None for a stamp that somebody has set beyond all dates."""
    try:
        return datetime.fromtimestamp(at, UTC)
    except (ValueError, OverflowError, OSError):
        return None


_describe: Final = Describer()


def _certificates(found: SetOnDisk | None) -> tuple[Certificate, ...]:
    return _describe(found.files) if found is not None else ()


def _describe_leaf(leaf: bytes) -> Certificate | None:
    """What is served as if it lay on the disk, so that it is read as what lies there."""
    return next(iter(_describe({"server.crt": ssl.DER_cert_to_PEM_cert(leaf).encode()})), None)


def _server_fingerprint(found: SetOnDisk) -> str:
    """As `Certificate.fingerprint`, for which nothing needs to be understood of a certificate."""
    blocks = pem.split(found.files.get("server.crt", b"")).of(pem.CERTIFICATE_LABELS)
    return next((hashlib.sha256(block.der).hexdigest() for block in blocks if block.der), "")
