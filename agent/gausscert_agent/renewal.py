"""A renewal of the agent's own credential, over the wire and in two steps.

The key is made here, waits in memory for its certificate, and is on no disk before that has come; nobody else
ever sees it. An agent that is restarted in between has forgotten it: a renewal is then begun anew.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from gausscert_common import identity
from gausscert_common.errors import InvalidInput, NodeRefusal, Reason
from gausscert_common.identity import Identity, Role

from gausscert_agent import renewed

if TYPE_CHECKING:
    from gausscert_common.model import Certificate

    from gausscert_agent.config import AgentConfig
    from gausscert_agent.credential_source import CredentialSource

logger = logging.getLogger(__name__)

_MAX_CERTIFICATE_BYTES: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class Asked:
    """What `begin` answers."""

    request_pem: bytes
    certificate_pem: bytes
    """The one in use."""


@dataclass(frozen=True, slots=True)
class _Pending:
    request_id: str
    key: ec.EllipticCurvePrivateKey = field(repr=False)
    request_pem: bytes


class Renewal:
    """At most one at a time; another one that is begun takes the place of the former.

    Args:
        config: The agent's.
        source: Serves with what there is, and from then on with what comes.
    """

    def __init__(self, config: AgentConfig, source: CredentialSource) -> None:
        self._config = config
        self._source = source
        self._lock = threading.Lock()
        self._pending: _Pending | None = None

    def begin(self, request_id: str) -> Asked:
        """A new key, and the request for its certificate; the same again for the same id.

        Raises:
            InvalidInput: CREDENTIAL_INVALID: the credential in use cannot be read any more.
        """
        with self._lock:
            if self._pending is None or self._pending.request_id != request_id:
                self._pending = self._asked_for(request_id)
            return Asked(self._pending.request_pem, self._source.current().cert_pem)

    def finish(self, request_id: str, certificate_pem: bytes) -> Certificate:
        """Serve with the certificate from now on; harmless to repeat.

        Returns:
            The agent's own credential.

        Raises:
            InvalidInput: CREDENTIAL_INVALID: it is not this node's, of no CA that is trusted here, not
                for the key that was made, or not valid now.
            NodeRefusal: RENEWAL_UNKNOWN.
            NodeFailure: STORE_FAILED.
        """
        sent = _parse(certificate_pem)
        fingerprint = sent.fingerprint(hashes.SHA256()).hex()
        with self._lock:
            if fingerprint == self._source.current().own.fingerprint:
                return self._source.certificates()[0]
            pending = self._pending
            if pending is None or pending.request_id != request_id:
                raise NodeRefusal(
                    Reason.RENEWAL_UNKNOWN,
                    "no renewal of this id is under way here",
                    remedy="begin it anew: gausscert pki renew",
                )
            if sent.public_key() != pending.key.public_key():
                raise InvalidInput(
                    Reason.CREDENTIAL_INVALID,
                    "the certificate is not for the key that this agent has made",
                    remedy="begin the renewal anew: gausscert pki renew",
                )
            self._source.install(_key_pem(pending.key), sent.public_bytes(serialization.Encoding.PEM))
            self._pending = None
            own = self._source.certificates()[0]
        fields = {"serial": own.serial, "not_after": own.not_after.isoformat()}
        logger.info("credential renewed", extra=fields | {"file": str(renewed.path_of(self._config))})
        return own

    def _asked_for(self, request_id: str) -> _Pending:
        ours = Identity(self._config.cluster, Role.NODE, self._config.name)
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, ours.cluster),
                x509.NameAttribute(NameOID.COMMON_NAME, ours.name),
            ]
        )
        names: list[x509.GeneralName] = [
            x509.UniformResourceIdentifier(ours.uri),
            x509.DNSName(identity.node_dns_name(ours.cluster, ours.name)),
        ]
        request = (
            x509.CertificateSigningRequestBuilder()
            .subject_name(subject)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(key, hashes.SHA256())
        )
        return _Pending(request_id, key, request.public_bytes(serialization.Encoding.PEM))


def _parse(body: bytes) -> x509.Certificate:
    try:
        if len(body) > _MAX_CERTIFICATE_BYTES:
            raise ValueError
        (found,) = x509.load_pem_x509_certificates(body)
        found.public_key()  # of a kind that is known
    except (ValueError, UnsupportedAlgorithm):
        raise InvalidInput(
            Reason.CREDENTIAL_INVALID,
            "what was sent is not one certificate in PEM form",
            remedy="use the same version of gausscert on all machines",
        ) from None
    return found


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
