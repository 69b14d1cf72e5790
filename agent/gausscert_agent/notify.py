"""Tells the service manager how far the agent is: the protocol of sd_notify(3), one datagram per message.

Without $NOTIFY_SOCKET nobody wants to know.
"""

from __future__ import annotations

import logging
import os
import socket
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

READY: Final = "READY=1"
STOPPING: Final = "STOPPING=1"

_VARIABLE: Final = "NOTIFY_SOCKET"
_ABSTRACT: Final = "@"

logger = logging.getLogger(__name__)


def tell(message: str, environment: Mapping[str, str] = os.environ) -> None:
    """Send a message. Never raises: an agent that cannot say that it serves, serves all the same."""
    address = environment.get(_VARIABLE, "")
    if not address:
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
            manager.connect(_name(address))
            manager.sendall(message.encode())
    except (OSError, ValueError) as error:
        logger.warning(
            "the service manager cannot be told how far the agent is",
            extra={"said": message, "cause": str(error)},
        )


def _name(address: str) -> bytes:
    """A path, or the abstract name that @ stands for (unix(7))."""
    if address.startswith(_ABSTRACT):
        return b"\0" + os.fsencode(address[1:])
    if not os.path.isabs(address):
        raise ValueError(f"{_VARIABLE} is neither a path nor an abstract name")
    return os.fsencode(address)
