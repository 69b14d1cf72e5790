"""A small PKI for tests: CAs, leaves, CRLs and whole bundles, each with one thing changed at will.

    ca = pki.ca("CA one")
    leaf = pki.leaf(ca, "server", purposes=("serverAuth",))
    bundle = pki.bundle(server=leaf)          # everything else is good

Keys are made once per process and kind (`key("ec", 3)` is always the same key), since RSA keys take
long.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from ipaddress import ip_network as network

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, padding, rsa, x25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from gausscert_common.bundle import Bundle

NOW = datetime.now(UTC).replace(microsecond=0)
"""All dates are relative to this; it is the real time, so that running agents and openssl agree."""

SERVER_PASSWORD = "Server@123"
CLIENT_PASSWORD = "Client@456"

PURPOSES = {
    "serverAuth": ExtendedKeyUsageOID.SERVER_AUTH,
    "clientAuth": ExtendedKeyUsageOID.CLIENT_AUTH,
    "codeSigning": ExtendedKeyUsageOID.CODE_SIGNING,
    "any": ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
}
BOTH = ("serverAuth", "clientAuth")

_MAKERS = {
    "ec": lambda: ec.generate_private_key(ec.SECP256R1()),
    "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "p521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "secp256k1": lambda: ec.generate_private_key(ec.SECP256K1()),
    "p224": lambda: ec.generate_private_key(ec.SECP224R1()),
    "brainpool": lambda: ec.generate_private_key(ec.BrainpoolP256R1()),
    "rsa1024": lambda: rsa.generate_private_key(public_exponent=65537, key_size=1024),  # noqa: S505 - to be refused
    "rsa": lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "ed448": ed448.Ed448PrivateKey.generate,
    "x25519": x25519.X25519PrivateKey.generate,
    "dsa": lambda: dsa.generate_private_key(2048),
}


@functools.cache
def key(kind="ec", number=0):
    """The key of this kind and number, always the same one."""
    return _MAKERS[kind]()


def name(common_name, **attributes):
    """A distinguished name; "" makes the one that openGauss's installer always uses for its CA."""
    if not common_name:
        return x509.Name.from_rfc4514_string("CN=CA,OU=NULL,O=NULL,L=NULL,ST=NULL,C=CN")
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


@dataclass(frozen=True)
class Issued:
    """A certificate and the key it is for."""

    certificate: x509.Certificate
    key: object

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    def key_pem(self, password: str | None) -> bytes:
        return private_pem(self.key, password)


def private_pem(private, password: str | None, form=PrivateFormat.PKCS8) -> bytes:
    """A private key as PEM, encrypted unless there is no password."""
    encryption = BestAvailableEncryption(password.encode()) if password else NoEncryption()
    return private.private_bytes(Encoding.PEM, form, encryption)


@dataclass(frozen=True)
class Wish:
    """What a certificate shall look like; None leaves an extension out."""

    subject: object = "CA"
    key: object = None
    begin: datetime = NOW - timedelta(days=10)
    end: datetime = NOW + timedelta(days=1000)
    serial: int | None = None
    basic: x509.BasicConstraints | None = None
    usage: tuple[str, ...] | None = None
    purposes: tuple[str, ...] | None = None
    skid: bool = True
    akid: object = True
    """True: of the issuer; False: none; an AuthorityKeyIdentifier: that one."""
    extra: tuple[tuple[x509.ExtensionType, bool], ...] = ()
    digest: object = field(default_factory=hashes.SHA256)
    rsa_padding: object = None


_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


def usage(*wanted):
    """keyUsage with these bits."""
    return x509.KeyUsage(**{one: one in wanted for one in _USAGES})


def make(wish: Wish, issuer: Issued | None) -> Issued:
    """A certificate as wished; self-signed without an issuer."""
    subject = wish.subject if isinstance(wish.subject, x509.Name) else name(wish.subject)
    signer = issuer.key if issuer else wish.key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(wish.key.public_key())
        .serial_number(wish.serial or x509.random_serial_number())
        .not_valid_before(wish.begin)
        .not_valid_after(wish.end)
    )
    for extension, critical in _extensions(wish, signer.public_key()):
        builder = builder.add_extension(extension, critical=critical)
    digest = None if isinstance(signer, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey) else wish.digest
    return Issued(builder.sign(signer, digest, rsa_padding=wish.rsa_padding), wish.key)


def _extensions(wish: Wish, signer_public):
    if wish.basic is not None:
        yield wish.basic, True
    if wish.usage is not None:
        yield usage(*wish.usage), True
    if wish.purposes is not None:
        yield x509.ExtendedKeyUsage([PURPOSES[one] for one in wish.purposes]), False
    if wish.skid:
        yield x509.SubjectKeyIdentifier.from_public_key(wish.key.public_key()), False
    if wish.akid is True:
        yield x509.AuthorityKeyIdentifier.from_issuer_public_key(signer_public), False
    elif wish.akid:
        yield wish.akid, False
    yield from wish.extra


_CA = Wish(
    basic=x509.BasicConstraints(ca=True, path_length=None), usage=("key_cert_sign", "crl_sign"), akid=False
)
_LEAF = Wish(
    basic=x509.BasicConstraints(ca=False, path_length=None), usage=("digital_signature",), purposes=BOTH
)


def ca(subject="CA", issuer: Issued | None = None, **changes) -> Issued:
    """A CA; self-signed without an issuer."""
    changes.setdefault("key", key("ec", f"CA {subject}"))
    return make(replace(_CA, subject=subject, **changes), issuer)


def leaf(issuer: Issued | None, role="server", **changes) -> Issued:
    """A leaf for a role."""
    changes.setdefault("key", key("ec", role))
    changes.setdefault("subject", role)
    return make(replace(_LEAF, **changes), issuer)


BARE = {"basic": None, "usage": None, "purposes": None, "skid": False, "akid": False}
"""Changes that leave out every extension, as openGauss's installer does."""


def netscape(bits):
    """nsCertType for `extra`: 0x80 client, 0x40 server, 0x04 CA for TLS."""
    unused = (bits & -bits).bit_length() - 1
    der = bytes([0x03, 2, unused, bits])
    return x509.UnrecognizedExtension(x509.ObjectIdentifier("2.16.840.1.113730.1.1"), der), False


def alternative(*names):
    """subjectAltName for `extra`."""
    return x509.SubjectAlternativeName(names), False


def ip(address):
    """An IP address as a name."""
    return x509.IPAddress(ip_address(address))


def ip_network(block):
    """An IP network as a subtree of nameConstraints."""
    return x509.IPAddress(network(block))


def constrained(permitted, excluded, issuer=None, subject="constrained CA", **changes):
    """A CA with nameConstraints."""
    return ca(subject, issuer, extra=((x509.NameConstraints(permitted, excluded), True),), **changes)


@functools.cache
def good_ca() -> Issued:
    """The CA of `bundle` if nothing else is said."""
    return ca("good CA")


@functools.cache
def good_leaf(role: str) -> Issued:
    """The leaves of `bundle` if nothing else is said."""
    return leaf(good_ca(), role)


def bundle(
    cas: tuple[Issued, ...] | None = None,
    server: Issued | None = None,
    client: Issued | None = None,
    *,
    server_password: str | None = SERVER_PASSWORD,
    client_password: str | None = CLIENT_PASSWORD,
    files: dict[str, bytes | None] | None = None,
) -> Bundle:
    """A bundle; what is not given is good. A file of None is left out."""
    server, client = server or good_leaf("server"), client or good_leaf("client")
    pem = {
        "cacert.pem": b"".join(one.pem for one in (cas if cas is not None else (good_ca(),))),
        "server.crt": server.pem,
        "server.key": server.key_pem(SERVER_PASSWORD),
        "client.crt": client.pem,
        "client.key": client.key_pem(CLIENT_PASSWORD),
        **(files or {}),
    }
    present = {one: body for one, body in pem.items() if body is not None}
    return Bundle(present, server_password, client_password)


def of_ca(authority: Issued, **changes) -> Bundle:
    """A bundle of this CA alone, with leaves changed in this way."""
    return bundle((authority,), leaf(authority, "server", **changes), leaf(authority, "client", **changes))


def crl(
    issuer: Issued,
    *,
    revoked: tuple[int, ...] = (),
    begin: datetime = NOW - timedelta(days=1),
    end: datetime = NOW + timedelta(days=30),
    signer=None,
    extra: tuple[tuple[x509.ExtensionType, bool], ...] = (),
    entry_extra: tuple[tuple[x509.ExtensionType, bool], ...] = (),
) -> bytes:
    """A CRL as PEM; further extensions, of it or of each entry, with whether they are critical."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(begin)
        .next_update(end)
        .add_extension(x509.CRLNumber(7), critical=False)
    )
    for extension, critical in extra:
        builder = builder.add_extension(extension, critical=critical)
    for serial in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(begin)
        for extension, critical in entry_extra:
            entry = entry.add_extension(extension, critical=critical)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(signer or issuer.key, hashes.SHA256()).public_bytes(Encoding.PEM)


def crl_for(**limits) -> tuple[x509.ExtensionType, bool]:
    """issuingDistributionPoint for `extra` of a CRL; limits as of `x509.IssuingDistributionPoint`."""
    none: dict[str, object] = {
        "full_name": None,
        "relative_name": None,
        "only_contains_user_certs": False,
        "only_contains_ca_certs": False,
        "only_some_reasons": None,
        "indirect_crl": False,
        "only_contains_attribute_certs": False,
    }
    return x509.IssuingDistributionPoint(**{**none, **limits}), True


UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")
"""An extension that nobody knows."""


def spki(one: Issued) -> bytes:
    """The public key, DER."""
    return one.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


PSS = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
