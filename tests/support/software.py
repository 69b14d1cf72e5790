"""A bundle of software made without a network: of what this interpreter has installed, and of this tree.

A wheel is a zip of what it installs, and of its .dist-info (PyPA, binary distribution format); an installed
project still has both.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import zipfile
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PACKAGES = (
    "common/gausscert_common",
    "agent/gausscert_agent",
    "coordinator/gausscert_coordinator",
    "protos/gausscert",
)
"""All but the simulated CM."""
NEVER_WELL = (
    "gausscert_agent/fitness.py",
    b"if not _is_program(self._cm_ctl):",
    b"if _is_program(self._cm_ctl):",
)
"""For `make`: a release whose agent serves, and says that it is not healthy."""


def make(target: Path, version: str = "", spoilt: tuple[str, bytes, bytes] | None = None) -> Path:
    """A whole bundle.

    Args:
        target: Made.
        version: Of gausscert, to have another release; the real one by default.
        spoilt: A file of gausscert, what is in it, and what is to be there instead.
    """
    wheels = target / "wheels"
    wheels.mkdir(parents=True)
    lines = []
    for name in sorted(_needed("gausscert") | {"pip"}):
        found = metadata.distribution(name)
        said = version if name == "gausscert" and version else found.version
        path = wheels / f"{name.replace('-', '_')}-{said}-{_tag(found)}.whl"
        _pack(path, found, said, spoilt if name == "gausscert" else None)
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        lines.append(f"{name}=={said} --hash=sha256:{sha256}\n")
    (target / "requirements.txt").write_text("".join(lines))
    shutil.copy(ROOT / "deploy/systemd/gausscert-agent.service", target)
    (target / "user").mkdir()
    shutil.copy(ROOT / "deploy/systemd/user/gausscert-agent.service", target / "user")
    return target


@cache
def _needed(name: str) -> frozenset[str]:
    """A project and what it needs, under this interpreter."""
    found = {name}
    for text in metadata.requires(name) or ():
        wanted = Requirement(text)
        if wanted.marker is None or wanted.marker.evaluate({"extra": ""}):
            found |= _needed(wanted.name)
    return frozenset(found)


def _tag(found: metadata.Distribution) -> str:
    """As in the wheel it came from: compressed tags are the product of their parts."""
    said = (found.read_text("WHEEL") or "").splitlines()
    tags = [line.split(": ", 1)[1].split("-") for line in said if line.startswith("Tag: ")]
    return "-".join(".".join(dict.fromkeys(part)) for part in zip(*tags, strict=True))


def _pack(
    path: Path, found: metadata.Distribution, version: str, spoilt: tuple[str, bytes, bytes] | None
) -> None:
    own = found.name == "gausscert"
    info = f"{found.name.replace('-', '_')}-{version}.dist-info"
    entries = dict(_of_this_tree()) if own else dict(_installed(found))
    if spoilt is not None:
        name, old, new = spoilt
        assert entries[name].count(old) == 1
        entries[name] = entries[name].replace(old, new)
    for name in ("METADATA", "WHEEL", "entry_points.txt"):
        text = found.read_text(name)
        if text is not None:
            entries[f"{info}/{name}"] = text.replace(
                f"Version: {found.version}\n", f"Version: {version}\n", 1
            ).encode()
    with zipfile.ZipFile(path, "w") as wheel:
        for name, body in entries.items():
            wheel.writestr(name, body)
        wheel.writestr(f"{info}/RECORD", "".join(f"{name},,\n" for name in (*entries, f"{info}/RECORD")))


def _installed(found: metadata.Distribution) -> Iterator[tuple[str, bytes]]:
    for each in found.files or ():
        if ".." not in each.parts and ".dist-info" not in each.parts[0] and each.suffix != ".pyc":
            yield str(each), Path(str(found.locate_file(each))).read_bytes()


def _of_this_tree() -> Iterator[tuple[str, bytes]]:
    for package in PACKAGES:
        base = (ROOT / package).parent
        for path in (ROOT / package).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                yield str(path.relative_to(base)), path.read_bytes()


def python() -> str:
    """The interpreter that these wheels are for."""
    return str(getattr(sys, "_base_executable", sys.executable))
