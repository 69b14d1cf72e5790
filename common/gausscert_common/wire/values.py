"""What nodes report: `gausscert_common.model` to messages and back.

Each pair of functions is one value: `x` makes the message, `as_x` the value. Reading raises InvalidInput
(ARGUMENT_INVALID) on words or dates this version does not know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gausscert.v1 import agent_service_pb2 as calls
from gausscert.v1 import resources_pb2 as pb

from gausscert_common.errors import InvalidInput, Reason
from gausscert_common.findings import Finding
from gausscert_common.model import (
    Certificate,
    CertificateSet,
    ClusterState,
    ExpiryReport,
    JudgedSet,
    Overlap,
    OverlapRefusal,
    ProbeReport,
    Served,
    SetFile,
    SslSwitch,
    WatchEvent,
)
from gausscert_common.protocol.words import Fence
from gausscert_common.wire import enums, times

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_EPOCH: Final = 2**62
"""Far from the end of uint64, and of what SQLite keeps: a coordinator must be able to take one more."""


def finding(value: Finding) -> pb.Finding:
    """A finding as a message."""
    return pb.Finding(
        code=value.code,
        severity=enums.SEVERITY.name(value.severity),
        node=value.node,
        file=value.file,
        cause=value.cause,
        remedy=value.remedy,
    )


def as_finding(message: pb.Finding) -> Finding:
    """A message as a finding."""
    return Finding(
        code=message.code,
        severity=enums.SEVERITY.value(message.severity),
        cause=message.cause,
        remedy=message.remedy,
        node=message.node,
        file=message.file,
    )


def as_findings(messages: Iterable[pb.Finding]) -> tuple[Finding, ...]:
    """All of them, in their order."""
    return tuple(as_finding(message) for message in messages)


def judged(value: JudgedSet) -> calls.JudgeResponse:
    """A judged set as a message."""
    return calls.JudgeResponse(
        set=certificate_set(value.set),
        findings=[finding(one) for one in value.findings],
        overlap=overlap(value.overlap),
    )


def as_judged(message: calls.JudgeResponse) -> JudgedSet:
    """A message as a judged set."""
    return JudgedSet(
        as_certificate_set(message.set), as_findings(message.findings), as_overlap(message.overlap)
    )


def overlap(value: Overlap) -> pb.Overlap:
    """To the wire."""
    refusals = [
        pb.OverlapRefusal(
            connecting=enums.SIDE.name(each.connecting),
            refusing=enums.SIDE.name(each.refusing),
            cause=each.cause,
            detail=each.detail,
            links=each.links,
            versions=each.versions,
        )
        for each in value.refusals
    ]
    return pb.Overlap(refusals=refusals, unknown=value.unknown, same_ca=value.same_ca)


def as_overlap(message: pb.Overlap) -> Overlap:
    """From the wire."""
    refusals = tuple(
        OverlapRefusal(
            connecting=enums.SIDE.value(each.connecting),
            refusing=enums.SIDE.value(each.refusing),
            cause=each.cause,
            detail=each.detail,
            links=tuple(each.links),
            versions=tuple(each.versions),
        )
        for each in message.refusals
    )
    return Overlap(refusals, message.unknown, message.same_ca)


def certificate(value: Certificate) -> pb.Certificate:
    """A certificate as a message."""
    return pb.Certificate(
        file=value.file,
        index=value.index,
        kind=enums.CERTIFICATE_KIND.name(value.kind),
        subject=value.subject,
        issuer=value.issuer,
        serial=value.serial,
        fingerprint=value.fingerprint,
        not_before=times.timestamp(value.not_before),
        not_after=times.timestamp(value.not_after),
    )


def as_certificate(message: pb.Certificate) -> Certificate:
    """A message as a certificate."""
    return Certificate(
        file=message.file,
        index=message.index,
        kind=enums.CERTIFICATE_KIND.value(message.kind),
        subject=message.subject,
        issuer=message.issuer,
        serial=message.serial,
        fingerprint=message.fingerprint,
        not_before=times.instant(message, "not_before"),
        not_after=times.instant(message, "not_after"),
    )


def certificate_set(value: CertificateSet) -> pb.CertificateSet:
    """A set as a message."""
    return pb.CertificateSet(
        state=enums.SET_STATE.name(value.state),
        digest=value.digest,
        bundle_digest=value.bundle_digest,
        files=[pb.SetFile(name=f.name, mode=f.mode, size=f.size) for f in value.files],
        certificates=[certificate(c) for c in value.certificates],
    )


def as_certificate_set(message: pb.CertificateSet) -> CertificateSet:
    """A message as a set."""
    return CertificateSet(
        state=enums.SET_STATE.value(message.state),
        digest=message.digest,
        bundle_digest=message.bundle_digest,
        files=tuple(SetFile(f.name, f.mode, f.size) for f in message.files),
        certificates=tuple(as_certificate(c) for c in message.certificates),
    )


def ssl_switch(value: SslSwitch) -> pb.SslSwitch:
    """`enable_ssl` of both files as a message."""
    return pb.SslSwitch(server=enums.SSL_VALUE.name(value.server), agent=enums.SSL_VALUE.name(value.agent))


def as_ssl_switch(message: pb.SslSwitch) -> SslSwitch:
    """A message as `enable_ssl` of both files."""
    return SslSwitch(server=enums.SSL_VALUE.value(message.server), agent=enums.SSL_VALUE.value(message.agent))


def fence(value: Fence) -> pb.Fence:
    """A fence as a message."""
    return pb.Fence(epoch=value.epoch, step=enums.STEP.name(value.step))


def as_fence(message: pb.Fence) -> Fence:
    """A message as a fence.

    Raises:
        InvalidInput: ARGUMENT_INVALID: no node can have come to such an epoch.
    """
    if message.epoch > MAX_EPOCH:
        raise InvalidInput(
            Reason.ARGUMENT_INVALID,
            f"epoch {message.epoch} is none that a node can have promised",
            remedy="find out what answers there in the place of an agent",
        )
    return Fence(message.epoch, enums.STEP.value(message.step))


def served(value: Served) -> pb.Served:
    """What one cm_server shows, as a message."""
    return pb.Served(
        cm_node_id=value.cm_node_id,
        target=value.target,
        state=enums.SERVED_STATE.name(value.state),
        fingerprint=value.fingerprint,
        chain_verified=value.chain_verified,
        not_after=times.timestamp(value.not_after),
        cause=value.cause,
        leaf=value.leaf,
    )


def as_served(message: pb.Served) -> Served:
    """A message as what one cm_server shows."""
    return Served(
        cm_node_id=message.cm_node_id,
        target=message.target,
        state=enums.SERVED_STATE.value(message.state),
        fingerprint=message.fingerprint,
        chain_verified=message.chain_verified,
        not_after=times.instant_or_none(message, "not_after"),
        cause=message.cause,
        leaf=message.leaf,
    )


def probe_report(value: ProbeReport) -> calls.ProbeResponse:
    """The answer of Probe."""
    cluster = value.cluster
    return calls.ProbeResponse(
        served=[served(one) for one in value.served],
        cluster=None
        if cluster is None
        else pb.ClusterState(
            cluster_state=cluster.cluster_state, server_roles=cluster.server_roles, cause=cluster.cause
        ),
        findings=[finding(one) for one in value.findings],
    )


def as_probe_report(message: calls.ProbeResponse) -> ProbeReport:
    """The answer of Probe, read."""
    cluster = None
    if message.HasField("cluster"):
        said = message.cluster
        cluster = ClusterState(said.cluster_state, dict(said.server_roles), said.cause)
    served = tuple(as_served(one) for one in message.served)
    return ProbeReport(served, cluster, as_findings(message.findings))


def expiry_report(value: ExpiryReport) -> calls.GetExpiryResponse:
    """The answer of GetExpiry."""
    return calls.GetExpiryResponse(
        node=value.node,
        clock=times.timestamp(value.clock),
        certificates=[certificate(c) for c in value.certificates],
        alert_threshold_days=value.alert_threshold_days,
        findings=[finding(f) for f in value.findings],
        served=None if value.served is None else certificate(value.served),
        control_plane=[certificate(c) for c in value.control_plane],
    )


def as_expiry_report(message: calls.GetExpiryResponse) -> ExpiryReport:
    """The answer of GetExpiry, read."""
    return ExpiryReport(
        node=message.node,
        clock=times.instant(message, "clock"),
        certificates=tuple(as_certificate(c) for c in message.certificates),
        alert_threshold_days=message.alert_threshold_days,
        findings=as_findings(message.findings),
        served=as_certificate(message.served) if message.HasField("served") else None,
        control_plane=tuple(as_certificate(c) for c in message.control_plane),
    )


def watch_event(value: WatchEvent) -> calls.WatchTransactionResponse:
    """One thing that happened, as a message."""
    return calls.WatchTransactionResponse(
        transaction_id=value.transaction_id,
        phase=enums.PHASE.name(value.phase),
        fence=fence(value.fence),
        activity=value.activity,
        at=times.timestamp(value.at),
    )


def as_watch_event(message: calls.WatchTransactionResponse) -> WatchEvent:
    """A message as one thing that happened."""
    return WatchEvent(
        transaction_id=message.transaction_id,
        phase=enums.PHASE.value(message.phase),
        fence=as_fence(message.fence),
        activity=message.activity,
        at=times.instant(message, "at"),
    )
