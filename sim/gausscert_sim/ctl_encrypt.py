"""`cm_ctl encrypt`: a password becomes a pair of factor files (facts section 3)."""

from __future__ import annotations

import errno
import os
import signal
import stat
import sys
import termios
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from gausscert_sim import cm_cipher, faults
from gausscert_sim.faults import EncryptFault

if TYPE_CHECKING:
    from gausscert_sim.ctl_options import Options
    from gausscert_sim.ctl_output import Output
    from gausscert_sim.settings import Settings

SHORTEST: Final = 8
LONGEST: Final = 15
KINDS_NEEDED: Final = 3
SPECIAL: Final = frozenset(b"~!@#$%^&*()-_=+\\|[{}];:,<.>/?")
_PROMPT_BYTES: Final = 17
"""The prompt's buffer; what is longer is cut and the rest of the line thrown away."""


def run(settings: Settings, options: Options, output: Output) -> int:
    """The command; its exit code."""
    scripted = faults.load(settings.local.home).encrypt
    if not options.text("-D"):
        output.say("no data directory specified.")
        output.advise()
        return 1
    directory = Path(options.text("-D"))
    if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
        output.say("-D path not exist or permission denied.")
        return 1
    password = _asked_twice(output)
    if password is None:
        return 1
    if scripted is EncryptFault.HANG:
        signal.pause()
    mode = options.text("-M") or "server"
    if _generate(settings, directory, mode, password, scripted, output):
        output.say("encrypt success.")
        return 0
    output.say("encrypt fail.")
    return 1


def complaint(password: bytes) -> str:
    """What is wrong with a password, in CM's words, or "" (cm_cipher.cpp:168-222)."""
    if len(password) < SHORTEST:
        return "Invalid password,it must contain at least eight characters"
    if len(password) > LONGEST:
        return f"Invalid password,the length exceed {LONGEST}"
    kinds = (
        any(ord("A") <= byte <= ord("Z") for byte in password),
        any(ord("a") <= byte <= ord("z") for byte in password),
        any(ord("0") <= byte <= ord("9") for byte in password),
        any(byte in SPECIAL for byte in password),
    )
    if sum(kinds) < KINDS_NEEDED:
        return "Invalid password,it must contain at least three kinds of characters"
    return ""


def _asked_twice(output: Output) -> bytes | None:
    password = _prompt("please enter the password:")
    wrong = complaint(password)
    if wrong:
        output.say(wrong)
        output.say("The input key must be 8~15 bytes and contain at least three kinds of characters!")
        return None
    if _prompt("please enter the password again:") != password:
        output.say("two passwords do not match!")
        return None
    return password


def _prompt(text: str) -> bytes:
    """Ask on the controlling terminal if there is one, whatever stdin is (ctl_guc.cpp:932-1042)."""
    try:
        with open("/dev/tty", "rb", buffering=0) as source, open("/dev/tty", "wb", buffering=0) as sink:
            return _ask(text, source, sink)
    except OSError:
        return _ask(text, sys.stdin.buffer, sys.stderr.buffer)


def _ask(text: str, source: BinaryIO, sink: BinaryIO) -> bytes:
    before = None
    with suppress(termios.error):
        before = termios.tcgetattr(source)
        silent = list(before)
        silent[3] &= ~termios.ECHO
        # TCSAFLUSH throws away what was typed before the prompt.
        termios.tcsetattr(source, termios.TCSAFLUSH, silent)
    sink.write(text.encode())
    sink.flush()
    line = source.readline()
    if before is not None:
        termios.tcsetattr(source, termios.TCSAFLUSH, before)
    sink.write(b"\n")
    sink.flush()
    return line[:_PROMPT_BYTES].removesuffix(b"\n").split(b"\0", 1)[0]


def _generate(
    settings: Settings,
    directory: Path,
    mode: str,
    password: bytes,
    scripted: EncryptFault,
    output: Output,
) -> bool:
    if scripted is EncryptFault.LIE:
        return True
    if scripted is EncryptFault.WRONG:
        password = bytes(reversed(password))
    layout = cm_cipher.layout_for(libpq_off=settings.libpq_off)
    cipher, rand = cm_cipher.encrypt(password, layout)
    if not _write(directory / f"{mode}.key.cipher", cipher, output):
        output.say("generate cipher file failed.")
        return False
    if scripted is EncryptFault.FAIL:
        return False
    if not _write(directory / f"{mode}.key.rand", rand, output):
        output.say("generate random key file failed.")
        return False
    return True


def _write(path: Path, body: bytes, output: Output) -> bool:
    """Truncate in place, follow links, leave 0600 (cm_cipher.cpp:295-324)."""
    try:
        if path.exists() and not path.stat().st_mode & stat.S_IWUSR:
            # What an ordinary owner is told; root would be let through.
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as cause:
        output.say(f'could not open file "{path}" for writing: {cause.strerror}')
        return False
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(body)
        os.fchmod(descriptor, 0o600)
    return True
