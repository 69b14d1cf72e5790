"""Writes requirements.lock anew: the newest versions that pyproject.toml allows, the same for every machine
and Python, with the sha256 of each wheel that may be installed. Look at what it has changed."""

from __future__ import annotations

import json
import re
import tempfile
import tomllib
from pathlib import Path

from targets import LOCK, ROOT, Target, pip, targets

HEAD = """\
# Written by `make lock`: what a bundle of software holds beside gausscert itself, for every machine and
# Python. pip is in it because nodes need not have one.
"""


def resolved(target: Target, wanted: list[str]) -> dict[str, tuple[str, str]]:
    """Name to version and sha256, as pip would install them there."""
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.json"
        dry = ("--dry-run", "--ignore-installed", "--target", scratch, "--report", str(report))
        pip("install", *dry, *target.options(), *wanted)
        found = json.loads(report.read_text())["install"]
    return {
        re.sub(r"[-_.]+", "-", each["metadata"]["name"]).lower(): (
            each["metadata"]["version"],
            each["download_info"]["archive_info"]["hashes"]["sha256"],
        )
        for each in found
    }


def main() -> None:
    """The first target decides the versions, the others must have them, too."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted: list[str] = [*project["dependencies"], "pip"]
    versions: dict[str, str] = {}
    hashes: dict[str, set[str]] = {}
    for target in targets():
        for name, (version, sha256) in resolved(target, wanted).items():
            if versions.setdefault(name, version) != version:
                raise SystemExit(f"{target}: {name} is {version}, and {versions[name]} elsewhere")
            hashes.setdefault(name, set()).add(sha256)
        wanted = [f"{name}=={version}" for name, version in versions.items()]
    lines = []
    for name in sorted(versions):
        allowed = [f"--hash=sha256:{each}" for each in sorted(hashes[name])]
        lines.append(" \\\n    ".join([f"{name}=={versions[name]}", *allowed]))
    LOCK.write_text(HEAD + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
