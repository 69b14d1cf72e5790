"""From bytes to certificates, keys and CRLs, with a finding for everything that is no such thing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.x509.oid import CRLEntryExtensionOID, ExtensionOID

from gausscert_common import certset, pem
from gausscert_common.validate import certificate
from gausscert_common.validate.catalogue import finding
from gausscert_common.validate.certificate import CRYPTO_ERRORS, Cert

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gausscert_common.findings import Finding

CACERT: Final = "cacert.pem"
ROLES: Final = ("server", "client")
"""Both sides of CM; a role's files are `<role>.crt`, `<role>.key` and so on."""

_WANTED: Final = {
    ".crt": (pem.CERTIFICATE_LABELS, "certificate"),
    ".pem": (pem.CERTIFICATE_LABELS, "certificate"),
    ".key": (pem.KEY_LABELS, "private key"),
    ".crl": (pem.CRL_LABELS, "CRL"),
}
_ASN1_SEQUENCE: Final = 0x30


@dataclass(frozen=True, slots=True)
class Crl:
    """The first CRL of a file: CM reads no other (cs_ssl.cpp:952-979)."""

    file: str
    x509: x509.CertificateRevocationList
    issuer: certificate.Name
    revoked: frozenset[int]
    """Serial numbers."""
    unknown_critical: tuple[str, ...] = ()
    """Critical extensions of the CRL or of its entries that OpenSSL does not process."""


@dataclass(frozen=True, slots=True)
class Material:
    """What the PEM files hold, as far as it could be read."""

    crts: Mapping[str, tuple[Cert, ...]]
    """By role; the first one is the leaf, CM ignores the others."""
    cas: tuple[Cert, ...]
    keys: Mapping[str, pem.Block]
    """By role; the first private key of the file."""
    crls: tuple[Crl, ...]
    findings: tuple[Finding, ...]

    def leaf(self, role: str) -> Cert | None:
        """The certificate that CM uses, or None if it could not be read."""
        found = self.crts.get(role, ())
        return found[0] if found and found[0].index == 0 else None


def gather(files: Mapping[str, bytes]) -> Material:
    """Read the PEM files of a bundle or a set. Never raises."""
    findings = [*_presence(files)]
    blocks: dict[str, tuple[pem.Block, ...]] = {}
    for name in certset.BUNDLE_NAMES:
        if files.get(name) and len(files[name]) <= certset.MAX_FILE_BYTES:
            parsed = pem.split(files[name])
            blocks[name] = parsed.of(_wanted(name)[0])
            findings += _form(name, files[name], parsed)
    certs = {
        name: _certificates(name, found, findings)
        for name, found in blocks.items()
        if name.endswith((".crt", ".pem"))
    }
    return Material(
        crts={role: certs.get(f"{role}.crt", ()) for role in ROLES},
        cas=certs.get(CACERT, ()),
        keys={role: key for role in ROLES if (key := _first(blocks.get(f"{role}.key", ())))},
        crls=tuple(crl for name in certset.CRL_NAMES if (crl := _crl(name, blocks.get(name, ()), findings))),
        findings=tuple(findings),
    )


def _wanted(name: str) -> tuple[frozenset[str], str]:
    return _WANTED[name[-4:]]


def _presence(files: Mapping[str, bytes]) -> Iterator[Finding]:
    for name in certset.PEM_NAMES:
        if name not in files:
            yield finding("FILE_MISSING", f"there is no {name}", name)
    for name in certset.BUNDLE_NAMES:
        size = len(files.get(name, b"-"))
        if size == 0:
            yield finding("FILE_EMPTY", f"{name} is empty", name)
        elif size > certset.MAX_FILE_BYTES:
            yield finding("FILE_TOO_LARGE", f"{name} has {size} bytes", name)


def _form(name: str, body: bytes, parsed: pem.PemFile) -> Iterator[Finding]:
    """What is wrong with a file as PEM."""
    if body.startswith(pem.BOM):
        yield finding("FILE_BOM", "it begins with the UTF-8 byte order mark", name)
    if b"\r\n" in body:
        yield finding("FILE_CRLF", "its lines end with CR LF", name)
    yield from _damage(name, parsed)
    if not parsed.blocks and not parsed.truncated:
        yield _no_pem(name, body)
    yield from _blocks(name, parsed)


def _damage(name: str, parsed: pem.PemFile) -> Iterator[Finding]:
    read = _last_read(name, parsed)
    if parsed.truncated_at is not None:
        cause = "a BEGIN line has no END line that fits"
        yield finding("PEM_TRUNCATED" if parsed.truncated_at <= read else _BEHIND, cause, name)
    damaged = [place for place, block in enumerate(parsed.blocks) if block.der is None]
    cause = "what stands between BEGIN and END is no base64, or has headers, empty lines or long lines in it"
    for code in dict.fromkeys("PEM_DAMAGED" if place <= read else _BEHIND for place in damaged):
        yield finding(code, cause, name)
    if name == CACERT and any(_crl_of(block) is None for block in parsed.of(pem.CRL_LABELS)):
        yield finding("CRL_UNREADABLE", "it holds a CRL that cannot be read", name)


def _last_read(name: str, parsed: pem.PemFile) -> int:
    """The place of the last block that matters: of a .crt or .crl CM reads the first one only."""
    places = [place for place, block in enumerate(parsed.blocks) if block.label in _wanted(name)[0]]
    return places[0] if places and name.endswith((".crt", ".crl")) else len(parsed.blocks)


_BEHIND: Final = "PEM_DAMAGED_BEHIND"


def _no_pem(name: str, body: bytes) -> Finding:
    if body[0] == _ASN1_SEQUENCE and not body.isascii():
        return finding("FILE_DER", "it is binary ASN.1", name)
    if body.startswith((b"\xff\xfe", b"\xfe\xff")):
        return finding("FILE_NOT_PEM", "it is UTF-16; PEM is ASCII", name)
    if b"-----BEGIN" in body:
        cause = "its lines are indented or end with a lone CR, so that no BEGIN stands at the start of a line"
        return finding("FILE_NOT_PEM", cause, name)
    return finding("FILE_NOT_PEM", "it holds no PEM block", name)


def _blocks(name: str, parsed: pem.PemFile) -> Iterator[Finding]:
    labels, what = _wanted(name)
    others = sorted({b.label for b in parsed.blocks if b.label not in labels | pem.PARAMETER_LABELS})
    found = parsed.of(labels)
    if parsed.blocks and not found:
        held = ", ".join(others) or "parameters only"
        yield finding("FILE_WRONG_CONTENT", f"it holds no {what}, but {held}", name)
    elif others:
        yield finding("FILE_OTHER_BLOCKS", f"beside the {what} it holds {', '.join(others)}", name)
    if name.endswith((".crt", ".pem")) and parsed.of(pem.KEY_LABELS):
        code = "PRIVATE_KEY_IN_CACERT" if name == CACERT else "PRIVATE_KEY_IN_CRT"
        yield finding(code, "it holds a private key", name)
    if name.endswith(".key") and len(found) > 1:
        yield finding("KEY_SEVERAL", f"it holds {len(found)} private keys", name)
    if name.endswith(".crt") and len(found) > 1:
        yield finding("CRT_SEVERAL", f"it holds {len(found)} certificates", name)
    if name.endswith(".crl") and len(found) > 1:
        yield finding("CRL_SEVERAL", f"it holds {len(found)} CRLs", name)


def _certificates(name: str, blocks: tuple[pem.Block, ...], findings: list[Finding]) -> tuple[Cert, ...]:
    certs = []
    for index, block in enumerate(blocks):
        if block.der is None:
            continue
        try:
            certs.append(certificate.read(block.der, name, index))
        except CRYPTO_ERRORS:
            cause = f"certificate {index + 1} is no X.509 certificate that can be read"
            ignored = index > 0 and name != CACERT
            findings.append(finding(_BEHIND if ignored else "CERTIFICATE_UNREADABLE", cause, name))
    return tuple(certs)


def _first(blocks: tuple[pem.Block, ...]) -> pem.Block | None:
    return blocks[0] if blocks and blocks[0].der is not None else None


def _crl(name: str, blocks: tuple[pem.Block, ...], findings: list[Finding]) -> Crl | None:
    first = _first(blocks)
    if first is None:
        return None
    crl = _crl_of(first)
    if crl is None:
        findings.append(finding("CRL_UNREADABLE", "the first CRL cannot be read", name))
        return None
    return replace(crl, file=name)


def _crl_of(block: pem.Block) -> Crl | None:
    try:
        crl = x509.load_der_x509_crl(block.der or b"")
        _ = crl.last_update_utc, crl.next_update_utc
        critical = {one.oid for one in crl.extensions if one.critical} - _JUDGED_OF_CRLS
        revoked = []
        for entry in crl:
            critical |= {one.oid for one in entry.extensions if one.critical} - {CERTIFICATE_ISSUER}
            # Looked up here: `cryptography` cannot look up the negative serial numbers that some CAs make.
            revoked += [] if _is_taken_back(entry) else [entry.serial_number]
        shown = tuple(sorted(oid.dotted_string for oid in critical))
        return Crl("", crl, certificate.canonical(crl.issuer), frozenset(revoked), shown)
    except CRYPTO_ERRORS:
        return None


_JUDGED_OF_CRLS: Final = frozenset(
    {
        ExtensionOID.ISSUING_DISTRIBUTION_POINT,
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
        ExtensionOID.DELTA_CRL_INDICATOR,
    }
)
"""What OpenSSL processes although it is critical (x_crl.c: crl_cb)."""
CERTIFICATE_ISSUER: Final = CRLEntryExtensionOID.CERTIFICATE_ISSUER
"""The same, of an entry (x_crl.c: crl_set_issuers)."""


def _is_taken_back(entry: x509.RevokedCertificate) -> bool:
    try:
        reason = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
    except x509.ExtensionNotFound:
        return False
    return reason is x509.ReasonFlags.remove_from_crl
