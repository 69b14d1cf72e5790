"""The simulated om_monitor: starts cm_agent when it is missing and not stopped on purpose."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NoReturn

from gausscert_sim import processes, runlog, settings
from gausscert_sim.cm_agent import spawn

if TYPE_CHECKING:
    import subprocess

_LOOP_S: Final = 1.0
_TRIES_WHILE_STOPPED: Final = 3
"""After an abnormal exit cm_agent is started even against the stop mark (monitor_main.cpp:1806-1848)."""
_PR_SET_CHILD_SUBREAPER: Final = 36


class Monitor:
    """One running om_monitor."""

    def __init__(self, config: settings.Settings) -> None:
        self._node = config.local
        self._config = config
        self._agent: subprocess.Popen[bytes] | None = None
        self._agent_failed = False
        self._tries = 0

    def run(self) -> NoReturn:
        """Loop for ever."""
        while True:
            self._reap()
            self._tend_agent()
            time.sleep(self._config.scaled(_LOOP_S))

    def _reap(self) -> None:
        """Collect cm_agent, and cm_servers that outlived theirs: nobody else would."""
        with suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    return
                if self._agent is not None and pid == self._agent.pid:
                    self._agent.returncode = os.waitstatus_to_exitcode(status)
                    self._agent_failed = self._agent.returncode != 0
                    self._agent = None

    def _tend_agent(self) -> None:
        if self._agent_runs():
            return
        if self._node.manual_stop.exists():
            if not self._agent_failed or self._tries >= _TRIES_WHILE_STOPPED:
                return
            self._tries += 1
        else:
            self._tries = 0
        if self._startable():
            self._agent = spawn(self._node, "cm_agent", os.environ)

    def _agent_runs(self) -> bool:
        if self._agent is not None:
            return True
        pid_file, program = self._node.pid_file("cm_agent"), self._node.program("cm_agent")
        return processes.from_pid_file(pid_file, program) is not None

    def _startable(self) -> bool:
        """The configuration readable, the program executable (monitor_main.cpp:1816-1824)."""
        program = self._node.program("cm_agent")
        return os.access(self._node.conf("cm_agent"), os.R_OK) and os.access(program, os.X_OK)


def main() -> NoReturn:
    """Run until SIGTERM."""
    if "-V" in sys.argv or "--version" in sys.argv:
        sys.stdout.write(f"om_monitor {settings.VERSION}\n")
        sys.exit(0)
    try:
        config = settings.load(settings.home_from_environment())
    except settings.NoHome as cause:
        sys.stdout.write(f"om_monitor: {cause}\n")
        sys.exit(1)
    if any(found.pid != os.getpid() for found in processes.running(config.local.home, ("om_monitor",))):
        sys.exit(0)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    runlog.quiet_streams()
    # Orphans of a killed cm_agent come here instead of to an init that may not collect them.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    Monitor(config).run()
