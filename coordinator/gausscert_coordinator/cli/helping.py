"""How help is laid out: on narrow terminals, too, and with examples that can be pasted."""

from __future__ import annotations

import re
import shutil
import sys
from io import StringIO
from typing import TYPE_CHECKING, Final

import click

from gausscert_coordinator.cli.settings import Invocation
from gausscert_coordinator.cli.streams import Enduring

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

WIDEST: Final = 110
NARROWEST: Final = 30
_SIDE_BY_SIDE: Final = 60
"""Columns below which what an option does stands below its name."""
_WORD: Final = re.compile(r"""(?:[^\s"']|"[^"]*"|'[^']*')+""")
_BEGINS: Final = ("-", "|", ">")
"""A line may be broken before words that begin so."""
CONTINUED: Final = " \\"


class HelpContext(click.Context):
    """click's own never goes below 50 columns."""

    def make_formatter(self) -> click.HelpFormatter:
        """For the terminal that there is."""
        columns = shutil.get_terminal_size().columns
        return click.HelpFormatter(width=max(NARROWEST, min(columns, WIDEST) - 2))


def list_of(formatter: click.HelpFormatter, rows: Sequence[tuple[str, str]]) -> None:
    """Names and what is said of them."""
    wide = formatter.width >= _SIDE_BY_SIDE
    formatter.write_dl(rows, col_max=30 if wide else 4)


def example(formatter: click.HelpFormatter, sentence: str, line: str) -> None:
    """One example: what for, and the command line."""
    if sentence:
        formatter.write_text(sentence)
    indent = formatter.current_indent + 2
    for number, each in enumerate(folded(line, formatter.width - indent)):
        formatter.write(f"{'':{indent + (4 if number else 0)}}{each}\n")


def folded(line: str, width: int) -> Iterator[str]:
    """A command line over as many lines as it needs, which a shell reads as one.

    Args:
        line: As it would be typed.
        width: Columns; further lines are indented by 4. A single option may be longer.
    """
    current, room = "", width
    for piece in _pieces(line):
        longer = f"{current} {piece}" if current else piece
        if current and len(longer) > room - len(CONTINUED):
            yield current + CONTINUED
            current, room = piece, width - 4
        else:
            current = longer
    yield current


def _pieces(line: str) -> list[str]:
    """An option with its value, a redirection with its file: what stays together."""
    pieces: list[str] = []
    for word in _WORD.findall(line):
        if pieces and not word.startswith(_BEGINS):
            pieces[-1] += f" {word}"
        else:
            pieces.append(word)
    return pieces


def show_help(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:  # noqa: ARG001 - click's signature
    """`--help`: whoever reads it may go away while it is written."""
    if value and not ctx.resilient_parsing:
        invocation = ctx.find_object(Invocation)
        out = invocation.out if invocation is not None else Enduring(sys.stdout or StringIO())
        out.write(f"{ctx.get_help()}\n")
        out.flush()
        ctx.exit()
