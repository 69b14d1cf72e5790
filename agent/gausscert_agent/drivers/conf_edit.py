"""What `cm_ctl set` makes of a configuration file, as a function: of the lines that are no comment and have
the name before their `=`, the **last** one gets the new value; all else stays (ctl_guc.cpp:100-300,
480-540). CM itself reads the **first** such line (cms_monitor_main.cpp:205-276), so a file with two of
them is not to be edited. Bytes in, bytes out: comments may be in any encoding.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from gausscert_common.errors import InvalidInput, Reason

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_LINE_BYTES: Final = 1023
"""CM reads lines into 1024 bytes (MAXPGPATH); longer ones are two for it, and one for cm_ctl."""

_SPACE: Final = b" \t\n\v\f\r"
"""isspace(3) in the C locale."""


class Parameter(StrEnum):
    """What may be changed; nothing else is."""

    ENABLE_SSL = "enable_ssl"
    ALERT_THRESHOLD = "ssl_cert_expire_alert_threshold"
    """Days before expiry at which CM warns."""
    CHECK_INTERVAL = "ssl_cert_expire_check_interval"
    """Seconds between two checks."""


RANGES: Final = {Parameter.ALERT_THRESHOLD: (7, 180), Parameter.CHECK_INTERVAL: (0, 2**31 - 1)}
"""ctl_param_check.cpp:46-48, 114-116."""


@dataclass(frozen=True, slots=True)
class _Value:
    """Where a value stands in a file."""

    start: int
    end: int
    line_bytes: int


def spelled(parameter: Parameter, value: bool | int) -> str:
    """A value as it is written into a file.

    Raises:
        InvalidInput: ARGUMENT_INVALID; CM would refuse it, or not start with it.
    """
    if parameter is Parameter.ENABLE_SSL and isinstance(value, bool):
        return "on" if value else "off"
    low, high = RANGES.get(parameter, (1, 0))
    if isinstance(value, bool) or not low <= value <= high:
        allowed = f"a number from {low} to {high}" if parameter in RANGES else "on or off"
        raise InvalidInput(Reason.ARGUMENT_INVALID, f"{parameter} is to be {allowed}, not {value!r}")
    return str(value)


def obstacle(body: bytes, parameter: Parameter) -> str:
    """Why `cm_ctl set` would not do what it says with this file, for a person; "" when nothing is in the way.

    A line that is missing or commented is none of these: `cm_conf` tells it.
    """
    found = list(_values(body, parameter))
    if b"\0" in body:
        return "the file holds a NUL byte, behind which cm_ctl would cut a line"
    if len(found) > 1:
        return f"{parameter} stands {len(found)} times: CM reads the first line, cm_ctl changes the last"
    if found and found[0].start == found[0].end:
        return f"{parameter} has no value, and cm_ctl would write one into the next line"
    if found and found[0].line_bytes > MAX_LINE_BYTES:
        return f"the line of {parameter} is longer than {MAX_LINE_BYTES} bytes"
    return ""


def with_newline(body: bytes) -> bytes:
    """cm_ctl drops a last line that does not end in a newline (cm_misc.cpp:130-184)."""
    return body if not body or body.endswith(b"\n") else body + b"\n"


def edited(body: bytes, parameter: Parameter, value: str) -> bytes:
    """What must be in the file after `cm_ctl set`; as it is where no line sets the parameter."""
    body = with_newline(body)
    places = list(_values(body, parameter))
    if not places:
        return body
    return body[: places[-1].start] + value.encode() + body[places[-1].end :]


def _values(body: bytes, parameter: Parameter) -> Iterator[_Value]:
    name = parameter.encode()
    start = 0
    for line in _lines(body):
        rest = line.lstrip(_SPACE)
        after = rest.removeprefix(name).lstrip(_SPACE)
        if rest.startswith(name) and after.startswith(b"="):
            value = after[1:].lstrip(_SPACE)
            at = start + len(line) - len(value)
            yield _Value(at, at + _length(value), len(line.rstrip(b"\n")))
        start += len(line)


def _lines(body: bytes) -> Iterator[bytes]:
    """Only a newline ends a line; `bytes.splitlines` takes a carriage return for an end, too."""
    parts = body.split(b"\n")
    yield from (part + b"\n" for part in parts[:-1])
    if parts[-1]:
        yield parts[-1]


def _length(value: bytes) -> int:
    """The first byte whatever it is, and all up to the next blank: a `#` does not end a value here."""
    end = next((at for at in range(1, len(value)) if value[at : at + 1] in _BLANKS), len(value))
    return min(end, len(value))


_BLANKS: Final = frozenset(bytes([byte]) for byte in _SPACE)
