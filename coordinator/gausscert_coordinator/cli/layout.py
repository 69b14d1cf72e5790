"""Cells, and tables that become blocks where the terminal is too narrow for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

GOOD: Final = "green"
DOUBTFUL: Final = "yellow"
BAD: Final = "bold red"
FAINT: Final = "dim"
STRONG: Final = "bold"

GAP: Final = 2
BESIDE: Final = 16
"""Columns for values below which each stands under its heading: beside it they would fold within words."""
SHORT: Final = 12
"""Hex digits of a fingerprint that tell two certificates apart for a person; documents have all 64."""


def harmless(text: str) -> str:
    """Without anything that could steer the terminal: names and texts come from nodes and files."""
    return "".join(
        each if each.isprintable() or each == "\n" else each.encode("unicode_escape").decode()
        for each in text
    )


def cell(text: str, style: str = "") -> Text:
    """Text that is shown as it is, never read as markup."""
    return Text(harmless(text), style=style)


def short(fingerprint: str) -> str:
    """Enough of a fingerprint for a person, or a dash."""
    return fingerprint[:SHORT] or "-"


def counted(number: int, noun: str) -> str:
    """ "1 node", "3 nodes"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def first_line(text: str) -> str:
    """Of what a program wrote; the rest is its banner."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def fitted(
    headings: Sequence[str], rows: Sequence[Sequence[Text]], width: int, *, flexible: int = 0
) -> RenderableType:
    """A table if it fits into the width, else one block per row headed by its first cell.

    Args:
        headings: One per column.
        rows: The cells; data only from `cell`.
        width: Columns of the terminal.
        flexible: Narrowest acceptable width of the last column, which then wraps; 0: it does not.
    """
    widths = [
        max(_longest(cells), len(head)) for head, cells in zip(headings, zip(*rows, strict=True), strict=True)
    ]
    if flexible:
        widths[-1] = min(widths[-1], flexible)
    if sum(widths) + GAP * (len(widths) - 1) <= width:
        return _table(headings, rows, flexible=bool(flexible))
    return _blocks(headings, rows, width)


def _longest(cells: Sequence[Text]) -> int:
    return max((line.cell_len for each in cells for line in each.split()), default=0)


def _table(headings: Sequence[str], rows: Sequence[Sequence[Text]], *, flexible: bool) -> Table:
    table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style=STRONG)
    for index, head in enumerate(headings):
        wraps = flexible and index == len(headings) - 1
        table.add_column(head, no_wrap=not wraps, overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def _blocks(headings: Sequence[str], rows: Sequence[Sequence[Text]], width: int) -> Table:
    blocks = Table.grid(padding=0)
    blocks.add_column(overflow="fold")
    labels = max(map(len, headings[1:]), default=0)
    beside = width - GAP - labels - GAP >= BESIDE
    for row in rows:
        title = row[0].copy()
        title.stylize(STRONG)
        fields = [(head, value) for head, value in zip(headings[1:], row[1:], strict=True) if value.plain]
        blocks.add_row(title)
        blocks.add_row(Padding((_beside if beside else _below)(fields), (0, 0, 0, GAP)))
    return blocks


def _beside(fields: Sequence[tuple[str, Text]]) -> Table:
    shown = Table.grid(padding=(0, GAP, 0, 0))
    shown.add_column(no_wrap=True, style=FAINT)
    shown.add_column(overflow="fold")
    for head, value in fields:
        shown.add_row(head, value)
    return shown


def _below(fields: Sequence[tuple[str, Text]]) -> Table:
    shown = Table.grid(padding=0)
    shown.add_column(overflow="fold")
    for head, value in fields:
        shown.add_row(cell(head, FAINT))
        shown.add_row(Padding(value, (0, 0, 0, GAP)))
    return shown
