"""A cluster that answers what a test gives it, and an operator who types what a test says.

given = Given(status=cluster_status())
run = cli("status", given=given)
assert run.code == 0
"""

from __future__ import annotations

import io
import json
import time
from contextlib import AbstractAsyncContextManager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from gausscert_common.errors import GausscertError, Reason, Unreachable
from gausscert_common.findings import Finding, Severity
from gausscert_common.model import (
    Capabilities,
    Certificate,
    CertificateKind,
    CertificateSet,
    ClusterState,
    CmProcess,
    ExpiryReport,
    NodeReport,
    Served,
    ServedState,
    SetFile,
    SetState,
    SslSwitch,
    SslValue,
    TransactionReport,
)
from gausscert_common.protocol.coordinator import Stage, Verdict
from gausscert_common.protocol.words import Fence, Phase, Step
from gausscert_coordinator.cli.group import asks_for_json
from gausscert_coordinator.cli.main import run as run_command
from gausscert_coordinator.cli.settings import Invocation
from gausscert_coordinator.cli.terminal import Terminal
from gausscert_coordinator.control_plane import Audited, Denial, Held, Renewed
from gausscert_coordinator.inventory import Credentials, Inventory, InventoryNode
from gausscert_coordinator.report import (
    ClusterStatus,
    Mark,
    NodeExpiry,
    NodeStatus,
    Plan,
    PlannedNode,
    Progress,
    Proof,
    ReplaceOptions,
    Result,
)
from support.documents import only_document

SECRET = "Canary#7pw"
"""A password that must not be shown."""
NOW = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
OLD = "aa" * 32
NEW = "bb" * 32
NODES = ("n1", "n2", "n3")


def certificate(
    kind=CertificateKind.SERVER, fingerprint=OLD, days=400.0, file="server.crt", subject="CN=server"
):
    return Certificate(
        file=file,
        index=0,
        kind=kind,
        subject=subject,
        issuer="CN=ca",
        serial="1f",
        fingerprint=fingerprint,
        not_before=NOW - timedelta(days=30),
        not_after=NOW + timedelta(days=days),
    )


def live_set(mode=0o400):
    names = ("cacert.pem", "server.crt", "server.key", "client.crt", "client.key")
    return CertificateSet(
        SetState.WHOLE,
        "d1" * 32,
        "d2" * 32,
        tuple(SetFile(name, mode, 1000) for name in names),
        (certificate(), certificate(CertificateKind.CA, "cc" * 32, 3000.0, "cacert.pem", "CN=ca")),
    )


def report(name, **changes):
    base = NodeReport(
        cluster="prod",
        name=name,
        agent_version="0.1.0",
        clock=NOW,
        live=live_set(),
        capabilities=Capabilities(cm_ctl=True),
        enable_ssl=SslSwitch(SslValue.ON, SslValue.ON),
        processes=(CmProcess("cm_server", 11, NOW), CmProcess("cm_agent", 12, NOW)),
    )
    return replace(base, **changes)


def served(fingerprint=OLD, node_id=1):
    return Served(node_id, f"10.0.0.{node_id}:5000", ServedState.SSL_ON, fingerprint, True, NOW)


def status_of(name, **changes):
    return NodeStatus(name, f"{name}:7443", report(name, **changes), None, served())


def unreachable(name):
    return Unreachable(
        Reason.UNREACHABLE, "connection refused", node=name, remedy="start gausscert-agent there"
    )


def cluster_status(*nodes):
    return ClusterStatus("prod", nodes or tuple(status_of(name) for name in NODES))


def in_transaction(phase=Phase.PREPARED, lease_left_s=0.0):
    return TransactionReport(
        "20261102t120000z-abc123", phase, Fence(4, Step.PREPARE), "alice@ops:7", lease_left_s=lease_left_s
    )


def expiry_report(name, *certificates):
    return NodeExpiry(name, ExpiryReport(name, NOW, certificates or (certificate(),), 90))


def finding(code="KEY_MISMATCH", severity=Severity.ERROR, node="", file="server.key"):
    return Finding(code, severity, f"cause of {code}", f"remedy for {code}", node, file)


def plan(**changes):
    base = Plan(
        cluster="prod",
        bundle_digest="e1" * 32,
        options=ReplaceOptions(),
        nodes=tuple(
            PlannedNode(
                name,
                certificate(),
                certificate(fingerprint=NEW),
                "d1" * 32,
                SslSwitch(SslValue.ON, SslValue.ON),
                3,
            )
            for name in NODES
        ),
        findings=(),
        unreachable=(),
        blocked=(),
        served=(served(),),
        cluster_state=ClusterState("Normal", {1: "Primary"}),
        outage="CM of all nodes, under a minute",
    )
    return replace(base, **changes)


def result(verdict=Verdict.COMMITTED, **changes):
    base = Result(
        "20261102t120000z-abc123",
        verdict,
        proof=tuple(Proof(name, served(NEW, 1)) for name in NODES),
        cluster_state=ClusterState("Normal"),
        duration_s=12.3456,
    )
    return replace(base, **changes)


PROGRESS = (
    Progress(0.0, Stage.PREPARE, Mark.STARTED),
    Progress(0.0, Stage.PREPARE, Mark.STARTED, "n1"),
    Progress(0.4, Stage.PREPARE, Mark.DONE, "n1"),
    Progress(0.5, Stage.PREPARE, Mark.RETRYING, "n2", "connection refused"),
    Progress(0.6, Stage.PREPARE, Mark.FAILED, "n3", "no space"),
    Progress(0.7, Stage.PREPARE, Mark.NOTE, "", "turning back"),
)


@dataclass
class Given:
    """What the cluster answers, and what it was asked."""

    status: ClusterStatus | None = None
    expiry: tuple[NodeExpiry, ...] = ()
    plan: Plan | None = None
    result: Result | None = None
    raises: BaseException | None = None
    progress: tuple[Progress, ...] = ()
    held: tuple[Held, ...] = ()
    renewed: tuple[Renewed, ...] = ()
    denials: tuple[Denial, ...] = ()
    audits: tuple[Audited, ...] = ()
    during: Any = None
    """Called in the running transaction with the interrupt."""
    asked: list[tuple[Any, ...]] = field(default_factory=list)


class FakeCluster(AbstractAsyncContextManager["FakeCluster"]):
    """Stands in for `Coordinator`."""

    def __init__(self, given: Given):
        self._given = given

    async def __aenter__(self):
        self._given.asked.append(("open",))
        return self

    async def __aexit__(self, *raised):
        self._given.asked.append(("close",))

    async def status(self):
        return self._answer(self._given.status)

    async def expiry(self):
        return self._answer(self._given.expiry)

    async def plan(self, bundle, options):
        self._given.asked.append(("plan", bundle, options))
        return self._answer(self._given.plan)

    async def replace(self, plan, bundle, *, watch, interrupt):
        self._given.asked.append(("replace", plan, bundle))
        return await self._run(watch, interrupt)

    async def plan_rollback(self, generation, options):
        self._given.asked.append(("plan_rollback", generation, options))
        return self._answer(self._given.plan)

    async def rollback(self, plan, *, watch, interrupt):
        self._given.asked.append(("rollback", plan))
        return await self._run(watch, interrupt)

    async def plan_ssl(self, wish, options):
        self._given.asked.append(("plan_ssl", wish, options))
        return self._answer(self._given.plan)

    async def switch_ssl(self, plan, *, watch, interrupt):
        self._given.asked.append(("switch_ssl", plan))
        return await self._run(watch, interrupt)

    async def recover(
        self, prefer, take_over, restart, *, bundle, exclude=(), accept_state=False, watch, interrupt
    ):
        accepted = ((exclude,) if exclude else ()) + ((True,) if accept_state else ())
        self._given.asked.append(("recover", prefer, take_over, restart, bundle, *accepted))
        return await self._run(watch, interrupt)

    async def _run(self, watch, interrupt):
        for each in self._given.progress:
            watch(each)
        if self._given.during is not None:
            await self._given.during(interrupt)
        return self._answer(self._given.result)

    def _answer(self, value):
        if self._given.raises is not None:
            raise self._given.raises
        return value


class FakeControlPlane(AbstractAsyncContextManager["FakeControlPlane"]):
    """Stands in for `ControlPlane`."""

    def __init__(self, given: Given):
        self._given = given

    async def __aexit__(self, *raised):
        self._given.asked.append(("close",))

    async def held(self):
        self._given.asked.append(("held",))
        return self._given.held

    async def deny(self, entries, cluster):
        self._given.asked.append(("deny", entries, cluster))
        return self._answer(self._given.denials)

    async def audits(self, heads):
        self._given.asked.append(("audits", heads))
        return self._given.audits

    async def renew(self, nodes, signer):
        self._given.asked.append(("renew", tuple(nodes), signer.cluster))
        return self._answer(self._given.renewed)

    def _answer(self, value):
        if self._given.raises is not None:
            raise self._given.raises
        return value


class Tty(io.StringIO):
    """Text that claims to come from, or go to, a terminal."""

    def isatty(self) -> bool:
        return True


@dataclass
class Run:
    """How a command line ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        return json.loads(self.out)


def inventory(path=None, cluster=None):
    nodes = tuple(InventoryNode(name, f"{name}:7443") for name in NODES)
    return Inventory("prod", nodes, Credentials(Path("ca"), Path("cert"), Path("key")))


def cli(*args, given=None, typed=None, hidden=(), terminal_out=False, out=None, clock=time.monotonic):
    """Run a command line against a fake cluster.

    Args:
        args: Without the program's name.
        given: What the cluster answers.
        typed: Lines of an operator at a terminal; None: there is no terminal.
        hidden: Answers to prompts without echo, in order.
        terminal_out: Standard output and error are terminals.
        out: Stands in for standard output.
        clock: Seconds, between one press of Ctrl-C and the next.
    """
    answers = iter(hidden)
    made = Tty if terminal_out else io.StringIO
    out, err = out or made(), made()
    stdin = Tty(typed) if typed is not None else io.TextIOWrapper(io.BytesIO(b""))
    invocation = Invocation(
        open_cluster=lambda inventory: FakeCluster(given or Given()),
        open_control_plane=lambda inventory: FakeControlPlane(given or Given()),
        load_inventory=inventory,
        open_terminal=lambda: Terminal(stdin, err, lambda prompt: next(answers)),
        clock=clock,
    )
    with redirect_stdout(out), redirect_stderr(err):
        code = run_command(args, invocation)
    if asks_for_json(args) and "--help" not in args:
        only_document(out.getvalue())
    return Run(code, out.getvalue(), err.getvalue())


def error(kind, reason, message="it failed", **where) -> GausscertError:
    return kind(reason, message, **where)
