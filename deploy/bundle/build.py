"""Makes a bundle of software: everything that an agent needs on a node without a network, and nothing else.

    python deploy/bundle/build.py DIR [--machine x86_64] [--python 3.11]

Run where there is a network. Wheels are those of requirements.lock, by hash, and gausscert's own; the list of
all hashes, requirements.txt, is what nodes install by, and names the release.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import tempfile
from pathlib import Path

from targets import HERE, LOCK, MACHINES, PYTHONS, ROOT, pip, targets

BESIDE = {
    "deploy/systemd/gausscert-agent.service": "gausscert-agent.service",
    "deploy/systemd/user/gausscert-agent.service": "user/gausscert-agent.service",
    "deploy/config/agent.toml": "agent.toml",
    "deploy/config/gausscert.toml": "gausscert.toml",
    "LICENSE": "LICENSE",
}
"""Files of this tree, and where they are in the bundle."""


def main() -> None:
    """Nothing is left of a bundle that could not be made whole."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", type=Path, metavar="DIR", help="made; must not be there")
    parser.add_argument("--machine", action="append", choices=MACHINES, help="only this one; repeatable")
    parser.add_argument("--python", action="append", choices=PYTHONS, help="only this one; repeatable")
    given = parser.parse_args()
    if given.directory.exists():
        parser.error(f"{given.directory} is there already")
    given.directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=given.directory.parent, prefix=".bundle-") as scratch:
        made = Path(scratch) / "bundle"
        build(made, given.machine or MACHINES, given.python or PYTHONS)
        made.rename(given.directory)
    print(f"{given.directory}: release {release(given.directory)}, {size(given.directory)} MB")  # noqa: T201


def build(target: Path, machines: list[str] | tuple[str, ...], pythons: list[str] | tuple[str, ...]) -> None:
    """The whole bundle."""
    wheels = target / "wheels"
    wheels.mkdir(parents=True)
    for each in targets(machines, pythons):
        pip("download", "--require-hashes", "--no-deps", *each.options(), "-d", str(wheels), "-r", str(LOCK))
    with tempfile.TemporaryDirectory() as scratch:
        pip("wheel", "--no-deps", "--wheel-dir", scratch, str(ROOT))
        (own,) = Path(scratch).glob("gausscert-*.whl")
        shutil.copy(own, wheels)
    version = own.name.split("-")[1]
    sha256 = hashlib.sha256((wheels / own.name).read_bytes()).hexdigest()
    own_line = f"gausscert=={version} \\\n    --hash=sha256:{sha256}\n"
    (target / "requirements.txt").write_text(LOCK.read_text() + own_line)
    for source, name in BESIDE.items():
        (target / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / source, target / name)
    shutil.copy(HERE / "install.sh", target)


def release(bundle: Path) -> str:
    """The name that nodes give it: version, and the beginning of the digest of its hashes."""
    body = (bundle / "requirements.txt").read_bytes()
    version = body.decode().rpartition("gausscert==")[2].split()[0]
    return f"{version}-{hashlib.sha256(body).hexdigest()[:12]}"


def size(bundle: Path) -> int:
    """In MB."""
    return sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file()) // 1_000_000


if __name__ == "__main__":
    main()
