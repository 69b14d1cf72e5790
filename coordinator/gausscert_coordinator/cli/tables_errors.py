"""What people see of errors. Values in, renderables out; `render` prints them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gausscert_coordinator.cli.layout import BAD, FAINT, STRONG, cell, counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gausscert_common.errors import GausscertError
    from rich.console import RenderableType


def failures(errors: Sequence[GausscertError]) -> list[RenderableType]:
    """Each with its node, cause and remedy."""
    return [part for error in errors for part in failure(error)]


def of_result(errors: Sequence[GausscertError]) -> list[RenderableType]:
    """As `failures`, and what several nodes see alike is said once: all nodes look at all cm_servers."""
    alike: dict[tuple[object, ...], list[GausscertError]] = {}
    for error in errors:
        key = (error.reason, error.file, error.message, error.remedy, error.findings)
        alike.setdefault(key, []).append(error)
    parts: list[RenderableType] = []
    for first, *others in alike.values():
        parts += failure(first, also=[each.node for each in others if each.node])
    return parts


def verdict(error: GausscertError) -> list[RenderableType]:
    """An error that sums up what was said of each node already."""
    text = cell(error.message, BAD)
    return [text, cell(f"  do: {error.remedy}", FAINT)] if error.remedy else [text]


def says_its_findings(error: GausscertError) -> bool:
    """Whether the message only joins what the findings say."""
    return bool(error.findings) and all(each.cause in error.message for each in error.findings)


def _where(error: GausscertError, also: Sequence[str]) -> str:
    nodes = ", ".join(dict.fromkeys(each for each in (error.node, *also) if each))
    return ": ".join(part for part in (nodes, error.file) if part)


def _several(error: GausscertError, also: Sequence[str]) -> list[RenderableType]:
    """Several things wrong with one file, say: a line for each instead of one that joins them."""
    text = cell("")
    text.append(cell("error ", BAD))
    text.append(cell(f"{error.reason.value} ", STRONG))
    where = _where(error, also)
    count = counted(len(error.findings), "thing")
    text.append(cell(f"{where}: {count} to mend" if where else f"{count} to mend"))
    parts: list[RenderableType] = [text]
    for each in error.findings:
        node = each.node if each.node != error.node else ""
        file = each.file if each.file != error.file else ""
        parts.append(cell("  " + ": ".join(part for part in (node, file, each.cause) if part)))
        parts.append(cell(f"    do: {each.remedy}", FAINT))
    return parts


def failure(error: GausscertError, also: Sequence[str] = ()) -> list[RenderableType]:
    """One error, as lines that wrap.

    Args:
        error: The error.
        also: Other nodes of which the same is to be said.
    """
    if len(error.findings) > 1 and says_its_findings(error):
        return _several(error, also)
    where = _where(error, also)
    text = cell("")
    text.append(cell("error ", BAD))
    text.append(cell(f"{error.reason.value} ", STRONG))
    text.append(cell(f"{where}: {error.message}" if where else error.message))
    return [text, cell(f"  do: {error.remedy}", FAINT)] if error.remedy else [text]
