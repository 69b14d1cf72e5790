"""Real sets of certificates, with ready factor files, so that no cm_ctl takes part."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gausscert_common import certset, factors
from gausscert_common.bundle import Bundle, FactorFiles
from gausscert_coordinator import issue
from gausscert_coordinator.issue import KeyType

if TYPE_CHECKING:
    from pathlib import Path

PASSWORD = "Bench-0123456"  # noqa: S105 - opens nothing but what is made here


@dataclass(frozen=True, slots=True)
class Material:
    """A set as it lies on disk, and as a bundle."""

    files: dict[str, bytes]
    bundle: Bundle


@functools.cache
def pair(key_type: KeyType) -> tuple[Material, Material]:
    """Two sets of one kind, to be replaced by each other in turn."""
    return _made(key_type), _made(key_type)


def _made(key_type: KeyType) -> Material:
    pem = dict(issue.issue_bundle(issue.IssueOptions(key_type=key_type), PASSWORD, PASSWORD).bundle.pem)
    made = FactorFiles(*factors.write(PASSWORD), *factors.write(PASSWORD))
    return Material(pem | made.as_files(), Bundle(pem, factor_files=made))


def install(directory: Path, material: Material) -> None:
    """Write a set as CM's installer leaves it."""
    directory.mkdir(mode=0o700, parents=True)
    directory.parent.chmod(0o755)
    for name, body in material.files.items():
        (directory / name).write_bytes(body)
        (directory / name).chmod(certset.FILE_MODE)
