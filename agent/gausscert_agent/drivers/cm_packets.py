"""CM's own exchange before TLS, as bytes: pure encoding and decoding (facts section 9).

A frame is a type byte, a length in network order that counts itself but not the type, and a body that
is a raw C struct in the host order of CM's machines (little endian on x86_64 and aarch64).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from gausscert_common.errors import NodeFailure, Reason

STARTUP: Final = b"A"
AUTHENTICATED: Final = b"R"
MESSAGE: Final = b"C"
ACKNOWLEDGED: Final = b"S"
REFUSED: Final = b"E"
GOODBYE: Final = b"X\x00\x00\x00\x04"

_CM_CTL: Final = 8
"""remotetype; 7 would register the connection as that of a cm_agent (cm_config.h:92-94)."""
_SSL_REQUEST: Final = 150
_SSL_ACK: Final = 151
_SSL_ON: Final = 1
_SSL_OFF: Final = 2

_LENGTH: Final = struct.Struct(">I")
_STARTUP: Final = struct.Struct("<32s64s16sii?3x")
_PAIR: Final = struct.Struct("<ii")
HEADER_BYTES: Final = 5
_BODY_LIMIT: Final = 4096


@dataclass(frozen=True, slots=True)
class Caller:
    """Whom a probe says it is. cm_server refuses other users and hosts (cms_main.cpp:1617-1759)."""

    user: str
    """The OS user of the cluster."""
    node_name: str
    node_id: int
    address: str
    """The node's own cmAgentIP."""


def startup(caller: Caller) -> bytes:
    """CM_StartupPacket (cm_c.h:91-107), as cm_ctl sends it, with ispostmaster set: else a standby
    refuses to talk."""
    body = _STARTUP.pack(
        _text(caller.user, 32),
        _text(caller.node_name, 64),
        _text(caller.address, 16),
        caller.node_id,
        _CM_CTL,
        True,
    )
    return _frame(STARTUP, body)


def ssl_request(node_id: int) -> bytes:
    """MSG_CM_SSL_CONN_REQUEST (cm_msg.h:1368-1371)."""
    return _frame(MESSAGE, _PAIR.pack(_SSL_REQUEST, node_id))


def header(raw: bytes) -> tuple[bytes, int]:
    """Type and length of the body that follows.

    Raises:
        NodeFailure: NOT_PROVEN; this is no frame of CM.
    """
    kind, length = raw[:1], _LENGTH.unpack(raw[1:HEADER_BYTES])[0] - _LENGTH.size
    if not 0 <= length <= _BODY_LIMIT:
        raise NodeFailure(Reason.NOT_PROVEN, f"the answer is no frame of CM (type {kind!r}, length {length})")
    return kind, length


def require_authenticated(kind: bytes, body: bytes) -> None:
    """Accept the answer to `startup`, or say why not.

    Raises:
        NodeFailure: NOT_PROVEN, with cm_server's own words.
    """
    if kind == REFUSED:
        raise NodeFailure(Reason.NOT_PROVEN, f"cm_server refuses: {_words(body)}")
    if kind != AUTHENTICATED or len(body) < 4:
        raise NodeFailure(Reason.NOT_PROVEN, f"cm_server answers the startup with type {kind!r}")
    code = struct.unpack_from("<I", body)[0]
    if code:
        raise NodeFailure(Reason.NOT_PROVEN, f"cm_server asks for authentication {code}, Kerberos perhaps")


def ssl_is_on(kind: bytes, body: bytes) -> bool:
    """Read the answer to `ssl_request`.

    Raises:
        NodeFailure: NOT_PROVEN; it is none.
    """
    if kind == REFUSED:
        raise NodeFailure(Reason.NOT_PROVEN, f"cm_server refuses: {_words(body)}")
    if kind == ACKNOWLEDGED and len(body) >= _PAIR.size:
        message, status = _PAIR.unpack_from(body)
        if message == _SSL_ACK and status in (_SSL_ON, _SSL_OFF):
            return bool(status == _SSL_ON)
    raise NodeFailure(Reason.NOT_PROVEN, f"cm_server answers the SSL request with type {kind!r}")


def _frame(kind: bytes, body: bytes) -> bytes:
    return kind + _LENGTH.pack(len(body) + _LENGTH.size) + body


def _text(value: str, size: int) -> bytes:
    """A C string in a fixed field; cut so that its terminator fits."""
    return value.encode()[: size - 1]


def _words(body: bytes) -> str:
    return body.partition(b"\0")[0].decode("utf-8", "replace").strip()[:200]
