"""The documents of `--output json` as JSON Schema (2020-12): what a program may rely on.

    from gausscert_coordinator.schemas import SCHEMAS, published

Nothing here makes a document; `cli.documents` does. Tests hold every document they produce to its schema, and
to no more than its schema: a field that is not described fails.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gausscert_coordinator.schemas import clusters, control_planes, histories, plans, small, transactions
from gausscert_coordinator.schemas.parts import PARTS
from gausscert_coordinator.schemas.words import Schema, obj, parts_in, text

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION: Final = "v1"
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

_DOCUMENTS: Final[Mapping[str, tuple[str, Mapping[str, Schema]]]] = {
    **clusters.DOCUMENTS,
    **plans.DOCUMENTS,
    **transactions.DOCUMENTS,
    **histories.DOCUMENTS,
    **control_planes.DOCUMENTS,
    **small.DOCUMENTS,
}


def published(name: str) -> Schema:
    """The schema of one document.

    Args:
        name: As in the document's `schema`, for example "status" of "gausscert/status/v1".

    Raises:
        KeyError: There is no such document.
    """
    said, fields = _DOCUMENTS[name]
    identity = f"gausscert/{name}/{VERSION}"
    body = obj(said, schema={**text("Which document this is."), "const": identity}, **fields)
    used = parts_in(body, PARTS)
    return {
        "$schema": DIALECT,
        "$id": f"urn:{identity.replace('/', ':')}",
        "title": identity,
        **body,
        **({"$defs": {part: PARTS[part] for part in PARTS if part in used}} if used else {}),
    }


SCHEMAS: Final = tuple(_DOCUMENTS)
"""The names of all of them."""
