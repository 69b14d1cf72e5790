"""Real file systems on which two directories cannot be exchanged, mounted in a namespace of their own: the
node finds out by itself, and swaps by a link."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from gausscert_common.model import Layout
from support.agent_core import OLD, write_set

TESTS = Path(__file__).parents[1]
CHILD = TESTS / "support" / "layout_child.py"

BIND = """
mount --bind "$1/home/share/sslcert/cm" "$1/home/share/sslcert/cm"
"""
VOLUME = """
cp -a "$1/home/share/sslcert/cm" "$1/kept"
mount -t tmpfs -o mode=0700 tmpfs "$1/home/share/sslcert/cm"
cp -a "$1/kept/." "$1/home/share/sslcert/cm"
"""
IMAGE = """
mkdir "$1/writable"
mount -t tmpfs tmpfs "$1/writable"
mkdir "$1/writable/upper" "$1/writable/work"
mount -t overlay overlay -o "lowerdir=$1/home,upperdir=$1/writable/upper,workdir=$1/writable/work" "$1/home"
"""


def in_namespace(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a shell script with mounts of its own, which end with it."""
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-euc", script, "sh", *arguments]
    if os.geteuid() != 0:
        command[1:1] = ["--user", "--map-root-user"]
    environment = dict(os.environ, PYTHONPATH=str(TESTS))
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)


@pytest.fixture(scope="module")
def mounts(tmp_path_factory):
    """Skips where this user may not mount."""
    place = tmp_path_factory.mktemp("mount")
    tried = in_namespace('mount -t tmpfs tmpfs "$1"', str(place))
    if tried.returncode != 0:
        pytest.skip(f"no mounts of our own here: {tried.stderr.strip()}")


@pytest.mark.parametrize(
    "mount",
    [
        pytest.param(BIND, id="cm is a bind mount"),
        pytest.param(VOLUME, id="cm is a volume"),
        pytest.param(IMAGE, id="cm comes from an image layer"),
    ],
)
def test_a_node_replaces_and_rolls_back_on_whatever_it_finds(tmp_path, mounts, mount):
    sslcert = tmp_path / "home" / "share" / "sslcert"
    write_set(sslcert / "cm", OLD)
    sslcert.chmod(0o755)
    run = f'{mount}exec "$2" -W error "$3" "$1"'
    ended = in_namespace(run, str(tmp_path), sys.executable, str(CHILD))
    if "unknown filesystem type" in ended.stderr:
        pytest.skip(ended.stderr.strip())
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == Layout.DATA_LINK
