"""A file or directory on a command line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    import os


class Place(click.Path):
    """Any path but an empty one, which would be the working directory: a variable that is not set makes it,
    and with it the CA's key, or a credential, would go wherever somebody happens to be."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(
        self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> Any:  # noqa: ANN401 - as click has it
        """See click."""
        if value == "":
            self.fail("it is empty; write . for the working directory", param, ctx)
        return super().convert(value, param, ctx)
