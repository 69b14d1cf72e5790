"""Every kind of finding about the history. All are warnings: it has no say in any transaction."""

from __future__ import annotations

from typing import Final

from gausscert_common.findings import Finding
from gausscert_common.validate.rule import WARNING, table
from gausscert_common.validate.rule import Rule as _Rule

HISTORY: Final = table(
    _Rule(
        "HISTORY_NOT_WRITTEN",
        WARNING,
        "What was done is not recorded, or not to its end",
        "The file of `gausscert history` could not be used, or a write to it failed or took too long. The"
        " transaction went on without it: it depends on nothing but the nodes.",
        "mend what is said of the file; the next transaction is recorded again",
    ),
    _Rule(
        "HISTORY_WITHOUT_WAL",
        WARNING,
        "The history's file system cannot have a write-ahead log",
        "SQLite needs memory that all writers share, which network file systems do not have. Everything is"
        " recorded all the same, with a rollback journal; two machines should not write to one file.",
        'name a file on a local disk with file = "..." under [history] in the inventory',
    ),
)


def finding(code: str, cause: str, file: str, remedy: str = "") -> Finding:
    """A finding of this catalogue; without a remedy of its own it has that of its rule."""
    rule = HISTORY[code]
    return Finding(code, rule.severity, cause, remedy=remedy or rule.remedy, file=file)
