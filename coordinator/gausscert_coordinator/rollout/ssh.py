"""The system's own ssh: its command line, and what its end means."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from gausscert_common.errors import (
    GausscertError,
    InvalidInput,
    NodeFailure,
    NodeRefusal,
    Reason,
    Unreachable,
)

from gausscert_coordinator.rollout import parcel, sudo
from gausscert_coordinator.rollout.on_node.main import ANSWER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gausscert_coordinator.inventory import InventoryNode

CONNECT_S: Final = 15
MOST: Final = 8 * 1024 * 1024
"""Bytes of what a command says: an answer has some ten KiB, and a node in the wrong hands no end."""
LONGEST: Final = 16 * 1024
"""Characters of a cause or remedy: they are shown, and kept in the history."""
_CHUNK: Final = 64 * 1024
STEP_S: Final = 900.0
"""The longest that one step may take, an installation on a slow machine included."""
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


def command_line(node: InventoryNode, program: str = "ssh") -> tuple[str, ...]:
    """The whole argv. It holds names, ports and paths of the inventory, which are checked there, and a remote
    command that is the same for every node."""
    access = node.ssh
    ours = ("BatchMode=yes", f"ConnectTimeout={CONNECT_S}", "ServerAliveInterval=15", "LogLevel=ERROR")
    options = [word for each in (*ours, *access.options) for word in ("-o", each)]
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
    """

    def __init__(self, timeout_s: float = STEP_S) -> None:
        self._timeout_s = timeout_s

    async def __call__(self, argv: Sequence[str], stdin: bytes) -> Ended:
        """See `Ssh`."""
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(self._timeout_s):
                out, err, _ = await asyncio.gather(
                    _said(process.stdout, process),
                    _said(process.stderr, process),
                    _tell(process.stdin, stdin),
                )
                if len(out) > MOST or len(err) > MOST:
                    return Ended(1, "", f"it said more than {MOST} bytes")
                await process.wait()
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        return Ended(process.returncode or 0, out.decode(errors="replace"), err.decode(errors="replace"))


async def _said(stream: asyncio.StreamReader | None, process: asyncio.subprocess.Process) -> bytes:
    """To its end, which a program that says more than is taken meets at once."""
    body = bytearray()
    while stream is not None and (chunk := await stream.read(_CHUNK)):
        if len(body) <= MOST:
            body += chunk
        elif process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
    return bytes(body)


async def _tell(stream: asyncio.StreamWriter | None, body: bytes) -> None:
    """All of it, unless the program has ended without reading it: what it says tells why."""
    if stream is None:
        return
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        stream.write(body)
        await stream.drain()
        stream.close()
        await stream.wait_closed()


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
