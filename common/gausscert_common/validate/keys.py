"""Private keys: what opens them, and whether they belong to their certificate."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.padding import PKCS7

from gausscert_common.validate.catalogue import finding
from gausscert_common.validate.certificate import CRYPTO_ERRORS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

    from gausscert_common.findings import Finding
    from gausscert_common.pem import Block
    from gausscert_common.validate.certificate import Cert

_LEGACY_CIPHERS: Final = frozenset({"AES-128-CBC", "AES-256-CBC", "DES-CBC", "DES-EDE3-CBC"})
"""What `cryptography` decrypts of OpenSSL's own key encryption (DEK-Info)."""

_AES_192: Final = "AES-192-CBC"
"""What it leaves out, although every OpenSSL writes it when asked to."""


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
    cipher = block.header("DEK-Info").partition(",")[0]
    if block.header("Proc-Type") and cipher not in _LEGACY_CIPHERS | {_AES_192}:
        return Closed.CIPHER
    secret = password.encode("utf-8", "surrogatepass") if password and block.encrypted else None
    if block.encrypted and secret is None:
        return Closed.PASSWORD
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # weak ciphers and curves: the rules speak about keys
            private = _loaded(block, cipher, secret)
            return Key(private, private.public_key().public_bytes(*_SPKI))
    except CRYPTO_ERRORS as error:
        return _why_closed(block, error)


def _loaded(block: Block, cipher: str, secret: bytes | None) -> PrivateKeyTypes:
    if cipher == _AES_192 and secret is not None:
        der = _decrypted_aes_192(block, secret)
        return serialization.load_der_private_key(der, None, unsafe_skip_rsa_key_validation=True)
    return serialization.load_pem_private_key(block.text, secret, unsafe_skip_rsa_key_validation=True)


def _decrypted_aes_192(block: Block, secret: bytes) -> bytes:
    """The key's DER, as PEM_do_header of OpenSSL decrypts it: the AES key is made by EVP_BytesToKey with MD5,
    one round, the first eight bytes of the IV for salt.

    Raises:
        ValueError: The password is wrong, or the block is damaged.
    """
    vector = bytes.fromhex(block.header("DEK-Info").partition(",")[2])
    made = digest = b""
    while len(made) < _AES_192_BYTES:
        digest = hashlib.md5(digest + secret + vector[:8], usedforsecurity=False).digest()
        made += digest
    decryptor = Cipher(AES(made[:_AES_192_BYTES]), CBC(vector)).decryptor()
    unpadder = PKCS7(8 * len(vector)).unpadder()
    plain = decryptor.update(block.der or b"") + decryptor.finalize()
    return unpadder.update(plain) + unpadder.finalize()


_AES_192_BYTES: Final = 24

_SPKI: Final = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _why_closed(block: Block, error: Exception) -> Closed:
    if not block.encrypted:
        return Closed.DAMAGED
    if isinstance(error, UnsupportedAlgorithm) or str(error).startswith(_UNKNOWN_CIPHER):
        return Closed.CIPHER
    # A wrong password and a damaged body look alike: both decrypt to garbage.
    return Closed.PASSWORD


_UNKNOWN_CIPHER: Final = ("Unknown key encryption", "Key encrypted with unknown cipher")
"""How `cryptography` says of PKCS#8, and of its own list, that it does not know a cipher."""


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
