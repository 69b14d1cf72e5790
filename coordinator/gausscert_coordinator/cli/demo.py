"""`gausscert demo`: the one place outside of tests that may import the simulated CM."""

from __future__ import annotations

import shutil
import signal
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gausscert_coordinator.cli.group import Verb, pass_invocation
from gausscert_coordinator.cli.settings import Invocation
from gausscert_coordinator.cli.verbs import ROOT
from gausscert_coordinator.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gausscert_sim.cluster import SimulatedCluster

    from gausscert_coordinator.cli.demo_claims import Claim, Claims, Served
    from gausscert_coordinator.cli.demo_cluster import DemoCluster
    from gausscert_coordinator.cli.demo_story import Failure

FAILURES = {
    "prepare:fail": ("`cm_ctl encrypt` fails on one node", "last", {"encrypt": "fail"}),
    "prepare:wrong": (
        "`cm_ctl encrypt` takes a wrong password on one node",
        "last",
        {"encrypt": "wrong"},
    ),
    "stop:fail": ("`cm_ctl stop` fails", "first", {"stop": "fail"}),
    "stop:lie": ("`cm_ctl stop` says success and stops nothing", "first", {"stop": "lie"}),
    "start:refuses": ("the new cm_server of one node refuses to start", "last", {}),
}
"""By STEP:KIND: for the audience, which node, and which words of `gausscert_sim.faults.Faults`."""

FIRST_OF_STEP = {failure.partition(":")[0]: failure for failure in reversed(FAILURES)}
"""A step alone means the first kind of failure in it."""

FROM_PREPARE = "prepare"


@click.command(
    "demo",
    cls=Verb,
    short_help=ROOT["demo"].short_help,
    examples=(
        ("All of it, in under a minute:", "gausscert demo"),
        ("Five nodes, and the failure in an earlier step:", "gausscert demo --nodes 5 --fail prepare:wrong"),
        ("Keep the files, to look at the logs:", "gausscert demo --keep"),
        ("The cluster alone, to try the commands on it in another terminal:", "gausscert demo --stay"),
    ),
    exits={
        ExitCode.DONE: "every claim that was printed had been checked and held, or --stay was ended",
        ExitCode.REFUSED: "usage, or stopped with Ctrl-C",
        ExitCode.OWN_ERROR: "a claim did not hold",
    },
)
@click.option("--nodes", type=click.IntRange(1, 9), default=3, show_default=True, help="Simulated nodes.")
@click.option(
    "--fail",
    "fails",
    type=click.Choice([*FAILURES, *sorted(FIRST_OF_STEP)]),
    metavar="STEP[:KIND]",
    default="start:refuses",
    help="What fails in the second replacement: " + ", ".join(FAILURES) + ". [default: start:refuses]",
)
@click.option("--keep", is_flag=True, help="Leave the directory with all files and logs; no process stays.")
@click.option("--stay", is_flag=True, help="Only start the cluster, and let it run until Ctrl-C.")
@pass_invocation
def command(invocation: Invocation, nodes: int, fails: str, keep: bool, stay: bool) -> int:
    """Show gausscert at work on a simulated cluster on loopback, in a temporary directory.

    The CM is simulated; the agents, their credentials and every gausscert command are real. A replacement,
    one that fails and rolls back, and a faulty bundle that is refused. Each claim is checked in the files and
    in what the running cm_servers serve.
    """
    from gausscert_coordinator.cli import demo_stay
    from gausscert_coordinator.cli.demo_claims import NotSo
    from gausscert_coordinator.cli.demo_story import Story

    began = time.monotonic()
    fails = FIRST_OF_STEP.get(fails, fails)
    root = Path(tempfile.mkdtemp(prefix="gausscert-demo-"))
    claims = _claims(invocation)
    seen: list[tuple[str, Served]] = []

    def act(cluster: DemoCluster, simulated: SimulatedCluster) -> None:
        if stay:
            demo_stay.stay(invocation, cluster)
        else:
            Story(cluster, claims, _sayer(invocation), _failure(simulated, fails), seen).tell()

    try:
        with suppress(NotSo), _terminated_like_interrupted():
            _play(invocation, root, nodes, claims, act)
    finally:
        if not keep:
            shutil.rmtree(root, ignore_errors=True)
    if keep:
        invocation.render.important(f"the files are in {root}")
    else:
        with suppress(NotSo):
            claims.check(f"{root} is gone", not root.exists())
    if stay:
        return ExitCode.DONE if claims.all_hold else ExitCode.OWN_ERROR
    return _end(invocation, seen, claims, time.monotonic() - began)


def _play(
    invocation: Invocation,
    root: Path,
    nodes: int,
    claims: Claims,
    act: Callable[[DemoCluster, SimulatedCluster], None],
) -> None:
    from gausscert_sim.cluster import SimulatedCluster

    from gausscert_coordinator.cli.demo_cluster import DemoCluster

    _sayer(invocation)(
        "This demo runs on a SIMULATED CM, not on openGauss. The agents, their credentials and the commands"
        f" are real. Directory: {root}"
    )
    homes = root / "nodes"
    homes.mkdir(mode=0o700)
    simulated = SimulatedCluster.create(homes, nodes)
    silent = invocation.wants_json or invocation.settings.quiet
    cluster = DemoCluster(root, simulated, show=not silent)
    try:
        with cluster:
            cluster.start()
            act(cluster, simulated)
    finally:
        left = cluster.left_over()
        claims.check("every process of the demo is gone", not left, "; ".join(left))


def _failure(simulated: SimulatedCluster, fails: str) -> Failure:
    from gausscert_sim.faults import EncryptFault, Faults, StopFault

    from gausscert_coordinator.cli.demo_story import Failure

    text, which, words = FAILURES[fails]
    node = simulated.nodes[0 if which == "first" else -1]

    def inflict(served: Served) -> None:
        faults = Faults(encrypt=EncryptFault(words.get("encrypt", "")), stop=StopFault(words.get("stop", "")))
        if not words:
            # Only the certificate it has now: the new set fails at its start, and the rollback works.
            faults = Faults(server_accepts_only=(served[node.name],))
        node.faults = faults

    def cure() -> None:
        node.faults = Faults()

    # Before anything was stopped there is nothing to roll back: it is a refusal.
    ends = ExitCode.REFUSED if fails.startswith(FROM_PREPARE) else ExitCode.ROLLED_BACK
    return Failure(f"{text} ({node.name}, simulated)", inflict, cure, ends)


def _claims(invocation: Invocation) -> Claims:
    from gausscert_coordinator.cli.demo_claims import Claims
    from gausscert_coordinator.cli.layout import BAD, GOOD, cell

    def tell(claim: Claim) -> None:
        if claim.holds:
            line = cell("  checked: ", GOOD)
            line.append(claim.text)
            invocation.render.narrate(line)
        else:
            line = cell("  NOT SO: ", BAD)
            line.append(f"{claim.text}; {claim.detail}")
            invocation.render.important(line)

    return Claims(tell)


def _sayer(invocation: Invocation) -> Callable[[str], None]:
    from gausscert_coordinator.cli.layout import STRONG, cell

    def say(text: str) -> None:
        if not text.startswith("\n"):
            invocation.render.narrate("")
        invocation.render.narrate(cell(text, STRONG))

    return say


def _end(invocation: Invocation, seen: list[tuple[str, Served]], claims: Claims, duration_s: float) -> int:
    from gausscert_coordinator.cli import tables

    failed = [claim for claim in claims.made if not claim.holds]
    document = {
        "simulated": True,
        "ok": claims.all_hold,
        "duration_s": round(duration_s, 1),
        "claims": [
            {"claim": claim.text, "holds": claim.holds, "detail": claim.detail} for claim in claims.made
        ],
        "served": [{"moment": moment, "fingerprints": served} for moment, served in seen],
    }
    render = invocation.render
    render.result(
        "demo",
        document,
        lambda: tables.demo(seen, len(claims.made), len(failed), duration_s, render.width),
    )
    return ExitCode.DONE if claims.all_hold else ExitCode.OWN_ERROR


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """SIGTERM and SIGHUP end the demo as Ctrl-C does: with everything cleaned up. SIGINT does so, too,
    where a shell has started the demo in the background with SIGINT ignored."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
