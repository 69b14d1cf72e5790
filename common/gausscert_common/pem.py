"""PEM files, split into blocks as OpenSSL reads them.

OpenSSL takes a block only where BEGIN starts a line, ignores text around blocks and blanks at line
ends, and with them a CR before LF. A lone CR ends no line for it.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from typing import Final

CERTIFICATE_LABELS: Final = frozenset({"CERTIFICATE", "X509 CERTIFICATE"})
KEY_LABELS: Final = frozenset(
    {"PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "DSA PRIVATE KEY"}
)
CRL_LABELS: Final = frozenset({"X509 CRL"})
PARAMETER_LABELS: Final = frozenset({"EC PARAMETERS", "DH PARAMETERS", "DSA PARAMETERS"})
"""What `openssl ecparam -genkey` and the like write before a key; everybody skips it."""

BOM: Final = b"\xef\xbb\xbf"

_BOUNDARY: Final = re.compile(rb"-----(BEGIN|END) ([ -~]+)-----")
_HEADER: Final = re.compile(rb"([A-Za-z][A-Za-z0-9-]*):[ \t]*(.*)")


@dataclass(frozen=True, slots=True)
class Block:
    """One PEM block."""

    label: str
    text: bytes = field(repr=False)
    """From BEGIN to END, lines ended by LF."""
    der: bytes | None = field(repr=False)
    """None when the base64 is damaged."""
    headers: tuple[tuple[str, str], ...] = ()
    """RFC 1421 headers, such as Proc-Type and DEK-Info of OpenSSL's own key encryption."""

    @property
    def encrypted(self) -> bool:
        """Whether it is a private key that needs a password."""
        return self.label == "ENCRYPTED PRIVATE KEY" or "ENCRYPTED" in self.header("Proc-Type")

    def header(self, name: str) -> str:
        """A header's value, or ""."""
        return next((value for key, value in self.headers if key == name), "")


@dataclass(frozen=True, slots=True)
class PemFile:
    """A file seen as PEM."""

    blocks: tuple[Block, ...]
    truncated: bool = False
    """A BEGIN has no END."""

    def of(self, labels: frozenset[str]) -> tuple[Block, ...]:
        """The blocks with one of these labels, in order."""
        return tuple(block for block in self.blocks if block.label in labels)


def split(body: bytes) -> PemFile:
    """Split a file into its blocks. Never raises."""
    blocks: list[Block] = []
    truncated = False
    label = b""
    lines: list[bytes] = []
    for line in body.removeprefix(BOM).split(b"\n"):
        line = line.rstrip()
        boundary = _BOUNDARY.fullmatch(line)
        if boundary and boundary[1] == b"BEGIN":
            truncated = truncated or bool(label)
            label, lines = boundary[2], []
        elif boundary and label:
            if boundary[2] == label:
                blocks.append(_block(label, lines))
            else:
                truncated = True
            label = b""
        elif label:
            lines.append(line)
    return PemFile(tuple(blocks), truncated or bool(label))


def _block(label: bytes, lines: list[bytes]) -> Block:
    headers: list[tuple[str, str]] = []
    start = 0
    for line in lines:
        header = _HEADER.fullmatch(line)
        if header is None:
            break
        headers.append((header[1].decode("ascii"), header[2].decode("latin-1")))
        start += 1
    frame = b"-----%s " + label + b"-----\n"
    text = frame % b"BEGIN" + b"".join(line + b"\n" for line in lines) + frame % b"END"
    return Block(label.decode("ascii"), text, _decoded(b"".join(lines[start:])), tuple(headers))


def _decoded(text: bytes) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True) or None
    except binascii.Error:
        return None
