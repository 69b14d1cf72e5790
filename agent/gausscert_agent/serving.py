"""`gausscert-agent serve`, for the command line and for the service manager alike."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gausscert_agent.logs import Format


class Order(NamedTuple):
    """What `serve` was told."""

    config: Path
    log_format: Format


def as_order(arguments: Sequence[str]) -> Order | None:
    """The order, where it is written as a unit file writes it: an agent that idles for months then holds no
    parser of command lines, which is one MiB. None for everything else, which is for `verbs` to understand,
    or to explain."""
    match arguments:
        case ["serve", "--config", path]:
            found, style = path, "text"
        case ["serve", "--config", path, "--log-format", ("text" | "json") as style]:
            found = path
        case _:
            return None
    if not found or found.startswith("-") or Path(found).is_dir():
        return None
    return Order(Path(found), "json" if style == "json" else "text")


def serve(path: Path, log_format: Format) -> None:
    """Serve until SIGTERM. Raises as `config_file.load` and `app.serve`."""
    from gausscert_agent import economy

    economy.begin()
    from gausscert_agent import app, config_file, logs

    config = config_file.load(path)
    logs.configure(config.log_level, log_format)
    app.serve(config)
