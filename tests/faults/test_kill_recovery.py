"""kill -9 at every system call of a starting agent that has something to settle: each phase, and whatever was
in flight. Then what the node had said before still holds, and every legal decision can be carried out.

`make test` has every so-manyth point, `make faults` the others.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from gausscert_common.protocol.words import Phase
from support import strace, workloads
from support.agent_core import TX
from support.disk_operations import operations
from support.killing import AGAIN, Bench, Moment, Start, last_acked
from support.open_windows import OURS, windows
from support.recovering import Scene, decide, which_is_live
from support.workloads import Ground
from support.zygote import Zygote

CHUNKS = 8
"""Of them `make test` has one for each moment."""

RECORD = r"^pwrite64.*journal\.json"
STAGED_KEY = rf"^openat.*\.cm\.({TX}|{workloads.REQUEST_ID}), server\.key\)"
SWAP = r"^rename.*(share/sslcert, cm, |, \.\.data\)$)"
"""Both layouts' own; a conversion points `..data`, too, before the swap."""


@dataclass(frozen=True)
class Left:
    """What the next agent finds."""

    phase: Phase = Phase.NONE
    live: str = "old"
    operation: str = ""
    request: str = ""


SETTLED: dict[str, tuple[Moment, Left]] = {
    "half a stage": (Moment("forward", "PREPARE", STAGED_KEY, -1), Left(Phase.PREPARING)),
    "a stage that is not recorded": (Moment("forward", "PREPARE", RECORD, -1), Left(Phase.PREPARING)),
    "a stop": (Moment("forward", "STOP", RECORD, 3), Left(Phase.PREPARED, operation="stop")),
    "a swap that is not durable": (
        Moment("forward", "SWAP", SWAP, -1, done=True),
        Left(Phase.PREPARED, "new"),
    ),
    "one conf set": (
        Moment("forward", "SWAP", r"cm_agent\.conf"),
        Left(Phase.PREPARED, "new"),
    ),
    "a swap that is not recorded": (
        Moment("forward", "SWAP", RECORD, -1),
        Left(Phase.PREPARED, "new"),
    ),
    "a vote": (Moment("forward", "START", RECORD), Left(Phase.SWAPPED, "new")),
    "a start": (Moment("forward", "START", RECORD, 3), Left(Phase.SWAPPED, "new", "start")),
    "a stop on the way back": (
        Moment("backward", "ROLLBACK_STOP", RECORD, 3),
        Left(Phase.SWAPPED, "new", "stop"),
    ),
    "a swap back that is not begun": (Moment("backward", "ABORT", SWAP), Left(Phase.ABORTED, "new")),
    "a swap back that is not durable": (
        Moment("backward", "ABORT", SWAP, done=True),
        Left(Phase.ABORTED),
    ),
    "one conf restored": (Moment("backward", "ABORT", r"cm_agent\.conf"), Left(Phase.ABORTED)),
    "half a stage removed": (Moment("backward", "CLEAN", r"^unlinkat", 3), Left(Phase.ABORTED)),
    "a commit": (Moment("forward", "PURGE", RECORD), Left(Phase.COMMITTED, "new")),
    "a former set that is not retired": (
        Moment("forward", "PURGE", r"^renameat2"),
        Left(Phase.COMMITTED, "new"),
    ),
    "a former set whose retirement is not durable": (
        Moment("forward", "PURGE", r"^renameat2", done=True),
        Left(Phase.COMMITTED, "new"),
    ),
    "half a generation given up": (Moment("forward", "PURGE", r"^unlinkat", 3), Left(live="new")),
    "half a stage of a request": (
        Moment(workloads.REQUEST, "ENCRYPT", STAGED_KEY, -1),
        Left(request=workloads.REQUEST_ID),
    ),
    "a request whose swap is not durable": (
        Moment(workloads.REQUEST, "ENCRYPT", SWAP, -1, done=True),
        Left(live="encrypted", request=workloads.REQUEST_ID),
    ),
    "half a former set of a request": (
        Moment(workloads.REQUEST, "ENCRYPT", r"^unlinkat.*, server\.crt\)", -1),
        Left(live="encrypted", request=workloads.REQUEST_ID),
    ),
}
"""What was in flight when an agent died."""
CONVERTED: dict[str, tuple[Moment, Left]] = {
    "half a copy for links": (
        Moment("forward", "PREPARE", r"^openat.*\.cm\.former\.[0-9a-f]*, server\.key\)"),
        Left(Phase.PREPARING),
    ),
    "half of the links": (Moment("forward", "PREPARE", r"^renameat.*\.\.link\.", 5), Left(Phase.PREPARING)),
}
"""Where Prepare makes links of files, besides."""
MOMENTS = SETTLED | CONVERTED


def cases() -> Iterator[object]:
    """By ground and name; each in a group of its own, whose process makes its node once."""
    for ground, name in _cases():
        yield pytest.param(ground, name, marks=_group(ground, name))


def chunks() -> Iterator[object]:
    """The same by chunk: one for `make test`, four for `make faults`, and the others are soaks."""
    for number, (ground, name) in enumerate(_cases()):
        for chunk in range(CHUNKS):
            marks = [_group(ground, name)]
            turn = (chunk - number) % CHUNKS
            if turn:
                marks.append(pytest.mark.faults if turn % 2 else pytest.mark.soak)
            yield pytest.param(ground, name, chunk, marks=marks)


def _cases() -> Iterator[tuple[Ground, str]]:
    for ground in Ground:
        for name in MOMENTS:
            if name in SETTLED or ground is Ground.PLAIN:
                yield ground, name


def _group(ground: Ground, name: str) -> pytest.MarkDecorator:
    return pytest.mark.xdist_group(f"settle-{ground}-{name}")


@pytest.fixture(scope="module")
def bench(quick_place):
    strace.require()
    with Zygote() as zygote:
        yield Bench(quick_place, zygote, {name: moment for name, (moment, _) in MOMENTS.items()})


@pytest.mark.parametrize(("ground", "name"), list(cases()))
def test_the_next_agent_finds_what_it_is_to_settle(bench, ground, name):
    """Else its kills would prove nothing."""
    moment, left = MOMENTS[name]
    root = bench.copy(bench.template(Start(ground, "start", name)), f"looked-at-{name}".replace(" ", "-"))
    record = workloads.node_at(root).journalled()
    operation = record.node.operation
    assert record.node.phase is left.phase
    assert which_is_live(root) == left.live
    assert (operation.kind if operation else "") == left.operation
    assert record.request_in_flight == left.request
    assert last_acked(root) != moment.during
    bench.remove(root)


@pytest.mark.parametrize(("ground", "name"), list(cases()))
def test_while_it_settles_nothing_is_open_to_others(bench, ground, name):
    """Without a umask to help: whatever is taken away by one was open to others."""
    root = bench.copy(bench.template(Start(ground, "start", name)), f"traced-{name}".replace(" ", "-"))
    ops = operations(strace.record(bench.zygote.work(root, "start", umask=0), root), root)
    assert any(OURS.match(op.path) for op in ops)
    assert windows(ops, 0) == []
    bench.remove(root)


@pytest.mark.timeout(400)
@pytest.mark.parametrize(("ground", "name", "chunk"), list(chunks()))
def test_killed_while_it_settles_a_node_is_whole_and_keeps_its_promises(bench, ground, name, chunk):
    start = Start(ground, "start", name)
    chosen = range(len(bench.calls(start)))[chunk::CHUNKS]
    assert chosen, "nothing to kill"
    for index in chosen:
        bench.kill_and_decide(start, index, again=index % AGAIN == 0)


def test_a_node_that_forgets_what_it_has_answered_is_found_out(bench):
    """The teeth: the journal as it was before Commit, beside what was answered since."""
    ground = Ground.EXCHANGE
    forgetful = bench.copy(bench.template(Start(ground, "start", "a commit")), "forgetful")
    assert last_acked(forgetful) == "COMMIT"
    shutil.rmtree(forgetful / "state")
    shutil.copytree(bench.template(Start(ground, "start", "a vote")) / "state", forgetful / "state")
    scene = Scene.of(bench.template(Start(ground, "forward")))
    with pytest.raises(AssertionError, match="the fence of COMMIT is forgotten"):
        decide(forgetful, scene, last_acked(forgetful))
