"""What holds for every certificate of a chain, leaf or CA."""

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


def judge(cert: Cert) -> Iterator[Finding]:
    """What speaks against a certificate, whatever its place in the chain."""
    yield from _judge_key(cert)
    if cert.extensions.unknown_critical:
        cause = f"{cert.shown} has {', '.join(cert.extensions.unknown_critical)}"
        yield finding("CRITICAL_EXTENSION_UNKNOWN", cause, cert.file)
    if cert.serial <= 0:
        yield finding("CERTIFICATE_SERIAL_NOT_POSITIVE", f"{cert.shown} has {cert.serial}", cert.file)


def _judge_key(cert: Cert) -> Iterator[Finding]:
    match cert.key:
        case rsa.RSAPublicKey(key_size=bits):
            if bits < MIN_RSA_BITS:
                yield finding("KEY_WEAK", f"{cert.shown} has RSA of {bits} bits", cert.file)
        case ec.EllipticCurvePublicKey(curve=curve):
            if curve.name not in CURVES:
                yield finding("KEY_CURVE_UNUSABLE", f"{cert.shown} is on {curve.name}", cert.file)
        case None:
            yield finding("KEY_KIND_UNUSABLE", f"{cert.shown} has a key of unknown kind", cert.file)
        case other:
            kind = type(other).__name__.removesuffix("PublicKey")
            yield finding("KEY_KIND_UNUSABLE", f"{cert.shown} has a key of kind {kind}", cert.file)
