"""`gausscert bundle verify DIR`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
from gausscert_common import findings as judged

from gausscert_coordinator.cli.group import Verb, pass_invocation
from gausscert_coordinator.cli.passwords import password_options
from gausscert_coordinator.cli.replacing import Given, bundle_argument, read_bundle
from gausscert_coordinator.cli.settings import Invocation
from gausscert_coordinator.cli.verbs import BUNDLE
from gausscert_coordinator.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gausscert_common.findings import Finding
    from gausscert_common.model import Certificate
    from rich.console import RenderableType


@click.command(
    "verify",
    cls=Verb,
    short_help=BUNDLE["verify"].short_help,
    examples=(
        ("Check a bundle, asking for the two passwords:", "gausscert bundle verify new-bundle"),
        (
            "Without a terminal:",
            "gausscert bundle verify new-bundle --server-password-file s.pw --client-password-file c.pw",
        ),
        (
            "Both passwords from a program, one per line:",
            "... --server-password-file - --client-password-file -",
        ),
    ),
    exits={
        ExitCode.DONE: "nothing speaks against it; there may be warnings",
        ExitCode.REFUSED: "it would be refused; the findings say why",
    },
)
@bundle_argument
@password_options
@pass_invocation
def command(
    invocation: Invocation,
    directory: Path,
    server_password_file: Path | None,
    client_password_file: Path | None,
) -> int:
    """Check the bundle in DIR without any node, and report everything wrong with it at once.

    Each node checks it again before a replacement, against its own clock, CM build and live set.
    """
    from gausscert_common import certificates, validate

    from gausscert_coordinator import bundle_files

    given = read_bundle(invocation, directory, server_password_file, client_password_file)
    judged_contents = validate.bundle(given.bundle, now=datetime.now(UTC))
    found = bundle_files.with_contents(given.findings, judged_contents)
    held = certificates.describe(given.bundle.pem)
    wrong = len(judged.errors(found))
    invocation.render.result(
        "bundle verify",
        _document(directory, given, held, found),
        lambda: _text(given, held, found, invocation.render.width),
    )
    return ExitCode.REFUSED if wrong else ExitCode.DONE


def _document(
    directory: Path, given: Given, held: tuple[Certificate, ...], found: tuple[Finding, ...]
) -> dict[str, object]:
    from gausscert_coordinator.cli import documents

    return {
        "directory": str(directory),
        "ok": not judged.errors(found),
        "bundle_digest": given.bundle.digest,
        "certificates": [documents.certificate(each) for each in held],
        "unknown_files": list(given.unknown),
        "findings": [documents.finding(each) for each in found],
    }


def _text(
    given: Given, held: tuple[Certificate, ...], found: tuple[Finding, ...], width: int
) -> Iterator[RenderableType]:
    from gausscert_coordinator.cli import tables
    from gausscert_coordinator.cli.layout import BAD, GOOD, cell, counted

    if held:
        yield tables.certificates(held, width)
    if given.unknown:
        yield cell(f"not part of a bundle, left alone: {', '.join(given.unknown)}")
    if found:
        yield tables.findings(found, width)
    wrong = len(judged.errors(found))
    warnings = len(found) - wrong
    if wrong:
        yield cell(f"refused: {counted(wrong, 'error')}, {counted(warnings, 'warning')}", BAD)
    else:
        yield cell(f"ok, {counted(warnings, 'warning')}", GOOD)
