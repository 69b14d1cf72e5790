"""What this node is and holds, as one report. A part that cannot be seen becomes a finding; the rest
is reported all the same, because a node is looked at most when something is wrong with it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from gausscert_common import VERSION
from gausscert_common.errors import GausscertError
from gausscert_common.model import (
    Capabilities,
    CmProcess,
    CmTopology,
    ExpiryReport,
    NodeReport,
    Paths,
    ProbeReport,
    RetiredSet,
    Served,
    SslSwitch,
    TransactionReport,
)

from gausscert_agent import preflight, preflight_look
from gausscert_agent.described import certificates_of, describe_leaf, describe_set, moment, server_fingerprint
from gausscert_agent.drivers import cm_probe
from gausscert_agent.expiry import DEFAULT_THRESHOLD_DAYS, expiry_report, unreadable, with_served
from gausscert_agent.node_findings import node_finding
from gausscert_agent.seeing import Look
from gausscert_agent.served import ServedHere

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gausscert_common.findings import Finding
    from gausscert_common.model import Certificate

    from gausscert_agent.cm import LocalCm
    from gausscert_agent.config import AgentConfig
    from gausscert_agent.layout_probe import LayoutProbe
    from gausscert_agent.set_on_disk import SetOnDisk
    from gausscert_agent.store import Store

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
        self._served = ServedHere(config.name, store, cm, transaction, probe_all)
        self._layout: LayoutProbe | None = None

    def report(self, preflight: bool = False) -> NodeReport:
        """The node at this moment.

        Args:
            preflight: Also look for everything that would refuse a replacement.
        """
        look = Look()
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
        look = Look()
        return self._report(
            look,
            ssl=look.at("enable_ssl", self._cm.last_ssl, SslSwitch()),
            version=self._cm.last_version(),
            topology=self._cm.last_topology(),
            preflight=False,
        )

    def _report(
        self, look: Look, *, ssl: SslSwitch, version: str, topology: CmTopology, preflight: bool
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
        """What each cm_server serves (`ServedHere.probe`)."""
        return self._served.probe(query, timeout_s)

    def served(self) -> Served | None:
        """What this node's own cm_server shows (`ServedHere.served`)."""
        return self._served.served()

    def served_now(self) -> Served | None:
        """The same, or NotNow (`ServedHere.served_now`)."""
        return self._served.served_now()

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
        return with_served(report, served, describe_leaf)

    def watched(self) -> ExpiryReport:
        """As `on_disk`, and what would keep CM from starting with that set again."""
        return self._on_disk(_unsound)

    def on_disk(self) -> ExpiryReport:
        """Every certificate of the live set, soonest first."""
        return self._on_disk(lambda _: ())

    def _on_disk(self, judge: Callable[[SetOnDisk], Iterable[Finding]]) -> ExpiryReport:
        look = Look()
        live = look.at("the live set", self._store.read_live, None)
        if live is not None:
            look.findings.extend(judge(live))
        threshold = look.at("cm_server.conf", self.alert_threshold_days, DEFAULT_THRESHOLD_DAYS)
        report = expiry_report(
            self._config.name, certificates_of(live), self._clock(), threshold, look.findings
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
                server_fingerprint(one.contents),
                moment(one.retired_at),
            )
            for one in self._store.retired()
        )

    def _paths(self) -> Paths:
        cm = self._config.cm
        return Paths(str(cm.home), str(cm.set_directory), str(self._config.state_dir))


def _unsound(live: SetOnDisk) -> Iterable[Finding]:
    if not live.files:  # that there is none is told by itself
        return ()
    return (*preflight.judge_live(live.files, live.modes, ()), *unreadable(live.files, certificates_of(live)))
