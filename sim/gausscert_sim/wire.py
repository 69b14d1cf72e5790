"""What cm_ctl, cm_agent and cm_server say to each other before and after TLS (facts section 9).

Frame: one byte type, uint32 big-endian length that counts itself, body. Bodies are C structs in host
order. The query behind it is this simulation's own and has nothing of real CM.
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

if TYPE_CHECKING:
    import socket

STARTUP: Final = b"A"
AUTH: Final = b"R"
COMMAND: Final = b"C"
ANSWER: Final = b"S"
REFUSAL: Final = b"E"
GOODBYE: Final = b"X"

REMOTE_AGENT: Final = 7
REMOTE_CTL: Final = 8

SSL_REQUEST: Final = 150
SSL_ACK: Final = 151
SSL_ON: Final = 1
SSL_OFF: Final = 2
QUERY: Final = 9001
QUERY_ANSWER: Final = 9002

REFUSAL_BYTES: Final = 128
MAX_BODY: Final = 1 << 20

_STARTUP_PACKET: Final = struct.Struct("<32s64s16sii?3x")


class ConnectionEnded(Exception):
    """The other side closed, or sent what is no frame."""


class StartupPacket(NamedTuple):
    """CM_StartupPacket (cm_c.h:91-107)."""

    user: str
    node_name: str
    host: str
    node_id: int
    remote_type: int
    is_postmaster: bool
    """A cm_server that is not the primary answers only those who set this."""

    def encode(self) -> bytes:
        """The 124 bytes."""
        texts = (self.user.encode()[:31], self.node_name.encode()[:63], self.host.encode()[:15])
        return _STARTUP_PACKET.pack(*texts, self.node_id, self.remote_type, self.is_postmaster)

    @classmethod
    def decode(cls, body: bytes) -> Self:
        """Read the 124 bytes.

        Raises:
            ConnectionEnded: They are not 124.
        """
        if len(body) != _STARTUP_PACKET.size:
            raise ConnectionEnded("start message is invalid")
        user, name, host, node_id, remote_type, postmaster = _STARTUP_PACKET.unpack(body)
        return cls(_text(user), _text(name), _text(host), node_id, remote_type, postmaster)


def frame(kind: bytes, body: bytes = b"") -> bytes:
    """One message."""
    return kind + struct.pack(">I", len(body) + 4) + body


def refusal(text: str, size: int = REFUSAL_BYTES) -> bytes:
    """An error message: text, NUL-padded."""
    return frame(REFUSAL, text.encode().ljust(size, b"\0"))


def command(kind: int, *values: int) -> bytes:
    """The body of a `C` or `S` message: its number and its fields."""
    return struct.pack(f"<{len(values) + 1}I", kind, *values)


def command_kind(body: bytes) -> int:
    """The number at the start of a `C` or `S` message.

    Raises:
        ConnectionEnded: It is too short to have one.
    """
    return command_values(body)[0]


def command_values(body: bytes) -> tuple[int, ...]:
    """All numbers of a `C` or `S` message that consists of numbers."""
    if len(body) < 4:
        raise ConnectionEnded("message too short")
    return struct.unpack(f"<{len(body) // 4}I", body[: len(body) // 4 * 4])


def query_answer(state: dict[str, Any]) -> bytes:
    """The body of this simulation's own answer."""
    return command(QUERY_ANSWER) + json.dumps(state).encode()


def read_query_answer(body: bytes) -> dict[str, Any]:
    """Read this simulation's own answer."""
    if command_kind(body) != QUERY_ANSWER:
        raise ConnectionEnded("not an answer")
    answer: dict[str, Any] = json.loads(body[4:])
    return answer


def receive(connection: socket.socket) -> tuple[bytes, bytes]:
    """Read one frame: its type and body.

    Raises:
        ConnectionEnded: The other side closed or sent nonsense.
        OSError: The connection broke (ssl.SSLError is one) or timed out.
    """
    head = _exactly(connection, 5)
    length = int.from_bytes(head[1:], "big") - 4
    if not 0 <= length <= MAX_BODY:
        raise ConnectionEnded("invalid message length")
    return head[:1], _exactly(connection, length)


def _exactly(connection: socket.socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = connection.recv(size - len(parts))
        if not part:
            raise ConnectionEnded("connection closed")
        parts += part
    return bytes(parts)


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode(errors="replace")
