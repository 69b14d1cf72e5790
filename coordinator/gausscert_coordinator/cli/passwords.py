"""Where passwords come from: a file that only its owner can read, standard input, or the terminal.

A descriptor is named as a file (/dev/fd/N), as `<(command)` of a shell does it.

Never the command line, which every user of the machine sees, and never the environment, which CM
writes into its log (facts section 17).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from gausscert_common.errors import InvalidInput, Reason

from gausscert_coordinator.cli import secret_files

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gausscert_common.bundle import Bundle

    from gausscert_coordinator.cli.terminal import Terminal

STDIN: Final = Path("-")
LONGEST: Final = 4096
"""Bytes of a password: far beyond CM's 15, so that "too long" is said by validation. More is refused, not cut
off: what is made with half of a passphrase opens with that half only."""

TRIES: Final = 3
"""How often somebody who presses Enter only is asked."""


@dataclass(frozen=True, slots=True)
class PasswordFiles:
    """What the operator named; None: ask on the terminal."""

    server: Path | None = None
    client: Path | None = None

    def words(self) -> list[str]:
        """Of a command line that names them again."""
        named = (("server", self.server), ("client", self.client))
        return [
            word
            for which, file in named
            if file is not None
            for word in (f"--{which}-password-file", str(file))
        ]


@dataclass(frozen=True, slots=True)
class Passwords:
    """Of the two keys."""

    server: str = field(repr=False)
    client: str = field(repr=False)


def password_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--server-password-file` and `--client-password-file`."""
    for which in ("client", "server"):
        option = click.option(
            f"--{which}-password-file",
            type=click.Path(path_type=Path, allow_dash=True),
            metavar="FILE",
            help=f"Password of {which}.key, one line, readable by you alone; - is standard input,"
            " /dev/fd/N an open descriptor."
            " Asked on the terminal otherwise.",
        )
        function = option(function)
    return function


def read_both(files: PasswordFiles, terminal: Terminal, *, new: bool = False) -> Passwords:
    """Both passwords, the server's first; with both from standard input, one line each.

    Args:
        files: What the operator named.
        terminal: Asked for what was not named.
        new: The passwords are being chosen: ask twice.

    Raises:
        InvalidInput: A file is unfit, or nobody is there to be asked.
    """
    missing = [which for which in ("server", "client") if getattr(files, which) is None]
    if missing and not terminal.present:
        options = " and ".join(f"--{which}-password-file" for which in missing)
        raise InvalidInput(
            Reason.ARGUMENT_INVALID,
            "no password, and no terminal to ask for it",
            remedy=f"give {options}, or run this on a terminal",
        )
    read = _from_files({"server": files.server, "client": files.client}, terminal)
    for which in ("server", "client"):
        if which not in read:
            file: Path | None = getattr(files, which)
            read[which] = read_one(file, f"password of {which}.key", terminal, new=new)
    return Passwords(read["server"], read["client"])


def _from_files(files: Mapping[str, Path | None], terminal: Terminal) -> dict[str, str]:
    """What lies in files, before anybody is asked for the rest; what is wrong with them, all at once."""
    read: dict[str, str] = {}
    wrong: list[InvalidInput] = []
    for which, file in files.items():
        try:
            if file is not None and file != STDIN:
                read[which] = _from_file(file, terminal)
        except InvalidInput as error:
            wrong.append(error)
    if len(wrong) == 1:
        raise wrong[0]
    if wrong:
        raise _joined(wrong)
    return read


def _joined(wrong: list[InvalidInput]) -> InvalidInput:
    from gausscert_common.findings import Finding, Severity

    return InvalidInput(
        Reason.ARGUMENT_INVALID,
        "; ".join(f"{each.file}: {each.message}" for each in wrong),
        remedy="; ".join(dict.fromkeys(each.remedy for each in wrong)),
        findings=[
            Finding(each.reason, Severity.ERROR, each.message, each.remedy, file=each.file) for each in wrong
        ],
    )


def read_one(file: Path | None, what: str, terminal: Terminal, *, new: bool = False) -> str:
    """One password. Arguments and errors as for `read_both`."""
    if file is None:
        return _ask(what, terminal, new=new)
    if file == STDIN:
        return _from_stdin(what, terminal)
    return _from_file(file, terminal)


def complete(bundle: Bundle, files: PasswordFiles, terminal: Terminal) -> Bundle:
    """The bundle with its passwords; ready factor files need none, so nobody is asked for any."""
    nothing_named = files == PasswordFiles()
    if bundle.factor_files is not None and nothing_named:
        return bundle
    passwords = read_both(files, terminal)
    return replace(bundle, server_password=passwords.server, client_password=passwords.client)


def _ask(what: str, terminal: Terminal, *, new: bool) -> str:
    if not terminal.present:
        raise InvalidInput(
            Reason.ARGUMENT_INVALID, f"no {what}, and no terminal to ask for it", remedy="give it in a file"
        )
    password = _asked(what, terminal)
    if new and terminal.secret(f"{what}, again") != password:
        raise InvalidInput(
            Reason.ARGUMENT_INVALID, f"the two entries of the {what} differ", remedy="try again"
        )
    return password


def _asked(what: str, terminal: Terminal) -> str:
    password = terminal.secret(what)
    for _ in range(TRIES - 1):
        if password:
            break
        password = terminal.secret(f"{what}, which cannot be empty")
    if not password:
        raise InvalidInput(Reason.ARGUMENT_INVALID, f"the {what} is empty", remedy="type it, or give a file")
    return password


def _from_stdin(what: str, terminal: Terminal) -> str:
    if terminal.present:
        raise InvalidInput(
            Reason.ARGUMENT_INVALID,
            "standard input is a terminal, which would show the password",
            remedy="leave the option out to be asked without echo",
        )
    where = f"standard input ({what})"
    line = terminal.piped_line(LONGEST + 1)
    if not line:
        raise InvalidInput(
            Reason.ARGUMENT_INVALID,
            "it has ended, or is closed",
            file=where,
            remedy="write the password to it, one line for each",
        )
    return _decoded(line, where)


def _from_file(file: Path, terminal: Terminal) -> str:
    return _decoded(secret_files.read(file, LONGEST + 1, terminal.say), str(file))


def _decoded(raw: bytes, where: str) -> str:
    if len(raw) > LONGEST:
        raise InvalidInput(
            Reason.ARGUMENT_INVALID,
            f"it holds more than {LONGEST} bytes",
            file=where,
            remedy="write the password on the first line, and nothing else",
        )
    line = raw.removesuffix(b"\n").removesuffix(b"\r")
    try:
        password = line.decode()
    except UnicodeDecodeError as error:
        # The offending bytes are part of the password: neither the error nor its cause may show them.
        error.object = b""
        raise InvalidInput(
            Reason.ARGUMENT_INVALID, "the password is not UTF-8 text", file=where, remedy="choose another one"
        ) from None
    if "\n" in password:
        raise InvalidInput(
            Reason.ARGUMENT_INVALID, "more than one line", file=where, remedy="write the password on one line"
        )
    if not password:
        raise InvalidInput(
            Reason.ARGUMENT_INVALID, "the password is empty", file=where, remedy="write it on the first line"
        )
    return password
