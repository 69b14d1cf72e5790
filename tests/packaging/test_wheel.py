"""What is installed from a wheel is whole: every package, the stubs, the type markers, the commands."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    target = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(target), str(ROOT)],
        check=True,
    )
    with zipfile.ZipFile(next(target.glob("gausscert-*.whl"))) as opened:
        yield opened


def test_every_package_of_the_tree_is_in_the_wheel(wheel: zipfile.ZipFile):
    roots = ["common/gausscert_common", "agent/gausscert_agent", "coordinator/gausscert_coordinator"]
    roots += ["sim/gausscert_sim", "protos/gausscert"]
    wanted = {
        str(path.relative_to((ROOT / root).parent))
        for root in roots
        for path in (ROOT / root).rglob("*.py*")
        if path.suffix in (".py", ".pyi")
    }

    assert wanted - set(wheel.namelist()) == set()


@pytest.mark.parametrize("package", ["gausscert_common", "gausscert_agent", "gausscert_coordinator"])
def test_packages_are_marked_as_typed(wheel: zipfile.ZipFile, package: str):
    assert f"{package}/py.typed" in wheel.namelist()


def test_both_commands_are_there(wheel: zipfile.ZipFile):
    entry_points = next(name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    text = wheel.read(entry_points).decode()

    # Not cli.main: what PYTHONPATH names must be out of the way before that one is imported.
    assert "gausscert = gausscert_coordinator.cli.entry:main" in text
    assert "gausscert-agent = gausscert_agent.cli:main" in text
