"""The handshakes that will have to work, held in memory with the staged files under CM's own rules.

CM uses either certificate in both roles (facts sections 1 and 4), so these are rehearsed, each with
TLS 1.2 and 1.3:

    accepting       connecting      what for
    server          client          cm_agent and cm_ctl talk to cm_server
    server          server          cm_servers talk among themselves (DCC)
    client          client          cm_agents talk among themselves (MES)

"Own" is the set that is judged, "peer" the set on the other side: the same bundle on another node, or
another generation of it. With another set both directions are rehearsed.
"""

from __future__ import annotations

import ssl
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from gausscert_common import certset, pem
from gausscert_common.errors import GausscertError
from gausscert_common.findings import Finding, Severity

from gausscert_agent.drivers.memory_file import memory_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
Role = Literal["server", "client"]
End = Literal["accepting", "connecting"]

CODE: Final = "REHEARSAL_FAILED"

_REMEDY: Final = "give both certificates the same CA, their own keys and both purposes (or none)"
_CIPHERS: Final = (
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256"
    ":ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-AES128-GCM-SHA256:@SECLEVEL=0"
)
"""CM's list for TLS 1.2, and no minimum for keys (cs_ssl.cpp:69-98, 1264-1267)."""

VERSIONS: Final = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
VERSION_NAMES: Final = {ssl.TLSVersion.TLSv1_2: "TLS 1.2", ssl.TLSVersion.TLSv1_3: "TLS 1.3"}

_ROUNDS: Final = 12
"""A full handshake takes three flights each way; whatever needs more than this is stuck."""


@dataclass(frozen=True, slots=True)
class Link:
    """One row of the table above."""

    accepting: Role
    connecting: Role
    crls: bool
    """cm_server and its clients check CRLs; DCC does not, and MES gets no usable one (facts section 1)."""
    purpose: str


LINKS: Final = (
    Link("server", "client", True, "cm_agent or cm_ctl to cm_server"),
    Link("server", "server", False, "cm_server to cm_server (DCC)"),
    Link("client", "client", False, "cm_agent to cm_agent (MES)"),
)


class Failure(Exception):
    """A side could not be set up or refused the other one."""

    def __init__(
        self, cause: str, file: str = "", *, by: End = "connecting", code: int | None = None
    ) -> None:
        super().__init__(cause)
        self.cause = cause
        self.file = file
        self.by: End = by
        """Whose failure it is."""
        self.code = code
        """OpenSSL's verify result, where the other side's certificate was refused."""


def rehearse(files: Mapping[str, bytes], peer: Mapping[str, bytes] | None = None) -> tuple[Finding, ...]:
    """Hold the handshakes of this module's table.

    Args:
        files: A whole set, by name.
        peer: The set on the other side; None for the same one.

    Returns:
        One REHEARSAL_FAILED for every handshake that fails, with OpenSSL's reason; () when none does.
    """
    try:
        own = party(files)
        other = own if peer is None else party(peer)
    except Failure as failure:
        return (failure_finding(failure),)
    return _rehearse(own, other)


def rehearse_with(side: Party) -> tuple[Finding, ...]:
    """As `rehearse` of a set with itself."""
    return _rehearse(side, side)


def _rehearse(own: Party, other: Party) -> tuple[Finding, ...]:
    pairs = [(own, other)] if own is other else [(own, other), (other, own)]
    found = [
        finding
        for accepting, connecting in pairs
        for link in LINKS
        for finding in _rehearse_link(link, accepting, connecting)
    ]
    return tuple(dict.fromkeys(found))


@dataclass(frozen=True, slots=True)
class Party:
    """One set with the passwords that its factor files hold."""

    files: Mapping[str, bytes]
    passwords: Mapping[str, str]
    contexts: dict[tuple[int, Role, bool], ssl.SSLContext] = field(default_factory=dict)
    """Made once: each one opens a key again, which takes most of the time."""

    def __repr__(self) -> str:
        return "Party()"


def party(files: Mapping[str, bytes]) -> Party:
    """Raises Failure: files are missing, or a password cannot be read."""
    return Party(files, _passwords(files))


def _rehearse_link(link: Link, own: Party, peer: Party) -> Iterator[Finding]:
    for version in VERSIONS:
        failure = attempt(link, own, peer, version)
        if failure is not None:
            where = "" if failure.file else f"{link.purpose}, {VERSION_NAMES[version]}: "
            yield _finding(where + failure.cause, failure.file)


def attempt(link: Link, accepting: Party, connecting: Party, version: ssl.TLSVersion) -> Failure | None:
    """One handshake; why it fails, or None."""
    try:
        server = _context(ssl.PROTOCOL_TLS_SERVER, link.accepting, accepting, version, link.crls)
    except Failure as failure:
        failure.by = "accepting"
        return failure
    try:
        client = _context(ssl.PROTOCOL_TLS_CLIENT, link.connecting, connecting, version, link.crls)
        _handshake(server, client)
    except Failure as failure:
        return failure
    return None


def _passwords(files: Mapping[str, bytes]) -> dict[str, str]:
    """The key passwords, as CM gets them (cs_ssl.cpp:2000-2030)."""
    missing = [name for name in certset.NAMES if name not in files]
    if missing:
        raise Failure(f"missing: {', '.join(missing)}")
    from gausscert_common import factors

    passwords = {}
    for role in ("server", "client"):
        name = f"{role}.key.cipher"
        try:
            passwords[role] = factors.read(files[name], files[f"{role}.key.rand"])
        except GausscertError as error:
            raise Failure(error.message, name) from None
    return passwords


def _context(protocol: int, role: Role, side: Party, version: ssl.TLSVersion, crls: bool) -> ssl.SSLContext:
    crls = crls and bool(_first_crl(side, role))  # without one, one context does for both
    context = side.contexts.get((protocol, role, crls))
    if context is None:
        context = side.contexts[protocol, role, crls] = _new_context(protocol, role, side, crls)
    # In this order neither is ever above the other.
    context.maximum_version = ssl.TLSVersion.MAXIMUM_SUPPORTED
    context.minimum_version = version
    context.maximum_version = version
    return context


def _new_context(protocol: int, role: Role, side: Party, crls: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.set_ciphers(_CIPHERS)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    _load_own(context, role, side)
    _load_trusted(context, role, side, crls)
    return context


def _load_own(context: ssl.SSLContext, role: Role, side: Party) -> None:
    """Certificate and key; of the .crt the first certificate alone, as CM does (cs_ssl.cpp:1117-1152)."""
    name = f"{role}.crt"
    certificates = pem.split(side.files[name]).of(pem.CERTIFICATE_LABELS)
    if not certificates:
        raise Failure("holds no certificate in PEM", name)
    with ExitStack() as stack:
        certificate = stack.enter_context(memory_file(certificates[0].text))
        key = stack.enter_context(memory_file(side.files[f"{role}.key"]))
        try:
            context.load_cert_chain(certificate, key, side.passwords[role])
        except (ssl.SSLError, ValueError) as error:
            raise Failure(f"cannot be used with {name}: {_reason(error)}", f"{role}.key") from None


def _load_trusted(context: ssl.SSLContext, role: Role, side: Party, crls: bool) -> None:
    """All of cacert.pem, and the first CRL for the leaf alone (cs_ssl.cpp:952-1003)."""
    _load_locations(context, side.files["cacert.pem"], "cacert.pem")
    if crls:
        _load_locations(context, _first_crl(side, role), f"{role}.crl")
        context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF


def _first_crl(side: Party, role: Role) -> bytes:
    lists = pem.split(side.files.get(f"{role}.crl", b"")).of(pem.CRL_LABELS)
    return lists[0].text if lists else b""


def _load_locations(context: ssl.SSLContext, body: bytes, name: str) -> None:
    with memory_file(body) as path:
        try:
            context.load_verify_locations(path)
        except ssl.SSLError as error:
            raise Failure(f"cannot be loaded: {_reason(error)}", name) from None


def _handshake(accepting: ssl.SSLContext, connecting: ssl.SSLContext) -> None:
    """Let both talk through memory until both are done; with TLS 1.3 the connecting side is done
    before the accepting one has judged its certificate."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides: list[tuple[End, ssl.SSLObject]] = [
        ("connecting", connecting.wrap_bio(to_client, to_server)),
        ("accepting", accepting.wrap_bio(to_server, to_client, server_side=True)),
    ]
    for _ in range(_ROUNDS):
        sides = [(name, side) for name, side in sides if not _advance(name, side)]
        if not sides:
            return
    raise Failure("the handshake does not end")


def _advance(name: End, side: ssl.SSLObject) -> bool:
    """Go on as far as the bytes reach; whether this side is done."""
    try:
        side.do_handshake()
    except ssl.SSLWantReadError:
        return False
    except ssl.SSLError as error:
        code = error.verify_code if isinstance(error, ssl.SSLCertVerificationError) else None
        raise Failure(f"the {name} side refuses: {_reason(error)}", by=name, code=code) from None
    return True


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"{error.verify_message} ({error.verify_code})"
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    return type(error).__name__


def failure_finding(failure: Failure) -> Finding:
    """A side that could not be set up, as a finding."""
    return _finding(failure.cause, failure.file)


def _finding(cause: str, file: str = "") -> Finding:
    return Finding(CODE, Severity.ERROR, cause, _REMEDY, file=file)
