"""Several clusters in one gausscert.toml: which of them is meant, as a document of one cluster.

    [timeouts]                   # optional; for every cluster that has none of its own
    stop_s = 300

    [clusters.prod.credentials]  # all that the file of a single cluster has, below [clusters.NAME]
    ca = "prod/ca.crt"
    ...
    [[clusters.prod.node]]
    name = "node-a"
    address = "10.0.0.1:7443"

The name of a cluster is its key: no `cluster.name` beside it. Each has credentials of its own, because an
identity of the control plane belongs to one cluster.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Final, Protocol

from gausscert_common.errors import InvalidInput, Reason

VARIABLE: Final = "GAUSSCERT_CLUSTER"
KEY: Final = "clusters"
SHARED: Final = ("timeouts", "ssh", "agent")
"""Tables that stand for all clusters of a file."""


class Reader(Protocol):
    """Collects what is wrong; that of `inventory_file`."""

    file: str
    prefix: str
    """Of all keys from now on."""

    def wrong(self, key: str, cause: str, remedy: str) -> None:
        """One thing is."""

    def known(self, table: Mapping[str, object], where: str, keys: tuple[str, ...]) -> None:
        """Refuse other keys than these."""


def names(document: Mapping[str, object]) -> tuple[str, ...]:
    """Every cluster of a file, in its order; what is no cluster is left out."""
    several = document.get(KEY)
    tables = several.items() if isinstance(several, dict) else ()
    found = tuple(name for name, table in tables if isinstance(table, dict))
    if found:
        return found
    single = document.get("cluster")
    name = single.get("name") if isinstance(single, dict) else None
    return (name,) if isinstance(name, str) else ()


def chosen(reader: Reader, document: Mapping[str, object], wanted: str | None) -> Mapping[str, object]:
    """The document of the cluster that is meant, as if it had a file of its own.

    Args:
        reader: Is told what is wrong; keys below [clusters] are from now on told as such.
        document: The file.
        wanted: What `--cluster` or $GAUSSCERT_CLUSTER names, or None.

    Raises:
        InvalidInput: CONFIG_INVALID; no cluster of that name, or several and none is named.
    """
    several = document.get(KEY)
    tables = several if isinstance(several, dict) else {}
    if not any(isinstance(table, dict) for table in tables.values()):  # of one cluster, or meant to be
        if wanted is not None and names(document) and wanted not in names(document):
            raise _no_such(reader.file, wanted, names(document))
        return document
    name = _name(reader.file, names(document), wanted)
    _judge(reader, document, tables)
    own = tables[name]
    if "cluster" in own:
        reader.wrong(f"{KEY}.{name}.cluster", "the key is its name already", "leave it out")
    reader.prefix = f"{KEY}.{name}."
    shared = {key: document[key] for key in SHARED if key in document}
    return {**shared, **own, "cluster": {"name": name}}


def _judge(reader: Reader, document: Mapping[str, object], several: Mapping[str, object]) -> None:
    """What stands beside the cluster that is meant."""
    for name, table in several.items():
        if not isinstance(table, dict):
            reader.wrong(f"{KEY}.{name}", "not a table", f"write [{KEY}.{name}]")
    single = [key for key in ("cluster", "credentials", "history", "node") if key in document]
    for key in single:
        reader.wrong(key, f"it stands beside [{KEY}]", f"move it below [{KEY}.NAME]")
    rest = {key: value for key, value in document.items() if key not in single}
    reader.known(rest, "", (KEY, *SHARED))


def _name(file: str, there: tuple[str, ...], wanted: str | None) -> str:
    if wanted is None and len(there) == 1:
        return there[0]
    if wanted is None:
        raise InvalidInput(
            Reason.CONFIG_INVALID,
            f"which cluster? There are {', '.join(there)}",
            file=file,
            remedy=f"say it with --cluster NAME or ${VARIABLE}",
        )
    if wanted not in there:
        raise _no_such(file, wanted, there)
    return wanted


def _no_such(file: str, wanted: str, there: tuple[str, ...]) -> InvalidInput:
    near = difflib.get_close_matches(wanted, there, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"look at --cluster, ${VARIABLE} and --inventory"
    return InvalidInput(
        Reason.CONFIG_INVALID,
        f"no cluster {wanted!r} in it; there {'is' if len(there) == 1 else 'are'} {', '.join(there)}",
        file=file,
        remedy=hint,
    )
