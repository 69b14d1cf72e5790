"""What is sent to a node over ssh: the program, one request, and the bytes that go with it. All of it on
standard input; the remote command line is the same for all nodes and says nothing of them."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PACKAGE: Final = "gausscert_coordinator.rollout.on_node"
MODULES: Final = (
    "trouble",
    "layout",
    "running",
    "files",
    "ready",
    "processes",
    "software",
    "service",
    "look",
    "others",
    "configuration",
    "removal",
    "main",
)
"""Those that need others come after them."""

NO_PYTHON: Final = 97
"""Exit code of the remote command where no Python is new enough."""
NO_SUDO: Final = 96
"""The same where there is no sudo, and it is wanted."""
FOUND: Final = "gausscert-python: "
"""Before the Python that sudo is asked to run; it is told, for sudoers must name that one."""
PYTHONS: Final = ("python3", "python3.13", "python3.12", "python3.11", "/usr/local/bin/python3")
_READ: Final = "import sys;b=sys.stdin.buffer;exec(b.read(int(b.readline())))"
_FOREIGN: Final = "unset PYTHONPATH PYTHONHOME LD_LIBRARY_PATH; "
"""OM and openGauss name their own libraries there, in the profile of the cluster's user. The service that is
going to start the agent has none of it, so a Python that needs them would be no use."""
_NEW_ENOUGH: Final = "import sys;sys.exit(sys.version_info<(3,11))"

_LOADER: Final = """\
import json, sys, types
stream = sys.stdin.buffer
header = json.loads(stream.read(int(stream.readline())))
package = header["package"].split(".")
for depth in range(len(package)):
    made = types.ModuleType(".".join(package[: depth + 1]))
    made.__path__ = []
    sys.modules[made.__name__] = made
for name, source in header["modules"]:
    module = types.ModuleType(header["package"] + "." + name)
    sys.modules[module.__name__] = module
    exec(compile(source, module.__name__, "exec", dont_inherit=True), module.__dict__)
module.run(header["request"], stream)
"""


@dataclass(frozen=True, slots=True, repr=False)
class Blob:
    """Bytes that go along, some of them a key: never shown."""

    name: str
    body: bytes

    def document(self) -> dict[str, Any]:
        """What is said of it in the request."""
        sha256 = hashlib.sha256(self.body).hexdigest()
        return {"name": self.name, "size": len(self.body), "sha256": sha256}


def command(python: str = "", *, sudo: bool = False) -> str:
    """The remote command line: finds a Python, and lets it read the program.

    Args:
        python: The one to use, from the inventory; looked for when empty.
        sudo: Whether it runs as root, by sudo, which asks nobody; whoever is root already needs none.
    """
    choices = " ".join(shlex.quote(each) for each in ((python,) if python else PYTHONS))
    script = (
        f'{_FOREIGN}for p in {choices}; do "$p" -c "{_NEW_ENOUGH}" </dev/null 2>/dev/null'
        f' && {_AS_ROOT if sudo else ""}exec "$p" -I -c "{_READ}"; done;'
        f' for p in {choices}; do "$p" --version </dev/null; done 2>&1 | head -n 3; exit {NO_PYTHON}'
    )
    return f"exec /bin/sh -c {shlex.quote(script)}"


_AS_ROOT: Final = (
    '{ p=$(command -v "$p"); [ "$(id -u)" = 0 ] || { '
    f"command -v sudo >/dev/null || exit {NO_SUDO}; "
    f'echo {shlex.quote(FOUND)}"$p"; exec env LC_ALL=C sudo -n -- "$p" -I -c "{_READ}"; }}; }} && '
)


def sudoers(user: str, python: str) -> str:
    """The line of sudoers that permits the program, and nothing else. It is any program: who may run it is
    root. Its standard input is not logged, for a node's key comes along there.

    Args:
        user: Who logs in.
        python: Its path on the node.
    """
    read = re.sub(r"([,:=\\])", r"\\\1", _READ)
    return f"{user} ALL=(root) NOPASSWD: NOLOG_INPUT: {python} -I -c {read}"


def pack(request: Mapping[str, Any], blobs: Iterable[Blob] = ()) -> bytes:
    """What that program is given to read."""
    sent = tuple(blobs)
    whole = {**request, "files": [blob.document() for blob in sent]}
    header = {"package": PACKAGE, "modules": sources(), "request": whole}
    return b"".join(
        [_counted(_LOADER.encode()), _counted(json.dumps(header).encode()), *(blob.body for blob in sent)]
    )


def sources() -> list[tuple[str, str]]:
    """The program's modules."""
    home = resources.files(PACKAGE)
    return [(name, (home / f"{name}.py").read_text(encoding="utf-8")) for name in MODULES]


def _counted(body: bytes) -> bytes:
    return b"%d\n%s" % (len(body), body)
