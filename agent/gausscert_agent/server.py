"""The gRPC server: sync, mutual TLS, bounded in everything a caller could make grow."""

from __future__ import annotations

import logging
import socket
import threading
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Final

import grpc
from gausscert_common.errors import InvalidInput, Reason

from gausscert_agent.control_plane import ControlPlane
from gausscert_agent.front import Collected, Front
from gausscert_agent.pools import Pools

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from gausscert_agent.config import AgentConfig
    from gausscert_agent.credential_source import CredentialSource
    from gausscert_agent.front import Rooms
    from gausscert_agent.health import Health
    from gausscert_agent.interceptors import Outermost
    from gausscert_agent.node import Node

logger = logging.getLogger(__name__)

MAX_REQUEST_BYTES: Final = 1024 * 1024
"""Nine ordinary files are 30 KiB; this leaves room for a CA file of several hundred certificates."""
MAX_CONCURRENT_RPCS: Final = 2048
"""A backstop above all slots together (`Pools`) and the room at the door, and so never reached: gRPC would
refuse the calls of an operator like those of the crowd beside him."""
MAX_PENDING: Final = 8192
"""Calls of which nothing but the headers has been read."""
UNASKED_S: Final = 1.0
"""So long an agent that is to stop waits for the request of a call, and for connections without one."""
OPTIONS: Final[tuple[tuple[str, Any], ...]] = (
    # A second agent on the same port would silently share its connections.
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
    ("grpc.max_metadata_size", 8 * 1024),
    ("grpc.absolute_max_metadata_size", 16 * 1024),
    ("grpc.max_concurrent_streams", 16),
    # What a call may send before anybody has asked for its request: thousands of them, at 64 KiB each and
    # more where gRPC finds the line quick, filled 400 MiB. What is asked for may be as large as it is.
    ("grpc.http2.lookahead_bytes", 16 * 1024),
    ("grpc.http2.bdp_probe", 0),
    # Beyond a thousand calls that nobody has taken yet gRPC drops some by chance, an operator's as well.
    ("grpc.server.max_pending_requests", MAX_PENDING),
    ("grpc.server.max_pending_requests_hard_limit", MAX_PENDING),
    # Whoever connects and says nothing is gone after five seconds.
    ("grpc.server_handshake_timeout_ms", 5_000),
    ("grpc.max_connection_idle_ms", 60_000),
    # A connection outlives the CA that let it in; the grace is longer than any Stop or Start may take.
    ("grpc.max_connection_age_ms", 300_000),
    ("grpc.max_connection_age_grace_ms", 4_200_000),
    # Coordinators ping every 20 s (their channel options).
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
)


def _always() -> bool:
    return True


class AgentServer:
    """One agent's server. `start` and `answer`, in whatever order; calls before `answer` wait for it.

    Args:
        config: Where to listen, and who we are.
        source: The credential.
        loading: Entered while what answers calls is loaded.

    Raises:
        InvalidInput: CREDENTIAL_INVALID.
    """

    def __init__(
        self,
        config: AgentConfig,
        source: CredentialSource,
        *,
        loading: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._config = config
        self.source = source
        self.control = ControlPlane(config, source)
        self._first: grpc.ServerCertificateConfiguration | None = source.first()
        self._pools = Pools(config.cluster)
        self._front = Front(loading)
        self._node: Node | None = None
        self._fit: Callable[[], bool] = _always
        self._ending = threading.Lock()
        self._ended = False
        self._health: Health | None = None
        self._outermost: Outermost | None = None
        self._server = grpc.server(
            self._pools.work,
            handlers=[self._front],
            interceptors=[self._front],
            options=OPTIONS,
            maximum_concurrent_rpcs=MAX_CONCURRENT_RPCS,
        )

    def answer(self, node: Node, fit: Callable[[], bool] = _always) -> None:
        """Answer calls from now on.

        Args:
            node: Does what is asked.
            fit: Whether the agent could do its job; what its health says.
        """
        self._node, self._fit = node, fit
        self._front.open(self._rooms)

    def _rooms(self) -> Rooms:
        from gausscert.v1 import agent_service_pb2_grpc
        from grpc_health.v1 import health_pb2_grpc  # type: ignore[import-untyped] # ships no stubs

        from gausscert_agent.health import Health
        from gausscert_agent.interceptors import Doorkeeper, Outermost
        from gausscert_agent.service import AgentService

        node = self._answering()
        doorkeeper = Doorkeeper(self._config.cluster, lambda: node.in_transaction, self.control.denied)
        outermost = Outermost(self._config.name, self._pools.of, doorkeeper.check, self.control.audit)
        self._outermost = outermost
        collected: Any = Collected()
        agent_service_pb2_grpc.add_AgentServiceServicer_to_server(
            AgentService(self._config.name, node, self.control), collected
        )
        with self._ending:
            self._health = Health(self._fit)
            (self._health.down if self._ended else self._health.up)()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, collected)
        return collected.handlers, [outermost, doorkeeper]

    def _answering(self) -> Node:
        if self._node is None:
            raise RuntimeError("nothing is answered yet")
        return self._node

    def _end(self) -> None:
        with self._ending:
            self._ended = True
            if self._health is not None:
                self._health.down()

    def is_whole(self) -> bool:
        """Whether what is installed is still what this process was started from: modules of two releases must
        not meet in it."""
        return self._front.is_whole()

    def start(self) -> int:
        """Take calls.

        Returns:
            The port.

        Raises:
            InvalidInput: CONFIG_INVALID: the port cannot be had.
        """
        if self._first is None:
            raise RuntimeError("started twice")
        first, self._first = self._first, None  # holds the key, and gRPC has its own copy
        tls = grpc.dynamic_ssl_server_credentials(
            first,
            self.source.changed,  # type: ignore[arg-type] # None keeps what there is; the stubs do not say so
            require_client_authentication=True,
        )
        try:
            port = self._server.add_secure_port(self._config.listen, tls)
        except RuntimeError:
            raise _cannot_listen(self._config.listen) from None
        self._server.start()
        logger.info("serving", extra={"listen": self._config.listen, "port": port, "node": self._config.name})
        return port

    def drain(self) -> None:
        """Take nothing more, let what runs come to its end, and stop.

        Calls that still run after `drain_s` lose their caller, but are waited for: half a Stop helps nobody,
        and whoever has less patience may kill the agent, whose journal is made for that.
        """
        logger.info("draining", extra={"drain_s": self._config.drain_s})
        node = self._answering()
        self._end()
        stopped = self._server.stop(self._config.drain_s)
        while not node.drain(self._config.drain_s):
            logger.warning("still waiting for the running command")
        self._await_end(stopped)
        self._close_rooms()
        logger.info("stopped")

    def _await_end(self, stopped: threading.Event) -> None:
        """Whoever has sent no request is not waited for, nor are connections without a call: gRPC gives each
        of them 20 s to answer a ping (graceful GOAWAY in chttp2_transport.cc), though nobody may be there any
        more. Seen empty twice: what the last one was told is on its way."""
        empty = False
        while not stopped.wait(UNASKED_S):
            if self._outermost is not None:
                self._outermost.awaited.give_up(UNASKED_S)
            before, empty = empty, self._pools.are_empty()
            if before and empty:
                self._server.stop(None)

    def close(self) -> None:
        """Stop at once, without waiting for anything; harmless after `drain`."""
        self._end()
        self._front.close()
        self._server.stop(None)
        self._close_rooms()

    def _close_rooms(self) -> None:
        self._pools.close()
        if self._outermost is not None:
            self._outermost.close()


def _cannot_listen(listen: str) -> InvalidInput:
    """gRPC says only that it failed; a socket of our own says why."""
    host, _, port = listen.rpartition(":")
    cause = "gRPC cannot bind it"
    try:
        found = socket.getaddrinfo(
            host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, kind, protocol, _, address = found[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen()
    except OSError as error:
        cause = (error.strerror or str(error)).lower()
    return InvalidInput(
        Reason.CONFIG_INVALID,
        f"cannot listen on port {port} of {host}: {cause}",
        remedy="see what else listens there (ss -ltnp), or set another agent.listen",
    )
