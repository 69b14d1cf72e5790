"""cm_server's port: startup packet, SSL request, TLS, commands (facts section 9)."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from gausscert_sim import wire
from gausscert_sim.quorum import Role

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from gausscert_sim.runlog import RunLog
    from gausscert_sim.settings import Settings

_UNAUTHENTICATED_S: Final = 60.0
_TLS_ACCEPT_S: Final = 30.0


class _Dropped(Exception):
    """This connection is of no use; close it."""


class Listener:
    """Serves one cm_server's address.

    Args:
        settings: Of the node.
        context: None with SSL off.
        log: cm_server's.
        role: Its role now.
        answer: What a query is answered with.
    """

    def __init__(
        self,
        settings: Settings,
        context: ssl.SSLContext | None,
        log: RunLog,
        role: Callable[[], Role],
        answer: Callable[[], dict[str, Any]],
    ) -> None:
        self.settings = settings
        self.context = context
        self.log = log
        self.role = role
        self.answer = answer
        self._agents: dict[socket.socket, int] = {}
        self._lock = threading.Lock()

    def start(self) -> None:
        """Listen, in threads that end with the process.

        Raises:
            OSError: The address is taken.
        """
        local = self.settings.local
        listener = socket.create_server((local.address, local.port), backlog=64)
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def agents(self) -> frozenset[int]:
        """Nodes whose cm_agent is connected."""
        with self._lock:
            return frozenset(self._agents.values())

    def drop_agents(self) -> None:
        """Send all cm_agents away: they look for the new primary."""
        with self._lock:
            for connection in self._agents:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            connection, (peer, _) = listener.accept()
            threading.Thread(target=self._serve, args=(connection, peer), daemon=True).start()

    def _serve(self, plain: socket.socket, peer: str) -> None:
        with suppress(_Dropped, wire.ConnectionEnded, OSError), plain:
            plain.settimeout(_UNAUTHENTICATED_S)
            packet = self._authenticate(plain, peer)
            with self._secured(plain) as connection:
                connection.settimeout(None)
                self._converse(connection, packet)

    def _authenticate(self, connection: socket.socket, peer: str) -> wire.StartupPacket:
        kind, body = wire.receive(connection)
        if kind != wire.STARTUP:
            raise _Dropped
        packet = wire.StartupPacket.decode(body)
        refusal = self._refusal(packet, peer)
        if refusal:
            connection.sendall(refusal)
            raise _Dropped
        connection.sendall(wire.frame(wire.AUTH, bytes(4)))
        return packet

    def _refusal(self, packet: wire.StartupPacket, peer: str) -> bytes:
        """Why this peer may not go on, or b"" (cms_main.cpp:1617-1759)."""
        if peer not in {node.address for node in self.settings.nodes}:
            self.log.write("ERROR", f"invalid host({peer})")
            return wire.refusal("invalid host")
        if not packet.is_postmaster and self.role() is not Role.PRIMARY:
            return wire.refusal("local cmserver is not the primary")
        if packet.remote_type == wire.REMOTE_AGENT:
            return b""
        if packet.remote_type != wire.REMOTE_CTL:
            self.log.write("LOG", f"invalid remote type {packet.remote_type}")
            return wire.refusal("invalid remote type")
        if packet.user != self.settings.user[:31]:
            self.log.write("WARNING", "invalid connection")
            return wire.refusal("invalid connection", len("invalid connection") + 1)
        return b""

    def _secured(self, plain: socket.socket) -> socket.socket:
        kind, body = wire.receive(plain)
        number = wire.command_kind(body) if kind == wire.COMMAND else 0
        if number != wire.SSL_REQUEST:
            if self.context is not None and kind != wire.GOODBYE:
                text = "It will disconnect the connection for msg type 0 is invalid,the msg is"
                self.log.write("ERROR", f"{text} {number}.")
            raise _Dropped
        status = wire.SSL_OFF if self.context is None else wire.SSL_ON
        plain.sendall(wire.frame(wire.ANSWER, wire.command(wire.SSL_ACK, status)))
        if self.context is None:
            return plain
        plain.settimeout(_TLS_ACCEPT_S)
        try:
            return self.context.wrap_socket(plain, server_side=True)
        except OSError:
            connection = plain.fileno()
            text = f"[ProcessSslConnRequest]srv ssl accept failed,connSeq={max(connection, 0)}."
            self.log.write("ERROR", text)
            raise

    def _converse(self, connection: socket.socket, packet: wire.StartupPacket) -> None:
        registered = packet.remote_type == wire.REMOTE_AGENT and not packet.is_postmaster
        try:
            if registered:
                self._register(connection, packet.node_id)
            while True:
                kind, body = wire.receive(connection)
                if kind == wire.GOODBYE:
                    return
                if kind == wire.COMMAND and wire.command_kind(body) == wire.QUERY:
                    connection.sendall(wire.frame(wire.ANSWER, wire.query_answer(self.answer())))
        finally:
            with self._lock:
                self._agents.pop(connection, None)

    def _register(self, connection: socket.socket, node_id: int) -> None:
        with self._lock:
            self._agents[connection] = node_id
        if self.role() is not Role.PRIMARY:
            raise _Dropped
