"""How cm_server loads its certificates, and how it fails: the table of facts section 17.

DCC comes first with checks of its own (0600 passes there), cm_server's own acceptor last; that decides
which log holds the reason and how long it takes until the process is gone.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from gausscert_sim import cm_cipher, conf, expiry, pem, tls
from gausscert_sim.mesh import Credentials

if TYPE_CHECKING:
    import ssl

    from gausscert_sim.expiry import ExpiryCheck
    from gausscert_sim.faults import Faults
    from gausscert_sim.runlog import DccLog, RunLog
    from gausscert_sim.settings import Settings

_DCC_DELAY_S: Final = 2.0
_OWN_DELAY_S: Final = 8.0


class Loaded(NamedTuple):
    """What a started cm_server holds in memory until it ends; None everywhere with SSL off."""

    acceptor: ssl.SSLContext | None = None
    dcc: Credentials | None = None
    expiry: ExpiryCheck | None = None


class StartRefused(Exception):
    """cm_server ends with exit code 255.

    Attributes:
        lines: Level and text for cm_server's log.
        dcc_line: Text for DCC's log, or "".
        delay_s: Seconds of real CM until the process is gone.
    """

    def __init__(self, *texts: str, dcc_line: str = "", delay_s: float = 0.0) -> None:
        super().__init__(texts[-1])
        self.lines = tuple(("ERROR", text) for text in texts)
        self.dcc_line = dcc_line
        self.delay_s = delay_s

    def record(self, log: RunLog, dcc: DccLog) -> None:
        """Leave the reason where real CM leaves it."""
        if self.dcc_line:
            dcc.write(self.dcc_line)
        for level, text in self.lines:
            log.write(level, text)


def load(settings: Settings, faults: Faults, conf_text: str, log: RunLog) -> Loaded:
    """Load everything once, or refuse.

    Raises:
        StartRefused: A file is missing, has a refused mode or cannot be used, or a fault says so.
    """
    if not conf.is_true(conf.value(conf_text, "enable_ssl")):
        log.write("LOG", "enable ssl is off.")
        log.write("WARNING", "[INST] srv_init_ssl: ssl is not enable.")
        return Loaded()
    directory = Path(faults.server_loads_from or settings.local.set_directory)
    if any(not (directory / name).is_file() for name in tls.names("server")):
        raise StartRefused("ssl file does not exist.", "failed to init ddb server, cms will exit.")
    password = _password(directory, cm_cipher.layout_for(libpq_off=settings.libpq_off))
    dcc = _start_dcc(directory, password)
    _check_scripted(directory, faults)
    acceptor = _own_acceptor(directory, password)
    check = _expiry_check(directory, conf_text)
    check.tell(log)
    log.write("LOG", "[INST] srv_init_ssl: ssl init success.")
    return Loaded(acceptor, dcc, check)


def _password(directory: Path, layout: cm_cipher.Layout) -> bytes:
    try:
        return tls.key_password(directory, "server", layout)
    except tls.PasswordFailure as cause:
        raise StartRefused(str(cause), "Failed to ssl text, cms will exit.") from cause


def _start_dcc(directory: Path, password: bytes) -> Credentials:
    try:
        tls.check_modes(directory, "server", tls.DCC_FORBIDDEN)
        return Credentials(
            tls.acceptor(directory, password, crl=False),
            tls.connector(directory, password, "server", crl=False),
        )
    except tls.ModeFailure as cause:
        line = str(cause).replace("[cm_ssl_verify_file_stat] ", "")
        raise StartRefused("Failed to start dcc.", dcc_line=line, delay_s=_DCC_DELAY_S) from cause
    except tls.TlsFailure as cause:
        line = f"SSL init error: {cause}."
        raise StartRefused("Failed to start dcc.", dcc_line=line, delay_s=_DCC_DELAY_S) from cause


def _own_acceptor(directory: Path, password: bytes) -> ssl.SSLContext:
    try:
        tls.check_modes(directory, "server", tls.CM_FORBIDDEN)
        return tls.acceptor(directory, password)
    except tls.TlsFailure as cause:
        raise StartRefused(str(cause), "ssl init failed.", delay_s=_OWN_DELAY_S) from cause


def _expiry_check(directory: Path, conf_text: str) -> ExpiryCheck:
    """An expired certificate is logged and no more; a wild threshold ends cm_server (facts section 5)."""
    try:
        return expiry.load(directory, "server", conf_text)
    except expiry.WildThreshold as cause:
        raise StartRefused(str(cause), "ssl init failed.") from cause


def _check_scripted(directory: Path, faults: Faults) -> None:
    served = pem.fingerprint(pem.first_certificate((directory / "server.crt").read_bytes()))
    accepted = tuple(text.lower().replace(":", "") for text in faults.server_accepts_only)
    if accepted and served not in accepted:
        raise StartRefused(
            "Failed to start dcc.", dcc_line="scripted fault: not this certificate", delay_s=_DCC_DELAY_S
        )
