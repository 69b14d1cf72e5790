"""What the agent tells Prometheus. Everything is read when it is scraped, so what is gone is not told.

Imported only where the endpoint is on: an idle agent does without the library.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gausscert_common import VERSION
from gausscert_common.findings import Severity
from gausscert_common.model import CertificateKind
from gausscert_common.protocol.words import Outcome, Phase
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime

    from gausscert_common.protocol.state import NodeState
    from prometheus_client.metrics_core import Metric

    from gausscert_agent.last_end import End
    from gausscert_agent.looks import Check

SECONDS_PER_DAY: Final = 86_400

METRICS: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "gausscert_build_info": (
        "Always 1; who tells this, and which version.",
        ("version", "cluster", "node"),
    ),
    "gausscert_certificate_expiry_seconds": (
        "Seconds until a certificate or CRL expires, on disk and as served; negative once it has.",
        ("where", "file", "index", "kind", "subject", "serial"),
    ),
    "gausscert_alert_threshold_seconds": (
        "How long before expiry the node warns.",
        (),
    ),
    "gausscert_served_equals_disk": (
        "1 if this node's cm_server serves the certificate on the disk, 0 if another; else not told.",
        (),
    ),
    "gausscert_cm_server_serves": (
        "1 if this node's cm_server answers, 0 if not; not told where none belongs and during a restart.",
        (),
    ),
    "gausscert_last_check_timestamp_seconds": (
        "When the certificates were looked at last.",
        (),
    ),
    "gausscert_alarm_state": (
        "0 no alarm, 1 a warning, 2 an error.",
        (),
    ),
    "gausscert_alarm": (
        "1 for each alarm that is raised now, by the code of its finding (docs/findings.md).",
        ("code", "file", "severity"),
    ),
    "gausscert_transaction_in_flight": (
        "1 while the node is in a transaction; not told if the journal is damaged.",
        (),
    ),
    "gausscert_transaction_waits": (
        "1 while that transaction is committed here and waits for nodes that it was begun without.",
        (),
    ),
    "gausscert_last_transaction_committed": (
        "1 if the last transaction was committed here, 0 if it was rolled back; not told before the first.",
        ("transaction_id",),
    ),
    "gausscert_last_transaction_end_timestamp_seconds": (
        "When the last transaction ended here.",
        (),
    ),
    "gausscert_credential_expiry_seconds": (
        "Seconds until the agent's own control-plane credential expires.",
        (),
    ),
    "gausscert_credential_ca_expiry_seconds": (
        "Seconds until a CA of the control plane expires that the agent trusts.",
        ("subject", "serial"),
    ),
    "gausscert_healthy": (
        "1 if the agent could do its job, as grpc.health.v1 says.",
        (),
    ),
}
"""Name to help and labels: all there is."""

_STATE: Final = {Severity.WARNING: 1.0, Severity.ERROR: 2.0}


@dataclass(frozen=True, slots=True)
class Seen:
    """The agent at the moment of a scrape."""

    node: str
    cluster: str
    now: datetime
    check: Check
    state: NodeState | None
    """None: the journal is damaged."""
    ended: End | None
    credential_s: float | None
    healthy: bool


class AgentCollector(Collector):
    """Asks, and tells.

    Args:
        see: What there is to tell now.
    """

    def __init__(self, see: Callable[[], Seen]) -> None:
        self._see = see

    def collect(self) -> Iterable[Metric]:
        """One scrape."""
        return tuple(families(self._see()))

    def describe(self) -> Iterable[Metric]:
        """Nothing, so that registering it looks at nothing."""
        return ()


def registry(see: Callable[[], Seen]) -> CollectorRegistry:
    """The agent's own, without what the library has to say of processes and of Python."""
    made = CollectorRegistry()
    made.register(AgentCollector(see))
    return made


def families(seen: Seen) -> Iterator[Metric]:
    """Every metric of which there is something to tell."""
    yield _one("gausscert_build_info", 1, VERSION, seen.cluster, seen.node)
    yield from _certificates(seen)
    yield from _alarms(seen.check)
    yield from _transaction(seen)
    if seen.credential_s is not None:
        yield _one("gausscert_credential_expiry_seconds", seen.credential_s)
    yield from _control_plane(seen)
    yield _one("gausscert_healthy", seen.healthy)


def _certificates(seen: Seen) -> Iterator[Metric]:
    check = seen.check
    yield _one("gausscert_last_check_timestamp_seconds", check.at.timestamp())
    if check.serves_live is not None:
        yield _one("gausscert_served_equals_disk", check.serves_live)
    if check.serves is not None:
        yield _one("gausscert_cm_server_serves", check.serves)
    if check.report is None:
        return
    yield _one("gausscert_alert_threshold_seconds", check.report.alert_threshold_days * SECONDS_PER_DAY)
    left = _family("gausscert_certificate_expiry_seconds")
    for one in check.report.everything:
        where = "served" if one is check.report.served else "disk"
        labels = (where, one.file, str(one.index), one.kind.value, one.subject, one.serial)
        left.add_metric(labels, (one.not_after - seen.now).total_seconds())
    yield left


def _control_plane(seen: Seen) -> Iterator[Metric]:
    told = () if seen.check.report is None else seen.check.report.control_plane
    left = _family("gausscert_credential_ca_expiry_seconds")
    for one in told:
        if one.kind is CertificateKind.CREDENTIAL_CA:
            left.add_metric((one.subject, one.serial), (one.not_after - seen.now).total_seconds())
    if left.samples:
        yield left


def _alarms(check: Check) -> Iterator[Metric]:
    worst = max((_STATE[finding.severity] for finding in check.everything), default=0.0)
    yield _one("gausscert_alarm_state", worst)
    raised = _family("gausscert_alarm")
    # Two CAs of one file may have the same to tell: that is one series.
    for labels in dict.fromkeys((one.code, one.file, one.severity.value) for one in check.everything):
        raised.add_metric(labels, 1)
    yield raised


def _transaction(seen: Seen) -> Iterator[Metric]:
    if seen.state is None:
        return
    told = seen.state.transaction
    yield _one("gausscert_transaction_in_flight", told is not None)
    waits = told is not None and bool(told.excluded) and seen.state.phase is Phase.COMMITTED
    yield _one("gausscert_transaction_waits", waits)
    if not seen.state.tombstones:
        return
    last = seen.state.tombstones[0]
    committed = last.outcome is Outcome.COMMITTED
    yield _one("gausscert_last_transaction_committed", committed, last.transaction_id)
    if seen.ended is not None:
        yield _one("gausscert_last_transaction_end_timestamp_seconds", seen.ended.at)


def _one(name: str, value: float, *labels: str) -> Metric:
    family = _family(name)
    family.add_metric(labels, value)
    return family


def _family(name: str) -> GaugeMetricFamily:
    text, labels = METRICS[name]
    return GaugeMetricFamily(name, text, labels=labels)
