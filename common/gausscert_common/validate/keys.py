"""Private keys: what opens them, and whether they belong to their certificate."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, padding, rsa

from gausscert_common.validate.catalogue import finding
from gausscert_common.validate.certificate import CRYPTO_ERRORS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

    from gausscert_common.findings import Finding
    from gausscert_common.pem import Block
    from gausscert_common.validate.certificate import Cert

_LEGACY_CIPHERS: Final = frozenset({"AES-128-CBC", "AES-192-CBC", "AES-256-CBC", "DES-CBC", "DES-EDE3-CBC"})
"""What `cryptography` decrypts of OpenSSL's own key encryption (DEK-Info)."""


class Closed(Enum):
    """Why a key did not open."""

    PASSWORD = auto()
    CIPHER = auto()
    DAMAGED = auto()


@dataclass(frozen=True, slots=True)
class Key:
    """An opened private key."""

    private: PrivateKeyTypes = field(repr=False)
    spki: bytes = field(repr=False)
    """Its public key's DER encoding."""


def open_key(block: Block, password: str | None) -> Key | Closed:
    """Open a private key; the password counts only when the key is encrypted. Never raises.

    RSA keys load without the primality test of their factors (it costs 36 to 111 ms and holds the
    interpreter lock); `possession` proves what is needed instead.
    """
    if block.header("Proc-Type") and block.header("DEK-Info").partition(",")[0] not in _LEGACY_CIPHERS:
        return Closed.CIPHER
    secret = password.encode("utf-8", "surrogatepass") if password and block.encrypted else None
    if block.encrypted and secret is None:
        return Closed.PASSWORD
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # weak ciphers and curves: the rules speak about keys
            private = serialization.load_pem_private_key(
                block.text, secret, unsafe_skip_rsa_key_validation=True
            )
            return Key(private, private.public_key().public_bytes(*_SPKI))
    except CRYPTO_ERRORS as error:
        return _why_closed(block, error)


_SPKI: Final = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _why_closed(block: Block, error: Exception) -> Closed:
    if not block.encrypted:
        return Closed.DAMAGED
    # A wrong password and a damaged body look alike: both decrypt to garbage.
    return Closed.CIPHER if isinstance(error, UnsupportedAlgorithm) else Closed.PASSWORD


def judge_match(role: str, key: Key, leaf: Cert, others: Mapping[str, str]) -> Iterator[Finding]:
    """Whether the key belongs to the certificate that CM uses.

    Args:
        role: "server" or "client".
        key: The role's key.
        leaf: The certificate of the role's .crt that belongs to the key; the first one if none does.
        others: Files by the hex of the public key that a certificate in them has, for a better cause.
    """
    file = f"{role}.key"
    if key.spki != leaf.spki:
        cause = f"it is not the key of the first certificate in {role}.crt"
        hint = others.get(key.spki.hex(), "")
        yield finding("KEY_MISMATCH", f"{cause}, but of one in {hint}" if hint else cause, file)
        return
    if leaf.index > 0:
        cause = f"the key belongs to certificate {leaf.index + 1} of the file, and CM uses the first one"
        yield finding("LEAF_NOT_FIRST", cause, leaf.file)
    if not possession(key, leaf):
        yield finding("KEY_MISMATCH", "a signature made with the key does not verify", file)


_PROBE: Final = b"gausscert proof of possession"


def possession(key: Key, cert: Cert) -> bool:
    """Whether a signature by the key verifies with the certificate's public key.

    True for kinds that cannot sign: another rule refuses those.
    """
    try:
        return _sign_and_verify(key.private, cert)
    except (InvalidSignature, *CRYPTO_ERRORS):
        return False


def _sign_and_verify(private: PrivateKeyTypes, cert: Cert) -> bool:
    public, sha256 = cert.key, hashes.SHA256()
    match private, public:
        case rsa.RSAPrivateKey(), rsa.RSAPublicKey():
            scheme = padding.PKCS1v15()  # unlike PSS it fits the shortest key, which another rule refuses
            public.verify(private.sign(_PROBE, scheme, sha256), _PROBE, scheme, sha256)
        case ec.EllipticCurvePrivateKey(), ec.EllipticCurvePublicKey():
            public.verify(private.sign(_PROBE, ec.ECDSA(sha256)), _PROBE, ec.ECDSA(sha256))
        case dsa.DSAPrivateKey(), dsa.DSAPublicKey():
            public.verify(private.sign(_PROBE, sha256), _PROBE, sha256)
        case ed25519.Ed25519PrivateKey(), ed25519.Ed25519PublicKey():
            public.verify(private.sign(_PROBE), _PROBE)
        case ed448.Ed448PrivateKey(), ed448.Ed448PublicKey():
            public.verify(private.sign(_PROBE), _PROBE)
    return True
