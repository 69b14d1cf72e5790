"""How strong and how usual a certificate is: what holds for any, and what for a leaf's or a CA's key only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from gausscert_common.validate.catalogue import finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gausscert_common.findings import Finding
    from gausscert_common.validate.certificate import Cert

MIN_RSA_BITS: Final = 2048
CURVES: Final = frozenset({"secp256r1", "secp384r1", "secp521r1"})


def judge_leaf(leaf: Cert) -> Iterator[Finding]:
    """What speaks against a leaf, whose key signs every handshake."""
    yield from _judge_leaf_key(leaf)
    yield from _judge_any(leaf)


def judge_ca(ca: Cert) -> Iterator[Finding]:
    """What speaks against a CA, with whose key peers only verify signatures."""
    if ca.key is None:
        yield finding("KEY_KIND_UNUSABLE", f"{ca.shown} has a key of unknown kind", ca.file)
    yield from _judge_rsa(ca)
    yield from _judge_any(ca)


def _judge_any(cert: Cert) -> Iterator[Finding]:
    if cert.extensions.unknown_critical:
        cause = f"{cert.shown} has {', '.join(cert.extensions.unknown_critical)}"
        yield finding("CRITICAL_EXTENSION_UNKNOWN", cause, cert.file)
    if cert.explicit_curve:
        yield finding("KEY_CURVE_UNUSABLE", f"the curve of {cert.shown} is written out, not named", cert.file)
    if cert.extensions.is_proxy:
        yield finding("CERTIFICATE_PROXY", f"{cert.shown} has proxyCertInfo", cert.file)
    if cert.serial <= 0:
        yield finding("CERTIFICATE_SERIAL_NOT_POSITIVE", f"{cert.shown} has {cert.serial}", cert.file)


def _judge_rsa(cert: Cert) -> Iterator[Finding]:
    if isinstance(cert.key, rsa.RSAPublicKey) and cert.key.key_size < MIN_RSA_BITS:
        yield finding("KEY_WEAK", f"{cert.shown} has RSA of {cert.key.key_size} bits", cert.file)


def _judge_leaf_key(leaf: Cert) -> Iterator[Finding]:
    match leaf.key:
        case rsa.RSAPublicKey():
            yield from _judge_rsa(leaf)
        case ec.EllipticCurvePublicKey(curve=curve):
            if curve.name not in CURVES:
                yield finding("KEY_CURVE_UNUSABLE", f"{leaf.shown} is on {curve.name}", leaf.file)
        case None:
            yield finding("KEY_KIND_UNUSABLE", f"{leaf.shown} has a key of unknown kind", leaf.file)
        case other:
            kind = type(other).__name__.removesuffix("PublicKey")
            yield finding("KEY_KIND_UNUSABLE", f"{leaf.shown} has a key of kind {kind}", leaf.file)
