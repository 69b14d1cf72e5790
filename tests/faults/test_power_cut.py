"""A power cut after any operation: whatever of it reached the disk, the real recovery finds one whole set,
every promise that had left the node is kept, and every legal decision can be carried out.

The harness proves its teeth: without any one fsync, or without the exchange, something is wrong.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from support import strace, workloads
from support.agent_core import TX
from support.disk_operations import Op, operations
from support.power_cut import MODELS, Disk, Recorder, State, states
from support.recovering import Scene, assert_promise, assert_whole, carry_out, recovered
from support.workloads import Ground
from support.zygote import Zygote

WORKLOADS = ("forward", "backward", "turned back")
CM = "home/share/sslcert/cm"
PARTS = ("converting", "copied over")
"""Where links are made of files. What comes after is as if there had been some before: in `make faults`."""
CAP = 16
"""Combinations tried after each operation; `make soak` tries more."""


class Bench:
    """One workload on one ground, recorded, and what is known of the states seen so far."""

    def __init__(self, place: Path, zygote: Zygote, ground: Ground, workload: str) -> None:
        self.place = place
        self.ground = ground
        self.name = f"{ground}/{workload}"
        template = place / f"{ground}-{workload}"
        workloads.lay_out(template, ground)
        self.scene = Scene.of(template)
        self.disk = Disk.load(template)
        self.ops = operations(strace.record(zygote.work(template, workload), template), template)
        assert self._last().content() == Disk.load(template).content(), "the recording misses something"
        shutil.rmtree(template)
        self.first = 0
        """From where on it is not what "forward" does, too."""
        self.last = len(self.ops)
        self._verdicts: dict[object, str] = {}

    def _last(self) -> Disk:
        recorder = Recorder(self.disk)
        for op in self.ops:
            recorder.change(op)
        return recorder.now

    def wrong(self, state: State) -> str:
        """What is wrong with a state; "" if nothing is."""
        known = (state.disk.content(), state.acked)
        if known not in self._verdicts:
            try:
                self._examine(state)
                self._verdicts[known] = ""
            except Exception as error:  # noqa: BLE001 - whatever it is, it is wrong
                self._verdicts[known] = f"{type(error).__name__}: {error}"
        return self._verdicts[known]

    def first_wrong(self, ops: Sequence[Op], *, first: int, cap: int) -> str:
        """The first wrong state of a broken sequence of operations."""
        for model in MODELS:
            for state in states(self.disk, ops, model, cap, first=first):
                if wrong := self.wrong(state):
                    return f"{model}, after {state.after}: {wrong}"
        return ""

    def _examine(self, state: State) -> None:
        for decision in ("finish", "roll back"):
            root = self.place / "state"
            shutil.rmtree(root, ignore_errors=True)
            state.disk.materialise(root)
            assert_whole(root)
            node = recovered(root)
            try:
                assert_promise(node, state.acked)
                carry_out(node, self.scene, decision)
            finally:
                node.stop()

    def told(self, state: State, wrong: str) -> str:
        last = "\n  ".join(str(op) for op in self.ops[max(0, state.after - 6) : state.after])
        return (
            f"{self.name}, {state.model}, after {state.after} operations, answered: {state.acked or '-'}"
            f"\n{wrong}\nthe last operations:\n  {last}\nthe disk:\n{state.disk.content()}"
        )


def _group(ground: Ground, workload: str):
    marks = [pytest.mark.xdist_group(f"power-{ground}-{workload}")]
    if workload in WORKLOADS and ground is not Ground.EXCHANGE:
        marks.append(pytest.mark.faults)
    return pytest.param(ground, workload, marks=marks)


WHOLE = [_group(ground, workload) for ground in Ground for workload in WORKLOADS]
SOAKED = [pytest.param(*each.values) for each in WHOLE]
"""Without the mark that would have `make faults` run soaks."""
GROUPS = [*WHOLE, *(_group(Ground.PLAIN, workload) for workload in PARTS)]
"""What is known of a state is known to the tests of one process."""
TEETH = [*WHOLE, *(pytest.param(Ground.PLAIN, workload, marks=pytest.mark.faults) for workload in PARTS)]
"""Those of the parts are in `make faults`; `make test` has the states that they leave."""


def common_beginning(ops: Sequence[Op], others: Sequence[Op]) -> int:
    """How many operations are the same, but for what is written to the journal."""
    pairs = zip(map(str, ops), map(str, others), strict=False)
    return next(at for at, (one, other) in enumerate(pairs) if one != other)


def part(workload: str, ops: Sequence[Op]) -> tuple[int, int]:
    """Of one of `PARTS`, where links are made: from the end of the copy that they lead to until there is
    a stage; or until the swap is to be durable. What a copying leaves that is cut short is none of its."""
    if workload == "converting":
        copied = next(at for at, op in enumerate(ops) if op.kind == "sync" and "/.cm.former." in op.path)
        while ops[copied + 1].path != CM:
            copied += 1
        return copied, next(at for at, op in enumerate(ops) if str(op) == f"mkdir {CM}/.cm.{TX}")
    synced = [at for at, op in enumerate(ops) if op.kind == "sync" and op.path == CM]
    copied, _links, _ready, swapped = synced[-4:]
    assert ops[copied - 1].kind == "remove"
    return copied + 1, swapped


@pytest.fixture(scope="module")
def benches(quick_place):
    strace.require()
    made: dict[tuple[Ground, str], Bench] = {}
    with Zygote() as zygote:

        def bench(ground: Ground, workload: str) -> Bench:
            if (ground, workload) not in made:
                made[ground, workload] = found = Bench(quick_place, zygote, ground, workload)
                if workload in PARTS:
                    found.first, found.last = part(workload, found.ops)
                elif workload != "forward":
                    found.first = common_beginning(found.ops, bench(ground, "forward").ops)
            return made[ground, workload]

        yield bench


def count_states(bench: Bench, cap: int) -> int:
    count = 0
    for model in MODELS:
        for state in states(bench.disk, bench.ops[: bench.last], model, cap, first=bench.first):
            count += 1
            wrong = bench.wrong(state)
            assert not wrong, bench.told(state, wrong)
    return count


LEAST = {"forward": 600, "backward": 200, "turned back": 60, "converting": 60, "copied over": 100}
"""States, at least; more than 1,300 over all."""


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("ground", "workload"), GROUPS)
def test_whatever_a_power_cut_leaves_is_recovered_from(benches, ground, workload):
    assert count_states(benches(ground, workload), CAP) >= LEAST[workload]


def test_the_states_are_many_enough():
    assert sum(LEAST[workload] for workload in WORKLOADS) * len(Ground) >= 1_300


# Teeth

NEEDLESS = {
    "RECOVER sslcert 1": "covers a predecessor that died before its own sync; here there was none",
    "RECOVER cm 1": "likewise",
    "RECOVER state 1": "nothing was promised yet",
    "PREPARE cm 1": "the probe's: that it works is what counts; what it made is removed",
    "ABORT cm 1": "where nothing was swapped there is nothing to sync",
    "ABORT sslcert 1": "where nothing was swapped there is nothing to sync",
    **{
        f"SWAP cm_{component}.conf{file}": "cm_ctl's own, or one that cm_ctl has made already: not relied on"
        for component in ("server", "agent")
        for file in (" 1", ".bak 1", ".bak 2")
    },
    "PURGE journal.json 1": "the fence alone; the end follows before the reply, in one sector",
    "CLEAN journal.json 1": "likewise",
    f"PURGE .cm.{TX} 1": "the stamp's: times of directories are not in the model",
    "PURGE .cm.former.* 1": "likewise",
    **{
        f"{where}: PURGE {shelf}": "the next agent removes what is given up, unless more are to be kept then"
        for where, shelf in (
            (Ground.EXCHANGE, "sslcert 2"),
            (Ground.DATA_LINK, "cm 2"),
            (Ground.PLAIN, "sslcert 1"),
        )
    },
}
"""Every fsync that no power cut can show to be needed, and why it is there all the same. "COMMAND place nth",
or that of one ground alone."""


def syncs(bench: Bench) -> Iterator[tuple[int, str]]:
    """Each fsync: where it stands, and which one it is, as `NEEDLESS` has it."""
    counted: Counter[str] = Counter()
    for index, op in enumerate(bench.ops):
        if op.kind == "sync":
            command = next((each.other for each in bench.ops[index:] if each.kind == "ack"), "")
            name = op.path.rpartition("/")[2]
            what = f"{command} {'.cm.former.*' if name.startswith('.cm.former.') else name}"
            counted[what] += 1
            told = f"{what} {counted[what]}"
            own = f"{bench.ground}: {told}"
            yield index, own if own in NEEDLESS else told


def without(ops: Sequence[Op], index: int) -> list[Op]:
    return [*ops[:index], *ops[index + 1 :]]


def check_teeth(bench: Bench, cap: int, *, needless: bool) -> list[str]:
    """Leave out each fsync that is needed, or is not; those of which nothing was wrong."""
    chosen = [
        (index, what)
        for index, what in syncs(bench)
        if (what in NEEDLESS) is needless and bench.first <= index < bench.last
    ]
    assert chosen
    return [
        what
        for index, what in chosen
        if not bench.first_wrong(without(bench.ops[: bench.last], index), first=index, cap=cap)
    ]


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("ground", "workload"), TEETH)
def test_every_fsync_is_missed_when_it_is_left_out(benches, ground, workload):
    assert check_teeth(benches(ground, workload), CAP, needless=False) == []


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("ground", "workload"), SOAKED)
def test_those_that_are_said_to_be_needless_are(benches, ground, workload):
    bench = benches(ground, workload)
    needless = [what for at, what in syncs(bench) if what in NEEDLESS and at >= bench.first]
    assert check_teeth(bench, 200, needless=True) == needless


def test_no_reason_is_given_for_what_is_not_there(benches):
    named = {what for ground in Ground for each in WORKLOADS for _, what in syncs(benches(ground, each))}
    assert named >= NEEDLESS.keys()


BY_RENAMES = "two renames"
BY_COPIES = "copies"


def broken(ops: Sequence[Op], how: str) -> tuple[int, list[Op]]:
    """The operations with the exchange done in a way that scripts do it."""
    at, swap = next(
        (index, op) for index, op in enumerate(ops) if op.kind == "exchange" and "probe" not in op.path
    )
    live, staged = swap.path, swap.other
    if how == BY_RENAMES:
        aside = f"{live}.aside"
        steps = [Op("rename", live, aside), Op("rename", staged, live), Op("rename", aside, staged)]
    else:
        steps = [
            step
            for name, body in sorted(workloads.AFTER.items())
            for step in (
                Op("create" if name in workloads.ADDED else "truncate", f"{live}/{name}", mode=0o400),
                Op("write", f"{live}/{name}", body=body),
            )
        ]
    return at, [*ops[:at], *steps, *ops[at + 1 :]]


@pytest.mark.parametrize("how", [BY_RENAMES, BY_COPIES])
def test_anything_but_an_exchange_is_found_out(benches, how):
    bench = benches(Ground.EXCHANGE, "forward")
    at, ops = broken(bench.ops, how)
    wrong = bench.first_wrong(ops[: at + 30], first=at, cap=CAP)
    assert "a mix, or none" in wrong or "sslcert/cm'" in wrong


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("ground", "workload"), SOAKED)
def test_many_more_states(benches, ground, workload):
    assert count_states(benches(ground, workload), 2_000) > 5_000
