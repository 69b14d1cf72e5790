"""What cm_server and cm_agent log of certificates that expire (facts section 5): of those that they have
loaded, at start and then once per interval, as long as they run. Files that were replaced change nothing.
"""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from gausscert_sim import conf, pem

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gausscert_sim.runlog import RunLog
    from gausscert_sim.settings import Settings

THRESHOLD: Final = "ssl_cert_expire_alert_threshold"
INTERVAL: Final = "ssl_cert_expire_check_interval"
_DEFAULT_THRESHOLD_DAYS: Final = 90
_DEFAULT_INTERVAL_S: Final = 86_400
_LOOP_S: Final = 1.0
"""The main loop in which the interval is looked at; with an interval of 0 that often."""


class WildThreshold(Exception):
    """Outside of 7 to 180. cm_server ends with it, cm_agent only logs it."""


class ExpiryCheck(NamedTuple):
    """One program's."""

    ends: tuple[tuple[str, datetime], ...]
    """What each certificate is called, and when it ends."""
    threshold_days: int
    interval_s: int

    def tell(self, log: RunLog) -> None:
        """One look."""
        for level, line in self.lines(datetime.now(UTC)):
            log.write(level, line)

    def lines(self, now: datetime) -> Iterator[tuple[str, str]]:
        """Level and text of what cm_ssl_ca_cert_expire logs (cs_ssl.cpp:1321-1371)."""
        for kind, end in self.ends:
            days = (end - now).days
            if days < 0:
                yield "ERROR", f"[cm_ssl_check_cert_expire] The {kind} is expired"
            elif days <= self.threshold_days:
                yield "WARNING", f"[cm_ssl_check_cert_expire] The {kind} will expire in {days} days"

    def keep_telling(self, settings: Settings, log: RunLog) -> None:
        """Look once per interval, in the background, until the program ends."""

        def run() -> None:
            while True:
                time.sleep(settings.scaled(max(_LOOP_S, self.interval_s)))
                self.tell(log)

        threading.Thread(target=run, name="expiry", daemon=True).start()


def load(directory: Path, role: str, conf_text: str) -> ExpiryCheck:
    """As a starting program does.

    Args:
        directory: The set that it has loaded.
        role: Whose leaf: "server" or "client".
        conf_text: Its configuration file.

    Raises:
        WildThreshold: The message says so as CM does.
    """
    threshold = _number(conf_text, THRESHOLD, _DEFAULT_THRESHOLD_DAYS)
    low, high = conf.INT_RANGES[THRESHOLD]
    if not low <= threshold <= high:
        raise WildThreshold(f"invalid ssl expire alert threshold {threshold}, must between {low} and {high}")
    ends = [
        (kind, pem.not_after(certificate))
        for kind, name, most in ((f"{role} certificate", f"{role}.crt", 1), ("ca", "cacert.pem", None))
        for certificate in pem.blocks((directory / name).read_bytes(), "CERTIFICATE")[:most]
    ]
    return ExpiryCheck(tuple(ends), threshold, _number(conf_text, INTERVAL, _DEFAULT_INTERVAL_S))


def _number(conf_text: str, name: str, otherwise: int) -> int:
    written = conf.value(conf_text, name)
    return int(written) if written.isdigit() else otherwise
