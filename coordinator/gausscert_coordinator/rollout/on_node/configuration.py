"""The agent's directories, credential and configuration on a node. Written as the agent's own user."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from gausscert_coordinator.rollout.on_node import files
from gausscert_coordinator.rollout.on_node.running import last_words, run
from gausscert_coordinator.rollout.on_node.trouble import Trouble

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from gausscert_coordinator.rollout.on_node.layout import Account, Layout

_PRIVATE: Final = 0o700
_SECRET: Final = 0o400
_CONFIG: Final = 0o600
_EMPTY: Final = hashlib.sha256(b"").hexdigest()
_MOST: Final = 64 * 1024
"""Bytes of one file of a credential."""


def make_places(layout: Layout, account: Account) -> None:
    """The directories that only root may be able to make; those that are there stay as they are."""
    if layout.etc.parent == layout.software:
        files.make_directory(layout.software, 0o755)
    for path in (layout.etc, layout.state):
        files.make_directory(path, _PRIVATE, (account.uid, account.gid))


def credential(pki: Path, sent: Sequence[Mapping[str, Any]], stream: BinaryIO) -> None:
    """Put the credential in its place: the CA first, the certificate last. The agent goes on with its former
    one until key and certificate are of one pair.

    Args:
        pki: Its directory.
        sent: name, size and sha256 of each, in the order of the stream.
        stream: Their bytes.

    Raises:
        Trouble: Something else arrived than was sent.
    """
    files.make_directory(pki, _PRIVATE)
    bodies: dict[str, bytes] = {}
    for each in sent:
        body = stream.read(min(each["size"], _MOST))
        if hashlib.sha256(body).hexdigest() != each["sha256"]:
            raise Trouble("what arrived is not what was sent", "run it again", str(pki / each["name"]))
        bodies[each["name"]] = body
    for name, body in bodies.items():
        files.replace(pki / name, body, _SECRET)


def deny(path: Path, former: str, body: bytes) -> None:
    """Put a deny list in its place; it counts from the agent's start on.

    Args:
        path: Of the list.
        former: SHA-256 of what was looked at, hex; "" for none.
        body: All of it.

    Raises:
        Trouble: Something else is there by now: it would be lost.
    """
    there = files.digest_of(path)
    unusable = os.path.lexists(path) and not there
    if unusable or there not in ({former} if former else {"", _EMPTY}):
        cause = "it is no regular file" if unusable else "it was changed since it was looked at"
        raise Trouble(cause, "look at it on the node, then run it again", str(path))
    files.replace(path, body, _CONFIG)


def configure(layout: Layout, release: str, config: bytes) -> str:
    """Lay agent.toml ready, once the release that is going to read it finds nothing wrong with it. The one of
    before stays in its place until the agent is started.

    Returns:
        Warnings, or "".

    Raises:
        Trouble: With all that is wrong with it; nothing lies ready.
    """
    fresh = files.write_beside(layout.config, config, _CONFIG)
    agent = layout.agent(release)
    done = run([str(agent), "check-config", "--config", str(fresh)])
    if done.returncode:
        fresh.unlink()
        said = last_words(done, 20).replace(str(fresh), str(layout.config))
        remedy = "correct the agent's settings on the operator's machine, then run it again"
        raise Trouble(said, remedy, str(layout.config))
    return "; ".join(line.removeprefix("warning: ") for line in done.stderr.splitlines() if line)
