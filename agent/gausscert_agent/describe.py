"""Which certificates a set holds, told without `cryptography` in the agent.

An agent does nothing for months, and that library is a quarter of its memory (design section 11). So what
describes certificates runs in a child of its own that ends at once: public files go in, a description comes
out. Answers are remembered, because sets hardly ever change. An agent that has loaded the library anyway,
for the first Prepare, uses it.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import logging
import subprocess
import sys
import threading
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from gausscert_common import certset
from gausscert_common.model import Certificate, CertificateKind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Files = Mapping[str, bytes]
    Certificates = tuple[Certificate, ...]

logger = logging.getLogger(__name__)

PUBLIC: Final = frozenset({"cacert.pem", "server.crt", "client.crt", *certset.CRL_NAMES})
"""All that is ever handed over; a key is none of it."""

_LIBRARY: Final = "cryptography.x509"
_TIMEOUT_S: Final = 10.0
_KEPT: Final = 8
"""Live, stage and some retired sets."""


class Describer:
    """Describes certificates, and remembers.

    Args:
        ask: Describes them in a child; raises OSError, subprocess.SubprocessError or ValueError.
    """

    def __init__(self, ask: Callable[[Files], Certificates] | None = None) -> None:
        self._ask = ask if ask is not None else in_child
        self._lock = threading.Lock()
        self._known: dict[str, Certificates] = {}

    def __call__(self, files: Files) -> Certificates:
        """As `certificates.describe`, which never raises."""
        public = {name: body for name, body in files.items() if name in PUBLIC}
        if not any(public.values()):
            return ()
        key = certset.digest(public)
        with self._lock:
            found = self._known.pop(key, None)
            if found is None:
                found = self._describe(public)
            self._known[key] = found
            while len(self._known) > _KEPT:
                del self._known[next(iter(self._known))]
            return found

    def _describe(self, public: Files) -> Certificates:
        if _LIBRARY not in sys.modules:
            try:
                return self._ask(public)
            except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError) as error:
                logger.warning(
                    "no child can describe certificates; the agent does, and needs more memory for it",
                    extra={"exception": type(error).__name__},
                )
        return _here(public)


def in_child(files: Files) -> Certificates:
    """Describe certificates in a child.

    Raises:
        OSError: It cannot be started.
        subprocess.SubprocessError: It failed, or took too long.
        ValueError: Its answer is none.
    """
    done = subprocess.run(
        # -P: nothing is imported from the directory that the agent happens to stand in.
        [sys.executable, "-P", "-m", __name__],
        input=_written(files),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd="/",
        timeout=_TIMEOUT_S,
        check=True,
    )
    return _read_answer(done.stdout)


def _written(files: Files) -> bytes:
    return json.dumps({name: base64.b64encode(body).decode() for name, body in files.items()}).encode()


def _read_files(body: bytes) -> dict[str, bytes]:
    return {name: base64.b64decode(text) for name, text in json.loads(body).items()}


def _written_answer(certificates: Certificates) -> str:
    return json.dumps([dataclasses.asdict(one) for one in certificates], default=datetime.isoformat)


def _read_answer(body: bytes) -> Certificates:
    return tuple(_certificate(one) for one in json.loads(body))


def _certificate(said: dict[str, Any]) -> Certificate:
    dates = {name: datetime.fromisoformat(said[name]) for name in ("not_before", "not_after")}
    return Certificate(**said | dates | {"kind": CertificateKind(said["kind"])})


def _here(files: Files) -> Certificates:
    from gausscert_common import certificates

    return certificates.describe(files)


def main() -> None:
    """The child: files on stdin, their description on stdout."""
    sys.stdout.write(_written_answer(_here(_read_files(sys.stdin.buffer.read()))))


if __name__ == "__main__":
    main()
