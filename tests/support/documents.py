"""Holds a document of `--output json` to its schema, and to no more than it: every field is described.

The published schemas let fields be added; these do not, so that none is added without a word about it.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Iterator
from typing import Any

from gausscert_coordinator.schemas import SCHEMAS, VERSION, published
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match


def strict(schema: Any) -> Any:
    """The same, with no other fields than those that are described."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: strict(value) for key, value in schema.items()}
    if schema.get("type") == "object" and isinstance(schema.get("properties"), dict):
        inner["additionalProperties"] = False
    return inner


@functools.cache
def validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(strict(published(name)))


def name_of(document: dict[str, Any]) -> str:
    program, name, version = document["schema"].split("/")
    assert (program, version) == ("gausscert", VERSION)
    return str(name)


def hold(document: dict[str, Any]) -> dict[str, Any]:
    """The document again, if its schema describes all of it."""
    name = name_of(document)
    assert name in SCHEMAS, f"{name} has no schema: describe it in gausscert_coordinator.schemas"
    wrong = best_match(validator(name).iter_errors(document))
    assert wrong is None, f"{name} at {wrong.json_path}: {wrong.message}"
    return document


def only_document(out: str) -> dict[str, Any]:
    """What standard output holds, if that is exactly one document as its schema says."""
    decoded = json.JSONDecoder().raw_decode(out)
    assert out[decoded[1] :] == "\n", "one document, and nothing after it"
    return hold(decoded[0])


def shape(name: str) -> dict[str, str]:
    """Every field of a document and what is promised of it: `{"nodes[].report?.days_left?": "integer"}`."""
    schema = published(name)
    return dict(_shapes(schema, "", schema.get("$defs", {})))


def _shapes(schema: dict[str, Any], path: str, parts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if "$ref" in schema:
        yield from _shapes(parts[schema["$ref"].rpartition("/")[2]], path, parts)
        return
    if "anyOf" in schema:
        yield from _shapes(schema["anyOf"][0], f"{path}?", parts)
        return
    words = ", ".join(schema.get("enum", [schema["const"]] if "const" in schema else []))
    yield path, f"{schema['type']}{f' of {words}' if words else ''}"
    for name, inner in schema.get("properties", {}).items():
        yield from _shapes(inner, f"{path}.{name}" if path else name, parts)
    if isinstance(schema.get("additionalProperties"), dict):
        yield from _shapes(schema["additionalProperties"], f"{path}.*", parts)
    if "items" in schema:
        yield from _shapes(schema["items"], f"{path}[]", parts)


if __name__ == "__main__":  # writes tests/unit/vectors/documents-v1.json, which only ever grows
    sys.stdout.write(json.dumps({name: shape(name) for name in SCHEMAS}, indent=1) + "\n")
