"""cm_ctl, one method per subcommand, without a thought about transactions.

Success is what the text says; exit codes are 0 far too often (facts sections 8 and 13).
"""

from __future__ import annotations

import os
import pwd
import threading
from typing import TYPE_CHECKING, Final, Literal

from gausscert_common.errors import NodeFailure, Reason
from gausscert_common.model import ClusterState
from gausscert_common.protocol.words import RestartScope

from gausscert_agent.drivers import cm_texts
from gausscert_agent.drivers.cm_texts import CmView, Said
from gausscert_agent.drivers.process import describe

if TYPE_CHECKING:
    from gausscert_agent.config import CmSettings
    from gausscert_agent.drivers.process import Completed, Runner
    from gausscert_agent.ports import Component, OnStart

Mode = Literal["server", "client"]

_QUICK_S: Final = 10.0
"""For what only reads a file: a node's report must not wait for a hanging cm_ctl."""
_SEE_LOGS: Final = "see $GAUSSLOG/cm/cm_ctl and $GAUSSLOG/cm/cm_server on this node"


class CmCtl:
    """`<home>/bin/cm_ctl` of one node."""

    def __init__(self, settings: CmSettings, runner: Runner) -> None:
        self._settings = settings
        self._runner = runner
        self._program = str(settings.home / "bin" / "cm_ctl")
        self._alone = threading.Lock()

    @property
    def exists(self) -> bool:
        """Whether there is a cm_ctl that the agent may execute."""
        return os.path.isfile(self._program) and os.access(self._program, os.X_OK)

    @property
    def _quick_s(self) -> float:
        return min(_QUICK_S, self._settings.command_timeout_s)

    def version(self) -> str:
        """The first line of `cm_ctl --version`.

        Raises:
            NodeFailure: CM_CTL_FAILED, CM_CTL_TIMEOUT.
        """
        completed = self._run(["--version"], timeout_s=self._quick_s)
        lines = completed.stdout.strip().splitlines()
        if completed.returncode != 0 or not lines:
            raise self._failed(["--version"], completed)
        return lines[0].strip()

    def encrypt(self, mode: Mode, directory: str, password: str) -> None:
        """Write `<mode>.key.cipher` and `<mode>.key.rand`, mode 0600, into a directory without them.

        The password goes to stdin twice: there is no terminal, so that is where it is read (facts
        section 3.2).

        Raises:
            NodeFailure: CM_CTL_FAILED, CM_CTL_TIMEOUT.
        """
        arguments = ["encrypt", "-M", mode, "-D", directory]
        completed = self._run(arguments, stdin=f"{password}\n{password}\n".encode())
        if "encrypt success" not in completed.text:
            raise self._failed(arguments, completed)

    def view(self) -> CmView:
        """The cluster as this node's cluster_static_config has it; no cm_server is asked.

        Raises:
            NodeFailure: CM_CTL_FAILED, CM_CTL_TIMEOUT.
        """
        completed = self._run(["view"], timeout_s=self._quick_s)
        found = cm_texts.view(completed.stdout)
        if not found.topology.nodes:
            raise self._failed(["view"], completed)
        return found

    def query(self, timeout_s: float | None = None) -> ClusterState:
        """`cm_ctl query -Cv`; what speaks against an answer is in its `cause`, not raised.

        Exit 0 says nothing about the state, and 91 s may pass before it gives up (facts section 17).
        """
        try:
            completed = self._run(["query", "-Cv"], timeout_s=timeout_s)
        except NodeFailure as failure:
            return ClusterState(cause=failure.message)
        return cm_texts.cluster_state(completed.text)

    def set_parameter(self, component: Component, node_id: int, name: str, value: str) -> None:
        """`cm_ctl set` on the own node: no ssh, no cm_server, and an exit code of its own.

        The value is not quoted: cm_ctl refuses double quotes and would keep single ones (facts
        section 17). A success text is no proof: a commented line is edited just as happily
        (ctl_guc.cpp:242-284).

        Raises:
            NodeFailure: CM_CTL_FAILED, CM_CTL_TIMEOUT.
        """
        arguments = ["set", "--param", f"--{component}", "-n", str(node_id), "-k", f"{name}={value}"]
        completed = self._run(arguments)
        if f"set cm_{component}.conf success" not in completed.text:
            raise self._failed(arguments, completed)

    def stop(self, scope: RestartScope, node_id: int, timeout_s: float, on_start: OnStart) -> None:
        """Stop the cluster or the own node. Success proves nothing: look at the process list.

        Raises:
            NodeFailure: CM_CTL_FAILED for everything but a plain success, CM_CTL_TIMEOUT.
        """
        self._steer("stop", Reason.CM_CTL_FAILED, scope, node_id, timeout_s, on_start)

    def start(self, scope: RestartScope, node_id: int, timeout_s: float, on_start: OnStart) -> None:
        """Start the cluster or the own node. It exits 0 whatever happened (ctl_start.cpp:1465-1513).

        Raises:
            NodeFailure: CM_NOT_STARTED for everything but a plain success, CM_CTL_TIMEOUT.
        """
        self._steer("start", Reason.CM_NOT_STARTED, scope, node_id, timeout_s, on_start)

    def _steer(
        self,
        verb: Literal["stop", "start"],
        reason: Reason,
        scope: RestartScope,
        node_id: int,
        timeout_s: float,
        on_start: OnStart,
    ) -> None:
        where = ["-n", str(node_id)] if scope is RestartScope.NODE else []
        arguments = [verb, *where, "-t", str(own_timeout_s(timeout_s))]
        completed = self._run(arguments, timeout_s=timeout_s, on_start=on_start)
        said = cm_texts.verdict(completed.text)
        if said is not Said.SUCCESS:
            raise self._failed(arguments, completed, reason, _MEANING[said])

    def _run(
        self,
        arguments: list[str],
        *,
        timeout_s: float | None = None,
        stdin: bytes = b"",
        on_start: OnStart | None = None,
    ) -> Completed:
        """Never two at once: what looks at the node waits for what changes it, and the other way round."""
        given_s = self._settings.command_timeout_s if timeout_s is None else timeout_s
        if not self._alone.acquire(timeout=given_s):
            raise NodeFailure(
                Reason.CM_CTL_TIMEOUT,
                f"`{describe([self._program, *arguments])}` was not run: the agent's own cm_ctl still runs",
                remedy="ask again; stopping and starting CM takes minutes",
            )
        try:
            return self._runner.run(
                [self._program, *arguments],
                env=environment(self._settings),
                timeout_s=given_s,
                stdin=stdin,
                on_start=on_start,
            )
        finally:
            self._alone.release()

    def _failed(
        self,
        arguments: list[str],
        completed: Completed,
        reason: Reason = Reason.CM_CTL_FAILED,
        meaning: str = "did not succeed",
    ) -> NodeFailure:
        command = describe([self._program, *arguments])
        said = completed.tail or "nothing"
        message = f"`{command}` {meaning}: exit code {completed.returncode}, it said: {said}"
        return NodeFailure(reason, message, remedy=_SEE_LOGS)


_MEANING: Final[dict[Said, str]] = {
    Said.PARTLY: "succeeded only partly, some node did not answer",
    Said.FAILED: "failed",
    Said.UNKNOWN: "ended without saying whether it succeeded",
}


def own_timeout_s(timeout_s: float) -> int:
    """What to pass as `-t`: a little less than our own deadline, so that cm_ctl says itself what it
    waited for. With `-t` a stop does not begin again in another mode (facts section 8.1)."""
    return max(1, int(timeout_s - min(5.0, timeout_s * 0.2)))


def environment(settings: CmSettings) -> dict[str, str]:
    """All that cm_ctl gets to see. What starts CM from it ends up in CM's log (facts section 17)."""
    home = settings.home
    user = os_user()
    variables = {
        "GAUSSHOME": str(home),
        "PATH": f"{home}/bin:/usr/bin:/bin",
        "LD_LIBRARY_PATH": f"{home}/lib",
        "HOME": _home_of(os.geteuid()),
        "USER": user,
        "LOGNAME": user,
        "LANG": "C",
    }
    if settings.log_path is not None:
        variables["GAUSSLOG"] = str(settings.log_path)
    return variables | settings.environment


def os_user() -> str:
    """The name of the user the agent runs as; CM knows its user by it (facts section 9)."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _home_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_dir
    except KeyError:
        return "/"
