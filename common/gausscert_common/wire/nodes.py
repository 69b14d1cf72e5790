"""A node's whole report: `NodeReport` to the message Node and back. As `values`, of which it is made."""

from __future__ import annotations

from gausscert.v1 import resources_pb2 as pb

from gausscert_common.model import (
    Capabilities,
    CmNode,
    CmProcess,
    CmTopology,
    NodeReport,
    Paths,
    RetiredSet,
    TransactionReport,
)
from gausscert_common.protocol.words import Fence, Tombstone
from gausscert_common.wire import enums, times, values


def node(value: NodeReport) -> pb.Node:
    """A node's report as a message."""
    return pb.Node(
        cluster=value.cluster,
        name=value.name,
        agent_version=value.agent_version,
        cm_version=value.cm_version,
        clock=times.timestamp(value.clock),
        paths=_paths(value.paths),
        capabilities=_capabilities(value.capabilities),
        transaction=transaction(value.transaction),
        live=values.certificate_set(value.live),
        stage=values.certificate_set(value.stage),
        retired=[_retired(one) for one in value.retired],
        enable_ssl=values.ssl_switch(value.enable_ssl),
        processes=[_process(one) for one in value.processes],
        manually_stopped=value.manually_stopped,
        paused=value.paused,
        upgrading=value.upgrading,
        topology=_topology(value.topology),
        findings=[values.finding(one) for one in value.findings],
    )


def as_node(message: pb.Node) -> NodeReport:
    """A message as a node's report."""
    return NodeReport(
        cluster=message.cluster,
        name=message.name,
        agent_version=message.agent_version,
        cm_version=message.cm_version,
        clock=times.instant(message, "clock"),
        paths=Paths(message.paths.cm_home, message.paths.set_directory, message.paths.state_directory),
        capabilities=_as_capabilities(message.capabilities),
        transaction=as_transaction(message.transaction),
        live=values.as_certificate_set(message.live),
        stage=values.as_certificate_set(message.stage),
        retired=tuple(_as_retired(one) for one in message.retired),
        enable_ssl=values.as_ssl_switch(message.enable_ssl),
        processes=tuple(_as_process(each) for each in message.processes),
        manually_stopped=message.manually_stopped,
        paused=message.paused,
        upgrading=message.upgrading,
        topology=_as_topology(message.topology),
        findings=values.as_findings(message.findings),
    )


def transaction(value: TransactionReport) -> pb.NodeTransaction:
    """A node's durable state as a message."""
    return pb.NodeTransaction(
        transaction_id=value.transaction_id,
        phase=enums.PHASE.name(value.phase),
        fence=values.fence(value.fence),
        holder=value.holder,
        held_since=times.timestamp(value.held_since),
        lease_left=times.duration(value.lease_left_s),
        participants=value.participants,
        excluded=value.excluded,
        joins=value.joins,
        begun_by=value.begun_by,
        old_digest=value.old_digest,
        new_digest=value.new_digest,
        live_state=enums.LIVE_STATE.name_or_zero(value.live_state),
        tombstones=[
            pb.Tombstone(
                transaction_id=one.transaction_id,
                outcome=enums.OUTCOME.name(one.outcome),
                without=one.without,
            )
            for one in value.tombstones
        ],
        promised_epoch=value.fence.epoch,
        restart=enums.RESTART_SCOPE.name_or_zero(value.restart),
        enable_ssl=enums.SSL_WISH.name(value.ssl_wish),
        begun_at=times.timestamp(value.begun_at),
        reached=values.fence(value.reached) if value.reached != Fence() else None,
    )


def as_transaction(message: pb.NodeTransaction) -> TransactionReport:
    """A message as a node's durable state."""
    return TransactionReport(
        transaction_id=message.transaction_id,
        phase=enums.PHASE.value(message.phase),
        fence=values.as_fence(message.fence),
        holder=message.holder,
        held_since=times.instant_or_none(message, "held_since"),
        lease_left_s=times.length_s(message, "lease_left"),
        participants=tuple(message.participants),
        excluded=tuple(message.excluded),
        joins=message.joins,
        begun_by=message.begun_by,
        old_digest=message.old_digest,
        new_digest=message.new_digest,
        live_state=enums.LIVE_STATE.value_or_none(message.live_state),
        tombstones=tuple(
            Tombstone(one.transaction_id, enums.OUTCOME.value(one.outcome), tuple(one.without))
            for one in message.tombstones
        ),
        restart=enums.RESTART_SCOPE.value_or_none(message.restart),
        ssl_wish=enums.SSL_WISH.value(message.enable_ssl),
        begun_at=times.instant_or_none(message, "begun_at"),
        reached=values.as_fence(message.reached) if message.HasField("reached") else Fence(),
    )


def _paths(value: Paths) -> pb.Paths:
    return pb.Paths(
        cm_home=value.cm_home, set_directory=value.set_directory, state_directory=value.state_directory
    )


def _capabilities(value: Capabilities) -> pb.Capabilities:
    return pb.Capabilities(
        layout=enums.LAYOUT.name_or_zero(value.layout),
        cm_ctl=value.cm_ctl,
        factor_build=enums.FACTOR_BUILD.name_or_zero(value.factor_build),
    )


def _as_capabilities(message: pb.Capabilities) -> Capabilities:
    return Capabilities(
        enums.LAYOUT.value_or_none(message.layout),
        message.cm_ctl,
        enums.FACTOR_BUILD.value_or_none(message.factor_build),
    )


def _retired(value: RetiredSet) -> pb.RetiredSet:
    return pb.RetiredSet(
        generation=value.generation,
        digest=value.digest,
        server_fingerprint=value.server_fingerprint,
        retired_at=times.timestamp(value.retired_at),
    )


def _as_retired(message: pb.RetiredSet) -> RetiredSet:
    retired_at = times.instant_or_none(message, "retired_at")
    return RetiredSet(message.generation, message.digest, message.server_fingerprint, retired_at)


def _process(value: CmProcess) -> pb.CmProcess:
    return pb.CmProcess(
        name=value.name,
        pid=value.pid,
        started_at=times.timestamp(value.started_at),
        start_ticks=value.start_ticks,
        boot=value.boot,
    )


def _as_process(message: pb.CmProcess) -> CmProcess:
    started_at = times.instant(message, "started_at")
    return CmProcess(message.name, message.pid, started_at, message.start_ticks, message.boot)


def _topology(value: CmTopology) -> pb.CmTopology:
    return pb.CmTopology(local_node_id=value.local_node_id, nodes=[_cm_node(one) for one in value.nodes])


def _cm_node(value: CmNode) -> pb.CmNode:
    return pb.CmNode(
        id=value.id,
        name=value.name,
        server_address=value.server_address,
        server_port=value.server_port,
        agent_address=value.agent_address,
    )


def _as_topology(message: pb.CmTopology) -> CmTopology:
    nodes = tuple(
        CmNode(o.id, o.name, o.server_address, o.server_port, o.agent_address) for o in message.nodes
    )
    return CmTopology(message.local_node_id, nodes)
