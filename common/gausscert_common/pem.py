"""PEM files, split into blocks as OpenSSL reads them.

OpenSSL takes a block only where BEGIN starts a line, ignores text around blocks and blanks at line
ends, and with them a CR before LF. A lone CR ends no line for it. Within the base64 it ignores blanks. What
stands before an empty line is headers for it, which must begin with Proc-Type; behind one, all lines but the
last must have 64 characters (pem_lib.c: get_header_and_data, PEM_get_EVP_CIPHER_INFO).
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

_BLANKS: Final = b" \t\v\f\r"
_LINE: Final = 64
"""RFC 7468 section 2."""

_BOUNDARY: Final = re.compile(rb"-----(BEGIN|END) ([ -~]+)-----")
_HEADER: Final = re.compile(rb"([A-Za-z][A-Za-z0-9-]*):[ \t]*(.*)")


@dataclass(frozen=True, slots=True)
class Block:
    """One PEM block."""

    label: str
    text: bytes = field(repr=False)
    """From BEGIN to END, lines ended by LF."""
    der: bytes | None = field(repr=False)
    """None when OpenSSL could not read it: the base64 is damaged, or headers or lines are none of PEM's."""
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
    truncated_at: int | None = None
    """Before which block, counted from 0, a BEGIN has no END; None when each has one."""

    @property
    def truncated(self) -> bool:
        """Whether a BEGIN has no END."""
        return self.truncated_at is not None

    def of(self, labels: frozenset[str]) -> tuple[Block, ...]:
        """The blocks with one of these labels, in order."""
        return tuple(block for block in self.blocks if block.label in labels)


def split(body: bytes) -> PemFile:
    """Split a file into its blocks. Never raises."""
    blocks: list[Block] = []
    truncated: list[int] = []
    label = b""
    lines: list[bytes] = []
    for line in body.removeprefix(BOM).split(b"\n"):
        if line.startswith(b"\0"):
            break  # OpenSSL takes such a line for the end of the file (bss_file.c: file_gets)
        line = line.rstrip()
        boundary = _BOUNDARY.fullmatch(line)
        if boundary and boundary[1] == b"BEGIN":
            truncated += [len(blocks)] if label else []
            label, lines = boundary[2], []
        elif boundary and label:
            if boundary[2] == label:
                blocks.append(_block(label, lines))
            else:
                truncated.append(len(blocks))
            label = b""
        elif label:
            lines.append(line)
    truncated += [len(blocks)] if label else []
    return PemFile(tuple(blocks), truncated[0] if truncated else None)


def _block(label: bytes, lines: list[bytes]) -> Block:
    start = lines.index(b"") if b"" in lines else 0
    found = [one for one in map(_HEADER.fullmatch, lines[:start]) if one]
    headers = tuple((one[1].decode("ascii"), one[2].decode("latin-1")) for one in found)
    frame = b"-----%s " + label + b"-----\n"
    text = frame % b"BEGIN" + b"".join(line + b"\n" for line in lines) + frame % b"END"
    return Block(label.decode("ascii"), text, _decoded(lines), headers)


def _decoded(lines: list[bytes]) -> bytes | None:
    headed = b"" in lines
    start = lines.index(b"") if headed else 0
    body = lines[start + 1 :] if headed else lines
    if start and not (lines[0].startswith(b"Proc-Type:") and lines[1].startswith(b"DEK-Info:")):
        return None
    if headed and any(len(line) != _LINE for line in body[:-1]):
        return None
    try:
        return base64.b64decode(b"".join(body).translate(None, _BLANKS), validate=True) or None
    except binascii.Error:
        return None
