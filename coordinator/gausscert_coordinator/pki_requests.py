"""Signs what a node asks for when its credential is renewed: the key is made there, and stays there."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from gausscert_common.errors import InvalidInput, Reason
from gausscert_common.identity import Identity, Role

from gausscert_coordinator import pki, pki_certificates, pki_kept

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Signed:
    """A certificate that was made for a request."""

    pem: bytes
    serial: str
    """Hex."""
    fingerprint: str
    """SHA-256 of the certificate, hex."""
    not_after: datetime


class Signer:
    """The CA of a directory, opened once for the requests of many nodes.

    Args:
        directory: Where `pki.init` made the CA.
        passphrase: That of the CA's key, None when it has none.
        trusted: The CAs that the caller trusts, PEM: who may have issued what a node has now.
        days: How long; the usual term when None.

    Raises:
        InvalidInput: CREDENTIAL_INVALID: the CA cannot be read.
    """

    def __init__(
        self, directory: Path, passphrase: bytes | None, trusted: bytes, days: int | None = None
    ) -> None:
        self._directory = directory
        self._authority = pki.open_authority(directory, passphrase)
        self._trusted = x509.load_pem_x509_certificates(trusted)
        self._days = days

    @property
    def cluster(self) -> str:
        """The cluster that this CA is for."""
        return self._authority.cluster

    def sign(self, node: str, request: bytes, former: bytes, now: datetime | None = None) -> Signed:
        """Make the certificate that a node asks for, and keep it in the register, as pending. The one that
        the node has now is in use, whatever became of the renewal that has brought it: that is noted, too.

        Nothing of what the request says of itself is taken over but the key: whose it is says the name that
        was dialled, which TLS has verified.

        Args:
            node: The node's name.
            request: PKCS #10, PEM.
            former: The certificate that the node has now, PEM; its further names are kept.
            now: For tests.

        Raises:
            InvalidInput: CREDENTIAL_INVALID: the request is none, or what the node has is not its own.
                ARGUMENT_INVALID: the register cannot be written.
        """
        at = (now or datetime.now(UTC)).replace(microsecond=0)
        granted = Identity(self._authority.cluster, Role.NODE, node)
        key = _key_of(request, node)
        names = pki_certificates.names(granted, self._further_names(granted, former))
        pki_kept.confirm(self._directory, {f"{x509.load_pem_x509_certificate(former).serial_number:x}"})
        not_after = pki.end_of(self._authority.cert, Role.NODE, at, self._days)
        cert = pki_certificates.leaf(self._authority, granted, key, names, at, not_after)
        pki_kept.keep(self._directory, [cert], pending=True)
        body = cert.public_bytes(serialization.Encoding.PEM)
        fingerprint = cert.fingerprint(hashes.SHA256()).hex()
        return Signed(body, f"{cert.serial_number:x}", fingerprint, cert.not_valid_after_utc)

    def confirm(self, signed: Signed, node: str) -> None:
        """The node was seen to serve with it.

        Raises:
            InvalidInput: ARGUMENT_INVALID: the register cannot be written.
        """
        try:
            pki_kept.confirm(self._directory, {signed.serial})
        except InvalidInput as error:
            raise InvalidInput(
                error.reason,
                f"the agent serves with its new credential, but the register cannot say so: {error.message}",
                node=node,
                file=error.file,
                remedy="let yourself write to that directory; the next gausscert pki renew notes it",
            ) from error

    def _further_names(self, granted: Identity, former: bytes) -> list[str]:
        try:
            cert = x509.load_pem_x509_certificate(former)
        except ValueError:
            raise _refused(granted.name, "what it calls its certificate is none") from None
        if not any(pki_certificates.issued_by(cert, ca) for ca in self._trusted):
            raise _refused(granted.name, "its certificate is of no CA that is trusted here")
        was, further = pki.named_in(cert)
        if was != granted:
            raise _refused(granted.name, f"its certificate is that of {was}")
        return further


def _key_of(request: bytes, node: str) -> ec.EllipticCurvePublicKey:
    """The key that was proven to be there, by the signature of the request with it."""
    try:
        asked = x509.load_pem_x509_csr(request)
        key = asked.public_key()
        proven = asked.is_signature_valid
    except (ValueError, UnsupportedAlgorithm):
        raise _refused(node, "it is no request for a certificate") from None
    if not proven:
        raise _refused(node, "it is not signed with the key that it is about")
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise _refused(node, "its key is none of P-256, which all credentials have")
    return key


def _refused(node: str, cause: str) -> InvalidInput:
    return InvalidInput(
        Reason.CREDENTIAL_INVALID,
        f"what the agent asks to be signed is refused: {cause}",
        node=node,
        remedy="use the same version of gausscert everywhere; else issue its files: gausscert pki issue node",
    )
