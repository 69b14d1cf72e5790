"""The demo's machines in one directory: simulated nodes, a real agent for each, the operator's command."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Final, Self

from gausscert_common.errors import InternalError, Reason

from gausscert_coordinator.cli import demo_files
from gausscert_coordinator.cli.demo_claims import SimulatedCluster, SimulatedNode

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

AGENT_START_S: Final = 20.0
AGENT_STOP_S: Final = 15.0
COMMAND_S: Final = 120.0
POLL_S: Final = 0.05

GAUSSCERT: Final = (sys.executable, "-m", "gausscert_coordinator.cli.entry")
AGENT: Final = (sys.executable, "-m", "gausscert_agent.cli")


class DemoCluster:
    """Everything that runs; leaving the `with` block ends all of it.

    Args:
        root: An empty directory of the demo's own.
        simulated: Laid out, not started.
        show: Let the commands write to this terminal; else they write nowhere.
    """

    agent_port = demo_files.AGENT_PORT
    """Another one where two clusters of one process run at once."""

    def __init__(self, root: Path, simulated: SimulatedCluster, *, show: bool) -> None:
        self.root = root
        self.simulated = simulated
        self.server_password = demo_files.password()
        self.client_password = demo_files.password()
        self._show = show
        self._agents: dict[str, subprocess.Popen[bytes]] = {}
        self._command: subprocess.Popen[bytes] | None = None

    @property
    def nodes(self) -> tuple[SimulatedNode, ...]:
        """The simulated nodes."""
        return self.simulated.nodes

    def start(self) -> None:
        """Serve the first set, start the agents, write the operator's files.

        Raises:
            InternalError: An agent does not serve; the message has the end of its log. Or the simulated
                cluster does not become Normal.
        """
        first = demo_files.first_set()
        for node in self.nodes:
            node.install(first)
        try:
            self.simulated.start(timeout_s=AGENT_START_S)
        except TimeoutError as error:
            raise InternalError(
                Reason.INTERNAL,
                f"the simulated CM does not start: {error}",
                remedy="run the demo again with --keep and look at nodes/*/log in its directory",
            ) from error
        demo_files.issue_credentials(self.root, [node.name for node in self.nodes])
        demo_files.write_inventory(self.root, self.nodes, self.agent_port)
        demo_files.write_private(self.root / "server.pw", self.server_password + "\n")
        demo_files.write_private(self.root / "client.pw", self.client_password + "\n")
        for node in self.nodes:
            self._agents[node.name] = self._start_agent(node)
        for node in self.nodes:
            self._await_agent(node)

    def gausscert(self, *arguments: str, show: bool = True) -> int:
        """Run the operator's command in the demo's directory; answers its exit code."""
        output = None if show and self._show else subprocess.DEVNULL
        self._command = subprocess.Popen(
            [*GAUSSCERT, *arguments],
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        return self._command.wait(COMMAND_S)

    def answer(self, *arguments: str) -> bytes:
        """As `gausscert`, silently; answers its standard output."""
        self._command = subprocess.Popen(
            [*GAUSSCERT, *arguments],
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        return self._command.communicate(timeout=COMMAND_S)[0]

    def stop(self) -> None:
        """End every process; whatever state it is in."""
        if self._command is not None and self._command.poll() is None:
            self._command.kill()
            self._command.wait()
        for agent in self._agents.values():
            agent.terminate()
        deadline = time.monotonic() + AGENT_STOP_S
        for agent in self._agents.values():
            _end(agent, deadline)
        self.simulated.destroy()

    def left_over(self) -> list[str]:
        """Processes that still have something to do with the demo's directory."""
        marker = os.fsencode(self.root)
        found = []
        for entry in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{entry}/cmdline", "rb") as opened:
                    line = opened.read()
            except OSError:
                continue
            if marker in line and int(entry) != os.getpid():
                found.append(f"{entry} {line.replace(bytes(1), b' ').decode(errors='replace').strip()}")
        return found

    def _start_agent(self, node: SimulatedNode) -> subprocess.Popen[bytes]:
        config = demo_files.write_agent_config(self.root, node, self.agent_port)
        state = self.root / f"agent-{node.name}"
        state.mkdir(mode=0o700)
        log = os.open(self._log(node), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            return self.launch_agent(config, log)
        finally:
            os.close(log)

    def launch_agent(self, config: Path, log: int) -> subprocess.Popen[bytes]:
        """Start one agent that writes into an open log."""
        return subprocess.Popen(
            [*AGENT, "serve", "--config", str(config)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )

    def _await_agent(self, node: SimulatedNode) -> None:
        deadline = time.monotonic() + AGENT_START_S
        while not _listens(node.address, self.agent_port):
            ended = self._agents[node.name].poll()
            if ended is not None or time.monotonic() > deadline:
                why = (
                    f"ended with {ended}"
                    if ended is not None
                    else f"does not serve after {AGENT_START_S:.0f} s"
                )
                raise InternalError(
                    Reason.INTERNAL,
                    f"the agent {why}: {self._last_words(node)}",
                    node=node.name,
                    remedy="run the demo again with --keep and look at agent-*.log in its directory",
                )
            time.sleep(POLL_S)

    def _log(self, node: SimulatedNode) -> Path:
        return self.root / f"agent-{node.name}.log"

    def _last_words(self, node: SimulatedNode) -> str:
        lines = self._log(node).read_text(errors="replace").strip().splitlines()
        return " | ".join(lines[-3:])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        raised: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # A second Ctrl-C must not leave half of the processes behind.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            self.stop()
        finally:
            signal.signal(signal.SIGINT, before)


def command_line(arguments: Sequence[str]) -> str:
    """What an operator would type."""
    return " ".join(("gausscert", *arguments))


def _end(process: subprocess.Popen[bytes], deadline: float) -> None:
    try:
        process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _listens(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), timeout=1.0):
            return True
    except OSError:
        return False
