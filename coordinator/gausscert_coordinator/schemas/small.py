"""Bundles, the demo, and what every verb may end with. Pure."""

from __future__ import annotations

from typing import Final

from gausscert_coordinator.schemas.words import (
    Schema,
    by_name,
    every,
    flag,
    hexadecimal,
    maybe,
    number,
    obj,
    part,
    text,
)

DOCUMENTS: Final[dict[str, tuple[str, dict[str, Schema]]]] = {
    "error": (
        "What any verb but check writes when it could not be done: wrong usage, no inventory, a bug.",
        {"error": part("error")},
    ),
    "bundle-new": (
        "gausscert bundle new.",
        {
            "directory": text(),
            "files": every(text()),
            "certificates": every(part("certificate")),
            "ca_key": maybe(text("Where the CA's key is; null if it was not kept.")),
        },
    ),
    "bundle-verify": (
        "gausscert bundle verify.",
        {
            "directory": text(),
            "ok": flag("No finding is an error."),
            "bundle_digest": hexadecimal("As at the nodes."),
            "certificates": every(part("certificate")),
            "unknown_files": every(text(), "Other names in the directory, left alone."),
            "findings": every(part("finding")),
        },
    ),
    "demo": (
        "gausscert demo.",
        {
            "simulated": flag("Always true: nothing of it is a real CM."),
            "ok": flag("Every claim holds."),
            "duration_s": number("Seconds."),
            "claims": every(obj(claim=text(), holds=flag(""), detail=text())),
            "served": every(
                obj(moment=text(), fingerprints=by_name(text(), "By node.")), "At each moment of the demo."
            ),
        },
    ),
    "demo-stay": (
        "gausscert demo --stay: before it waits.",
        {
            "simulated": flag("Always true: nothing of it is a real CM."),
            "directory": text(),
            "nodes": every(text()),
            "commands": every(text(), "That can be tried in another terminal."),
        },
    ),
    "completion": ("gausscert completion.", {"shell": text(), "script": text()}),
    "version": ("gausscert version.", {"version": text(), "python": text()}),
    "schema": (
        "gausscert schema.",
        {"schemas": by_name({"type": "object"}, "JSON Schemas of documents, by name.")},
    ),
}
