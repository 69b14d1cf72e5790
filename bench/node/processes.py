"""A real agent, or the minimal server, in a process of its own, and how it is called and weighed."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

import grpc
from gausscert.v1 import agent_service_pb2 as pb
from gausscert.v1 import agent_service_pb2_grpc
from gausscert_common import certset, identity
from gausscert_common.identity import Role
from gausscert_common.protocol.commands import Command
from gausscert_common.protocol.words import RestartScope, SslWish, Step
from gausscert_common.wire import requests
from gausscert_coordinator import pki
from grpc_health.v1 import health_pb2  # type: ignore[import-untyped] # ships no stubs

from bench.node import material, minimal_server

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gausscert_sim.node import SimulatedNode

    from bench.node.material import Material

NAME = "n1"
CLUSTER = "bench"
READY_S = 30.0
CALL_S = 30.0
_MINIMAL = Path(minimal_server.__file__)
_SCRIPT = Path(sys.executable).with_name("gausscert-agent")
_AGENT = (sys.executable, "-P", str(_SCRIPT))
"""As the unit file starts it."""

_CONFIG = """\
[agent]
name = "{name}"
cluster = "{cluster}"
listen = "{address}"
state_dir = "{root}/state"

[tls]
ca = "{pki}/ca.crt"
cert = "{pki}/node-{name}.crt"
key = "{pki}/node-{name}.key"

[cm]
{cm}
"""

_WITHOUT_CM = """\
home = "{root}/home"
data_path = "{root}/data"
stopped_for_s = 0.05
"""

_SIMULATED_CM = """\
home = "{home}"
data_path = "{data}"
log_path = "{log}"
environment = {{ PATH = "{path}", USER = "{user}", HOME = "{own}" }}
"""


class Credentials:
    """A control plane's CA with one node and one operator.

    Args:
        root: An existing directory.
    """

    def __init__(self, root: Path) -> None:
        self.path = root / "pki"
        pki.init(self.path, CLUSTER, None)
        self._node = pki.issue(self.path, Role.NODE, NAME)
        self._operator = pki.issue(self.path, Role.OPERATOR, "bench")

    @property
    def server_files(self) -> tuple[str, str, str]:
        """CA, certificate and key of the node."""
        return str(self._node.ca), str(self._node.cert), str(self._node.key)

    def channel(self, address: str) -> grpc.Channel:
        """A channel of the operator's."""
        mine = self._operator
        tls = grpc.ssl_channel_credentials(
            mine.ca.read_bytes(), mine.key.read_bytes(), mine.cert.read_bytes()
        )
        name = identity.node_dns_name(CLUSTER, NAME)
        options = (("grpc.ssl_target_name_override", name), ("grpc.enable_http_proxy", 0))
        return grpc.secure_channel(address, tls, options=options)


class Serving:
    """A server that runs; ends with the `with` block.

    Args:
        argv: Its command.
        address: Where it listens.
        credentials: Whose channel is opened to it.

    Attributes:
        address: The same.
        ready_ms: From the spawn until it said that it serves.
        ready_cpu_ms: The CPU time it had used by then.
    """

    def __init__(self, argv: Sequence[str], address: str, credentials: Credentials) -> None:
        with tempfile.TemporaryDirectory(prefix="gausscert-") as place, _notified(place) as manager:
            environment = _compiled(credentials.path) | {"NOTIFY_SOCKET": f"{place}/notify"}
            begin = time.perf_counter()
            self._process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environment,
            )
            try:
                assert manager.recv(64) == b"READY=1"
                self.ready_ms = (time.perf_counter() - begin) * 1000
                self.ready_cpu_ms = self.cpu_ms
            except BaseException:
                self._end()
                raise
        self.address = address
        self.channel = credentials.channel(address)

    @property
    def cpu_ms(self) -> float:
        """CPU time of all its threads, those that have ended included; without its children.

        The clock of another process is ~pid << 3 | CPUCLOCK_SCHED (clock_getcpuclockid(3), and the kernel's
        posix-timers.h).
        """
        return time.clock_gettime(~self._process.pid << 3 | 2) * 1000

    @property
    def rss_mib(self) -> float:
        """Resident memory; /proc/PID/statm is open to all even where a process is not dumpable."""
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGESIZE") / 2**20

    def call(self, method: str, request: bytes = b"") -> bytes:
        """Call anything."""
        return self.channel.unary_unary(method, bytes, bytes)(request, timeout=CALL_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.channel.close()
        self._end()

    def _end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(READY_S)
        finally:
            self._process.kill()


class Agent(Serving):
    """A real agent of a node whose CM the operator stops and starts himself, so that no cm_ctl takes part.

    Args:
        root: An empty directory.
        pair: Two sets; the first one is live to begin with.
        credentials: The control plane's.
        simulated: A node with a simulated CM, which has a set already; for looking, not for transactions.
    """

    def __init__(
        self,
        root: Path,
        pair: tuple[Material, Material],
        credentials: Credentials,
        simulated: SimulatedNode | None = None,
    ) -> None:
        self.pair = pair
        self._number = 0
        self._live = pair[0]
        address = free_address()
        if simulated is None:
            _lay_out(root, pair[0])
            cm = _WITHOUT_CM.format(root=root)
        else:
            cm = _settings_of(simulated)
        config = root / "agent.toml"
        config.write_text(
            _CONFIG.format(
                name=NAME, cluster=CLUSTER, address=address, root=root, pki=credentials.path, cm=cm
            )
        )
        argv = [*_AGENT, "serve", "--config", str(config)]
        super().__init__(argv, address, credentials)
        self.stub = agent_service_pb2_grpc.AgentServiceStub(self.channel)

    def null(self) -> None:
        """A call that does nothing: a health check."""
        request = health_pb2.HealthCheckRequest().SerializeToString()
        self.call(f"/{identity.HEALTH_SERVICE}/Check", request)

    def look(self) -> None:
        """What `gausscert status` asks of a node: what it holds, and what its cm_servers serve."""
        self.stub.GetNode(pb.GetNodeRequest(), timeout=CALL_S)
        request = pb.ProbeRequest(query=True)
        request.timeout.FromSeconds(10)
        served = self.stub.Probe(request, timeout=CALL_S).served
        assert all(one.fingerprint for one in served), served

    def transaction(self, around: Callable[[Step, Callable[[], object]], None]) -> None:
        """One replacement from Acquire to Purge, seven calls.

        Args:
            around: Called with each step and what carries it out.
        """
        self._number += 1
        new = self.pair[1] if self._live is self.pair[0] else self.pair[0]
        for step, do in self._calls(new).items():
            around(step, do)
        self._live = new

    def _calls(self, new: Material) -> dict[Step, Callable[[], object]]:
        scope = RestartScope.NONE
        restart = {"scope": scope, "executor": False, "timeout_s": 30.0}
        acquire = requests.acquire_request(
            self._command(Step.ACQUIRE), holder="bench@here:1", lease_s=30.0, take_over=True
        )
        prepare = requests.prepare_request(
            self._command(Step.PREPARE),
            participants=(NAME, "n2", "n3"),
            expected_live_digest=certset.digest(self._live.files),
            source=new.bundle,
            ssl_wish=SslWish.KEEP,
            restart=scope,
            drop_crls=False,
        )
        stop = requests.stop_request(self._command(Step.STOP), **restart)  # type: ignore[arg-type] # mixed values
        start = requests.start_request(self._command(Step.START), **restart)  # type: ignore[arg-type] # the same
        swap = pb.SwapRequest(ref=requests.ref(self._command(Step.SWAP)))
        commit = pb.CommitRequest(ref=requests.ref(self._command(Step.COMMIT)))
        purge = pb.PurgeRequest(ref=requests.ref(self._command(Step.PURGE)))
        return {
            Step.ACQUIRE: lambda: self.stub.Acquire(acquire, timeout=CALL_S),
            Step.PREPARE: lambda: self.stub.Prepare(prepare, timeout=CALL_S),
            Step.STOP: lambda: self.stub.Stop(stop, timeout=CALL_S),
            Step.SWAP: lambda: self.stub.Swap(swap, timeout=CALL_S),
            Step.START: lambda: self.stub.Start(start, timeout=CALL_S),
            Step.COMMIT: lambda: self.stub.Commit(commit, timeout=CALL_S),
            Step.PURGE: lambda: self.stub.Purge(purge, timeout=CALL_S),
        }

    def _command(self, step: Step) -> Command:
        return Command(f"tx-{self._number:08}", self._number, step)


CALLS = 7
"""Of a transaction."""
LOOKS = 2
"""Of a status."""


class Minimal(Serving):
    """The minimal server."""

    def __init__(self, credentials: Credentials) -> None:
        address = free_address()
        argv = [sys.executable, "-P", str(_MINIMAL), *credentials.server_files, address]
        super().__init__(argv, address, credentials)

    def null(self) -> None:
        """A call of the size of a transaction's largest."""
        self.call(minimal_server.METHOD, bytes(20_480))

    def tell(self) -> None:
        """A call that is answered with a message of protobuf."""
        self.call(minimal_server.TELLING)

    def load(self) -> None:
        """A call that needs `cryptography`."""
        self.call(minimal_server.LOADING)


def free_address() -> str:
    """One that nobody listened on a moment ago."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{found.getsockname()[1]}"


def _settings_of(node: SimulatedNode) -> str:
    environment = node.environment()
    return _SIMULATED_CM.format(
        home=node.home,
        data=node.data_path,
        log=node.log_path,
        path=environment["PATH"],
        user=environment["USER"],
        own=environment["HOME"],
    )


def _compiled(beside: Path) -> dict[str, str]:
    """An installed agent finds its modules compiled; here they are from the first start on, whatever this
    environment says of bytecode."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return kept | {"PYTHONPYCACHEPREFIX": str(beside.parent / "compiled")}


def _lay_out(root: Path, live: Material) -> None:
    material.install(root / "home" / "share" / "sslcert" / "cm", live)
    (root / "home" / "bin").mkdir()
    for component in ("cm_server", "cm_agent"):
        directory = root / "data" / component
        directory.mkdir(parents=True)
        (directory / f"{component}.conf").write_text("enable_ssl = on\n")


class _notified:  # noqa: N801 - used as a function
    """A socket as the service manager listens on (sd_notify(3))."""

    def __init__(self, place: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"{place}/notify")
        self._socket.settimeout(READY_S)

    def __enter__(self) -> socket.socket:
        return self._socket

    def __exit__(self, *_: object) -> None:
        self._socket.close()
