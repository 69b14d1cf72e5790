"""The system's own ssh: its command line, and what its end means."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from gausscert_common.errors import (
    GausscertError,
    InvalidInput,
    NodeFailure,
    NodeRefusal,
    Reason,
    Unreachable,
)

from gausscert_coordinator.rollout import parcel, sudo
from gausscert_coordinator.rollout.heard import Heard
from gausscert_coordinator.rollout.on_node.main import ANSWER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gausscert_coordinator.inventory import InventoryNode

CONNECT_S: Final = 15
MOST: Final = 8 * 1024 * 1024
"""Bytes of what a command says: an answer has some ten KiB, and a node in the wrong hands no end."""
LONGEST: Final = 16 * 1024
"""Characters of a cause or remedy: they are shown, and kept in the history."""
STEP_S: Final = 900.0
"""The longest that one step may take, an installation on a slow machine included."""
LINGER_S: Final = 2.0
"""What a program has said before its end is there at once; more than that is nobody's answer."""
_SSH_FAILED: Final = 255


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command on a node ended."""

    code: int
    out: str
    err: str


class Ssh(Protocol):
    """Runs a command on a node."""

    async def __call__(self, argv: Sequence[str], stdin: bytes) -> Ended:
        """Run it to its end.

        Raises:
            TimeoutError: It did not end in time; the process is gone.
            OSError: There is no such program.
        """


_COMPARE: Final = (
    "compare the fingerprint with what ssh-keygen -lf tells of /etc/ssh/ssh_host_*_key.pub on the node's own"
    " console, or with whoever runs it"
)
_SAID: Final = (
    (
        "REMOTE HOST IDENTIFICATION HAS CHANGED",
        "the node has another host key than it had: another machine may answer in its place",
        f"{_COMPARE}; only where it is that one, and it is known why it changed, correct known_hosts",
    ),
    (
        "REVOKED HOST KEY DETECTED",
        "the node's host key was revoked: whoever has stolen it may answer in its place",
        "give the node a new host key, on its own console, and make that one known",
    ),
    (
        "Host key verification failed",
        "the node's host key is not known",
        f"{_COMPARE}, and only then add the key to known_hosts",
    ),
    (
        "Permission denied",
        "ssh is refused, and nobody can be asked for a password",
        "give this user a key that the node accepts; ssh.user and ssh.options are in the inventory",
    ),
    ("Could not resolve", "the node's name cannot be resolved", "correct ssh.host or address"),
    ("Connection refused", "no ssh server listens there", "start it, or correct ssh.host and ssh.port"),
    ("timed out", "the node does not answer", "look at network and firewall"),
    ("No route to host", "the node cannot be reached", "look at network and firewall"),
)
"""What OpenSSH says, what it means, and what to do; the first that fits. Of a host key that has changed, or
was revoked, it says last what it says of an unknown one, too (sshconnect.c, verify_host_key)."""
_DETAIL: Final = re.compile(r"SHA256:[A-Za-z0-9+/]{43}|(?<=Offending )\S+ key in [^\r\n]{1,300}")
"""Of a host key that has changed: what the node shows, and where the other one stands."""


_OURS: Final = (
    "BatchMode=yes",
    f"ConnectTimeout={CONNECT_S}",
    "ServerAliveInterval=15",
    "LogLevel=ERROR",
    "ControlMaster=no",
    "ControlPersist=no",
)
"""Before those of the inventory and of ssh's own configuration: ssh takes the first. It must not become a
master, which would stay behind; one that the operator has opened before, behind a second factor say, is made
use of: ControlPath is his (ssh_config(5))."""


def command_line(node: InventoryNode, program: str = "ssh") -> tuple[str, ...]:
    """The whole argv. It holds names, ports and paths of the inventory, which are checked there, and a remote
    command that is the same for every node."""
    access = node.ssh
    options = [word for each in (*_OURS, *access.options) for word in ("-o", each)]
    port = ("-p", str(access.port)) if access.port else ()
    user = ("-l", access.user) if access.user else ()
    return (
        program,
        "-T",
        "-a",
        "-x",
        *options,
        *port,
        *user,
        "--",
        host(node),
        parcel.command(access.python, sudo=access.sudo),
    )


def host(node: InventoryNode) -> str:
    """Where ssh connects to."""
    return node.ssh.host or node.address.rpartition(":")[0].strip("[]")


def read(node: InventoryNode, ended: Ended) -> Any:  # noqa: ANN401 - JSON
    """What the program on the node answered.

    Raises:
        Unreachable: ssh did not get there.
        NodeRefusal: NODE_UNFIT: no Python there is new enough; SUDO_REFUSED.
        NodeFailure: ROLLOUT_FAILED: the step failed; or there was no answer.
    """
    answer = next((line for line in ended.out.splitlines()[::-1] if line.startswith(ANSWER)), None)
    if answer is None:
        raise _no_answer(node, ended)
    try:
        document = json.loads(answer.removeprefix(ANSWER))
        if document["ok"]:
            return document["result"]
        cause, file, remedy = (str(document["trouble"][key])[:LONGEST] for key in ("cause", "file", "remedy"))
    except (ValueError, KeyError, TypeError, RecursionError):  # the line broke in the middle of it
        raise _no_answer(node, ended) from None
    raise NodeFailure(Reason.ROLLOUT_FAILED, cause, node=node.name, file=file, remedy=remedy)


def _no_answer(node: InventoryNode, ended: Ended) -> GausscertError:
    said = _last_line(ended.err) or _last_line(ended.out.partition(ANSWER)[0].partition(parcel.FOUND)[0])
    if ended.code == parcel.NO_PYTHON:
        found = ", ".join(ended.out.split("\n")).strip(" ,") or "none"
        return NodeRefusal(
            Reason.NODE_UNFIT,
            f"there is no Python 3.11 or newer (found: {found})",
            node=node.name,
            remedy='install one beside the system\'s own, and name it with python = "..." under [ssh]',
        )
    if node.ssh.sudo and (refused := sudo.refused(node, ended)) is not None:
        return refused
    if ended.code == _SSH_FAILED:
        for words, cause, remedy in _SAID:
            if words in ended.err:
                details = "".join(f"; {detail}" for detail in _DETAIL.findall(ended.err))
                return _unreachable(node, f"{host(node)}: {cause}{details}", remedy)
        return _unreachable(node, f"{host(node)}: ssh: {said or 'no reason given'}", "try ssh by hand")
    return NodeFailure(
        Reason.ROLLOUT_FAILED,
        f"the step ended without an answer, exit code {ended.code}: {said or 'nothing was said'}",
        node=node.name,
        remedy="look at the node, then run it again; every step may be repeated",
    )


def _unreachable(node: InventoryNode, message: str, remedy: str) -> Unreachable:
    return Unreachable(Reason.UNREACHABLE, message, node=node.name, remedy=remedy)


def _last_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines()[::-1] if line.strip()), "")


class SystemSsh:
    """The real one.

    Args:
        timeout_s: For each command.
        linger_s: How long its words are waited for once it has ended, while somebody else, whom it has left
            behind, keeps its output open: a ProxyJump's master of ControlPersist in the background, say.
    """

    def __init__(self, timeout_s: float = STEP_S, linger_s: float = LINGER_S) -> None:
        self._timeout_s = timeout_s
        self._linger_s = linger_s

    async def __call__(self, argv: Sequence[str], stdin: bytes) -> Ended:
        """See `Ssh`."""
        heard = Heard(MOST)
        transport, _ = await asyncio.get_running_loop().subprocess_exec(lambda: heard, *argv)
        listens = cast("asyncio.WriteTransport", transport.get_pipe_transport(0))
        try:
            listens.write(stdin)  # unless it ends without reading it all: what it says tells why
            listens.write_eof()
            async with asyncio.timeout(self._timeout_s):
                await heard.ended.wait()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(heard.closed.wait(), self._linger_s)
        finally:
            if listens.get_write_buffer_size():
                listens.abort()
            transport.close()  # kills it, if it has not ended
            await heard.ended.wait()
        if heard.too_much:
            return Ended(1, "", f"it said more than {MOST} bytes")
        out, err = (heard.said[fd].decode(errors="replace") for fd in (Heard.OUT, Heard.ERR))
        return Ended(transport.get_returncode() or 0, out, err)


class Node:
    """One node as the roll-out talks to it.

    Args:
        inventory: Its entry.
        ssh: The way to it.
    """

    def __init__(self, inventory: InventoryNode, ssh: Ssh) -> None:
        self.inventory = inventory
        self._ssh = ssh

    async def ask(self, request: dict[str, Any], blobs: Sequence[parcel.Blob] = ()) -> Any:  # noqa: ANN401
        """Have one request carried out there, and read the answer.

        Raises:
            GausscertError: As `read`; DEADLINE; CONFIG_INVALID where this machine has no ssh.
        """
        try:
            ended = await self._ssh(command_line(self.inventory), parcel.pack(request, blobs))
        except TimeoutError:
            raise Unreachable(
                Reason.DEADLINE,
                f"{request['action']} has not ended in time",
                node=self.inventory.name,
                remedy="look at the node, then run it again; every step may be repeated",
            ) from None
        except OSError as error:
            raise InvalidInput(
                Reason.CONFIG_INVALID, f"ssh cannot be run: {error.strerror}", remedy="install an ssh client"
            ) from error
        return read(self.inventory, ended)
