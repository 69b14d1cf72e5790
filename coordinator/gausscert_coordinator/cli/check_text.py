"""The output of a monitoring plugin, as the Monitoring Plugins' development guidelines want it: one line with
the state, a bar, performance data; then as many lines as there is more to say. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gausscert_coordinator.cli import documents
from gausscert_coordinator.cli.layout import harmless
from gausscert_coordinator.exit_codes import CheckState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gausscert_common.errors import GausscertError

    from gausscert_coordinator.cli.check_judge import Checked, Datum, Problem
    from gausscert_coordinator.cli.documents import Document

_TOLD_FIRST: Final = 3
"""Problems in the first line, which is all that a pager shows."""


def lines(shown: Checked, *, quiet: bool = False) -> Iterator[str]:
    """The first line, then one for each problem."""
    performance = " ".join(_datum(each) for each in shown.data)
    yield f"{shown.state.name} - {_harmless(_headline(shown))} | {performance}"
    if not quiet:
        yield from (_harmless(_long(problem)) for problem in shown.problems)


def failure(raised: GausscertError) -> Iterator[str]:
    """Nothing could be checked."""
    yield _harmless(f"{CheckState.UNKNOWN.name} - {raised.reason.value}: {raised}")


def document(shown: Checked) -> Document:
    """For a program."""
    return {
        "state": shown.state.name,
        "summary": _headline(shown),
        "problems": [
            {
                "state": each.state.name,
                "node": each.node,
                "code": each.code,
                "text": each.text,
                "remedy": each.remedy,
            }
            for each in shown.problems
        ],
        "data": [
            {
                "label": each.label,
                "value": each.value,
                "warning": each.warning,
                "critical": each.critical,
            }
            for each in shown.data
        ],
        "error": None,
    }


def failure_document(raised: GausscertError) -> Document:
    """The same fields, where nothing could be checked."""
    return {
        "state": CheckState.UNKNOWN.name,
        "summary": raised.message,
        "problems": [],
        "data": [],
        "error": documents.error(raised),
    }


def _headline(shown: Checked) -> str:
    if not shown.problems:
        return shown.summary
    first = "; ".join(_named(each) for each in shown.problems[:_TOLD_FIRST])
    more = len(shown.problems) - _TOLD_FIRST
    return f"{first}; {more} more" if more > 0 else first


def _named(problem: Problem) -> str:
    return f"{problem.node}: {problem.text}" if problem.node else problem.text


def _long(problem: Problem) -> str:
    remedy = f" (do: {problem.remedy})" if problem.remedy else ""
    return f"{problem.state.name} {problem.code} {_named(problem)}{remedy}"


def _datum(each: Datum) -> str:
    """'label'=value;warning;critical, trailing semicolons left out."""
    label = f"'{each.label}'" if " " in each.label else each.label
    value = f"{each.value:.2f}".rstrip("0").rstrip(".")
    return f"{label}={value};{each.warning};{each.critical}".rstrip(";")


def _harmless(text: str) -> str:
    """One line, without the character that ends the text."""
    return harmless(" ".join(text.splitlines())).replace("|", "/")
