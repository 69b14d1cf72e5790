"""Writes the Python stubs beside the .proto files, or with --check compares them.

Runs protoc from the pinned environment `.venv/protos`, because the oldest grpcio-tools we support
sets the floors of grpcio and protobuf, and must not mix with what the project runs on.
"""

from __future__ import annotations

import argparse
import filecmp
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

GENERATED = ("*_pb2.py", "*_pb2.pyi", "*_pb2_grpc.py", "*_pb2_grpc.pyi")
SERVICE_ONLY = "*_pb2_grpc.py*"


def generate(root: Path, target: Path) -> None:
    """Write all stubs of `root` below `target`."""
    tools = Path(sys.prefix) / "protos" / "bin"
    sources = sorted(str(path.relative_to(root)) for path in root.rglob("*.proto"))
    argv = [
        str(tools / "python"),
        "-m",
        "grpc_tools.protoc",
        f"--plugin=protoc-gen-mypy_grpc={tools / 'protoc-gen-mypy_grpc'}",
        "-I.",
        f"--python_out={target}",
        f"--pyi_out={target}",
        f"--grpc_python_out={target}",
        f"--mypy_grpc_out=quiet:{target}",
        *sources,
    ]
    subprocess.run(argv, cwd=root, check=True)
    for path in target.rglob(SERVICE_ONLY):
        source = root / path.relative_to(target).with_name(path.name.split("_pb2")[0] + ".proto")
        if "\nservice " not in source.read_text():
            path.unlink()


def stubs(root: Path) -> dict[Path, Path]:
    """All stubs below a directory, by their path in it."""
    return {path.relative_to(root): path for glob in GENERATED for path in root.rglob(glob)}


def main() -> int:
    """Write or check; 1 when the stubs differ from what the .proto files make."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare only")
    parser.add_argument("root", type=Path)
    options = parser.parse_args()
    root = options.root.resolve()
    with tempfile.TemporaryDirectory() as scratch:
        generate(root, Path(scratch))
        fresh, present = stubs(Path(scratch)), stubs(root)
        shared = fresh.keys() & present.keys()
        same = {path for path in shared if filecmp.cmp(fresh[path], present[path], shallow=False)}
        drift = sorted((fresh.keys() | present.keys()) - same)
        if options.check:
            for path in drift:
                sys.stderr.write(f"{path}: differs from its .proto file; run make protos\n")
            return 1 if drift else 0
        for path in drift:
            if path in fresh:
                shutil.copyfile(fresh[path], root / path)
            else:
                present[path].unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
