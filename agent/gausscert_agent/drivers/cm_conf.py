"""cm_server.conf and cm_agent.conf as CM itself reads them (`get_config_param`): the first line that
is no comment and whose name is exactly right counts; the value ends at `#`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gausscert_common.errors import NodeFailure, Reason
from gausscert_common.model import SslValue

if TYPE_CHECKING:
    from pathlib import Path

ENABLE_SSL: Final = "enable_ssl"
ALERT_THRESHOLD: Final = "ssl_cert_expire_alert_threshold"
CHECK_INTERVAL: Final = "ssl_cert_expire_check_interval"

_ON: Final = frozenset({"true", "on", "yes", "1", "y", "t"})
_CONF_LIMIT: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Conf:
    """What one configuration file says about TLS."""

    enable_ssl: SslValue = SslValue.ABSENT
    alert_threshold_days: int | None = None
    """None: not set, CM takes 90. Out of 7 to 180 cm_server does not start (facts section 5)."""
    check_interval_s: int | None = None
    """None: not set, CM takes 86400."""


def parse(text: str | None) -> Conf:
    """Read a file's text; None stands for a file that is not there."""
    if text is None:
        return Conf()
    return Conf(
        enable_ssl=_ssl_value(text),
        alert_threshold_days=_number(text, ALERT_THRESHOLD),
        check_interval_s=_number(text, CHECK_INTERVAL),
    )


def value_of(text: str, name: str) -> str | None:
    """The value of a parameter, or None if no line sets it."""
    for line in text.split("\n"):  # fgets(3) ends a line nowhere else
        key, equals, rest = line.partition("=")
        if equals and key.strip() == name:
            return rest.partition("#")[0].strip()
    return None


def says(body: bytes, name: str, value: bool | int) -> bool:
    """Whether CM, reading the file, takes the parameter to be that."""
    text = body.decode("utf-8", "replace")
    if isinstance(value, bool):
        found = setting(text, name)
        return isinstance(found, str) and not isinstance(found, SslValue) and (found.lower() in _ON) is value
    return _number(text, name) == value


def not_a_line(body: bytes, name: str) -> str:
    """Why there is no line to be set, for a person; "" if there is one."""
    found = setting(body.decode("utf-8", "replace"), name)
    if found is SslValue.COMMENTED:
        return f"{name} stands in a comment only, which cm_ctl would edit without effect"
    return f"there is no {name} line, and cm_ctl adds none" if found is SslValue.MISSING else ""


def read(path: Path) -> Conf:
    """Read one file.

    Raises:
        NodeFailure: CONF_FAILED if it is there and cannot be read.
    """
    try:
        with path.open("rb") as file:
            text = file.read(_CONF_LIMIT).decode("utf-8", "replace")
    except FileNotFoundError:
        return parse(None)
    except OSError as error:
        raise NodeFailure(
            Reason.CONF_FAILED,
            f"cannot be read: {error.strerror}",
            file=str(path),
            remedy="run the agent as the OS user that owns the cluster",
        ) from error
    return parse(text)


def setting(text: str, name: str) -> str | SslValue:
    """The value of a parameter, MISSING where no line sets it, COMMENTED where only a comment would."""
    value = value_of(text, name)
    if value is not None:
        return value
    commented = re.search(rf"^\s*#[#\s]*{re.escape(name)}\s*=", text, re.MULTILINE)
    return SslValue.COMMENTED if commented else SslValue.MISSING


def _ssl_value(text: str) -> SslValue:
    value = setting(text, ENABLE_SSL)
    if isinstance(value, SslValue):
        return value
    # Whatever is no word for true counts as off (cm_misc_base.cpp:187-192, IsBoolCmParamTrue).
    return SslValue.ON if value.lower() in _ON else SslValue.OFF


def _number(text: str, name: str) -> int | None:
    """As strtol reads it: the digits in front, 0 if there are none."""
    value = value_of(text, name)
    if value is None:
        return None
    digits = re.match(r"[+-]?\d{1,18}", value)
    return int(digits[0]) if digits else 0
