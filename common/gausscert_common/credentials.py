"""Files of a control-plane identity, read and judged in plain words.

Two readers tell what a certificate says. `read_by_handshake` has a node's certificate talk TLS to itself in
memory: it needs nothing but the standard library, so an idle agent stays small, and it proves at once that
key, certificate and CA belong together and serve both purposes. `read_by_cryptography` is for certificates of
persons, which cannot serve, and is loaded only where it is used.
"""

from __future__ import annotations

import os
import ssl
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

from gausscert_common import credential_facts, identity
from gausscert_common.errors import InvalidInput, Reason
from gausscert_common.identity import Identity, Role

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from typing import Protocol

    from gausscert_common.credential_facts import CertificateFacts

    class Files(Protocol):
        """Where a credential lies."""

        @property
        def ca(self) -> Path: ...  # noqa: D102 - named by the protocol
        @property
        def cert(self) -> Path: ...  # noqa: D102
        @property
        def key(self) -> Path: ...  # noqa: D102


_ISSUE: Final = "use files that gausscert pki issue made"
_RENEW: Final = "issue a new one: gausscert pki issue"
MAX_BYTES: Final = 64 * 1024
_READ: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
"""Of a named pipe it is said that it is one; whoever writes to it is not waited for."""
_NO_CHECK_TIME: Final = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME: dates are judged here, by the given clock and with the date in the message."""


@dataclass(frozen=True, slots=True)
class Credential:
    """A judged credential, as gRPC takes it."""

    identity: Identity
    own: CertificateFacts
    authorities: tuple[CertificateFacts, ...]
    """Those that are trusted."""
    ca_pem: bytes = field(repr=False)
    cert_pem: bytes = field(repr=False)
    key_pem: bytes = field(repr=False)

    @property
    def not_after(self) -> datetime:
        """Its last moment."""
        return self.own.not_after


class Facts(NamedTuple):
    """What a certificate says of itself."""

    uris: tuple[str, ...]
    dns_names: tuple[str, ...]
    own: CertificateFacts
    authorities: tuple[CertificateFacts, ...]
    """The CAs of the same credential."""


def load_node(files: Files, *, cluster: str, name: str, now: datetime) -> Credential:
    """An agent's credential.

    Raises:
        InvalidInput: CREDENTIAL_INVALID: a file is missing, readable by others or no PEM; key, certificate
            and CA do not belong together; the certificate is expired, or of another cluster, role or node.
    """
    loaded = _load(files, read_by_handshake, cluster=cluster, now=now)
    if loaded.identity != Identity(cluster, Role.NODE, name):
        raise _invalid(
            files.cert,
            f"this is the credential of {loaded.identity}, not of node {name}",
            f"issue one: gausscert pki issue node {name}",
        )
    return loaded


def load_person(files: Files, *, cluster: str, now: datetime) -> Credential:
    """An operator's, observer's or recoverer's credential.

    Raises:
        InvalidInput: CREDENTIAL_INVALID, as `load_node`.
    """
    loaded = _load(files, read_by_cryptography, cluster=cluster, now=now)
    if loaded.identity.role is Role.NODE:
        raise _invalid(
            files.cert,
            f"this is the credential of {loaded.identity}, which may not command anything",
            "issue one: gausscert pki issue operator NAME",
        )
    return loaded


def read_by_handshake(files: Files) -> Facts:
    """Read a certificate that may serve and dial, by a mutual TLS handshake with itself.

    Raises:
        InvalidInput: CREDENTIAL_INVALID.
    """
    server = _context(files, ssl.PROTOCOL_TLS_SERVER)
    client = _context(files, ssl.PROTOCOL_TLS_CLIENT)
    try:
        said, der = _shake_hands(server, client)
    except ssl.SSLCertVerificationError as error:
        raise _invalid(
            files.cert,
            f"it is not trusted under {files.ca}: {error.verify_message}",
            "use the certificate and the ca.crt that were issued together",
        ) from None
    except ssl.SSLError as error:
        raise _invalid(files.cert, f"it cannot be used for TLS: {error.reason}") from None
    names: tuple[tuple[str, str], ...] = said.get("subjectAltName", ())
    return Facts(
        uris=tuple(value for kind, value in names if kind == "URI"),
        dns_names=tuple(value for kind, value in names if kind == "DNS"),
        own=credential_facts.told(said, der),
        authorities=credential_facts.trusted(client),
    )


def read_by_cryptography(files: Files) -> Facts:
    """Read any certificate.

    Raises:
        InvalidInput: CREDENTIAL_INVALID.
    """
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature

    _context(files, ssl.PROTOCOL_TLS_CLIENT)  # OpenSSL says whether key and certificate belong together
    try:
        cert = x509.load_pem_x509_certificate(files.cert.read_bytes())
        authorities = x509.load_pem_x509_certificates(files.ca.read_bytes())
    except ValueError:
        raise _invalid(files.cert, f"it, or {files.ca}, cannot be read") from None

    def issued_by(authority: x509.Certificate) -> bool:
        try:
            cert.verify_directly_issued_by(authority)
        except (ValueError, TypeError, InvalidSignature):
            return False
        return True

    if not any(issued_by(authority) for authority in authorities):
        raise _invalid(
            files.cert,
            f"it was not issued by {files.ca}",
            "use the certificate and the ca.crt that were issued together",
        )
    try:
        names = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        names = x509.SubjectAlternativeName([])
    return Facts(
        uris=tuple(names.get_values_for_type(x509.UniformResourceIdentifier)),
        dns_names=tuple(names.get_values_for_type(x509.DNSName)),
        own=credential_facts.read(cert),
        authorities=credential_facts.ordered(map(credential_facts.read, authorities)),
    )


def _load(files: Files, read: Callable[[Files], Facts], *, cluster: str, now: datetime) -> Credential:
    pems = _read_all(files)
    facts = read(files)
    if _read_all(files) != pems:
        raise _invalid(files.cert, "it changed while it was being read", "try again")
    found = _judge(files, facts, cluster, now)
    ca_pem, cert_pem, key_pem = pems
    return Credential(found, facts.own, facts.authorities, ca_pem=ca_pem, cert_pem=cert_pem, key_pem=key_pem)


def _judge(files: Files, facts: Facts, cluster: str, now: datetime) -> Identity:
    uris = [uri for uri in facts.uris if uri.startswith(f"{identity.SCHEME}:")]
    if len(uris) != 1:
        raise _invalid(
            files.cert,
            "it is no gausscert identity" if not uris else "it holds more than one gausscert identity",
            "use a certificate that gausscert pki issue made",
        )
    found = identity.parse(uris[0])
    if found.cluster != cluster:
        raise _invalid(
            files.cert,
            f"it belongs to cluster {found.cluster}, not to {cluster}",
            "use the credential of this cluster",
        )
    if now > facts.own.not_after:
        raise _invalid(files.cert, f"it expired on {facts.own.not_after:%Y-%m-%d %H:%M} UTC", _RENEW)
    if now < facts.own.not_before:
        begins = f"{facts.own.not_before:%Y-%m-%d %H:%M} UTC"
        raise _invalid(
            files.cert,
            f"it is not valid before {begins}, and here it is {now:%Y-%m-%d %H:%M}",
            "look at this machine's clock",
        )
    if found.role is Role.NODE and identity.node_dns_name(cluster, found.name) not in facts.dns_names:
        raise _invalid(files.cert, "it lacks the DNS name by which nodes are dialled", _RENEW)
    return found


def _read_all(files: Files) -> tuple[bytes, bytes, bytes]:
    wrong: list[InvalidInput] = []
    ca = _read_or_note(wrong, files.ca, b"-----BEGIN CERTIFICATE-----", "certificate")
    cert = _read_or_note(wrong, files.cert, b"-----BEGIN CERTIFICATE-----", "certificate")
    key = _read_or_note(wrong, files.key, b"PRIVATE KEY-----", "private key", private=True)
    if b"ENCRYPTED" in key:
        cause = "the key is encrypted, and nobody is there to ask for its password"
        wrong.append(_invalid(files.key, cause, "use the key as gausscert pki issue made it"))
    if wrong:
        raise _joined(wrong)
    return ca, cert, key


def _read_or_note(
    wrong: list[InvalidInput], path: Path, mark: bytes, what: str, *, private: bool = False
) -> bytes:
    """All files are read before any of them is complained about."""
    try:
        return _read(path, mark, what, private=private)
    except InvalidInput as error:
        wrong.append(error)
        return b""


def _joined(wrong: list[InvalidInput]) -> InvalidInput:
    from gausscert_common.findings import Finding, Severity

    if len(wrong) == 1:
        return wrong[0]
    found = [
        Finding(each.reason, Severity.ERROR, each.message, each.remedy, file=each.file) for each in wrong
    ]
    return InvalidInput(
        Reason.CREDENTIAL_INVALID,
        "; ".join(f"{each.file}: {each.message}" for each in wrong),
        remedy="; ".join(dict.fromkeys(each.remedy for each in wrong)),
        findings=found,
    )


def _read(path: Path, mark: bytes, what: str, *, private: bool = False) -> bytes:
    try:
        with os.fdopen(os.open(path, _READ), "rb") as opened:
            status = os.fstat(opened.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise _invalid(path, "it is no regular file")
            if private:
                _require_private(path, status)
            body = opened.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise _invalid(path, f"the {what} file does not exist", "look at the path") from None
    except OSError as error:
        raise _invalid(path, f"the {what} file cannot be read: {error.strerror}") from None
    if len(body) > MAX_BYTES or mark not in body:
        raise _invalid(path, f"it holds no {what} in PEM form")
    return body


def _require_private(path: Path, status: os.stat_result) -> None:
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise _invalid(
            path, f"others can read this key (mode {stat.S_IMODE(status.st_mode):04o})", f"chmod 0400 {path}"
        )
    if status.st_uid not in (0, os.geteuid()):
        raise _invalid(path, "this key belongs to another user", "chown it to the user that runs gausscert")


def _context(files: Files, protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VerifyFlags(_NO_CHECK_TIME)
    try:
        context.load_verify_locations(files.ca)
    except ssl.SSLError:
        raise _invalid(files.ca, "it holds no certificate that can be read") from None
    try:
        context.load_cert_chain(files.cert, files.key, password=_no_password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise _invalid(files.key, f"the key does not belong to {files.cert}") from None
        raise _invalid(files.cert, "certificate or key cannot be read") from None
    return context


def _no_password() -> NoReturn:
    """OpenSSL would ask on the terminal otherwise."""
    raise ssl.SSLError("encrypted")


def _shake_hands(server: ssl.SSLContext, client: ssl.SSLContext) -> tuple[dict[str, Any], bytes]:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    waiting = list(ends)
    while waiting:
        for end in tuple(waiting):
            try:
                end.do_handshake()
                waiting.remove(end)
            except ssl.SSLWantReadError:
                continue
    return ends[0].getpeercert() or {}, ends[0].getpeercert(binary_form=True) or b""


def _invalid(path: Path, message: str, remedy: str = _ISSUE) -> InvalidInput:
    return InvalidInput(Reason.CREDENTIAL_INVALID, message, file=str(path), remedy=remedy)
