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
from gausscert_common.model import Overlap

from gausscert_agent.drivers.memory_file import memory_file
from gausscert_agent.ports import Rehearsal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
Role = Literal["server", "client"]

CODE: Final = "REHEARSAL_FAILED"

_REMEDY: Final = "give both certificates the same CA, their own keys and both purposes (or none)"
_CIPHERS: Final = (
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256"
    ":ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-AES128-GCM-SHA256:@SECLEVEL=0"
)
"""CM's list for TLS 1.2, and no minimum for keys (cs_ssl.cpp:69-98, 1264-1267)."""

_VERSIONS: Final = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
_FORMER_ACCEPTS: Final = "from the new set to the former one"
_NEW_ACCEPTS: Final = "from the former set to the new one"

_ROUNDS: Final = 12
"""A full handshake takes three flights each way; whatever needs more than this is stuck."""


@dataclass(frozen=True, slots=True)
class _Link:
    """One row of the table above."""

    accepting: Role
    connecting: Role
    crls: bool
    """cm_server and its clients check CRLs; DCC does not, and MES gets no usable one (facts section 1)."""
    purpose: str


_LINKS: Final = (
    _Link("server", "client", True, "cm_agent or cm_ctl to cm_server"),
    _Link("server", "server", False, "cm_server to cm_server (DCC)"),
    _Link("client", "client", False, "cm_agent to cm_agent (MES)"),
)


class _Failure(Exception):
    """A side could not be set up or refused the other one."""

    def __init__(self, cause: str, file: str = "") -> None:
        super().__init__(cause)
        self.cause = cause
        self.file = file


def rehearse(files: Mapping[str, bytes], peer: Mapping[str, bytes] | None = None) -> tuple[Finding, ...]:
    """Hold the handshakes of this module's table.

    Args:
        files: A whole set, by name.
        peer: The set on the other side; None for the same one.

    Returns:
        One REHEARSAL_FAILED for every handshake that fails, with OpenSSL's reason; () when none does.
    """
    try:
        own = _side(files)
        other = own if peer is None else _side(peer)
    except _Failure as failure:
        return (_finding(failure.cause, failure.file),)
    return _rehearse(own, other)


def overlap(former: Mapping[str, bytes] | None, new: Mapping[str, bytes]) -> Overlap:
    """Whether nodes with the former and with the new set could talk, both ways.

    Args:
        former: The live set by name, None if there is none.
        new: A set for which `rehearse` has found nothing.
    """
    try:
        return _overlap(former, _side(new))
    except _Failure as failure:
        return Overlap(unknown=f"{failure.file}: {failure.cause}" if failure.file else failure.cause)


def _overlap(former: Mapping[str, bytes] | None, new: _Side) -> Overlap:
    if former is None:
        return Overlap(unknown="there is no former set")
    try:
        sides = _side(former), new
    except _Failure as failure:
        return Overlap(unknown=f"{failure.file}: {failure.cause}" if failure.file else failure.cause)
    refusals = [
        f"{words}: {finding.cause}"
        for (accepting, connecting), words in ((sides, _FORMER_ACCEPTS), (sides[::-1], _NEW_ACCEPTS))
        for link in _LINKS
        for finding in _rehearse_link(link, accepting, connecting)
    ]
    return Overlap(tuple(dict.fromkeys(refusals)), unknown="")


def hold(new: Mapping[str, bytes], former: Mapping[str, bytes] | None) -> Rehearsal:
    """All handshakes that a staged set is tried with: `ports.Rehearse`."""
    try:
        side = _side(new)
    except _Failure as failure:
        return Rehearsal((_finding(failure.cause, failure.file),))
    found = _rehearse(side, side)
    return Rehearsal(found, Overlap() if found else _overlap(former, side))


def _rehearse(own: _Side, other: _Side) -> tuple[Finding, ...]:
    pairs = [(own, other)] if own is other else [(own, other), (other, own)]
    found = [
        finding
        for accepting, connecting in pairs
        for link in _LINKS
        for finding in _rehearse_link(link, accepting, connecting)
    ]
    return tuple(dict.fromkeys(found))


@dataclass(frozen=True, slots=True)
class _Side:
    """One set with the passwords that its factor files hold."""

    files: Mapping[str, bytes]
    passwords: Mapping[str, str]
    contexts: dict[tuple[int, Role, bool], ssl.SSLContext] = field(default_factory=dict)
    """Made once: each one opens a key again, which takes most of the time."""

    def __repr__(self) -> str:
        return "_Side()"


def _side(files: Mapping[str, bytes]) -> _Side:
    return _Side(files, _passwords(files))


def _rehearse_link(link: _Link, own: _Side, peer: _Side) -> Iterator[Finding]:
    for version in _VERSIONS:
        try:
            _handshake(
                _context(ssl.PROTOCOL_TLS_SERVER, link.accepting, own, version, link.crls),
                _context(ssl.PROTOCOL_TLS_CLIENT, link.connecting, peer, version, link.crls),
            )
        except _Failure as failure:
            name = "TLS 1.2" if version is ssl.TLSVersion.TLSv1_2 else "TLS 1.3"
            where = "" if failure.file else f"{link.purpose}, {name}: "
            yield _finding(where + failure.cause, failure.file)


def _passwords(files: Mapping[str, bytes]) -> dict[str, str]:
    """The key passwords, as CM gets them (cs_ssl.cpp:2000-2030)."""
    missing = [name for name in certset.NAMES if name not in files]
    if missing:
        raise _Failure(f"missing: {', '.join(missing)}")
    from gausscert_common import factors

    passwords = {}
    for role in ("server", "client"):
        name = f"{role}.key.cipher"
        try:
            passwords[role] = factors.read(files[name], files[f"{role}.key.rand"])
        except GausscertError as error:
            raise _Failure(error.message, name) from None
    return passwords


def _context(protocol: int, role: Role, side: _Side, version: ssl.TLSVersion, crls: bool) -> ssl.SSLContext:
    crls = crls and bool(_first_crl(side, role))  # without one, one context does for both
    context = side.contexts.get((protocol, role, crls))
    if context is None:
        context = side.contexts[protocol, role, crls] = _new_context(protocol, role, side, crls)
    # In this order neither is ever above the other.
    context.maximum_version = ssl.TLSVersion.MAXIMUM_SUPPORTED
    context.minimum_version = version
    context.maximum_version = version
    return context


def _new_context(protocol: int, role: Role, side: _Side, crls: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.set_ciphers(_CIPHERS)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    _load_own(context, role, side)
    _load_trusted(context, role, side, crls)
    return context


def _load_own(context: ssl.SSLContext, role: Role, side: _Side) -> None:
    """Certificate and key; of the .crt the first certificate alone, as CM does (cs_ssl.cpp:1117-1152)."""
    name = f"{role}.crt"
    certificates = pem.split(side.files[name]).of(pem.CERTIFICATE_LABELS)
    if not certificates:
        raise _Failure("holds no certificate in PEM", name)
    with ExitStack() as stack:
        certificate = stack.enter_context(memory_file(certificates[0].text))
        key = stack.enter_context(memory_file(side.files[f"{role}.key"]))
        try:
            context.load_cert_chain(certificate, key, side.passwords[role])
        except (ssl.SSLError, ValueError) as error:
            raise _Failure(f"cannot be used with {name}: {_reason(error)}", f"{role}.key") from None


def _load_trusted(context: ssl.SSLContext, role: Role, side: _Side, crls: bool) -> None:
    """All of cacert.pem, and the first CRL for the leaf alone (cs_ssl.cpp:952-1003)."""
    _load_locations(context, side.files["cacert.pem"], "cacert.pem")
    if crls:
        _load_locations(context, _first_crl(side, role), f"{role}.crl")
        context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF


def _first_crl(side: _Side, role: Role) -> bytes:
    lists = pem.split(side.files.get(f"{role}.crl", b"")).of(pem.CRL_LABELS)
    return lists[0].text if lists else b""


def _load_locations(context: ssl.SSLContext, body: bytes, name: str) -> None:
    with memory_file(body) as path:
        try:
            context.load_verify_locations(path)
        except ssl.SSLError as error:
            raise _Failure(f"cannot be loaded: {_reason(error)}", name) from None


def _handshake(accepting: ssl.SSLContext, connecting: ssl.SSLContext) -> None:
    """Let both talk through memory until both are done; with TLS 1.3 the connecting side is done
    before the accepting one has judged its certificate."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        ("connecting", connecting.wrap_bio(to_client, to_server)),
        ("accepting", accepting.wrap_bio(to_server, to_client, server_side=True)),
    ]
    for _ in range(_ROUNDS):
        sides = [(name, side) for name, side in sides if not _advance(name, side)]
        if not sides:
            return
    raise _Failure("the handshake does not end")


def _advance(name: str, side: ssl.SSLObject) -> bool:
    """Go on as far as the bytes reach; whether this side is done."""
    try:
        side.do_handshake()
    except ssl.SSLWantReadError:
        return False
    except ssl.SSLError as error:
        raise _Failure(f"the {name} side refuses: {_reason(error)}") from None
    return True


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"{error.verify_message} ({error.verify_code})"
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    return type(error).__name__


def _finding(cause: str, file: str = "") -> Finding:
    return Finding(CODE, Severity.ERROR, cause, _REMEDY, file=file)
