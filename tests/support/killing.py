"""kill -9 at the system calls of a node's work, and what must hold afterwards.

    bench = Bench(place, zygote)
    bench.kill_and_decide(Start(Ground.EXCHANGE, "forward"), 117)

What a node says it has done goes to a file beside it: that is what nobody may take back.
"""

from __future__ import annotations

import random
import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from support import strace, workloads
from support.recovering import Scene, assert_whole, decide, decide_request, recovered, roll_back
from support.strace import Call
from support.workloads import Ground
from support.zygote import Zygote

SEED = 20_251_125
"""Of the points of the second kill."""
AGAIN = 4
"""Every fourth kill is followed by one in the recovery."""


@dataclass(frozen=True)
class Moment:
    """A kill that leaves something for the next agent to settle."""

    workload: str
    during: str
    """The command that was not answered yet."""
    call: str
    """What the system call looks like, a regular expression."""
    nth: int = 1
    """Which one of those; -1 for the last."""
    done: bool = False
    """It is killed at the call after it."""

    def find(self, calls: list[Call]) -> Call:
        """The call that it is killed at, among all of a recording."""
        acks = [-1, *(at for at, call in enumerate(calls) if is_ack(call))]
        end = next(at for at in acks if at >= 0 and said_by(calls[at]) == self.during)
        first = acks[acks.index(end) - 1] + 1
        found = [at for at in range(first, end) if re.search(self.call, str(calls[at]))]
        assert len(found) >= abs(self.nth), f"no such call: {self}"
        at = found[self.nth - 1 if self.nth > 0 else self.nth] + (1 if self.done else 0)
        assert at < end, f"nothing comes after it: {self}"
        return calls[at]


@dataclass(frozen=True)
class Start:
    """What a node's work begins with."""

    ground: Ground
    workload: str
    moment: str = ""
    """Of `moments`: it was killed before, and only recovers."""

    def __str__(self) -> str:
        return "/".join(filter(None, (self.ground, self.workload, self.moment)))


def is_ack(call: Call) -> bool:
    """Whether it tells that a command was carried out."""
    return call.flags.startswith("1<")


def said_by(call: Call) -> str:
    """The command that an ack names."""
    return call.words[-1][1].decode().split()[-1]


class Bench:
    """What tests of one process share: nodes to begin with, and recordings.

    Args:
        place: A directory of its own.
        zygote: Starts the agents.
        moments: By name.
    """

    def __init__(self, place: Path, zygote: Zygote, moments: dict[str, Moment] | None = None) -> None:
        self.place = place
        self.zygote = zygote
        self.moments = moments or {}
        self._recorded: dict[Start, list[Call]] = {}

    def template(self, start: Start) -> Path:
        """A node as it is before the work."""
        root = self.place / f"{start.ground}-{start.moment or 'new'}".replace(" ", "-").replace(",", "")
        if root.exists():
            return root
        if not start.moment:
            workloads.lay_out(root, start.ground)
            return root
        moment = self.moments[start.moment]
        before = replace(start, workload=moment.workload, moment="")
        killed = self.copy(self.template(before), f"{root.name}-killed")
        call = moment.find(self.record(killed, moment.workload, keep=True))
        shutil.rmtree(killed)
        shutil.copytree(self.template(before), root, symlinks=True)
        assert self.kill(call, root, moment.workload), f"not killed at {call}"
        return root

    def copy(self, of: Path, name: str) -> Path:
        """A copy of a node, with what it has said."""
        root = self.place / name
        shutil.copytree(of, root, symlinks=True)
        acks_of(root).write_bytes(acks_of(of).read_bytes() if acks_of(of).exists() else b"")
        return root

    def remove(self, root: Path) -> None:
        """A node, and what it has said."""
        shutil.rmtree(root)
        acks_of(root).unlink()

    def kill(self, call: Call, root: Path, workload: str) -> bool:
        """Whether it was killed at a call."""
        return strace.kill_at(call, self.zygote.work(root, workload, acks=acks_of(root)))

    def record(self, root: Path, workload: str, *, keep: bool = False) -> list[Call]:
        """All changes that it makes on a node; with what it says, if `keep`."""
        calls = strace.record(self.zygote.work(root, workload), root)
        return [call for call in calls if keep or not is_ack(call)]

    def calls(self, start: Start) -> list[Call]:
        """All changes of a work."""
        if start not in self._recorded:
            root = self.copy(self.template(start), "recorded")
            self._recorded[start] = self.record(root, start.workload)
            self.remove(root)
        return self._recorded[start]

    def kill_and_decide(self, start: Start, index: int, *, again: bool = False) -> tuple[str, set[str]]:
        """Kill at one point; which set was live then, and what could be decided.

        Args:
            start: The work.
            index: At which of its calls.
            again: Kill the recovery, too.
        """
        call = self.calls(start)[index]
        where = f"{start}/{index} at {call}"
        root = self.copy(self.template(start), f"killed-{index}")
        try:
            assert self.kill(call, root, start.workload), "it was not killed"
            live = assert_whole(root)
            decisions = self._decide(root, start)
            if again:
                self._kill_again(root, start, random.Random(f"{SEED} {where}"))  # noqa: S311 - a sample
        except BaseException as error:
            error.add_note(f"GAUSSCERT_POINT='{where}'")
            raise
        self.remove(root)
        return live, decisions

    def _kill_again(self, root: Path, start: Start, chance: random.Random) -> None:
        """The recovery dies, too."""
        recorded = self.copy(root, f"{root.name}-recorded")
        call = chance.choice(self.record(recorded, "start"))
        self.remove(recorded)
        again = self.copy(root, f"{root.name}-again")
        assert self.kill(call, again, "start"), f"the recovery was not killed at {call}"
        assert_whole(again)
        self._decide(again, start)
        self.remove(again)

    def _decide(self, root: Path, start: Start) -> set[str]:
        workload = self.moments[start.moment].workload if start.moment else start.workload
        acked = last_acked(root)
        if workload == workloads.REQUEST:
            return decide_request(root, acked)
        scene = Scene.of(self.template(Start(start.ground, workload)))
        return roll_back_only(root, scene) if workload in workloads.STAGE_ONLY else decide(root, scene, acked)


def roll_back_only(root: Path, scene: Scene) -> set[str]:
    """The new set is not the one that the scene knows."""
    node = recovered(root)
    roll_back(node, scene)
    node.stop()
    return {"roll back"}


def acks_of(root: Path) -> Path:
    """Where a node says what it has carried out."""
    return root.with_name(f"{root.name}.acks")


def last_acked(root: Path) -> str:
    """The last command that it had carried out, whoever was killed since; "" for none."""
    said = [line.split()[-1] for line in acks_of(root).read_text().splitlines()]
    return next((step for step in reversed(said) if step != "RECOVER"), "")
