"""A bundle: what the operator hands in, as a value."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gausscert_common import certset

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class FactorFiles:
    """The four files that hold the key passwords in CM's own encryption."""

    server_cipher: bytes = field(repr=False)
    server_rand: bytes = field(repr=False)
    client_cipher: bytes = field(repr=False)
    client_rand: bytes = field(repr=False)

    def as_files(self) -> dict[str, bytes]:
        """By the names of the set."""
        bodies = (self.server_cipher, self.server_rand, self.client_cipher, self.client_rand)
        return dict(zip(certset.FACTOR_NAMES, bodies, strict=True))


@dataclass(frozen=True, slots=True)
class Bundle:
    """PEM files as they are to lie on disk, and either both key passwords or the four factor files.

    A repr never shows a key or a password.
    """

    pem: Mapping[str, bytes] = field(repr=False)
    """The five PEM files, and CRLs if any, by the names of the set. Names may be missing while a
    bundle is judged; validation says so."""
    server_password: str | None = field(default=None, repr=False)
    client_password: str | None = field(default=None, repr=False)
    factor_files: FactorFiles | None = field(default=None, repr=False)

    @property
    def digest(self) -> str:
        """Equal on every node that holds this bundle."""
        return certset.bundle_digest(self.pem)
