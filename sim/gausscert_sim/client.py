"""The way to a cm_server that cm_ctl and cm_agent share (facts section 9)."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING, Any, Final

from gausscert_sim import cm_cipher, tls, wire

if TYPE_CHECKING:
    from gausscert_sim.settings import NodeRecord, Settings

CONNECT_TIMEOUT_S: Final = 2.0
ANSWER_TIMEOUT_S: Final = 5.0


class NotReached(Exception):
    """No cm_server listens there, or it refused before TLS."""


class SslFailed(Exception):
    """TLS did not come about; the text is CM's own line."""


class RefusedLater(Exception):
    """The handshake went well for us, yet the server does not answer: with TLS 1.3 it rejects our
    certificate only afterwards (RFC 8446 section 4.4.2.4 comes after our Finished)."""


def connect(settings: Settings, target: NodeRecord, *, remote_type: int, postmaster: bool) -> socket.socket:
    """A connection over which commands may be sent; TLS if the server wants it.

    Raises:
        NotReached: Nobody there, or refused before TLS.
        SslFailed: Our client files cannot be used, or the handshake failed.
    """
    plain = _dial(settings, target)
    try:
        plain.settimeout(ANSWER_TIMEOUT_S)
        if not _negotiate(plain, settings, remote_type=remote_type, postmaster=postmaster):
            return plain
        return _secure(plain, settings)
    except (wire.ConnectionEnded, OSError) as cause:
        plain.close()
        raise NotReached(str(cause)) from cause
    except BaseException:
        plain.close()
        raise


def ask(connection: socket.socket) -> dict[str, Any]:
    """What the cm_server at the other end says of itself and the cluster.

    Raises:
        RefusedLater: It does not answer.
    """
    try:
        connection.sendall(wire.frame(wire.COMMAND, wire.command(wire.QUERY)))
        _, body = wire.receive(connection)
        return wire.read_query_answer(body)
    except (wire.ConnectionEnded, OSError) as cause:
        raise RefusedLater(str(cause)) from cause


def served_certificate(settings: Settings, target: NodeRecord) -> bytes | None:
    """DER of what a cm_server shows, without any client certificate; None with SSL off.

    Raises:
        NotReached: Nobody there, or the handshake failed.
    """
    plain = _dial(settings, target)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        plain.settimeout(ANSWER_TIMEOUT_S)
        if not _negotiate(plain, settings, remote_type=wire.REMOTE_CTL, postmaster=True):
            return None
        with context.wrap_socket(plain) as secure:
            return secure.getpeercert(binary_form=True)
    except (wire.ConnectionEnded, OSError) as cause:
        raise NotReached(str(cause)) from cause
    finally:
        plain.close()


def _dial(settings: Settings, target: NodeRecord) -> socket.socket:
    try:
        # The server lets in only who comes from a cmAgentIP (cms_common.cpp:228-296).
        return socket.create_connection(
            (target.address, target.port),
            timeout=CONNECT_TIMEOUT_S,
            source_address=(settings.local.address, 0),
        )
    except OSError as cause:
        raise NotReached(str(cause)) from cause


def _negotiate(plain: socket.socket, settings: Settings, *, remote_type: int, postmaster: bool) -> bool:
    """Startup packet and SSL request; whether TLS follows."""
    packet = wire.StartupPacket(
        user=settings.user,
        node_name="cm_ctl" if remote_type == wire.REMOTE_CTL else settings.local.name,
        host=settings.local.address,
        node_id=settings.node_id,
        remote_type=remote_type,
        is_postmaster=postmaster,
    )
    plain.sendall(wire.frame(wire.STARTUP, packet.encode()))
    kind, body = wire.receive(plain)
    if kind != wire.AUTH:
        raise NotReached(body.rstrip(b"\0").decode(errors="replace"))
    plain.sendall(wire.frame(wire.COMMAND, wire.command(wire.SSL_REQUEST, settings.node_id)))
    kind, body = wire.receive(plain)
    if kind != wire.ANSWER or wire.command_kind(body) != wire.SSL_ACK:
        raise NotReached("no answer to the SSL request")
    return wire.command_values(body)[1] == wire.SSL_ON


def _secure(plain: socket.socket, settings: Settings) -> ssl.SSLSocket:
    layout = cm_cipher.layout_for(libpq_off=settings.libpq_off)
    try:
        context = tls.client_context(settings.local.set_directory, layout)
    except tls.TlsFailure as cause:
        plain.close()
        raise SslFailed(str(cause)) from cause
    try:
        return context.wrap_socket(plain)
    except OSError as cause:
        plain.close()
        raise SslFailed(tls.failure_text(cause)) from cause
