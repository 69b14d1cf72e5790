"""The chain of the history: every statement that was ever written to it, with what it wrote. Pure.

Rows of the history change while a run goes on, so it is not they that are chained but what was done to them.
Done once more, that must make the very same rows: whatever was altered, taken out or put in differs.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Final

from gausscert_common.auditing import FIRST, Head

from gausscert_coordinator import history_schema as schema

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gausscert_coordinator.history_rows import Cell

NAMES: Final[dict[str, str]] = {
    schema.BEGIN_RUN: "begin_run",
    schema.SET_EPOCH: "set_epoch",
    schema.SET_BEFORE: "set_before",
    schema.END_RUN: "end_run",
    schema.PUT_NODE: "put_node",
    schema.SET_STAGED: "set_staged",
    schema.PUT_CERTIFICATE: "put_certificate",
    schema.PUT_STEP: "put_step",
    schema.PUT_EVIDENCE: "put_evidence",
    schema.PUT_FINDING: "put_finding",
    schema.PUT_FAILURE: "put_failure",
    schema.PUT_HEAD: "put_head",
    schema.PUT_ROLLOUT: "put_rollout",
}
"""Each statement by a name that lasts. A statement that a later version changes gets a new name, and the old
one stays with the old text: what was written with it must still be done once more."""

STATEMENTS: Final = {name: statement for statement, name in NAMES.items()}

BEGINNING: Final = Head(0, FIRST)


def link(before: Head, run: int, statement: str, cells: Sequence[Cell]) -> tuple[tuple[Cell, ...], Head]:
    """One line of the chain, as `history_schema.PUT_LINE` takes it, and the head that it makes.

    Args:
        before: The head so far.
        run: The run that the statement was for.
        statement: One of `history_schema`.
        cells: All its parameters but the first one, the run.
    """
    name = NAMES[statement]
    written = json.dumps(list(cells), ensure_ascii=True, separators=(",", ":"))
    head = Head(before.number + 1, digest(before, run, name, written))
    return (head.number, run, name, written, head.hash), head


def digest(before: Head, run: int, name: str, cells: str) -> str:
    """The hash of a line that follows a head."""
    text = json.dumps([before.number + 1, before.hash, run, name, cells], ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
