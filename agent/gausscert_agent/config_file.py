"""agent.toml: how it becomes an `AgentConfig`. Everything wrong with the file is reported at once.

`deploy/config/agent.toml` is a commented sample. Whether the files and directories it names are there is for
their users to say; here the file itself is judged.
"""

from __future__ import annotations

import math
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from gausscert_common import identity
from gausscert_common.errors import InvalidInput, Reason

from gausscert_agent.config import AgentConfig, CmSettings, MetricsSettings, TlsFiles

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gausscert_common.findings import Finding

LOG_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR")
_CODE: Final = "CONFIG_INVALID"
_MAX_BYTES: Final = 64 * 1024
_MAX_PORT: Final = 65535
_ALERT_DAYS: Final = range(7, 181)
"""What CM allows for ssl_cert_expire_alert_threshold (facts section 5)."""
_SECRET_WORDS: Final = ("PASSWORD", "PASSWD", "SECRET")

_SECTIONS: Final[dict[str, tuple[str, ...]]] = {
    "": ("agent", "tls", "cm", "metrics"),
    "agent": (
        "name",
        "cluster",
        "listen",
        "state_dir",
        "retired_generations",
        "alert_threshold_days",
        "drain_s",
        "log_level",
    ),
    "tls": ("ca", "cert", "key"),
    "cm": ("home", "data_path", "log_path", "command_timeout_s", "stopped_for_s", "environment"),
    "metrics": ("enabled", "listen", "max_age_s"),
}
_OPTIONAL: Final = frozenset({"metrics"})


def load(path: Path) -> AgentConfig:
    """Read the agent's configuration.

    Raises:
        InvalidInput: CONFIG_INVALID, with one finding for everything that is wrong.
    """
    try:
        with path.open("rb") as opened:
            raw = opened.read(_MAX_BYTES + 1)
        document = tomllib.loads(raw.decode("utf-8"))
    except OSError as error:
        raise _unreadable(path, f"it cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise _unreadable(path, f"it is no TOML: {error}") from None
    if len(raw) > _MAX_BYTES:
        raise _unreadable(path, "it is too long for a configuration")
    return parse(document, path)


def parse(document: Mapping[str, object], path: Path) -> AgentConfig:
    """As `load`, from what was read.

    Raises:
        InvalidInput: CONFIG_INVALID.
    """
    reader = _Reader(path)
    reader.known("", document)
    tables = {name: reader.table(document, name) for name in _SECTIONS[""]}
    config = _agent(tables)
    reader.raise_if_wrong()
    return config


def _agent(tables: Mapping[str, _Table]) -> AgentConfig:
    agent, tls = tables["agent"], tables["tls"]
    return AgentConfig(
        name=agent.name("name"),
        cluster=agent.name("cluster"),
        listen=agent.address("listen"),
        state_dir=agent.path("state_dir"),
        tls=TlsFiles(ca=tls.path("ca"), cert=tls.path("cert"), key=tls.path("key")),
        cm=_cm(tables["cm"]),
        retired_generations=agent.whole("retired_generations", 2, range(101)),
        alert_threshold_days=agent.whole_or_none("alert_threshold_days", _ALERT_DAYS),
        drain_s=agent.seconds("drain_s", 30.0),
        log_level=agent.one_of("log_level", "INFO", LOG_LEVELS),
        metrics=_metrics(tables["metrics"]),
    )


def _cm(cm: _Table) -> CmSettings:
    return CmSettings(
        home=cm.path("home"),
        data_path=cm.path_or_none("data_path"),
        log_path=cm.path_or_none("log_path"),
        environment=cm.environment("environment"),
        command_timeout_s=cm.seconds("command_timeout_s", 60.0),
        stopped_for_s=cm.seconds("stopped_for_s", 2.0),
    )


def _metrics(metrics: _Table) -> MetricsSettings | None:
    usual = MetricsSettings()
    settings = MetricsSettings(
        listen=metrics.address("listen", usual.listen),
        max_age_s=metrics.seconds("max_age_s", usual.max_age_s),
    )
    return settings if metrics.switch("enabled", False) else None


class _Reader:
    """Collects what is wrong instead of stopping at the first."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.problems: list[Finding] = []

    def wrong(self, key: str, cause: str, remedy: str) -> None:
        from gausscert_common.findings import Finding, Severity

        self.problems.append(
            Finding(_CODE, Severity.ERROR, f"{key}: {cause}", remedy=remedy, file=str(self.file))
        )

    def known(self, section: str, table: Mapping[str, object]) -> None:
        keys = _SECTIONS[section]
        for key in table:
            if key not in keys:
                import difflib  # a misspelt key is rare, and an agent holds what it has loaded

                near = difflib.get_close_matches(key, keys, n=1)
                remedy = f"did you mean {near[0]!r}?" if near else f"known are: {', '.join(keys)}"
                self.wrong(f"{section}.{key}".lstrip("."), "unknown key", remedy)

    def table(self, document: Mapping[str, object], name: str) -> _Table:
        value = document.get(name)
        if isinstance(value, dict):
            self.known(name, value)
            return _Table(self, name, value)
        if value is None and name in _OPTIONAL:
            return _Table(self, name, {})
        self.wrong(f"[{name}]", "missing" if value is None else "not a table", f"add a table [{name}]")
        return _Table(self, name, None)

    def raise_if_wrong(self) -> None:
        if self.problems:
            raise InvalidInput(
                Reason.CONFIG_INVALID,
                "; ".join(finding.cause for finding in self.problems),
                file=str(self.file),
                remedy="; ".join(dict.fromkeys(finding.remedy for finding in self.problems)),
                findings=self.problems,
            )


class _Table(NamedTuple):
    """One section. Every method answers something usable; what is wrong is remembered by the reader."""

    reader: _Reader
    section: str
    values: dict[str, object] | None
    """None when the whole section is missing: one problem, not one for each of its keys."""

    def text(self, key: str) -> str:
        value = (self.values or {}).get(key)
        if isinstance(value, str) and value.strip():
            return value
        if self.values is not None:
            self.wrong(key, "missing" if value is None else "must be a text", f'write {key} = "..."')
        return ""

    def name(self, key: str) -> str:
        value = self.text(key)
        if value and identity.NAME.fullmatch(value) is None:
            self.wrong(key, f"{value!r} is no name", "use letters, digits, dots, hyphens and underscores")
        return value

    def path(self, key: str) -> Path:
        value = self.text(key)
        if value and not Path(value).is_absolute():
            self.wrong(key, f"{value!r} is a relative path", "write the path from / on")
        return Path(value or "/")

    def path_or_none(self, key: str) -> Path | None:
        return self.path(key) if key in (self.values or {}) else None

    def address(self, key: str, default: str = "") -> str:
        value = default if default and key not in (self.values or {}) else self.text(key)
        host, colon, port = value.rpartition(":")
        good = colon and host and port.isascii() and port.isdigit() and 0 < int(port) <= _MAX_PORT
        if value and (not good or (":" in host and not (host[0] == "[" and host[-1] == "]"))):
            remedy = 'write "host:port", for example "0.0.0.0:7443" or "[::]:7443"'
            self.wrong(key, f"{value!r} is no host:port", remedy)
        return value

    def switch(self, key: str, default: bool) -> bool:
        value = (self.values or {}).get(key, default)
        if isinstance(value, bool):
            return value
        self.wrong(key, f"{value!r} is neither true nor false", f"write {key} = true")
        return default

    def seconds(self, key: str, default: float) -> float:
        value = (self.values or {}).get(key, default)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf:
            return float(value)
        self.wrong(key, f"{value!r} is no number of seconds above 0", f"write {key} = {default}")
        return default

    def whole(self, key: str, default: int, allowed: range) -> int:
        found = self.whole_or_none(key, allowed)
        return default if found is None else found

    def whole_or_none(self, key: str, allowed: range) -> int | None:
        value = (self.values or {}).get(key)
        if value is None or (isinstance(value, int) and not isinstance(value, bool) and value in allowed):
            return value
        bounds = f"{allowed.start} to {allowed.stop - 1}"
        self.wrong(key, f"{value!r} is no whole number from {bounds}", f"use {bounds}, or leave it out")
        return None

    def one_of(self, key: str, default: str, allowed: tuple[str, ...]) -> str:
        value = (self.values or {}).get(key, default)
        if isinstance(value, str) and value in allowed:
            return value
        self.wrong(key, f"{value!r} is none of {', '.join(allowed)}", f'write {key} = "{default}"')
        return default

    def environment(self, key: str) -> dict[str, str]:
        """Variables for cm_ctl. cm_server writes its environment into its log (facts section 17)."""
        value = (self.values or {}).get(key, {})
        if not isinstance(value, dict):
            self.wrong(key, "not a table", f"write [cm.{key}]")
            return {}
        for variable, text in value.items():
            if not isinstance(text, str) or "\0" in text or "=" in variable:
                self.wrong(f"{key}.{variable}", "must be a text", f'write {variable} = "..."')
            elif any(word in variable.upper() for word in _SECRET_WORDS):
                self.wrong(f"{key}.{variable}", "looks like a secret", "CM logs its environment: remove it")
        return {variable: text for variable, text in value.items() if isinstance(text, str)}

    def wrong(self, key: str, cause: str, remedy: str) -> None:
        self.reader.wrong(f"{self.section}.{key}", cause, remedy)


def _unreadable(path: Path, message: str) -> InvalidInput:
    return InvalidInput(
        Reason.CONFIG_INVALID,
        message,
        file=str(path),
        remedy="name another file with --config, or mend this one",
    )
