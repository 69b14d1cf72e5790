"""Reads the lines of an audit log: whatever the product keeps of them, it has no need to."""

from __future__ import annotations

import json

from gausscert_common.auditing import Event


def event_of(text: str) -> Event | None:
    """What a line tells; None for one that is none."""
    try:
        record = json.loads(text.partition(" ")[2])
        return Event(**{name: record[name] for name in Event._fields})
    except (ValueError, KeyError, TypeError):
        return None
