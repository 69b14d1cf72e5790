"""gausscert.v1.AgentService: message to command, command to node, value to message. Decides nothing."""

# ruff: noqa: N802 - methods are called as the proto calls them

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Final

from gausscert.v1 import agent_service_pb2 as pb
from gausscert.v1 import agent_service_pb2_grpc
from gausscert_common import denylist
from gausscert_common.errors import InvalidInput, NodeRefusal, Reason
from gausscert_common.protocol.words import SslWish, Step
from gausscert_common.wire import commands, nodes, values

from gausscert_agent import peer
from gausscert_agent.restart import RestartOrders
from gausscert_agent.shared import Shared

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import grpc
    from gausscert_common.wire.commands import RestartOrder

    from gausscert_agent.control_plane import ControlPlane
    from gausscert_agent.node import Node

_PAGE_BYTES: Final = 512 * 1024
"""Of an audit log; callers take messages of four MiB."""
_LOOK_EVERY_S: Final = 1.0
"""How soon a watch notices that its caller has gone."""


class AgentService(agent_service_pb2_grpc.AgentServiceServicer):
    """The servicer.

    Args:
        name: The node's name; a transaction that does not name it is not for this node.
        node: Does everything that is about sets and CM.
        control: Does what is about the agent's own credential.
        clock: Seconds since the epoch.
    """

    def __init__(
        self, name: str, node: Node, control: ControlPlane, clock: Callable[[], float] = time.time
    ) -> None:
        self._name = name
        self._node = node
        self._control = control
        self._clock = clock
        self._seen = Shared(partial(self._see, preflight=False))

    def GetNode(self, request: pb.GetNodeRequest, context: grpc.ServicerContext) -> pb.GetNodeResponse:
        """What this node is and holds."""
        del context
        return self._see(preflight=True) if request.preflight else self._seen.get()

    def _see(self, *, preflight: bool) -> pb.GetNodeResponse:
        return pb.GetNodeResponse(node=nodes.node(self._node.report(preflight=preflight)))

    def Judge(self, request: pb.JudgeRequest, context: grpc.ServicerContext) -> pb.JudgeResponse:
        """How a set would do here."""
        del context
        asked = commands.as_question(request)
        return values.judged(self._node.judge(asked.source, drop_crls=asked.drop_crls))

    def GetExpiry(self, request: pb.GetExpiryRequest, context: grpc.ServicerContext) -> pb.GetExpiryResponse:
        """Every certificate of the live set."""
        del request, context
        return values.expiry_report(self._node.expiry())

    def Probe(self, request: pb.ProbeRequest, context: grpc.ServicerContext) -> pb.ProbeResponse:
        """What each cm_server serves."""
        del context
        timeout_s = commands.probe_timeout_s(request)
        return values.probe_report(self._node.probe(query=request.query, timeout_s=timeout_s))

    def WatchTransaction(
        self, request: pb.WatchTransactionRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.WatchTransactionResponse]:
        """What this node does, until the caller hangs up or the agent stops."""
        del request
        with self._node.watch() as subscription:
            while context.is_active():
                event = subscription.get(_LOOK_EVERY_S)
                if event is not None:
                    yield values.watch_event(event)
                elif subscription.closed:
                    raise NodeRefusal(Reason.DRAINING, "the agent is about to stop", remedy="watch again")

    def Acquire(self, request: pb.AcquireRequest, context: grpc.ServicerContext) -> pb.AcquireResponse:
        """Step 0."""
        order = commands.as_acquire(request)
        report = self._node.acquire(order.command, order.lease_s, context.is_active)
        return pb.AcquireResponse(node=nodes.node(report))

    def Prepare(self, request: pb.PrepareRequest, context: grpc.ServicerContext) -> pb.PrepareResponse:
        """Step 1."""
        order = commands.as_prepare(request, begun_at=self._clock())
        if self._name not in order.command.participants:
            raise InvalidInput(
                Reason.ARGUMENT_INVALID, f"participants do not name {self._name}, which is this node"
            )
        prepared = self._node.prepare(
            order.command, order.source, context.is_active, drop_crls=order.drop_crls
        )
        return pb.PrepareResponse(
            stage=values.certificate_set(prepared.stage),
            findings=[values.finding(one) for one in prepared.findings],
            overlap=values.overlap(prepared.overlap),
        )

    def Stop(self, request: pb.StopRequest, context: grpc.ServicerContext) -> pb.StopResponse:
        """Steps 2 and 7."""
        self._restart(commands.as_stop(request), context)
        return pb.StopResponse()

    def Swap(self, request: pb.SwapRequest, context: grpc.ServicerContext) -> pb.SwapResponse:
        """Step 3."""
        live = self._node.move(commands.as_command(request, Step.SWAP), context.is_active)
        return pb.SwapResponse(live=values.certificate_set(live))

    def Start(self, request: pb.StartRequest, context: grpc.ServicerContext) -> pb.StartResponse:
        """Steps 4 and 9."""
        self._restart(commands.as_start(request), context)
        return pb.StartResponse()

    def Commit(self, request: pb.CommitRequest, context: grpc.ServicerContext) -> pb.CommitResponse:
        """Step 5."""
        self._node.end(commands.as_commit(request), context.is_active)
        return pb.CommitResponse()

    def Purge(self, request: pb.PurgeRequest, context: grpc.ServicerContext) -> pb.PurgeResponse:
        """Step 6."""
        self._node.end(commands.as_purge(request), context.is_active)
        return pb.PurgeResponse()

    def Abort(self, request: pb.AbortRequest, context: grpc.ServicerContext) -> pb.AbortResponse:
        """Step 8."""
        live = self._node.move(commands.as_command(request, Step.ABORT), context.is_active)
        return pb.AbortResponse(live=values.certificate_set(live))

    def Clean(self, request: pb.CleanRequest, context: grpc.ServicerContext) -> pb.CleanResponse:
        """Step 10."""
        self._node.end(commands.as_command(request, Step.CLEAN), context.is_active)
        return pb.CleanResponse()

    def Encrypt(self, request: pb.EncryptRequest, context: grpc.ServicerContext) -> pb.EncryptResponse:
        """Make the factor files of the live set anew."""
        commands.check_transaction_id("request_id", request.request_id)
        live = self._node.encrypt_live(
            request.request_id,
            _required(request, "server_password"),
            _required(request, "client_password"),
            context.is_active,
        )
        return pb.EncryptResponse(live=values.certificate_set(live))

    def SetEnableSsl(
        self, request: pb.SetEnableSslRequest, context: grpc.ServicerContext
    ) -> pb.SetEnableSslResponse:
        """Set enable_ssl."""
        commands.check_transaction_id("request_id", request.request_id)
        wish = SslWish.ON if commands.as_ssl_value(request) else SslWish.OFF
        switch = self._node.set_enable_ssl(request.request_id, wish, context.is_active)
        return pb.SetEnableSslResponse(enable_ssl=values.ssl_switch(switch))

    def BeginRenewal(
        self, request: pb.BeginRenewalRequest, context: grpc.ServicerContext
    ) -> pb.BeginRenewalResponse:
        """Make a new key, and ask for a certificate of it."""
        del context
        commands.check_transaction_id("request_id", request.request_id)
        asked = self._control.begin_renewal(request.request_id)
        return pb.BeginRenewalResponse(request=asked.request_pem, certificate=asked.certificate_pem)

    def FinishRenewal(
        self, request: pb.FinishRenewalRequest, context: grpc.ServicerContext
    ) -> pb.FinishRenewalResponse:
        """Serve with the certificate."""
        del context
        commands.check_transaction_id("request_id", request.request_id)
        own = self._control.finish_renewal(request.request_id, request.certificate)
        return pb.FinishRenewalResponse(credential=values.certificate(own))

    def ExtendDenyList(
        self, request: pb.ExtendDenyListRequest, context: grpc.ServicerContext
    ) -> pb.ExtendDenyListResponse:
        """Let certificates in no more."""
        entries = denylist.read(request.list).entries
        added, total = self._control.deny(entries, peer.numbers_of(context))
        return pb.ExtendDenyListResponse(added=added, total=total)

    def ReadAudit(self, request: pb.ReadAuditRequest, context: grpc.ServicerContext) -> pb.ReadAuditResponse:
        """A page of the audit log."""
        del context
        lines, after = self._control.audit.lines(request.after, _PAGE_BYTES)
        return pb.ReadAuditResponse(lines=lines, after=after)

    def _restart(self, order: RestartOrder, context: grpc.ServicerContext) -> None:
        way_back = order.command.step in (Step.ROLLBACK_STOP, Step.ROLLBACK_START)
        orders = RestartOrders(order.scope, order.executor, order.timeout_s, way_back)
        self._node.restart(order.command, orders, context.is_active)


def _required(request: pb.EncryptRequest, field: str) -> str:
    password = commands.password(request, field)
    if password is None:
        raise InvalidInput(Reason.ARGUMENT_INVALID, f"{field} is missing")
    return password
