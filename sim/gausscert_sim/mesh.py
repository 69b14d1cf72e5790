"""Links between equals: cm_servers among themselves (DCC), cm_agents among themselves (heartbeat).

Every member dials every other one with the certificate it also serves with, and a link counts only when
it stands in both directions: that is why server.crt needs both purposes (facts section 4). Links are
held open and idle, so that a peer's death is seen at once and costs nothing until then.
"""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from gausscert_sim import tls

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

_GREETING: Final = b"SIMULATED-CM-PEER "
_WELCOME: Final = b"OK\n"
_HANDSHAKE_TIMEOUT_S: Final = 5.0
_REDIAL_S: Final = 0.05
_REDIAL_REFUSED_S: Final = 0.5
"""A peer that rejects our certificate will do so for long."""


class Credentials(NamedTuple):
    """Both sides of a link; None where SSL is off."""

    acceptor: ssl.SSLContext
    connector: ssl.SSLContext


class Mesh:
    """One member's links."""

    def __init__(
        self,
        own: int,
        addresses: Mapping[int, tuple[str, int]],
        credentials: Credentials | None,
        *,
        changed: Callable[[], None] = lambda: None,
        log: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._own = own
        self._addresses = addresses
        self._credentials = credentials
        self._changed = changed
        self._log = log
        self._lock = threading.Lock()
        self._inbound: dict[int, int] = {}
        self._outbound: set[int] = set()

    def linked(self) -> frozenset[int]:
        """Peers with a link in both directions."""
        with self._lock:
            return frozenset(self._outbound & self._inbound.keys())

    def start(self) -> None:
        """Listen and dial, in threads that end with the process.

        Raises:
            OSError: The address is taken.
        """
        listener = socket.create_server(self._addresses[self._own], reuse_port=False)
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        for peer in self._addresses.keys() - {self._own}:
            threading.Thread(target=self._keep_dialling, args=(peer,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=self._welcome, args=(connection,), daemon=True).start()

    def _welcome(self, connection: socket.socket) -> None:
        with suppress(OSError, ValueError), connection:
            connection.settimeout(_HANDSHAKE_TIMEOUT_S)
            with self._wrapped(connection, dialling=False) as link:
                greeting = link.recv(64)
                if not greeting.startswith(_GREETING):
                    return
                peer = int(greeting.removeprefix(_GREETING))
                link.sendall(_WELCOME)
                self._hold_inbound(link, peer)

    def _hold_inbound(self, link: socket.socket, peer: int) -> None:
        with self._lock:
            self._inbound[peer] = self._inbound.get(peer, 0) + 1
        self._changed()
        try:
            _until_closed(link)
        finally:
            with self._lock:
                self._inbound[peer] -= 1
                if not self._inbound[peer]:
                    del self._inbound[peer]
            self._changed()

    def _keep_dialling(self, peer: int) -> None:
        while True:
            try:
                self._dial(peer)
            except ConnectionError:
                time.sleep(_REDIAL_S)
            except OSError as cause:
                self._log(tls.failure_text(cause))
                time.sleep(_REDIAL_REFUSED_S)

    def _dial(self, peer: int) -> None:
        source = (self._addresses[self._own][0], 0)
        with (
            socket.create_connection(
                self._addresses[peer], timeout=_HANDSHAKE_TIMEOUT_S, source_address=source
            ) as connection,
            self._wrapped(connection, dialling=True) as link,
        ):
            link.sendall(_GREETING + b"%d\n" % self._own)
            if link.recv(16) != _WELCOME:
                raise OSError("the peer does not speak as we do")
            with self._lock:
                self._outbound.add(peer)
            self._changed()
            try:
                _until_closed(link)
            finally:
                with self._lock:
                    self._outbound.discard(peer)
                self._changed()
        raise ConnectionResetError("the link ended")

    def _wrapped(self, connection: socket.socket, *, dialling: bool) -> socket.socket:
        if self._credentials is None:
            return connection
        if dialling:
            return self._credentials.connector.wrap_socket(connection)
        return self._credentials.acceptor.wrap_socket(connection, server_side=True)


def _until_closed(link: socket.socket) -> None:
    link.settimeout(None)
    with suppress(OSError):
        while link.recv(64):
            pass
