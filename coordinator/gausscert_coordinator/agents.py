"""The real `ports.AgentClient`: one agent over gRPC, one channel per node for the coordinator's life."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import grpc
import grpc.aio
from gausscert.v1 import agent_service_pb2 as pb
from gausscert_common import credentials, identity
from gausscert_common.errors import InvalidInput, Reason
from gausscert_common.model import PreparedSet
from gausscert_common.protocol.words import Step
from gausscert_common.wire import enums, errors, nodes, requests, times, values

from gausscert_coordinator.diagnosis import Dialled
from gausscert_coordinator.line import Line
from gausscert_coordinator.policy import Call
from gausscert_coordinator.ports import Asked

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from gausscert.v1 import resources_pb2 as resources
    from gausscert_common.auditing import Head
    from gausscert_common.model import (
        Certificate,
        CertificateSet,
        ExpiryReport,
        JudgedSet,
        NodeReport,
        ProbeReport,
        SslSwitch,
        WatchEvent,
    )
    from gausscert_common.protocol.commands import Command
    from gausscert_common.protocol.words import SslWish
    from gausscert_common.source import Source

    from gausscert_coordinator.inventory import Inventory, Timeouts
    from gausscert_coordinator.ports import OnRetry, Preparation, RestartOrders

CHANNEL_OPTIONS: Final[tuple[tuple[str, Any], ...]] = (
    # gRPC's own retries know nothing of budgets, notices and steps: up to five executions.
    ("grpc.enable_retries", 0),
    ("grpc.max_receive_message_length", 4 * 1024 * 1024),
    ("grpc.max_metadata_size", errors.MAX_METADATA_BYTES),
    ("grpc.absolute_max_metadata_size", 2 * errors.MAX_METADATA_BYTES),
    # A node that vanishes during Stop is noticed within 30 s; agents permit a ping every 10 s.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.enable_http_proxy", 0),
)


_OWN_SERVER_S: Final = 5.0
"""What an agent gives its own cm_server to show what it serves."""


def connect(
    inventory: Inventory,
    on_retry: OnRetry | None = None,
    *,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> dict[str, GrpcAgent]:
    """One agent per node of the inventory. Nothing is sent yet. Call within a running event loop.

    Args:
        inventory: The cluster.
        on_retry: Told before a call is repeated.
        sleep: For tests.

    Raises:
        InvalidInput: CREDENTIAL_INVALID: the operator's own credential cannot be used.
    """
    own = credentials.load_person(inventory.credentials, cluster=inventory.cluster, now=datetime.now(UTC))
    tls = grpc.ssl_channel_credentials(own.ca_pem, own.key_pem, own.cert_pem)
    connect_ms = int(inventory.timeouts.connect_s * 1000)
    agents = {}
    for node in inventory.nodes:
        name = identity.node_dns_name(inventory.cluster, node.name)
        options = (
            *CHANNEL_OPTIONS,
            # How long one attempt to connect may take, whatever its name says (gRPC core, subchannel).
            ("grpc.min_reconnect_backoff_ms", connect_ms),
            ("grpc.ssl_target_name_override", name),
        )
        channel = grpc.aio.secure_channel(node.address, tls, options=options)
        dialled = Dialled(inventory.cluster, node.name, node.address, inventory.credentials)
        line = Line(dialled, channel, inventory.timeouts, on_retry, sleep)
        agents[node.name] = GrpcAgent(line, inventory.timeouts)
    return agents


class GrpcAgent:
    """One agent; see `ports.AgentClient` and `ports.ControlPlaneClient`.

    Args:
        line: To the node; closed with this object.
        timeouts: From the inventory.
    """

    def __init__(self, line: Line, timeouts: Timeouts) -> None:
        self._line = line
        self._timeouts = timeouts

    @property
    def name(self) -> str:
        """The node's name in the inventory."""
        return self._line.dialled.node

    @property
    def audit_head(self) -> Head | None:
        """The newest line of the node's audit log that an answer has carried."""
        return self._line.audit_head

    async def get_node(self, *, preflight: bool = False) -> NodeReport:
        """What the node is and holds."""
        call = Call.PREFLIGHT if preflight else Call.GET_NODE
        answer = await self._line.call(call, pb.GetNodeRequest(preflight=preflight), pb.GetNodeResponse)
        return self._own(answer.node)

    async def judge(self, source: Source, *, drop_crls: bool) -> JudgedSet:
        """What the node would stage of a source, and says of it."""
        request = requests.judge_request(source, drop_crls=drop_crls)
        answer = await self._line.call(Call.JUDGE, request, pb.JudgeResponse)
        return self._line.read(values.as_judged, answer)

    async def get_expiry(self) -> ExpiryReport:
        """Every certificate of the live set, and the one that the node's own cm_server serves."""
        request = pb.GetExpiryRequest()
        answer = await self._line.call(Call.GET_EXPIRY, request, pb.GetExpiryResponse, extra_s=_OWN_SERVER_S)
        return self._line.read(values.as_expiry_report, answer)

    async def probe(self, *, query: bool, timeout_s: float) -> ProbeReport:
        """What each cm_server serves, seen from the node."""
        request = pb.ProbeRequest(query=query, timeout=times.duration(timeout_s))
        answer = await self._line.call(Call.PROBE, request, pb.ProbeResponse, extra_s=2 * timeout_s)
        return self._line.read(values.as_probe_report, answer)

    async def acquire(
        self,
        command: Command,
        *,
        holder: str,
        lease_s: float,
        take_over: bool,
        excluded: tuple[str, ...] = (),
    ) -> NodeReport:
        """Step 0."""
        request = requests.acquire_request(
            command, holder=holder, lease_s=lease_s, take_over=take_over, excluded=excluded
        )
        answer = await self._line.call(Call.ACQUIRE, request, pb.AcquireResponse)
        return self._own(answer.node)

    async def prepare(self, command: Command, preparation: Preparation) -> PreparedSet:
        """Step 1."""
        request = requests.prepare_request(
            command,
            participants=preparation.participants,
            excluded=preparation.excluded,
            joins=preparation.joins,
            expected_live_digest=preparation.expected_live_digest,
            source=preparation.source,
            ssl_wish=preparation.ssl_wish,
            restart=preparation.restart,
            drop_crls=preparation.drop_crls,
        )
        answer = await self._line.call(Call.PREPARE, request, pb.PrepareResponse)
        stage = self._line.read(values.as_certificate_set, answer.stage)
        findings = self._line.read(values.as_findings, answer.findings)
        return PreparedSet(stage, findings, self._line.read(values.as_overlap, answer.overlap))

    async def stop(self, command: Command, orders: RestartOrders) -> None:
        """Steps 2 and 7."""
        request = requests.stop_request(
            command, scope=orders.scope, executor=orders.executor, timeout_s=orders.timeout_s
        )
        extra_s = max(0.0, orders.timeout_s - self._timeouts.stop_s)
        call = Call.STOP if command.step is Step.STOP else Call.ROLLBACK_STOP
        await self._line.call(call, request, pb.StopResponse, extra_s=extra_s)

    async def swap(self, command: Command) -> CertificateSet:
        """Step 3."""
        answer = await self._line.call(Call.SWAP, pb.SwapRequest(ref=requests.ref(command)), pb.SwapResponse)
        return self._line.read(values.as_certificate_set, answer.live)

    async def start(self, command: Command, orders: RestartOrders) -> None:
        """Steps 4 and 9."""
        request = requests.start_request(
            command, scope=orders.scope, executor=orders.executor, timeout_s=orders.timeout_s
        )
        extra_s = max(0.0, orders.timeout_s - self._timeouts.start_s)
        call = Call.START if command.step is Step.START else Call.ROLLBACK_START
        await self._line.call(call, request, pb.StartResponse, extra_s=extra_s)

    async def commit(self, command: Command) -> None:
        """Step 5."""
        await self._line.call(Call.COMMIT, requests.commit_request(command), pb.CommitResponse)

    async def purge(self, command: Command) -> None:
        """Step 6."""
        await self._line.call(Call.PURGE, requests.purge_request(command), pb.PurgeResponse)

    async def abort(self, command: Command) -> CertificateSet:
        """Step 8."""
        answer = await self._line.call(
            Call.ABORT, pb.AbortRequest(ref=requests.ref(command)), pb.AbortResponse
        )
        return self._line.read(values.as_certificate_set, answer.live)

    async def clean(self, command: Command) -> None:
        """Step 10."""
        await self._line.call(Call.CLEAN, pb.CleanRequest(ref=requests.ref(command)), pb.CleanResponse)

    async def encrypt(self, request_id: str, *, server_password: str, client_password: str) -> CertificateSet:
        """Outside of a transaction: make the factor files of the live set anew."""
        request = pb.EncryptRequest(
            request_id=request_id, server_password=server_password, client_password=client_password
        )
        answer = await self._line.call(Call.ENCRYPT, request, pb.EncryptResponse)
        return self._line.read(values.as_certificate_set, answer.live)

    async def set_enable_ssl(self, request_id: str, wish: SslWish) -> SslSwitch:
        """Outside of a transaction: set enable_ssl."""
        request = pb.SetEnableSslRequest(request_id=request_id, enable_ssl=enums.SSL_WISH.name(wish))
        answer = await self._line.call(Call.SET_ENABLE_SSL, request, pb.SetEnableSslResponse)
        return self._line.read(values.as_ssl_switch, answer.enable_ssl)

    async def begin_renewal(self, request_id: str) -> Asked:
        """First half of a renewal of the agent's own credential."""
        request = pb.BeginRenewalRequest(request_id=request_id)
        answer = await self._line.call(Call.BEGIN_RENEWAL, request, pb.BeginRenewalResponse)
        return Asked(answer.request, answer.certificate)

    async def finish_renewal(self, request_id: str, certificate: bytes) -> Certificate:
        """Second half: the agent's credential after it."""
        request = pb.FinishRenewalRequest(request_id=request_id, certificate=certificate)
        answer = await self._line.call(Call.FINISH_RENEWAL, request, pb.FinishRenewalResponse)
        return self._line.read(values.as_certificate, answer.credential)

    async def extend_deny_list(self, entries: bytes) -> tuple[int, int]:
        """Let certificates in no more: how many were added, and how many there are."""
        request = pb.ExtendDenyListRequest(list=entries)
        answer = await self._line.call(Call.EXTEND_DENY_LIST, request, pb.ExtendDenyListResponse)
        return answer.added, answer.total

    async def read_audit(self, after: int) -> tuple[list[str], int]:
        """A page of the node's audit log, and the number to go on after."""
        request = pb.ReadAuditRequest(after=after)
        answer = await self._line.call(Call.READ_AUDIT, request, pb.ReadAuditResponse)
        return list(answer.lines), answer.after

    async def watch(self) -> AsyncIterator[WatchEvent]:
        """What the node does, as it does it. Ends with an error when the connection does; not repeated."""
        stream = self._line.stream(
            "WatchTransaction", pb.WatchTransactionRequest(), pb.WatchTransactionResponse
        )
        async for event in stream:
            yield self._line.read(values.as_watch_event, event)

    async def close(self) -> None:
        """Close the channel."""
        await self._line.close()

    def _own(self, message: resources.Node) -> NodeReport:
        """TLS has proven who answered; this proves that the agent is of the same opinion."""
        report = self._line.read(nodes.as_node, message)
        if (report.cluster, report.name) != (self._line.dialled.cluster, self.name):
            raise InvalidInput(
                Reason.CONFIG_INVALID,
                f"the agent calls itself node {report.name} of cluster {report.cluster}",
                node=self.name,
                remedy="make its configuration and the inventory agree",
            )
        return report
