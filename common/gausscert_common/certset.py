"""The set: which files make it up, in what mode, and how it is identified.

CM reads exactly these names from `<home>/share/sslcert/cm` (cm_misc.cpp:1111-1152) and refuses a
certificate or key whose mode is not 0400 (cs_ssl.cpp:1797-1813).
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

DIRECTORY: Final = "share/sslcert/cm"
"""Where the live set lies, relative to CM's home."""

FILE_MODE: Final = 0o400
DIRECTORY_MODE: Final = 0o700

PEM_NAMES: Final = ("cacert.pem", "server.crt", "server.key", "client.crt", "client.key")
FACTOR_NAMES: Final = (
    "server.key.cipher",
    "server.key.rand",
    "client.key.cipher",
    "client.key.rand",
)
NAMES: Final = PEM_NAMES + FACTOR_NAMES
"""The nine files."""

CRL_NAMES: Final = ("server.crl", "client.crl")
"""Not among the nine, but CM picks them up merely because they exist."""

BUNDLE_NAMES: Final = PEM_NAMES + CRL_NAMES
"""What is equal on all nodes that hold the same bundle; factor files are not."""

MAX_FILE_BYTES: Final = 256 * 1024
"""Longest file taken into a set: a CA bundle of a hundred certificates has room to spare."""

ABSENT: Final = ""
"""The digest of a live set that does not exist."""


def digest(files: Mapping[str, bytes]) -> str:
    """Identify a set on one node: SHA-256 over the names and contents of all its files, hex.

    Names may be such as `os.listdir` tells of bytes that are no UTF-8 (surrogateescape).
    """
    total = hashlib.sha256()
    for name in sorted(files):
        encoded = name.encode("utf-8", "surrogateescape")
        total.update(len(encoded).to_bytes(4, "big"))
        total.update(encoded)
        total.update(hashlib.sha256(files[name]).digest())
    return total.hexdigest()


def bundle_digest(files: Mapping[str, bytes]) -> str:
    """Identify what the operator handed in: as `digest`, over the PEM files and CRLs alone.

    Equal on every node that holds the same bundle, while `digest` differs because each node's
    factor files hold fresh randomness.
    """
    return digest({name: body for name, body in files.items() if name in BUNDLE_NAMES})


def is_whole(files: Mapping[str, bytes]) -> bool:
    """Whether all nine files are there."""
    return all(name in files for name in NAMES)
