"""The names of everything that the agent keeps beside or inside the live set. All of them are made here.

With the exchange layout they lie in `share/sslcert`, with the data link layout in `share/sslcert/cm`:

    .cm.<transaction id>        the stage; after an exchange it holds the former set
    .cm.former.<digest>         data link: the set that was live when the links were made
    .cm.<transaction id>.mark   empty: a transaction is here that leaves no set beside the live one
    .cm.<id>.encrypt            where cm_ctl encrypt writes, for a moment
    .cm.retired.<id>            a former set kept for rollback
    .cm.<id>.gone               a former set that is being removed
    .cm.probe.one, .cm.probe.two    while a probe runs
    ..data                      data link: names the live one of these directories

Hidden siblings do not disturb cm_server or cm_ctl (facts section 17).
"""

from __future__ import annotations

import os
import re
from typing import Final

from gausscert_common.errors import InvalidInput, Reason

LIVE: Final = "cm"
PROBE: Final = (".cm.probe.one", ".cm.probe.two")
PREFIX: Final = ".cm."
"""Of every directory of ours."""

DATA: Final = "..data"
NEW_DATA: Final = "..data.new"
BACK_DATA: Final = "..data.back"
"""The links to the new and to the former set, ready to take the place of `..data`."""
NEW_LINK: Final = "..link."
"""Before the name of a file: its link, before it takes the file's place."""
PROBE_LINKS: Final = ("..probe", "..probe.new")

_ID: Final = re.compile(r"[a-z0-9-]{8,64}")
_RETIRED: Final = ".cm.retired."
_FORMER: Final = re.compile(r"\.cm\.former\.[0-9a-f]{32}")
_GONE: Final = ".gone"
_MARK: Final = ".mark"
_MAX_NAME: Final = 255
"""Bytes in a name, on every file system that matters."""
_DIGITS: Final = 32
"""Of a digest in a name: 128 bits."""


def stage_name(transaction_id: str) -> str:
    """The directory name of a transaction's stage.

    Raises:
        InvalidInput: ARGUMENT_INVALID; that is no transaction id.
    """
    return f"{PREFIX}{_checked(transaction_id)}"


def former_name(digest: str) -> str:
    """The directory name of the set that was live before there were links."""
    return f"{PREFIX}former.{digest[:_DIGITS]}"


def is_former(name: str) -> bool:
    """Whether `former_name` made this name."""
    return _FORMER.fullmatch(name) is not None


def may_precede_links(name: str) -> bool:
    """Whether a directory of that name may be in `cm` before there is a `..data`."""
    return is_former(name) or name in PROBE


def is_reserved(name: str) -> bool:
    """Whether no file of a set may have that name: it is one of the layout's, or leaves no room for them."""
    return name.startswith(("..", PREFIX)) or len(os.fsencode(NEW_LINK + name)) > _MAX_NAME


def is_passing_link(name: str) -> bool:
    """Whether a link of that name is in `cm` for a moment only."""
    return name in (NEW_DATA, BACK_DATA, *PROBE_LINKS) or name.startswith(NEW_LINK)


def is_set(name: str) -> bool:
    """Whether a directory of that name holds a set that is live, staged or former, but not retired."""
    identifier = name.removeprefix(PREFIX)
    return is_former(name) or (identifier != name and _ID.fullmatch(identifier) is not None)


def told(name: str) -> str:
    """Who has left a directory for which `is_set` or `is_mark` holds, for a person."""
    if is_former(name):
        return f"the set {name} that was live before a transaction is still here"
    if is_mark(name):
        return f"transaction {name.removeprefix(PREFIX).removesuffix(_MARK)} has left its mark here"
    return f"transaction {name.removeprefix(PREFIX)} has left its stage here"


def mark_name(transaction_id: str) -> str:
    """The directory name of a transaction's mark. Raises InvalidInput ARGUMENT_INVALID."""
    return f"{PREFIX}{_checked(transaction_id)}{_MARK}"


def is_mark(name: str) -> bool:
    """Whether `mark_name` made this name."""
    identifier = name.removeprefix(PREFIX).removesuffix(_MARK)
    return _ID.fullmatch(identifier) is not None and name == f"{PREFIX}{identifier}{_MARK}"


def scratch_name(transaction_id: str) -> str:
    """Where cm_ctl encrypt writes. Raises InvalidInput ARGUMENT_INVALID."""
    return f"{PREFIX}{_checked(transaction_id)}.encrypt"


def retired_name(transaction_id: str) -> str:
    """The directory name of a retired set. Raises InvalidInput ARGUMENT_INVALID."""
    return f"{_RETIRED}{_checked(transaction_id)}"


def generation_of(name: str) -> str | None:
    """The generation whose retired set a directory name stands for, or None."""
    generation = name.removeprefix(_RETIRED)
    return generation if generation != name and _ID.fullmatch(generation) else None


def gone_name(transaction_id: str) -> str:
    """The name of a retired set while it is removed. Raises InvalidInput ARGUMENT_INVALID."""
    return f"{PREFIX}{_checked(transaction_id)}{_GONE}"


def is_gone(name: str) -> bool:
    """Whether a directory name stands for a set that is being removed."""
    identifier = name.removeprefix(PREFIX).removesuffix(_GONE)
    return _ID.fullmatch(identifier) is not None and name == f"{PREFIX}{identifier}{_GONE}"


def _checked(identifier: str) -> str:
    if not _ID.fullmatch(identifier):
        raise InvalidInput(
            Reason.ARGUMENT_INVALID,
            "an id is 8 to 64 lower-case letters, digits and hyphens",
        )
    return identifier
