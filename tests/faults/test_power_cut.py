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
from gausscert_common.model import Layout
from gausscert_common.protocol.words import Fence, Outcome, Phase, Step
from support import strace, workloads
from support.agent_core import TX, Node, live_files
from support.disk_operations import Op, operations
from support.power_cut import MODELS, Disk, Recorder, State, states
from support.recovering import Scene, assert_whole, carry_out, recovered
from support.zygote import Zygote

WORKLOADS = ("forward", "backward", "turned back")
CAP = 16
"""Combinations tried after each operation; `make soak` tries more."""

ENDED = {Outcome.COMMITTED: "committed", Outcome.ABORTED: "aborted"}
PROMISED: dict[str, set[str]] = {
    "PREPARE": {"PREPARED", "SWAPPED", "COMMITTED", "ABORTED", "committed", "aborted"},
    "STOP": {"PREPARED", "SWAPPED", "COMMITTED", "ABORTED", "committed", "aborted"},
    "SWAP": {"SWAPPED", "COMMITTED", "ABORTED", "committed", "aborted"},
    "START": {"SWAPPED", "COMMITTED", "ABORTED", "committed", "aborted"},
    "COMMIT": {"COMMITTED", "committed"},
    "PURGE": {"committed"},
    "ROLLBACK_STOP": {"SWAPPED", "ABORTED", "aborted"},
    "ABORT": {"ABORTED", "aborted"},
    "ROLLBACK_START": {"ABORTED", "aborted"},
    "CLEAN": {"aborted"},
}
"""By the last command that was answered: where the node may be."""


class Bench:
    """One workload in one layout, recorded, and what is known of the states seen so far."""

    def __init__(self, place: Path, zygote: Zygote, layout: Layout, workload: str) -> None:
        self.place = place
        self.name = f"{layout.name.lower()}/{workload}"
        template = place / f"{layout.name}-{workload}"
        workloads.lay_out(template, layout)
        self.scene = Scene.of(template)
        self.disk = Disk.load(template)
        self.ops = operations(strace.record(zygote.work(template, workload), template), template)
        assert self._last().content() == Disk.load(template).content(), "the recording misses something"
        shutil.rmtree(template)
        self.first = 0
        """From where on it is not what "forward" does, too."""
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


def assert_promise(node: Node, acked: str) -> None:
    """What had been answered is still true."""
    if live_files(node.sslcert) == workloads.AFTER and node.state.phase in (Phase.PREPARED, Phase.SWAPPED):
        assert node.state.fence >= Fence(1, Step.SWAP), (
            "an effect without its fence: a delayed Stop would pass"
        )
    if acked in ("", "RECOVER"):
        return
    assert node.state.fence >= Fence(1, Step[acked]), f"the fence of {acked} is forgotten"
    outcome = node.state.outcome_of(TX)
    found = ENDED[outcome] if outcome else str(node.state.phase)
    if node.state.phase is not Phase.NONE:
        found = str(node.state.phase)
    assert found in PROMISED.get(acked, {found}), f"{found} after {acked} was answered"


GROUPS = [
    pytest.param(layout, workload, marks=pytest.mark.xdist_group(f"power-{layout.name}-{workload}"))
    for layout in Layout
    for workload in WORKLOADS
]
"""What is known of a state is known to the tests of one process."""


def common_beginning(ops: Sequence[Op], others: Sequence[Op]) -> int:
    """How many operations are the same, but for what is written to the journal."""
    pairs = zip(map(str, ops), map(str, others), strict=False)
    return next(at for at, (one, other) in enumerate(pairs) if one != other)


@pytest.fixture(scope="module")
def benches(quick_place):
    strace.require()
    made: dict[tuple[Layout, str], Bench] = {}
    with Zygote() as zygote:

        def bench(layout: Layout, workload: str) -> Bench:
            if (layout, workload) not in made:
                made[layout, workload] = found = Bench(quick_place, zygote, layout, workload)
                if workload != "forward":
                    found.first = common_beginning(found.ops, bench(layout, "forward").ops)
            return made[layout, workload]

        yield bench


def count_states(bench: Bench, cap: int) -> int:
    count = 0
    for model in MODELS:
        for state in states(bench.disk, bench.ops, model, cap, first=bench.first):
            count += 1
            wrong = bench.wrong(state)
            assert not wrong, bench.told(state, wrong)
    return count


LEAST = {"forward": 600, "backward": 200, "turned back": 60}
"""States, at least; more than 1,300 over all."""


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("layout", "workload"), GROUPS)
def test_whatever_a_power_cut_leaves_is_recovered_from(benches, layout, workload):
    assert count_states(benches(layout, workload), CAP) >= LEAST[workload]


def test_the_states_are_many_enough():
    assert sum(LEAST.values()) * len(Layout) >= 1_300


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
        f"PURGE {shelf} 2": "the next agent removes what is given up, unless more are to be kept then"
        for shelf in ("sslcert", "cm")
    },
}
"""Every fsync that no power cut can show to be needed, and why it is there all the same."""


def syncs(ops: Sequence[Op]) -> Iterator[tuple[int, str]]:
    """Each fsync: where it stands, and which one it is: "COMMAND place nth"."""
    counted: Counter[str] = Counter()
    for index, op in enumerate(ops):
        if op.kind == "sync":
            command = next((each.other for each in ops[index:] if each.kind == "ack"), "")
            name = op.path.rpartition("/")[2]
            what = f"{command} {'.cm.former.*' if name.startswith('.cm.former.') else name}"
            counted[what] += 1
            yield index, f"{what} {counted[what]}"


def without(ops: Sequence[Op], index: int) -> list[Op]:
    return [*ops[:index], *ops[index + 1 :]]


def check_teeth(bench: Bench, cap: int, *, needless: bool) -> list[str]:
    """Leave out each fsync that is needed, or is not; those of which nothing was wrong."""
    chosen = [
        (index, what)
        for index, what in syncs(bench.ops)
        if (what in NEEDLESS) is needless and index >= bench.first
    ]
    assert chosen
    return [
        what
        for index, what in chosen
        if not bench.first_wrong(without(bench.ops, index), first=index, cap=cap)
    ]


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("layout", "workload"), GROUPS)
def test_every_fsync_is_missed_when_it_is_left_out(benches, layout, workload):
    assert check_teeth(benches(layout, workload), CAP, needless=False) == []


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("layout", "workload"), GROUPS)
def test_those_that_are_said_to_be_needless_are(benches, layout, workload):
    bench = benches(layout, workload)
    needless = [what for at, what in syncs(bench.ops) if what in NEEDLESS and at >= bench.first]
    assert check_teeth(bench, 200, needless=True) == needless


def test_no_reason_is_given_for_what_is_not_there(benches):
    named = {what for layout in Layout for each in WORKLOADS for _, what in syncs(benches(layout, each).ops)}
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
            for step in (Op("truncate", f"{live}/{name}"), Op("write", f"{live}/{name}", body=body))
        ]
    return at, [*ops[:at], *steps, *ops[at + 1 :]]


@pytest.mark.parametrize("how", [BY_RENAMES, BY_COPIES])
def test_anything_but_an_exchange_is_found_out(benches, how):
    bench = benches(Layout.EXCHANGE, "forward")
    at, ops = broken(bench.ops, how)
    wrong = bench.first_wrong(ops[: at + 30], first=at, cap=CAP)
    assert "a mix, or none" in wrong or "sslcert/cm'" in wrong


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("layout", "workload"), GROUPS)
def test_many_more_states(benches, layout, workload):
    assert count_states(benches(layout, workload), 2_000) > 5_000
