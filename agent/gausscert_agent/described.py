"""Sets and certificates as a report tells them."""

from __future__ import annotations

import hashlib
import ssl
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from gausscert_common import certset, pem
from gausscert_common.model import CertificateSet, SetFile, SetState

from gausscert_agent.describe import Describer

if TYPE_CHECKING:
    from gausscert_common.model import Certificate

    from gausscert_agent.set_on_disk import SetOnDisk

_describe: Final = Describer()


def describe_set(found: SetOnDisk | None) -> CertificateSet:
    """A set as a report tells it: names, modes, dates, digests, and no content."""
    if found is None:
        return CertificateSet()
    files = tuple(SetFile(name, found.modes[name], len(body)) for name, body in sorted(found.files.items()))
    return CertificateSet(
        state=SetState.WHOLE if certset.is_whole(found.files) else SetState.INCOMPLETE,
        digest=found.digest,
        bundle_digest=certset.bundle_digest(found.files),
        files=files,
        certificates=certificates_of(found),
    )


def moment(at: float) -> datetime | None:
    """None for a stamp that somebody has set beyond all dates."""
    try:
        return datetime.fromtimestamp(at, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def certificates_of(found: SetOnDisk | None) -> tuple[Certificate, ...]:
    """Every certificate of a set, those of the CA file included."""
    return _describe(found.files) if found is not None else ()


def describe_leaf(leaf: bytes) -> Certificate | None:
    """What is served as if it lay on the disk, so that it is read as what lies there."""
    return next(iter(_describe({"server.crt": ssl.DER_cert_to_PEM_cert(leaf).encode()})), None)


def server_fingerprint(found: SetOnDisk) -> str:
    """As `Certificate.fingerprint`, for which nothing needs to be understood of a certificate."""
    blocks = pem.split(found.files.get("server.crt", b"")).of(pem.CERTIFICATE_LABELS)
    return next((hashlib.sha256(block.der).hexdigest() for block in blocks if block.der), "")
