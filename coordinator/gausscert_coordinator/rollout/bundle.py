"""A bundle of software: wheels and their list of hashes, made by deploy/bundle on a machine with a network.

requirements.txt        name==version with every sha256 that may be installed; gausscert's own wheel, too
wheels/*.whl            for all machines and Pythons that it is made for, pip among them
gausscert-agent.service, user/gausscert-agent.service, agent.toml, install.sh
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gausscert_common.errors import InvalidInput, Reason
from gausscert_common.findings import Finding, Severity

from gausscert_coordinator import regular_files
from gausscert_coordinator.rollout.parcel import Blob

if TYPE_CHECKING:
    from pathlib import Path

REQUIREMENTS: Final = "requirements.txt"
SYSTEM_UNIT: Final = "gausscert-agent.service"
USER_UNIT: Final = "user/gausscert-agent.service"
_WHEEL: Final = re.compile(
    r"(?P<name>[A-Za-z0-9._]+)-(?P<version>[^-]+)(-\d[^-]*)?-(?P<python>[^-]+)-(?P<abi>[^-]+)-(?P<platform>[^-]+)\.whl"
)
_NAME: Final = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)
_HASH: Final = re.compile(r"--hash=sha256:([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Target:
    """What wheels must fit."""

    python: tuple[int, int]
    machine: str
    libc: str
    """"2.28"; "" where it is not the GNU one."""

    def __str__(self) -> str:
        """For people."""
        version = ".".join(map(str, self.python))
        return f"Python {version} on {self.machine}, {'glibc ' + self.libc if self.libc else 'no glibc'}"


@dataclass(frozen=True, slots=True)
class Wheel:
    """One file of wheels/."""

    path: Path
    name: str
    """Normalised (PyPA, names of projects)."""
    version: str
    pythons: tuple[str, ...]
    abis: tuple[str, ...]
    platforms: tuple[str, ...]

    def fits(self, target: Target) -> bool:
        """Whether pip would take it there (PyPA, platform compatibility tags)."""
        return any(_python_fits(tag, abi, target) for tag in self.pythons for abi in self.abis) and any(
            _platform_fits(tag, target) for tag in self.platforms
        )


@dataclass(frozen=True, slots=True)
class Software:
    """A whole bundle, checked."""

    root: Path
    version: str
    """Of gausscert."""
    release: str
    """The name of what is made of it on a node: version and digest."""
    requirements: bytes
    projects: tuple[str, ...]
    wheels: tuple[Wheel, ...]
    units: dict[str, str]

    def chosen(self, target: Target) -> tuple[tuple[Wheel, ...], tuple[str, ...]]:
        """The wheels for a node, and the projects for which there is none."""
        fitting = tuple(wheel for wheel in self.wheels if wheel.fits(target))
        there = {wheel.name for wheel in fitting}
        return fitting, tuple(name for name in self.projects if name not in there)

    def blobs(self, target: Target) -> tuple[Blob, ...]:
        """What is sent to a node."""
        wheels, _ = self.chosen(target)
        return (
            Blob(REQUIREMENTS, self.requirements),
            *(Blob(wheel.path.name, wheel.path.read_bytes()) for wheel in wheels),
        )


def load(root: Path) -> Software:
    """Read a bundle and check every wheel against its hash.

    Raises:
        InvalidInput: BUNDLE_INVALID, with all that is wrong with it.
    """
    try:
        requirements = regular_files.read(root / REQUIREMENTS)
        units = {name: regular_files.read(root / name).decode() for name in (SYSTEM_UNIT, USER_UNIT)}
        paths = sorted((root / "wheels").glob("*.whl"))
    except (OSError, UnicodeDecodeError) as error:
        cause, file = _unread(error)
        raise InvalidInput(
            Reason.ARGUMENT_INVALID,
            f"no bundle of software: {cause}",
            file=file or str(root),
            remedy="make one with make bundle, where there is a network, and name it with --bundle",
        ) from error
    text = requirements.decode("utf-8", errors="replace")
    hashes = frozenset(_HASH.findall(text))
    versions = {normal(name): version for name, version in _NAME.findall(text)}
    problems = [*_wrong_hashes(paths, hashes), *_missing(versions)]
    if problems:
        raise InvalidInput(
            Reason.ARGUMENT_INVALID,
            "; ".join(finding.cause for finding in problems),
            file=str(root),
            remedy="make the bundle anew",
            findings=problems,
        )
    digest = hashlib.sha256(requirements).hexdigest()[:12]
    version = versions["gausscert"]
    wheels = tuple(wheel for path in paths if (wheel := parse(path)) is not None)
    return Software(root, version, f"{version}-{digest}", requirements, tuple(versions), wheels, units)


def _unread(error: OSError | UnicodeDecodeError) -> tuple[str, str]:
    if isinstance(error, OSError):
        return error.strerror or "it cannot be read", str(error.filename or "")
    return "a unit in it is not UTF-8", ""


def parse(path: Path) -> Wheel | None:
    """What a wheel's file name says; None where it is none."""
    found = _WHEEL.fullmatch(path.name)
    if found is None:
        return None
    tags = (tuple(found[part].split(".")) for part in ("python", "abi", "platform"))
    return Wheel(path, normal(found["name"]), found["version"], *tags)


def normal(name: str) -> str:
    """A project's name as it is compared."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _wrong_hashes(paths: list[Path], hashes: frozenset[str]) -> list[Finding]:
    return [
        _wrong("it is not the file that the list of hashes means", path)
        for path in paths
        if not path.is_file() or _sha256(path) not in hashes
    ]


def _sha256(path: Path) -> str:
    """Hex; "" where it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def _missing(versions: dict[str, str]) -> list[Finding]:
    return [
        _wrong(f"{REQUIREMENTS} does not have {name}")
        for name in ("gausscert", "pip")
        if name not in versions
    ]


def _wrong(cause: str, path: Path | None = None) -> Finding:
    where = "" if path is None else str(path)
    return Finding("ARGUMENT_INVALID", Severity.ERROR, cause, "make the bundle anew", file=where)


def _python_fits(tag: str, abi: str, target: Target) -> bool:
    major, minor = target.python
    if tag in (f"py{major}", f"py{major}{minor}"):
        return abi == "none"
    if tag == f"cp{major}{minor}":
        return abi in (tag, "abi3", "none")
    older = re.fullmatch(rf"cp{major}(\d+)", tag)
    return abi == "abi3" and older is not None and int(older[1]) <= minor


_LEGACY: Final = {"manylinux1": (2, 5), "manylinux2010": (2, 12), "manylinux2014": (2, 17)}


def _platform_fits(tag: str, target: Target) -> bool:
    if tag == "any":
        return True
    head, _, rest = tag.partition("_")
    needs = _LEGACY.get(head)
    if needs is None:
        found = re.fullmatch(r"manylinux_(\d+)_(\d+)_(.+)", tag)
        if found is None:
            return False
        needs, rest = (int(found[1]), int(found[2])), found[3]
    if rest != target.machine or not target.libc:
        return False
    has = tuple(int(part) for part in re.findall(r"\d+", target.libc)[:2])
    return has >= needs
