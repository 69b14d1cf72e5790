"""The program of a roll-out is killed on its node while pip, which it has begun, works on."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from gausscert_coordinator.rollout import parcel
from gausscert_coordinator.rollout.on_node import files
from gausscert_coordinator.rollout.on_node.layout import layout, me
from gausscert_coordinator.rollout.on_node.main import ANSWER
from gausscert_coordinator.rollout.on_node.software import is_complete
from gausscert_coordinator.rollout.on_node.trouble import Trouble

RELEASE = "0.1.0-0123456789ab"
PIP = """
import os, pathlib
here = pathlib.Path({here!r})
def say(what):
    with (here / "said").open("a") as said:
        said.write(f"{{what}} {{os.getpid()}}\\n")
say("begun")
if (here / "wait").exists():
    (here / "wait").unlink()
    (here / "go").open().read()
say("ended")
"""


class Node:
    """A node without anything of gausscert, and a pip that waits where it is told to."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.layout = layout(str(root / "agent"))
        os.mkfifo(root / "go")
        (root / "wait").touch()

    def blobs(self) -> list[parcel.Blob]:
        wheel = io.BytesIO()
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr("pip/__init__.py", "")
            archive.writestr("pip/__main__.py", PIP.format(here=str(self.root)))
        return [
            parcel.Blob("pip-1-py3-none-any.whl", wheel.getvalue()),
            parcel.Blob("requirements.txt", b""),
        ]

    def begin(self, action: str, blobs: list[parcel.Blob] | None = None) -> subprocess.Popen[bytes]:
        """As sshd does it."""
        request = {
            "action": action,
            "release": RELEASE,
            "directory": str(self.layout.software),
            "user": me().name,
            "cm_home": "",
        }
        step = subprocess.Popen(
            ["/bin/sh", "-c", parcel.command(sys.executable)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert step.stdin is not None
        step.stdin.write(parcel.pack(request, blobs or []))
        step.stdin.close()
        step.stdin = None
        return step

    def said(self) -> list[tuple[str, int]]:
        path = self.root / "said"
        lines = path.read_text().splitlines() if path.exists() else []
        return [(what, int(pid)) for what, pid in (line.split() for line in lines)]


def answer(step: subprocess.Popen[bytes]) -> dict:
    out, _ = step.communicate(timeout=60)
    (line,) = [each for each in out.decode().splitlines() if each.startswith(ANSWER)]
    return json.loads(line.removeprefix(ANSWER))


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = Node(tmp_path)
    yield made
    ended = {pid for what, pid in made.said() if what == "ended"}
    for pid in {pid for _, pid in made.said()} - ended:
        os.kill(pid, signal.SIGKILL)


def test_the_next_one_waits_for_what_the_killed_one_has_begun(node: Node):
    """It was a bug: the lock went with the program that was killed, and the next roll-out removed what pip
    was still making."""
    assert answer(node.begin("upload", node.blobs()))["ok"]
    killed = node.begin("install")
    while not node.said():
        assert killed.poll() is None
        time.sleep(0.02)
    ((_, pip),) = node.said()

    killed.kill()
    assert killed.communicate() == (b"", None)
    assert killed.returncode == -signal.SIGKILL

    os.kill(pip, 0)  # it lives
    with (
        pytest.raises(Trouble, match="another roll-out is at work") as refused,
        files.alone(node.layout.software, patience_s=0.3),
    ):
        pass
    assert refused.value.file == str(node.layout.software / files.LOCK)
    again = node.begin("install")
    (node.root / "go").write_text("")
    assert answer(again) == {"ok": True, "result": None}
    assert [what for what, _ in node.said()] == ["begun", "ended", "begun", "ended"]
    assert is_complete(node.layout.releases / RELEASE)
