"""What sudo means where it does not run the program on a node. Pure.

`sudo -n` asks nobody. Its words are those of the C locale (sudo 1.9); whoever is not permitted a command is
told that a password is required, too, for sudo would ask for one before it says so.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from gausscert_common.errors import NodeRefusal, Reason

from gausscert_coordinator.rollout import parcel

if TYPE_CHECKING:
    from gausscert_coordinator.inventory import InventoryNode
    from gausscert_coordinator.rollout.ssh import Ended

_REFUSED: Final = 1
"""Exit code of sudo; also of a Python that ends with a traceback."""
_USUAL: Final = "/usr/bin/python3"
"""Where the node has not told which Python it has found."""
_PLAIN: Final = re.compile(r"/[A-Za-z0-9._+/-]{1,200}")
_LONGEST: Final = 1000
"""Characters."""
_SAYS: Final = ("sudo: ", "Sorry, user ")
_PERMIT: Final = "permit it there with visudo, in a file of /etc/sudoers.d: "
_NOT_PERMITTED: Final = (
    "a password is required",
    "a terminal is required",
    "no tty present",
    "not allowed to",
    "not in the sudoers",
    "may not run sudo",
)
_ONLY_WARNS: Final = "unable to resolve host"
_NO_TERMINAL: Final = "you must have a tty"


def refused(node: InventoryNode, ended: Ended) -> NodeRefusal | None:
    """Why sudo has not run the program; None where it was not sudo that ended it.

    Args:
        node: As the inventory has it.
        ended: Without an answer.
    """
    if ended.code == parcel.NO_SUDO:
        remedy = "install it, or log in as root: user under [ssh], without sudo"
        return _error(node, "there is no sudo", remedy)
    lines = (line.strip() for line in ended.err.splitlines() if line.startswith(_SAYS))
    said = [line for line in lines if _ONLY_WARNS not in line]
    if ended.code != _REFUSED or not said:
        return None
    whole = " | ".join(said)[:_LONGEST]
    if any(words in whole for words in _NOT_PERMITTED):
        cause = "sudo wants a password, or does not permit the program"
        return _error(node, f"{cause}: {whole}", _PERMIT + _line(node, ended))
    if _NO_TERMINAL in whole:
        cause = "sudo wants a terminal, and nobody sits there"
        return _error(node, f"{cause}: {whole}", f"{_PERMIT}Defaults:{_user(node)} !requiretty")
    return _error(node, f"sudo does not run the program: {whole}", "have sudo -n work for who logs in there")


def _line(node: InventoryNode, ended: Ended) -> str:
    """For the Python that the node has found, where that is a plain path: people copy this line."""
    lines = (line for line in ended.out.splitlines() if line.startswith(parcel.FOUND))
    found = next(lines, "").removeprefix(parcel.FOUND)
    python = found if _PLAIN.fullmatch(found) else node.ssh.python or _USUAL
    return parcel.sudoers(_user(node), python)


def _user(node: InventoryNode) -> str:
    return node.ssh.user or "USER"


def _error(node: InventoryNode, cause: str, remedy: str) -> NodeRefusal:
    return NodeRefusal(Reason.SUDO_REFUSED, cause, node=node.name, remedy=remedy)
