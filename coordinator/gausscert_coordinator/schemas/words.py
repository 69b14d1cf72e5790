"""The vocabulary that schemas are written in: small functions that make JSON Schema. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from enum import StrEnum

Schema = dict[str, Any]

_REFERENCE: Final = re.compile(r"#/\$defs/(\w+)")


def text(said: str = "") -> Schema:
    """Any text; where nothing is known it is ""."""
    return _told({"type": "string"}, said)


def code(said: str) -> Schema:
    """One of many stable words, to which more may be added: docs/findings.md, docs/errors.md."""
    return _told({"type": "string", "pattern": "^[A-Z][A-Z0-9]*(_[A-Z0-9]+)*$"}, said)


def hexadecimal(said: str) -> Schema:
    """A whole SHA-256, or ""."""
    return _told({"type": "string", "pattern": "^([0-9a-f]{64})?$"}, said)


def moment(said: str) -> Schema:
    """ISO 8601 in UTC."""
    pattern = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?Z$"
    return _told({"type": "string", "format": "date-time", "pattern": pattern}, said)


def word(words: type[StrEnum] | Iterable[str], said: str = "") -> Schema:
    """One of these; another one would be another version."""
    return _told({"type": "string", "enum": [str(each) for each in words]}, said)


def flag(said: str) -> Schema:
    """True or false."""
    return _told({"type": "boolean"}, said)


def whole(said: str) -> Schema:
    """A whole number."""
    return _told({"type": "integer"}, said)


def number(said: str) -> Schema:
    """Any number."""
    return _told({"type": "number"}, said)


def maybe(inner: Schema, said: str = "") -> Schema:
    """That, or null."""
    kept = dict(inner)
    told = said or kept.pop("description", "")
    return _told({"anyOf": [kept, {"type": "null"}]}, told)


def every(inner: Schema, said: str = "") -> Schema:
    """A list of these."""
    return _told({"type": "array", "items": inner}, said)


def by_name(inner: Schema, said: str) -> Schema:
    """An object whose keys are names, not fields."""
    return _told({"type": "object", "additionalProperties": inner}, said)


def obj(said: str = "", /, **fields: Schema) -> Schema:
    """An object with these fields, each of them always there; others may come with a later gausscert."""
    return _told({"type": "object", "properties": fields, "required": list(fields)}, said)


def part(name: str) -> Schema:
    """What `parts.PARTS` has of this name."""
    return {"$ref": f"#/$defs/{name}"}


def parts_in(schema: object, known: Mapping[str, Schema]) -> frozenset[str]:
    """The parts that a schema refers to, and those that they refer to.

    Raises:
        KeyError: One of them is not known.
    """
    found: set[str] = set()
    waiting = set(_references(schema))
    while waiting:
        name = waiting.pop()
        found.add(name)
        waiting |= set(_references(known[name])) - found
    return frozenset(found)


def _references(schema: object) -> Iterator[str]:
    if isinstance(schema, dict):
        named = _REFERENCE.fullmatch(str(schema.get("$ref", "")))
        if named is not None:
            yield named.group(1)
        schema = list(schema.values())
    if isinstance(schema, list):
        for inner in schema:
            yield from _references(inner)


def _told(schema: Schema, said: str) -> Schema:
    return {**schema, "description": said} if said else schema
