"""The agent's configuration as a value."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The agent's control-plane credential; unrelated to the certificates it replaces."""

    ca: Path
    cert: Path
    key: Path


@dataclass(frozen=True, slots=True)
class CmSettings:
    """Where CM is on this node and how its programs are to be run."""

    home: Path
    """CM_HOME if the cluster uses it, else GAUSSHOME; holds bin/ and share/sslcert/."""
    data_path: Path | None = None
    """cmDataPath, which holds cm_server/ and cm_agent/; None: ask `cm_ctl view`."""
    log_path: Path | None = None
    """$GAUSSLOG; CM's logs are in its cm/ folder. None: unknown, logs are not read."""
    environment: dict[str, str] = field(default_factory=dict)
    """Further variables for cm_ctl (PGHOST, GPHOME, MPPDB_ENV_SEPARATE_PATH ...). Never a secret:
    cm_server writes its environment into its log (facts section 17)."""
    command_timeout_s: float = 60.0
    """Longest time for a cm_ctl command that neither stops nor starts CM; `query` may need 91 s
    when it is refused (facts section 17), which is a failure anyway."""
    stopped_for_s: float = 2.0
    """How long no CM process may show up before CM counts as stopped: om_monitor may try up to
    three more starts of cm_agent after an abnormal exit (facts section 14)."""

    @property
    def set_directory(self) -> Path:
        """The live set."""
        return self.home / "share" / "sslcert" / "cm"


@dataclass(frozen=True, slots=True)
class MetricsSettings:
    """The optional endpoint for Prometheus: plain HTTP, without a password."""

    listen: str = "127.0.0.1:9747"
    """"host:port"; loopback unless the operator decides otherwise."""
    max_age_s: float = 30.0
    """How old what a scrape is told may be; older, and the certificates and cm_server are looked at anew."""


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """Everything an agent needs to know."""

    name: str
    """The node's name; must be the one in its credential."""
    cluster: str
    listen: str
    """"host:port"."""
    state_dir: Path
    tls: TlsFiles
    cm: CmSettings
    retired_generations: int = 2
    """Former sets kept for rollback."""
    alert_threshold_days: int | None = None
    """None: `ssl_cert_expire_alert_threshold` of cm_server.conf, else 90."""
    drain_s: float = 30.0
    """How long running calls get after SIGTERM."""
    log_level: str = "INFO"
    metrics: MetricsSettings | None = None
    """None: no endpoint, and its library is not loaded."""
