"""Why a node does not answer. gRPC says no more than "Socket closed" when either end refuses the other's
certificate, so this dials once more with the standard library and looks."""

from __future__ import annotations

import hashlib
import socket
import ssl
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final

from gausscert_common import identity
from gausscert_common.errors import Denied, GausscertError, InvalidInput, Reason, Unreachable

if TYPE_CHECKING:
    from collections.abc import Callable

    from gausscert_coordinator.inventory import Credentials

TIMEOUT_S: Final = 3.0

_EXPIRED: Final = 10
_NOT_YET_VALID: Final = 9
"""X509_V_ERR_CERT_HAS_EXPIRED and X509_V_ERR_CERT_NOT_YET_VALID."""

_OUR_CREDENTIAL: Final = (
    "whether our credential is expired, and whether the node's ca.crt is the one that issued it"
)

_CLOSED: Final = (
    ConnectionError,
    EOFError,
    ssl.SSLEOFError,
    ssl.SSLZeroReturnError,
    ssl.SSLSyscallError,
)
"""An end without a word: of the network, or of an agent that starts or stops just now. It may pass, while a
peer that speaks something else stays what it is."""

START: Final = "start gausscert-agent on the node, and look at the address in the inventory"


@dataclass(frozen=True, slots=True)
class Dialled:
    """Whom the coordinator wanted to reach, and as who."""

    cluster: str
    node: str
    address: str
    """"host:port"."""
    credentials: Credentials


class Reached(IntEnum):
    """How far a look has come."""

    NOTHING = 0
    ADDRESS = 1
    """Somebody takes the connection."""
    TLS = 2
    """We trust the other end's certificate."""
    PEER = 3
    """It is the agent that is meant."""
    AGENT = 4
    """It accepts our credential."""


@dataclass(frozen=True, slots=True)
class Looked:
    """How far a look has come, and what stopped it."""

    reached: Reached
    error: GausscertError | None = None


def endpoint(address: str) -> tuple[str, int]:
    """Host and port of "host:port" or "[v6]:port"."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def look(dialled: Dialled, timeout_s: float = TIMEOUT_S) -> GausscertError | None:
    """Dial and say what is wrong; None if nothing is any more. Blocks; at most a few timeouts.

    An `Unreachable` may pass by itself; any other error stays until somebody mends it.
    """
    return inspect(dialled, timeout_s).error


def inspect(dialled: Dialled, timeout_s: float = TIMEOUT_S) -> Looked:
    """As `look`, and how far it has come."""
    passed = [Reached.NOTHING]
    error = _look(dialled, timeout_s, passed.append)
    return Looked(passed[-1], error)


def _look(dialled: Dialled, timeout_s: float, passed: Callable[[Reached], None]) -> GausscertError | None:
    host, port = endpoint(dialled.address)
    try:
        with socket.create_connection((host, port), timeout_s) as raw:
            passed(Reached.ADDRESS)
            return _look_at_tls(dialled, raw, passed)
    except ConnectionRefusedError:
        return _unreachable(dialled, f"nothing listens on {dialled.address}", START)
    except TimeoutError:
        return _unreachable(dialled, f"{dialled.address} does not answer", "look at network and firewall")
    except socket.gaierror:
        return _unreachable(
            dialled, f"the name {host} cannot be resolved", "look at the address in the inventory"
        )
    except OSError as error:
        return _unreachable(dialled, f"{dialled.address}: {error.strerror}", "look at network and firewall")


def served_fingerprint(dialled: Dialled, timeout_s: float = TIMEOUT_S) -> str:
    """SHA-256, hex, of the certificate that a new connection to a node meets, if it is the node that answers.
    Blocks.

    Raises:
        OSError: Nobody answers, or it is somebody else (`ssl.SSLError`).
    """
    context = _context(dialled)
    context.check_hostname = True
    name = identity.node_dns_name(dialled.cluster, dialled.node)
    with (
        socket.create_connection(endpoint(dialled.address), timeout_s) as raw,
        context.wrap_socket(raw, server_hostname=name) as connection,
    ):
        return hashlib.sha256(connection.getpeercert(binary_form=True) or b"").hexdigest()


def _look_at_tls(
    dialled: Dialled, raw: socket.socket, passed: Callable[[Reached], None]
) -> GausscertError | None:
    try:
        raw.getpeername()  # OSError if it was reset already: Python would leave an SSLSocket unclosed
        # wrap_socket would take a connection that was reset meanwhile for one not yet made, and be content.
        with _context(dialled).wrap_socket(raw, do_handshake_on_connect=False) as connection:
            connection.do_handshake()
            passed(Reached.TLS)
            wrong = _wrong_peer(dialled, connection)
            if wrong is not None:
                return wrong
            passed(Reached.PEER)
            refused = _refused_by_peer(dialled, connection)
            if refused is None:
                passed(Reached.AGENT)
            return refused
    except ssl.SSLCertVerificationError as error:
        return _untrusted(dialled, error)
    except _CLOSED:
        remedy = "look into the agent's log, and at the network"
        return _unreachable(dialled, f"{dialled.address} closed the connection", remedy)
    except ssl.SSLError:
        return _no_agent(dialled)


def _context(dialled: Dialled) -> ssl.SSLContext:
    """The name is looked at afterwards, so that we can tell who answered instead."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["h2"])
    context.load_verify_locations(dialled.credentials.ca)
    context.load_cert_chain(dialled.credentials.cert, dialled.credentials.key)
    return context


def _wrong_peer(dialled: Dialled, connection: ssl.SSLSocket) -> GausscertError | None:
    if connection.selected_alpn_protocol() != "h2":
        return _no_agent(dialled)
    said: dict[str, Any] = connection.getpeercert() or {}
    names = said.get("subjectAltName", ())
    if ("DNS", identity.node_dns_name(dialled.cluster, dialled.node)) in names:
        return None
    who = [uri for kind, uri in names if kind == "URI"]
    return InvalidInput(
        Reason.CREDENTIAL_INVALID,
        f"at {dialled.address} answers {', '.join(who) or 'somebody without identity'} instead",
        node=dialled.node,
        remedy="mend the address in the inventory, or the credential on the node",
    )


def _refused_by_peer(dialled: Dialled, connection: ssl.SSLSocket) -> GausscertError | None:
    """With TLS 1.3 a client learns only after its own handshake what the server thinks of it; a
    server that accepts us sends its HTTP/2 settings at once."""
    try:
        return None if connection.recv(1) else _closed(dialled)
    except TimeoutError:
        return _unreachable(dialled, f"the agent at {dialled.address} hangs", "look into the agent's log")
    except _CLOSED:
        return _closed(dialled)
    except ssl.SSLError as error:
        cause = (error.reason or "TLS error").lower().replace("_", " ")
    return Denied(
        Reason.UNAUTHENTICATED,
        f"the agent does not accept our credential: {cause}",
        node=dialled.node,
        remedy=f"look {_OUR_CREDENTIAL}",
    )


def _untrusted(dialled: Dialled, error: ssl.SSLCertVerificationError) -> GausscertError:
    if error.verify_code == _EXPIRED:
        what, remedy = "has expired", f"issue a new one: gausscert pki issue, then copy it to {dialled.node}"
    elif error.verify_code == _NOT_YET_VALID:
        what, remedy = "is not valid yet", "look at the clock of this machine"
    else:
        what = f"is not trusted here: {error.verify_message}"
        remedy = "look whether both ends have the ca.crt of the same control plane"
    return InvalidInput(
        Reason.CREDENTIAL_INVALID, f"the node's credential {what}", node=dialled.node, remedy=remedy
    )


def _closed(dialled: Dialled) -> Unreachable:
    """gRPC's servers send no alert when they refuse a certificate, so that this looks like a broken line."""
    return _unreachable(
        dialled,
        f"the agent at {dialled.address} closed the connection, as if it does not accept our credential",
        f"look into the agent's log, {_OUR_CREDENTIAL}",
    )


def _no_agent(dialled: Dialled) -> GausscertError:
    return InvalidInput(
        Reason.CONFIG_INVALID,
        f"what listens on {dialled.address} is no gausscert agent",
        node=dialled.node,
        remedy="mend the address in the inventory",
    )


def _unreachable(dialled: Dialled, message: str, remedy: str) -> Unreachable:
    return Unreachable(Reason.UNREACHABLE, message, node=dialled.node, remedy=remedy)
