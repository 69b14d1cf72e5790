"""`gausscert inventory import FILE`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from gausscert_common.errors import InvalidInput, Reason

from gausscert_coordinator.cli import stopped
from gausscert_coordinator.cli.group import Verb, pass_invocation
from gausscert_coordinator.cli.settings import Invocation
from gausscert_coordinator.cli.verbs import INVENTORY
from gausscert_coordinator.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from gausscert_coordinator.inventory_import import Written

PORT = 7443
"""That of the sample agent.toml."""


@click.command(
    "import",
    cls=Verb,
    short_help=INVENTORY["import"].short_help,
    examples=(
        (
            "From the file that the cluster was installed with, into ./gausscert.toml:",
            "gausscert inventory import cluster_config.xml --operator alice --out gausscert.toml",
        ),
        (
            "From a running node, which does not tell the cluster's name:",
            "ssh n1 cm_ctl view | gausscert inventory import - --cluster production --out gausscert.toml",
        ),
        (
            "A further cluster for a file that has several:",
            "gausscert inventory import other.xml --several >> gausscert.toml",
        ),
    ),
    exits={
        ExitCode.DONE: "written; it says what it could not know",
        ExitCode.REFUSED: "nothing was written: the file is not usable, or --out is there already",
        ExitCode.OWN_ERROR: stopped.WRITING,
    },
)
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True), metavar="FILE")
@click.option("--cluster", metavar="NAME", help="The cluster's name; `cm_ctl view` does not tell it.")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=PORT,
    show_default=True,
    help="The port of every agent, which openGauss does not know.",
)
@click.option(
    "--address",
    type=click.Choice(["ssh", "back"]),
    default="ssh",
    show_default=True,
    help="Reach agents where ssh does (sshIp1, sshChannel), or within the cluster (backIp1, cmAgentIP).",
)
@click.option(
    "--operator",
    metavar="NAME",
    help="Whose credential it names, as in gausscert pki issue operator NAME. [default: your user name]",
)
@click.option("--several", is_flag=True, help="Write it below [clusters.NAME], to stand beside others.")
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="FILE", help="Where to; else standard output."
)
@click.option("--force", is_flag=True, help="Write over --out.")
@pass_invocation
def command(
    invocation: Invocation,
    file: Path,
    cluster: str | None,
    port: int,
    address: str,
    operator: str | None,
    several: bool,
    out: Path | None,
    force: bool,
) -> int:
    """Write a gausscert.toml from FILE: OM's cluster_config.xml, or what `cm_ctl view` prints; - is standard
    input.

    It says of each node what it took, and what it could not know; no node is asked: that does gausscert
    inventory check. Everything wrong with FILE is reported at once.
    """
    from gausscert_coordinator import inventory_import

    choices = inventory_import.Choices(
        cluster=cluster or invocation.settings.cluster or "",
        port=port,
        back=address == "back",
        operator=operator or _user(),
        several=several,
    )
    written = inventory_import.make(_body(file), _name(file), choices)
    if out is not None:
        from gausscert_coordinator import plain_files

        invocation.stopped = stopped.while_writing(out)
        plain_files.write(out, written.text.encode(), force=force)
    invocation.render.result(
        "inventory import",
        _document(written, out),
        lambda: [written.text.rstrip("\n")] if out is None else [f"wrote {out}"],
    )
    invocation.render.note(*_notes(invocation, written))
    return ExitCode.DONE


def _user() -> str:
    """A name of a directory service may be none for a credential."""
    from gausscert_common import identity

    user = os.environ.get("USER", "")
    return user if identity.NAME.fullmatch(user) else "operator"


def _name(file: Path) -> str:
    return "standard input" if str(file) == "-" else str(file)


def _body(file: Path) -> bytes:
    from gausscert_coordinator import regular_files
    from gausscert_coordinator.inventory_import import LARGEST

    if str(file) == "-":
        return _piped(LARGEST + 1)
    try:
        return regular_files.read(file, pipes=True)
    except OSError as error:
        raise InvalidInput(
            Reason.ARGUMENT_INVALID,
            f"it cannot be read: {error.strerror}",
            file=str(file),
            remedy="name a file that you can read, or - for standard input",
        ) from None


def _piped(longest: int) -> bytes:
    if sys.stdin is None:  # Python's way of saying that the caller has closed it
        raise InvalidInput(
            Reason.ARGUMENT_INVALID, "standard input is closed", remedy="name a file, or pipe it in"
        )
    return sys.stdin.buffer.read(longest)


def _document(written: Written, out: Path | None) -> dict[str, object]:
    return {
        "source": written.imported.source,
        "cluster": written.cluster,
        "out": str(out) if out is not None else None,
        "inventory": written.text,
        "nodes": [
            {
                "node": node.name,
                "address": node.address,
                "taken": node.taken,
                "cm_server": source.server or None,
                "data_path": source.cm_data_path or None,
                "not_known": list(node.unknown),
            }
            for node, source in zip(written.nodes, written.imported.nodes, strict=True)
        ],
        "cm_home": written.imported.cm_home or None,
        "warnings": list(written.imported.warnings),
    }


def _notes(invocation: Invocation, written: Written) -> Iterator[RenderableType]:
    from gausscert_coordinator.cli.layout import DOUBTFUL, cell, fitted

    headings = ("node", "address", "taken from", "cm_server", "not known")
    rows = [
        [
            cell(node.name),
            cell(node.address),
            cell(node.taken),
            cell(source.server or "-"),
            cell("; ".join(node.unknown)),
        ]
        for node, source in zip(written.nodes, written.imported.nodes, strict=True)
    ]
    yield fitted(headings, rows, invocation.render.err_width)
    yield from (cell(f"warning: {each}", DOUBTFUL) for each in written.imported.warnings)
    yield cell("not known either: whose credential is used, and where it lies; see [credentials]")
    yield cell("next: gausscert inventory check")
