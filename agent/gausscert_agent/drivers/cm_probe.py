"""What a running cm_server serves: CM's exchange, then a TLS handshake, then good-bye.

No client certificate is shown: cm_server asks for one but does not require it (facts sections 4, 17),
and the probe must work when the node's own client certificate is what is broken.
"""

from __future__ import annotations

import hashlib
import select
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from gausscert_common import credential_facts, pem
from gausscert_common.errors import NodeFailure
from gausscert_common.model import Served, ServedState

from gausscert_agent.drivers import cm_packets
from gausscert_agent.drivers.memory_file import memory_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from gausscert_common.model import CmNode, CmTopology

    from gausscert_agent.drivers.cm_packets import Caller

_AT_ONCE: Final = 8
_NO_CA: Final = "there is no live cacert.pem to verify the chain with"
_NO_SOUND_CA: Final = "the live cacert.pem cannot be read, so that the chain cannot be verified"


@dataclass(frozen=True, slots=True)
class _Shown:
    """What came of one exchange."""

    leaf: bytes | None
    """DER; None when SSL is off."""
    not_after: datetime | None = None
    """What the standard library tells of a certificate that it has verified."""


class _Deadline:
    """What is left of the total time of one probe."""

    def __init__(self, timeout_s: float, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._end = clock() + timeout_s

    def left_s(self) -> float:
        left = self._end - self._clock()
        if left <= 0:
            raise TimeoutError("no answer in time")
        return left


def probe(
    node: CmNode,
    caller: Caller,
    ca: bytes,
    timeout_s: float,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> Served:
    """Probe one cm_server. What goes wrong is in the answer, never raised.

    Args:
        node: Whose cm_server; it must have one.
        caller: Whom to say we are; its address is where we connect from.
        ca: The live cacert.pem; b"" when there is none.
        timeout_s: Longest time for all of it.
        clock: Seconds, never set back.
    """
    target = f"{_bracketed(node.server_address)}:{node.server_port}"
    served = Served(node.id, target, ServedState.UNREACHABLE)
    deadline = _Deadline(timeout_s, clock)
    try:
        return _probe(served, node, caller, ca, deadline)
    except ssl.SSLError as error:
        return replace(served, state=ServedState.REFUSED, cause=f"TLS handshake failed: {_reason(error)}")
    except NodeFailure as failure:
        return replace(served, state=ServedState.REFUSED, cause=failure.message)
    except (ConnectionResetError, BrokenPipeError, EOFError):
        return replace(served, state=ServedState.REFUSED, cause="cm_server closed the connection")
    except OSError as error:
        return replace(served, cause=error.strerror or str(error))


def probe_all(
    topology: CmTopology,
    user: str,
    ca: bytes,
    timeout_s: float,
    *,
    probe_one: Callable[[CmNode, Caller, bytes, float], Served] = probe,
) -> tuple[Served, ...]:
    """Probe every cm_server of the cluster at once, in the order of CM's node ids.

    Args:
        topology: `cm_ctl view`.
        user: The OS user of the cluster.
        ca: The live cacert.pem; b"" when there is none.
        timeout_s: Longest time for each of them.
        probe_one: How one is probed.
    """
    local = topology.local
    if local is None:
        return ()
    caller = cm_packets.Caller(user, local.name, local.id, local.agent_address)
    nodes = sorted((node for node in topology.nodes if node.server_address), key=lambda node: node.id)
    if not nodes:
        return ()
    with ThreadPoolExecutor(min(_AT_ONCE, len(nodes)), thread_name_prefix="gausscert-probe") as pool:
        return tuple(pool.map(lambda node: probe_one(node, caller, ca, timeout_s), nodes))


def _probe(served: Served, node: CmNode, caller: Caller, ca: bytes, deadline: _Deadline) -> Served:
    context, cause = _trusting(ca)
    try:
        shown = _exchange(node, caller, context, deadline)
    except ssl.SSLCertVerificationError as error:
        # Which certificate it is matters most when it is the wrong one: ask again, without verifying.
        cause = f"the chain does not verify: {error.verify_message} ({error.verify_code})"
        shown = _exchange(node, caller, _context(b""), deadline)
    if shown.leaf is None:
        return replace(served, state=ServedState.SSL_OFF)
    return replace(
        served,
        state=ServedState.SSL_ON,
        fingerprint=hashlib.sha256(shown.leaf).hexdigest(),
        chain_verified=not cause,
        leaf=shown.leaf,
        not_after=shown.not_after or _not_after(shown.leaf),
        cause=cause,
    )


def _exchange(node: CmNode, caller: Caller, context: ssl.SSLContext, deadline: _Deadline) -> _Shown:
    with socket.create_connection(
        # As bytes: for a text getaddrinfo loads the tables of international names, 0.5 MiB in every agent.
        (node.server_address.encode(), node.server_port),  # type: ignore[arg-type] # the stubs know text only
        timeout=deadline.left_s(),
        # cm_server takes connections from addresses of cm_agents only (cms_common.cpp:228-296).
        source_address=(caller.address, 0) if caller.address else None,
    ) as plain:
        _send(plain, cm_packets.startup(caller), deadline)
        cm_packets.require_authenticated(*_receive(plain, deadline))
        _send(plain, cm_packets.ssl_request(caller.node_id), deadline)
        if not cm_packets.ssl_is_on(*_receive(plain, deadline)):
            _send(plain, cm_packets.GOODBYE, deadline)
            return _Shown(None)
        with context.wrap_socket(plain, do_handshake_on_connect=False) as tls:
            _handshake(tls, deadline)
            return _Shown(tls.getpeercert(binary_form=True) or b"", _told(tls))


def _handshake(tls: ssl.SSLSocket, deadline: _Deadline) -> None:
    """As do_handshake, but with one deadline for all of it instead of one for each read."""
    tls.setblocking(False)
    while True:
        try:
            return tls.do_handshake()
        except ssl.SSLWantReadError:
            event = select.POLLIN
        except ssl.SSLWantWriteError:
            event = select.POLLOUT
        poll = select.poll()
        poll.register(tls, event)
        poll.poll(deadline.left_s() * 1000)


def _send(plain: socket.socket, frame: bytes, deadline: _Deadline) -> None:
    plain.settimeout(deadline.left_s())
    plain.sendall(frame)


def _receive(plain: socket.socket, deadline: _Deadline) -> tuple[bytes, bytes]:
    kind, length = cm_packets.header(_exactly(plain, cm_packets.HEADER_BYTES, deadline))
    return kind, _exactly(plain, length, deadline)


def _exactly(plain: socket.socket, count: int, deadline: _Deadline) -> bytes:
    body = b""
    while len(body) < count:
        plain.settimeout(deadline.left_s())
        chunk = plain.recv(count - len(body))
        if not chunk:
            raise EOFError
        body += chunk
    return body


def _trusting(ca: bytes) -> tuple[ssl.SSLContext, str]:
    """To verify chains with this cacert.pem, or else with nothing, and why. What lies on the disk says
    nothing of what a cm_server serves that has read its files before."""
    if not pem.split(ca).of(pem.CERTIFICATE_LABELS):
        return _context(b""), _NO_CA
    try:
        return _context(ca), ""
    except ssl.SSLError:
        return _context(b""), _NO_SOUND_CA


def _context(ca: bytes) -> ssl.SSLContext:
    """CM's own client side: TLS 1.2 or newer, any name, purpose TLS server (facts section 4)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # CM sets no minimum for keys; a weak certificate is to be seen, not to be refused.
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.check_hostname = False
    if ca:
        with memory_file(ca) as path:
            context.load_verify_locations(path)
    else:
        context.verify_mode = ssl.CERT_NONE
    return context


def _told(tls: ssl.SSLSocket) -> datetime | None:
    said = (tls.getpeercert() or {}).get("notAfter")
    return credential_facts.date_of(said) if isinstance(said, str) else None


def _not_after(leaf: bytes) -> datetime | None:
    """Where the chain does not verify; an idle agent holds no cryptography otherwise. None where that library
    is stricter than OpenSSL, which CM serves it with."""
    from cryptography import x509

    try:
        return x509.load_der_x509_certificate(leaf).not_valid_after_utc
    except (ValueError, x509.InvalidVersion):
        return None


def _reason(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).replace("_", " ").lower()


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
