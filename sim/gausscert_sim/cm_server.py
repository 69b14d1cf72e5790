"""The simulated cm_server: loads its certificates once, serves them, elects a primary."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from typing import Any, Final, NoReturn

from gausscert_sim import faults, hiding, processes, runlog, settings
from gausscert_sim.listener import Listener
from gausscert_sim.mesh import Mesh
from gausscert_sim.quorum import Role, cluster_state, role
from gausscert_sim.server_start import Loaded, StartRefused, load

FAILED: Final = 255
"""`return -1` from main."""

_LOOKS_FOR_MARK_S: Final = 0.01
"""Much less than om_monitor and cm_agent take to start: they must find a cm_server that was hiding."""


class Server:
    """One running cm_server."""

    def __init__(self, config: settings.Settings, loaded: Loaded, log: runlog.RunLog) -> None:
        self._config = config
        self._log = log
        self._role = Role.STANDBY
        self._lock = threading.Lock()
        addresses = {node.id: (node.address, node.ha_port) for node in config.nodes}
        self._mesh = Mesh(
            config.node_id,
            addresses,
            loaded.dcc,
            changed=self._elect,
            log=lambda line: log.write("ERROR", f"[dcc] {line}"),
        )
        self._listener = Listener(config, loaded.acceptor, log, self.role, self.answer)

    def start(self) -> None:
        """Begin to serve.

        Raises:
            OSError: An address is taken.
        """
        self._mesh.start()
        self._listener.start()
        self._elect()

    def role(self) -> Role:
        """What this cm_server is now."""
        return self._role

    def answer(self) -> dict[str, Any]:
        """What a query is told."""
        linked, agents = self._mesh.linked(), self._listener.agents()
        return {
            "role": self._role.value,
            "cluster_state": cluster_state(
                self._config.node_id, linked, agents, len(self._config.nodes)
            ).value,
            "servers": sorted({self._config.node_id, *linked}),
            "agents": sorted(agents),
        }

    def _elect(self) -> None:
        with self._lock:
            elected = role(self._config.node_id, self._mesh.linked(), len(self._config.nodes))
            if elected is self._role:
                return
            self._role = elected
        self._log.write("LOG", f"cm_server changes to {elected.value}.")
        if elected is not Role.PRIMARY:
            self._listener.drop_agents()


def main() -> NoReturn:
    """Run until SIGTERM."""
    if "-V" in sys.argv or "--version" in sys.argv:
        sys.stdout.write(f"cm_server {settings.VERSION}\n")
        sys.exit(0)
    try:
        config = settings.load(settings.home_from_environment())
    except settings.NoHome as cause:
        sys.stdout.write(f"cm_server: {cause}\n")
        sys.exit(FAILED)
    sys.exit(_run(config))


def _run(config: settings.Settings) -> int:
    node = config.local
    if processes.from_pid_file(node.pid_file("cm_server"), node.program("cm_server")):
        sys.stdout.write("cm_server: another cm_server of this node is running\n")
        return FAILED
    signal.signal(signal.SIGTERM, lambda *_: _told_to_end(node))
    # A reload reads neither certificates nor enable_ssl again (facts section 1).
    signal.signal(signal.SIGHUP, lambda *_: None)
    settings.write_private(node.pid_file("cm_server"), f"{os.getpid()}\n".encode())
    runlog.quiet_streams()
    log = runlog.RunLog(node.log_path / "cm" / "cm_server", "cm_server")
    runlog.write_environment(log)
    try:
        _start(config, log)
    except StartRefused as refused:
        time.sleep(config.scaled(refused.delay_s))
        refused.record(log, runlog.DccLog(node.log_path))
        node.pid_file("cm_server").unlink(missing_ok=True)
        return FAILED
    while True:
        signal.pause()


def _start(config: settings.Settings, log: runlog.RunLog) -> None:
    scripted = faults.load(config.local.home)
    time.sleep(scripted.server_start_delay_s)
    if scripted.server_refuses:
        raise StartRefused("scripted fault: no start", "ssl init failed.", delay_s=2.0)
    conf_text = config.local.conf("cm_server").read_text()
    if scripted.server_ssl:
        conf_text = f"enable_ssl = {scripted.server_ssl}\n"
    loaded = load(config, scripted, conf_text, log)
    if loaded.expiry is not None:
        loaded.expiry.keep_telling(config, log)
    if scripted.server_serves_nothing:
        log.write("WARNING", "scripted fault: serves nothing")
        return
    try:
        Server(config, loaded, log).start()
    except OSError as cause:
        raise StartRefused(f"could not listen: {cause}") from cause


def _told_to_end(node: settings.NodeRecord) -> None:
    if not faults.load(node.home).server_hides_from_stop:
        _end(node)
    name = hiding.hide()
    threading.Thread(target=_come_back, args=(node, name), daemon=True).start()


def _come_back(node: settings.NodeRecord, name: bytes) -> None:
    while node.manual_stop.exists():
        if not faults.load(node.home).server_hides_from_stop:
            _end(node)
        time.sleep(_LOOKS_FOR_MARK_S)
    hiding.show(name)


def _end(node: settings.NodeRecord) -> NoReturn:
    node.pid_file("cm_server").unlink(missing_ok=True)
    # Threads hold connections open; nothing is left to be saved.
    os._exit(0)
