"""What is seen of the cm_servers while CM starts, and after a start that failed. Pure.

`cm_ctl start` for the whole cluster waits until all is Normal, up to its timeout, and cm_ctl on one node
knows nothing of what a cm_server on another one serves. Only looking beside it tells, and tells which node.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from gausscert_common.errors import NodeFailure, Reason

from gausscert_coordinator import answers, running

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import datetime

    from gausscert_common.model import NodeReport, ProbeReport, Served

    from gausscert_coordinator.answers import Wanted
    from gausscert_coordinator.expectation import Expectation
    from gausscert_coordinator.running import Processes

_LISTENS_WITHIN: Final = timedelta(seconds=3)
"""A cm_server serves 1 to 2 s after its start (facts section 17)."""

_STARTED_WITHIN: Final = timedelta(seconds=4)
"""A cm_agent starts its cm_server within a second, which then serves within 3 s; one that exits is started
anew, and is never old enough to be blamed for its silence."""

_RUNS_SINCE: Final = "; it runs since "
_REMEDY: Final = "look at cm_server's log there: $GAUSSLOG/cm/cm_server"


def definite(expectation: Expectation, probes: Mapping[str, ProbeReport]) -> frozenset[int]:
    """cm_servers, by CM node id, that answer, and answer wrongly: with another certificate, or with SSL on
    instead of off or the other way round. A cm_server reads its files once (facts section 3), so that no
    waiting mends that; what is not there yet may still come."""
    return frozenset(
        served.cm_node_id
        for report in probes.values()
        for served in report.served
        if (wanted := _wanted(expectation, served.cm_node_id)) is not None
        and answers.answers_wrongly(wanted, served)
    )


def while_starting(
    expectation: Expectation,
    before: Processes | None,
    reports: Mapping[str, NodeReport],
    probes: Mapping[str, ProbeReport],
) -> list[NodeFailure]:
    """What can be said before the start is over, each by the node it is about: processes of before, wrong
    answers, and cm_servers that have run long enough to listen and do not.

    Args:
        expectation: What all must serve.
        before: The processes that must be gone, by node; None: not looked at.
        reports: By node.
        probes: By node.
    """
    wrong = definite(expectation, probes)
    late = {
        report.topology.local_node_id
        for node, report in reports.items()
        if _should_listen(report) and _is_silent(report, probes.get(node))
    }
    named = wrong | late & expectation.servers.keys()
    return [
        *running.not_restarted(reports, before or {}),
        *(each for one in sorted(named) for each in _about(one, expectation, reports, probes)),
    ]


def not_up_yet(
    expectation: Expectation,
    reports: Mapping[str, NodeReport],
    probes: Mapping[str, ProbeReport],
    served_before: Collection[int],
) -> list[NodeFailure]:
    """cm_servers that should serve by the age of their cm_agent, and are not seen to. Not definite: they
    may be slow, and no more than a note is to be made of it.

    Args:
        expectation: What all must serve.
        reports: By node.
        probes: By node.
        served_before: cm_servers, by CM node id, that answered in a look of this start.
    """
    return [
        NodeFailure(
            Reason.CM_NOT_STARTED,
            f"cm_server {own.cm_node_id} at {own.target} has not been seen to serve, although its cm_agent"
            f" has run for {_STARTED_WITHIN.seconds} s and more; it is slow, or exits and is started anew",
            node=node,
            remedy=_REMEDY,
        )
        for node, report in sorted(reports.items())
        if node in probes
        and _agent_is_settled(report)
        and not _should_listen(report)
        and (own := _served(report.topology.local_node_id, probes[node])) is not None
        and not answers.speaks(own)
        and own.cm_node_id in expectation.servers
        and own.cm_node_id not in served_before
    ]


def speaking(probes: Mapping[str, ProbeReport]) -> frozenset[int]:
    """cm_servers, by CM node id, that answer somebody."""
    return frozenset(
        served.cm_node_id for report in probes.values() for served in report.served if answers.speaks(served)
    )


def silent(
    expectation: Expectation, reports: Mapping[str, NodeReport], probes: Mapping[str, ProbeReport]
) -> str:
    """The cm_servers that must serve and that nobody hears, for a person; "" where nobody could look."""
    owners = {each.topology.local_node_id: f" ({node})" for node, each in reports.items()}
    lacking = sorted(expectation.servers.keys() - speaking(probes)) if probes else []
    named = ", ".join(f"{each}{owners.get(each, '')}" for each in lacking)
    return f"no answer yet from cm_server {named}" if named else ""


def gist(failure: NodeFailure) -> tuple[str, str]:
    """What makes it worth telling: not that a process was started anew since it was told."""
    return failure.node, failure.message.partition(_RUNS_SINCE)[0]


def after_failed_start(
    expectation: Expectation,
    before: Processes | None,
    reports: Mapping[str, NodeReport],
    probes: Mapping[str, ProbeReport],
) -> list[NodeFailure]:
    """All that is not as it must be once a start has failed, each by the node it is about, as
    `while_starting`."""
    named = definite(expectation, probes) | expectation.servers.keys()
    return [
        *running.not_restarted(reports, before or {}),
        *(each for one in sorted(named) for each in _about(one, expectation, reports, probes)),
    ]


def is_silence(failure: NodeFailure) -> bool:
    """Whether it only says that a cm_server does not serve, as cm_ctl may have said in its own words."""
    return failure.reason is Reason.CM_NOT_STARTED


def _about(
    cm_node_id: int,
    expectation: Expectation,
    reports: Mapping[str, NodeReport],
    probes: Mapping[str, ProbeReport],
) -> list[NodeFailure]:
    """One failure for each different thing that is seen, told of the cm_server's own node where that is one
    of ours. What all others say of a cm_server that its own node cannot talk to adds nothing."""
    wanted = _wanted(expectation, cm_node_id)
    if wanted is None:
        return []
    owner = next((node for node, each in reports.items() if each.topology.local_node_id == cm_node_id), "")
    texts: dict[str, list[str]] = {}
    for node, report in sorted(probes.items()):
        served = _served(cm_node_id, report)
        if served is not None and (text := answers.objection_to(wanted, served)):
            texts.setdefault(text, []).append(node)
    own = _served(cm_node_id, probes[owner]) if owner in probes else None
    if own is not None and not answers.speaks(own):
        text = f"{answers.objection_to(wanted, own)}{_since(reports[owner])}"
        return [NodeFailure(Reason.CM_NOT_STARTED, text, node=owner, remedy=_REMEDY)]
    return [
        NodeFailure(
            Reason.NOT_PROVEN, f"{text}{_seen_from(seers, probes)}", node=owner or seers[0], remedy=_REMEDY
        )
        for text, seers in texts.items()
    ]


def _wanted(expectation: Expectation, cm_node_id: int) -> Wanted | None:
    if cm_node_id in expectation.absent:
        return None
    return expectation.servers.get(cm_node_id, expectation.others)


def _served(cm_node_id: int, report: ProbeReport) -> Served | None:
    return next((each for each in report.served if each.cm_node_id == cm_node_id), None)


def _seen_from(seers: Iterable[str], probes: Mapping[str, ProbeReport]) -> str:
    names = sorted(seers)
    return "" if len(names) == len(probes) else f" (seen from {', '.join(names)})"


def _should_listen(report: NodeReport) -> bool:
    born = _born(report)
    return born is not None and report.clock - born >= _LISTENS_WITHIN


def _agent_is_settled(report: NodeReport) -> bool:
    born = min((each.started_at for each in report.processes if each.name == "cm_agent"), default=None)
    return born is not None and report.clock - born >= _STARTED_WITHIN


def _is_silent(report: NodeReport, seen: ProbeReport | None) -> bool:
    own = _served(report.topology.local_node_id, seen) if seen is not None else None
    return own is not None and not answers.speaks(own)


def _born(report: NodeReport) -> datetime | None:
    return min((each.started_at for each in report.processes if each.name == "cm_server"), default=None)


def _since(report: NodeReport) -> str:
    born = _born(report)
    return f"{_RUNS_SINCE}{born:%H:%M:%S}" if born is not None else ""
