"""Whom a node's deny list lacks, and what becomes of it. Pure."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from gausscert_common import denylist
from gausscert_common.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gausscert_common.denylist import Denied, DenyList

    from gausscert_coordinator.rollout.facts import Facts

_HEADER: Final = "# certificates of the control plane that may call nothing here; see gausscert pki revoke\n"


def understood(facts: Facts) -> DenyList:
    """A node's list.

    Raises:
        InvalidInput: DENY_LIST_INVALID: no agent would understand it.
    """
    text = facts.denied
    # What is no UTF-8 was told with this mark in its place; a list may have the mark itself, too.
    if "\ufffd" in text and hashlib.sha256(text.encode()).hexdigest() != facts.denied_sha256:
        raise denylist.invalid("it is no UTF-8")
    return denylist.parse(text)


def lacking(facts: Facts, revoked: Sequence[Denied]) -> tuple[Denied, ...]:
    """What a node does not deny and should; () also where its list cannot be added to (`unusable`).

    Args:
        facts: Of the node.
        revoked: Whom it should.
    """
    return () if not revoked or unusable(facts, revoked) else understood(facts).lacks(revoked)


def unusable(facts: Facts, revoked: Sequence[Denied]) -> str:
    """Why a node's list cannot be added to: it is not understood, or would become too long. "" where it can
    be, or need not.

    Args:
        facts: As `lacking`.
        revoked: As `lacking`; () to leave the list alone.
    """
    try:
        if lacks := understood(facts).lacks(revoked) if revoked else ():
            denylist.read(extended(facts.denied, lacks).encode())
    except InvalidInput as error:
        return error.message
    return ""


def laid(there: str, lacks: Sequence[Denied]) -> dict[str, str]:
    """What a node is told with ACTIVATE of its list: all of the new one, and the SHA-256 of the one that was
    looked at; {} where it lacks nothing."""
    if not lacks:
        return {}
    former = hashlib.sha256(there.encode()).hexdigest() if there else ""
    return {"deny_list": extended(there, lacks), "former_deny_list": former}


def extended(there: str, lacks: Sequence[Denied]) -> str:
    """The list with more lines; those that are there stay as they are, whoever wrote them."""
    former = there or _HEADER
    return f"{former}{'' if former.endswith(chr(10)) else chr(10)}{lines(lacks)}"


def lines(entries: Sequence[Denied]) -> str:
    """As they stand in a list."""
    return "".join(f"{one.line}\n" for one in entries)
