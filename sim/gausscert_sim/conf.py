"""cm_server.conf and cm_agent.conf: how CM reads a value and how `cm_ctl set` edits one.

The edit keeps CM's oddities (facts section 6): a comment is edited when no other line matches, the
last line is lost when it lacks its newline, `.bak` ends up equal to the new file.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_TRUE: Final = frozenset(("true", "on", "yes", "1", "y", "t"))
BOOLEANS: Final = _TRUE | {"false", "off", "no", "0", "n", "f"}
"""cm_misc_base.cpp:187-192, case-insensitive."""

BOOL_PARAMETERS: Final = frozenset(
    (
        "cms_enable_db_crash_recovery",
        "cms_enable_failover_cascade",
        "cms_enable_failover_on2nodes",
        "enable_dcf",
        "enable_fence_dn",
        "enable_log_compress",
        "enable_set_most_available_sync",
        "enable_ssl",
        "enable_transaction_read_only",
        "incremental_build",
        "security_mode",
    )
)
INT_RANGES: Final = {
    "ssl_cert_expire_alert_threshold": (7, 180),
    "ssl_cert_expire_check_interval": (0, 2147483647),
    "agent_rhb_interval": (0, 2147483647),
}
"""ctl_param_check.cpp:46-48, 114-116."""


_BLANKS: Final = r"[ \t\n\v\f\r]*"
"""isspace(3)."""


class Refused(Exception):
    """`cm_ctl set` refuses; the text is CM's own."""


def value(text: str, parameter: str) -> str:
    """What a daemon reads: the first uncommented line counts (cms_monitor_main.cpp:205-276), cut at a blank
    or `#`; "" without one. `cm_ctl set` edits the last one."""
    return next((content for name, content in values(text) if name == parameter), "")


def values(text: str) -> list[tuple[str, str]]:
    """Every uncommented `name = value` line, in order."""
    pairs = []
    for line in text.splitlines():
        name, equals, rest = line.partition("=")
        words = re.split(r"[\s#]", rest.strip(), maxsplit=1)
        if equals and not is_comment(line) and name.strip() and words[0]:
            pairs.append((name.strip(), words[0]))
    return pairs


def is_true(text: str) -> bool:
    """Whether a boolean value means on."""
    return text.strip("'").lower() in _TRUE


def is_comment(line: str) -> bool:
    """Whether the first character that is no blank is `#`."""
    return line.lstrip().startswith("#")


def check(parameter: str, new: str) -> None:
    """What `cm_ctl set` checks before it opens the file.

    Raises:
        Refused: The name or the value is not acceptable.
    """
    _check_name(parameter)
    _check_value(new)
    if parameter in BOOL_PARAMETERS and new.strip("'").lower() not in BOOLEANS:
        raise Refused(
            f'The value "{new}" is outside the valid range(on|off|yes|no|true|false|1|0) for parameter '
            f'"{parameter}".'
        )
    if parameter in INT_RANGES:
        _check_range(parameter, new)


def edit(path: Path, parameter: str, new: str) -> None:
    """Change one value as `cm_ctl set` does; the result has mode 0600.

    Raises:
        Refused: The parameter is not in the file, or there is no file to read.
    """
    backup = path.with_name(f"{path.name}.bak")
    try:
        lines = _read(path)
        _write(backup, lines)
    except FileNotFoundError:
        lines = _restored(path, backup)
    index = _line_of(lines, parameter)
    lines[index] = _replaced(lines[index], parameter, new)
    _write(backup, lines)
    renamed = path.with_name(f"{path.name}.bak_bak")
    _write(renamed, _read(backup))
    renamed.replace(path)


def _restored(path: Path, backup: Path) -> list[str]:
    try:
        lines = _read(backup)
    except FileNotFoundError as cause:
        raise Refused("read conf file failed: No such file or directory.") from cause
    _write(path, lines)
    return lines


def _read(path: Path) -> list[str]:
    """All lines; one without its newline at the end is lost (CmReadfile, cm_misc.cpp:130-184)."""
    text = path.read_bytes().decode(errors="surrogateescape")
    return [f"{line}\n" for line in text.split("\n")[:-1]]


def _write(path: Path, lines: Sequence[str]) -> None:
    # Real cm_ctl truncates in place; root may open a 0400 file that way, as an owner may not.
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write("".join(lines).encode(errors="surrogateescape"))
        stream.flush()
        os.fsync(stream.fileno())


def _line_of(lines: Sequence[str], parameter: str) -> int:
    for commented in (False, True):
        matches = [
            index
            for index, line in enumerate(lines)
            if is_comment(line) is commented and _pattern(parameter).match(line)
        ]
        if matches:
            return matches[-1]
    raise Refused("can't find the parameter in conf.")


def _replaced(line: str, parameter: str, new: str) -> str:
    found = _pattern(parameter).match(line)
    if found is None:
        raise Refused("can't find the parameter in conf.")
    return found["head"] + new + line[found.end() :]


def _pattern(parameter: str) -> re.Pattern[str]:
    # Where there is no value the newline counts as a blank before it, too (IsMatchParameterName).
    head = rf"{_BLANKS}#?{_BLANKS}{re.escape(parameter)}{_BLANKS}={_BLANKS}"
    return re.compile(rf"(?P<head>{head})[^ \t\n\v\f\r]*")


def _check_name(parameter: str) -> None:
    if parameter.startswith("_") or parameter.endswith("_"):
        raise Refused(f"The param({parameter}) exists illegal character:_.")
    for character in parameter:
        if not (character.isascii() and (character.isalnum() or character == "_")):
            raise Refused(f"The param({parameter}) exists illegal character:{character}.")


def _check_value(new: str) -> None:
    first = new[0]
    if not (first.isascii() and (first.isalnum() or first in "'()-{")):
        raise Refused(f'The parameter value({new}) exists illegal character:"{first}".')
    if "#" in new:
        raise Refused(f'The parameter value({new}) exists illegal character:"#".')
    if new.count("'") == 1:
        raise Refused(f'The parameter value({new}) exists illegal character:"\'".')


def _check_range(parameter: str, new: str) -> None:
    low, high = INT_RANGES[parameter]
    try:
        number = int(new, 0)
    except ValueError:
        raise Refused(
            f'The value "{new}" for parameter "{parameter}" is incorrect, requires a integer value'
        ) from None
    if not low <= number <= high:
        raise Refused(
            f'The value {number} is outside the valid range for parameter "{parameter}" ({low} .. {high}).'
        )
