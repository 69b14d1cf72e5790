"""What speaks against a replacement when all nodes are seen together: one small function a rule. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from gausscert_common.errors import Unreachable
from gausscert_common.findings import Severity
from gausscert_common.model import ServedState, SslValue
from gausscert_common.protocol.words import RestartScope, SslWish

from gausscert_coordinator import live_sets as sets
from gausscert_coordinator.plan_catalogue import PLAN
from gausscert_coordinator.query import NORMAL, WORKING
from gausscert_coordinator.recovery_view import cm_runs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from gausscert_common.errors import GausscertError
    from gausscert_common.findings import Finding
    from gausscert_common.model import (
        ClusterState,
        JudgedSet,
        NodeReport,
        ProbeReport,
        SslSwitch,
    )

    from gausscert_coordinator.inventory import Inventory
    from gausscert_coordinator.report import ReplaceOptions

_ONE_BUNDLE: Final = "give all nodes one set: gausscert replace DIR --enable-ssl on"

SKEW_WARNING_S: Final = 60.0
SKEW_ERROR_S: Final = 300.0


@dataclass(frozen=True, slots=True)
class Rollback:
    """The generation that is to be live again."""

    generation: str
    """"" where none is on all nodes."""
    by_default: bool = False
    """The operator has named none."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was asked and answered; everything by node name."""

    inventory: Inventory
    options: ReplaceOptions
    bundle_digest: str
    """"" for a rollback to sets that are not of one bundle."""
    reports: Mapping[str, NodeReport]
    errors: Mapping[str, GausscertError] = field(default_factory=dict)
    """Nodes that did not answer, or not all questions."""
    probes: Mapping[str, ProbeReport] = field(default_factory=dict)
    judged: Mapping[str, JudgedSet] = field(default_factory=dict)
    """What each node would stage, and says of it."""
    clock_offsets_s: Mapping[str, float] = field(default_factory=dict)
    """Node's clock minus the coordinator's."""
    gone: frozenset[str] = frozenset()
    """Holders of leases that are known to have ended."""
    rollback: Rollback | None = None
    """None: the new set is a bundle, or the live one."""
    only_ssl: bool = False
    """The sets stay as they are; only enable_ssl changes."""

    def wanted(self, node: str) -> str:
        """The bundle digest of the set that a node would get, "" if it is not known."""
        if self.rollback is None:
            return self.bundle_digest
        judged = self.judged.get(node)
        return judged.set.bundle_digest if judged is not None else ""

    excluded: Mapping[str, GausscertError] = field(default_factory=dict)
    """Nodes that are left out, and why they do not answer; not among `errors`."""


def clock_offset_s(sent: datetime, answered: datetime, received: datetime) -> float:
    """The smallest offset of a node's clock that its answer allows: it was made somewhere between sending
    and receiving, and a slow preflight must not look like a wrong clock.

    Args:
        sent: When the question left, by the coordinator's clock.
        answered: When the answer was made, by the node's clock.
        received: When it came, by the coordinator's clock.
    """
    if answered < sent:
        return (answered - sent).total_seconds()
    if answered > received:
        return (answered - received).total_seconds()
    return 0.0


def names(seen: Evidence) -> Iterator[Finding]:
    """Each address leads to the node that is meant."""
    for node, report in seen.reports.items():
        if report.name != node:
            yield _at("NODE_MISNAMED", node, f"the agent there is {report.name!r}")
        if report.cluster != seen.inventory.cluster:
            cause = f"it belongs to {report.cluster!r}, the inventory is of {seen.inventory.cluster!r}"
            yield _at("CLUSTER_MISNAMED", node, cause)


def clocks(seen: Evidence) -> Iterator[Finding]:
    """Each clock is near the coordinator's."""
    for node, offset_s in seen.clock_offsets_s.items():
        if abs(offset_s) > SKEW_WARNING_S:
            direction = "ahead of" if offset_s > 0 else "behind"
            found = _at("CLOCK_SKEW", node, f"its clock is {abs(offset_s):.0f} s {direction} this machine's")
            severity = Severity.ERROR if abs(offset_s) > SKEW_ERROR_S else Severity.WARNING
            yield replace(found, severity=severity)


def topology(seen: Evidence) -> Iterator[Finding]:
    """Inventory and CM name the same nodes; looked at only when all nodes answered that are not left out.
    Which of CM's nodes is left out nobody can tell, but each may stand for one of them only."""
    if seen.errors:
        return
    listed = {node.id: node.name for report in seen.reports.values() for node in report.topology.nodes}
    if not listed:
        yield PLAN["TOPOLOGY_UNKNOWN"].finding("`cm_ctl view` told no node's agent anything")
        return
    present = Counter(report.topology.local_node_id for report in seen.reports.values())
    absent = sorted(listed.keys() - present.keys())
    if len(absent) > len(seen.excluded):
        besides = " nor excluded" if seen.excluded else ""
        for cm_node_id in absent:
            cause = f"CM's node {cm_node_id} ({listed[cm_node_id]}) is none of the inventory's{besides}"
            yield PLAN["NODE_NOT_IN_INVENTORY"].finding(cause)
    for node in seen.excluded if len(absent) < len(seen.excluded) else ():
        cause = f"{len(seen.excluded)} nodes are excluded, but only {len(absent)} of CM's do not answer"
        yield _at("NODE_NOT_IN_CLUSTER", node, cause)
    for node, report in seen.reports.items():
        local = report.topology.local_node_id
        if local not in listed:
            yield _at("NODE_NOT_IN_CLUSTER", node, f"`cm_ctl view` lists no node {local}")
        elif present[local] > 1:
            yield _at("NODE_TWICE", node, f"it is CM's node {local}, and so is another")


def ssl_switch(seen: Evidence) -> Iterator[Finding]:
    """enable_ssl is equal over nodes, in each of both files."""
    for file, values in _switches(seen).items():
        if len(set(values.values())) > 1:
            said = ", ".join(f"{node} {value}" for node, value in values.items())
            found = replace(PLAN["SSL_UNEQUAL"].finding(f"{file}: {said}"), file=file)
            decided = seen.options.ssl_wish is not SslWish.KEEP
            yield replace(found, severity=Severity.WARNING) if decided else found
    if seen.options.ssl_wish is SslWish.OFF and _switch_changes(seen):
        yield PLAN["SSL_GOES_OFF"].finding("--enable-ssl off")


def cluster_state(seen: Evidence) -> Iterator[Finding]:
    """The cluster is Normal where it is to be restarted; or Degraded for want of a node that does not answer,
    which refuses by itself unless it is excluded."""
    if seen.options.restart is RestartScope.NONE or not seen.reports:
        return
    states = {node: report.cluster for node, report in seen.probes.items()}
    words = {state.cluster_state for state in states.values() if state is not None and state.cluster_state}
    missing = seen.excluded or any(isinstance(error, Unreachable) for error in seen.errors.values())
    for word in sorted(words - {NORMAL}):
        found = PLAN["CLUSTER_NOT_NORMAL"].finding(f"`cm_ctl query` says {word}")
        explained = missing and word in WORKING[False]
        yield replace(found, severity=Severity.WARNING) if explained else found
    if not words:
        causes = {_cause(state) for state in states.values()}
        yield PLAN["CLUSTER_NOT_NORMAL"].finding(
            f"`cm_ctl query` works on no node: {'; '.join(sorted(causes)) or 'nobody was asked'}"
        )
        return
    for node, state in states.items():
        if state is None or not state.cluster_state:
            yield _at("CLUSTER_STATE_UNKNOWN", node, _cause(state))


def processes(seen: Evidence) -> Iterator[Finding]:
    """CM runs where it is to be restarted, and is stopped where it is not."""
    outside = seen.options.restart is RestartScope.NONE
    for node, report in seen.reports.items():
        if outside and cm_runs(report):
            running = ", ".join(f"{process.name} ({process.pid})" for process in report.processes)
            yield _at("CM_RUNS", node, f"these run: {running}")
        if not outside and report.manually_stopped:
            yield _at("MANUALLY_STOPPED", node, "`cluster_manual_start` is there")


def live_sets(seen: Evidence) -> Iterator[Finding]:
    """The set is new, and the nodes are alike now."""
    digests = {node: report.live.bundle_digest for node, report in seen.reports.items()}
    if seen.only_ssl:
        yield from _kept_sets(seen)
        return
    same = all(digest and digest == seen.wanted(node) for node, digest in digests.items())
    if digests and same and not seen.errors:
        unchanged = PLAN["SET_UNCHANGED"].finding("same files, byte for byte, on all nodes")
        changes = _switch_changes(seen)
        yield replace(unchanged, severity=Severity.WARNING) if changes else unchanged
    if sets.differ(seen.reports):
        yield _sets_differ(seen.reports)


def _kept_sets(seen: Evidence) -> Iterator[Finding]:
    """What the nodes keep must be of one bundle where it is to be served; and something must change."""
    if sets.differ(seen.reports):
        differ = _sets_differ(seen.reports)
        on = seen.options.ssl_wish is SslWish.ON
        yield replace(differ, severity=Severity.ERROR, remedy=_ONE_BUNDLE) if on else differ
    if not _switch_changes(seen) and not seen.errors and _all_answer_as_wished(seen):
        yield PLAN["SSL_UNCHANGED"].finding(f"enable_ssl is {seen.options.ssl_wish} everywhere")


def _all_answer_as_wished(seen: Evidence) -> bool:
    """A cm_server that was not restarted since the files were changed does not."""
    wanted = {SslWish.ON: ServedState.SSL_ON, SslWish.OFF: ServedState.SSL_OFF}[seen.options.ssl_wish]
    answers = {served.state for report in seen.probes.values() for served in report.served}
    return not answers & ({ServedState.SSL_ON, ServedState.SSL_OFF} - {wanted})


def _sets_differ(reports: Mapping[str, NodeReport]) -> Finding:
    """By leaves and CAs: factor files and a node's own CRLs make no other set."""
    groups = "; ".join(" and ".join(names) for names in sets.groups(reports))
    return PLAN["SETS_DIFFER"].finding(f"alike are: {groups}")


RULES: Final = (names, clocks, topology, ssl_switch, cluster_state, processes, live_sets)
"""About a replacement on the whole cluster; `exclusion_rules` has those about leaving nodes out."""

JOINING: Final = (names, clocks)
"""About bringing a node to the set that the others run with already."""


def _at(code: str, node: str, cause: str) -> Finding:
    return PLAN[code].finding(cause).at_node(node)


def _cause(state: ClusterState | None) -> str:
    if state is None:
        return "it was not asked"
    said = state.cause.strip().splitlines()  # a program's error, and then its help
    return said[0].strip() if said else "it said nothing"


def _switches(seen: Evidence) -> dict[str, dict[str, SslValue]]:
    """By file and node; a node without the file has no say."""
    found: dict[str, dict[str, SslValue]] = {"cm_server.conf": {}, "cm_agent.conf": {}}
    for node, report in seen.reports.items():
        for file, value in zip(found, _pair(report.enable_ssl), strict=True):
            if value is not SslValue.ABSENT:
                found[file][node] = value
    return found


def _pair(switch: SslSwitch) -> tuple[SslValue, SslValue]:
    return switch.server, switch.agent


def _switch_changes(seen: Evidence) -> bool:
    wanted = {SslWish.ON: SslValue.ON, SslWish.OFF: SslValue.OFF}.get(seen.options.ssl_wish)
    if wanted is None:
        return False
    return any(value is not wanted for values in _switches(seen).values() for value in values.values())
