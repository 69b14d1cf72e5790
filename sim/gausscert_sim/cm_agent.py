"""The simulated cm_agent: keeps cm_server running, reports to the primary, obeys the stop mark."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Final, NoReturn

from gausscert_sim import client, cm_cipher, conf, expiry, faults, processes, runlog, settings, tls, wire
from gausscert_sim.mesh import Credentials, Mesh

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

_LOOP_S: Final = 1.0
_RESTART_S: Final = 10.0
"""A cm_server that ends soon after its start is started again this long after it (facts section 17)."""
_RECONNECT_S: Final = 0.2
_SHORTEST_RECONNECT_S: Final = 0.05
_AFTER_SSL_FAILURE_S: Final = 0.25
"""Not scaled: handshakes cost time of everybody on the machine."""
_SERVER_ENDS_S: Final = 2.0


class Agent:
    """One running cm_agent."""

    def __init__(self, config: settings.Settings, log: runlog.RunLog) -> None:
        self._config = config
        self._log = log
        self._node = config.local
        self._child: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0

    def run(self) -> None:
        """Look after cm_server until the stop mark appears."""
        threading.Thread(target=self._report, daemon=True).start()
        while not self._stop_wanted():
            self._tend_server()
            time.sleep(self._config.scaled(_LOOP_S))
        if not faults.load(self._node.home).server_survives_stop:
            self._stop_server()

    def _stop_wanted(self) -> bool:
        return self._node.manual_stop.exists() and not faults.load(self._node.home).agent_ignores_stop

    def _server_pid(self) -> int | None:
        if self._child is not None and self._child.poll() is None:
            return self._child.pid
        return processes.from_pid_file(self._node.pid_file("cm_server"), self._node.program("cm_server"))

    def _tend_server(self) -> None:
        if self._server_pid() is not None or self._node.manual_stop.exists():
            return
        now = time.monotonic()
        if self._started_at and now < self._started_at + self._config.scaled(_RESTART_S):
            return
        self._started_at = now
        self._log.write("LOG", "start cm_server")
        self._child = spawn(self._node, "cm_server", os.environ)

    def _stop_server(self) -> None:
        pid = self._server_pid()
        if pid is None:
            return
        self._log.write("LOG", f"stop cm_server, pid {pid}")
        processes.send(pid, signal.SIGTERM)
        if not processes.wait_gone(self._node.home, ("cm_server",), _SERVER_ENDS_S):
            processes.send(pid, signal.SIGKILL)
            processes.wait_gone(self._node.home, ("cm_server",), _SERVER_ENDS_S)

    def _report(self) -> None:
        """Stay connected to the primary; every connection reads the client files anew."""
        pause = max(self._config.scaled(_RECONNECT_S), _SHORTEST_RECONNECT_S)
        while True:
            wait = pause
            for target in self._config.nodes:
                try:
                    self._stay(
                        client.connect(self._config, target, remote_type=wire.REMOTE_AGENT, postmaster=False)
                    )
                except client.NotReached:
                    continue
                except client.SslFailed as cause:
                    self._log.write("ERROR", str(cause))
                    self._log.write("ERROR", "create ssl connection failed.")
                    wait = _AFTER_SSL_FAILURE_S
            time.sleep(wait)

    def _stay(self, connection: socket.socket) -> None:
        with connection:
            connection.settimeout(None)
            self._log.write("LOG", "connected to the cm_server primary")
            try:
                while True:
                    wire.receive(connection)
            except (wire.ConnectionEnded, OSError):
                self._log.write("LOG", "lost the cm_server primary")


def spawn(node: settings.NodeRecord, name: str, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start a daemon of a node in a session of its own."""
    return subprocess.Popen(
        [str(node.program(name))],
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def main() -> NoReturn:
    """Run until the stop mark or SIGTERM."""
    if "-V" in sys.argv or "--version" in sys.argv:
        sys.stdout.write(f"cm_agent {settings.VERSION}\n")
        sys.exit(0)
    try:
        config = settings.load(settings.home_from_environment())
    except settings.NoHome as cause:
        sys.stdout.write(f"cm_agent: {cause}\n")
        sys.exit(1)
    sys.exit(_run(config))


def _run(config: settings.Settings) -> int:
    node = config.local
    pid_file = node.pid_file("cm_agent")
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    signal.signal(signal.SIGHUP, lambda *_: None)
    settings.write_private(pid_file, f"{os.getpid()}\n".encode())
    runlog.quiet_streams()
    log = runlog.RunLog(node.log_path / "cm" / "cm_agent", "cm_agent")
    if faults.load(node.home).agent_refuses:
        log.write("FATAL", "scripted fault: no start")
        return 1
    try:
        _start_heartbeat(config, log)
    except (tls.TlsFailure, OSError) as cause:
        log.write("ERROR", str(cause))
        log.write("FATAL", "init cma heartbeat conn by mes failed")
        return 1
    Agent(config, log).run()
    pid_file.unlink(missing_ok=True)
    # Threads hold connections open; nothing is left to be saved.
    os._exit(0)


def _watch_expiry(config: settings.Settings, text: str, log: runlog.RunLog) -> None:
    """Of client.crt and the CAs, and only with TLS among the agents; a wild threshold is logged and no more
    (facts section 5). The facts do not have the agent's own words for it: these are cm_server's."""
    try:
        check = expiry.load(config.local.set_directory, "client", text)
    except expiry.WildThreshold as cause:
        log.write("ERROR", str(cause))
        return
    check.tell(log)
    check.keep_telling(config, log)


def _start_heartbeat(config: settings.Settings, log: runlog.RunLog) -> None:
    """The agents' mesh; loads client.* once, with a weaker check of modes (facts sections 1, 2)."""
    text = config.local.conf("cm_agent").read_text()
    if conf.value(text, "agent_rhb_interval") == "0":
        return
    credentials = None
    if conf.is_true(conf.value(text, "enable_ssl")):
        directory = config.local.set_directory
        password = tls.key_password(directory, "client", cm_cipher.layout_for(libpq_off=config.libpq_off))
        tls.check_modes(directory, "client", tls.DCC_FORBIDDEN)
        credentials = Credentials(
            tls.acceptor(directory, password, "client", crl=False),
            tls.connector(directory, password, "client", crl=False),
        )
        _watch_expiry(config, text, log)
    addresses = {node.id: (node.address, node.heartbeat_port) for node in config.nodes}
    Mesh(config.node_id, addresses, credentials, log=lambda line: log.write("ERROR", line)).start()
