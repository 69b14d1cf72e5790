"""Everything that goes wrong here, and how often. Each seed has weights of its own: most kinds are left out
of it altogether, so that the others have room (swarm testing)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from random import Random
from typing import Final, TypeVar

T = TypeVar("T")


class Fault(StrEnum):
    """Kinds."""

    # The network.
    REQUEST_LOST = "request lost"
    REPLY_LOST = "reply lost"
    DELAYED = "request delayed"
    LATE = "request delivered after its caller has given up"
    BELOW_FENCE = "request delivered after the fence has moved"
    DUPLICATED = "request delivered twice"
    REFUSED = "connection refused"
    PARTITION = "partition between a coordinator and a node"
    SLOW_NODE = "slow node: the handler goes on past the deadline"

    # A node.
    CRASH = "agent crash"
    CRASH_IN_JOURNAL = "agent crash while it journals"
    CRASH_IN_EFFECT = "agent crash with an effect half done"
    CRASH_BESIDE_CHILD = "agent crash while cm_ctl runs"
    CRASH_SETTLING = "agent crash while it settles"
    CHILD_SURVIVES = "cm_ctl survives its agent"
    ORPHAN_STAYS = "a surviving cm_ctl does not go away at once"
    RESTART_LATE = "agent restarted late"
    POWER_LOSS = "power loss"
    BLACKOUT = "power loss of all nodes"
    RECORD_UNDONE = "power loss undoes a record that was not synced"
    EXCHANGE_UNDONE = "power loss undoes an exchange that was not synced"
    MARK_UNDONE = "power loss undoes cluster_manual_start, or its removal"
    CONF_UNDONE = "power loss undoes enable_ssl"
    STAGE_FAILS = "disk full while staging"
    STAGE_STAYS = "what a failed Prepare has staged cannot be removed"
    STAGE_REFUSED = "the set is refused"
    JOURNAL_FAILS = "journal cannot be written"
    STORE_FAILS = "disk fails at an exchange or a removal"
    CONF_FAILS = "enable_ssl cannot be set"
    FOREIGN = "somebody puts another set"
    BY_HAND = "somebody starts CM by hand"
    LEASE_ENDS = "lease ends early"
    CLOCK_SKEW = "clocks differ"
    FORGED = "journals contradict each other"
    JOURNAL_LOST = "a journal is lost"
    STATE_LOST = "a state directory is wiped"
    AWAY = "a node is away for long"
    LEFT_OUT = "a coordinator begins without a node that is away"
    RETURNS = "a node that was away is back in mid-flight"
    RUNS_OLD = "CM starts on a node that comes back and was left out"
    GONE = "a node that was left out is taken out of the cluster"

    # Machines that die in the middle.
    DIES = "a machine dies for good in the middle"
    ANOTHER_DIES = "another machine dies after a recovery without the first one was begun"
    WITHOUT = "a coordinator recovers without a machine that is dead"
    WITHOUT_MORE = "a coordinator recovers without one more machine"
    WITHOUT_AT_ONCE = "two coordinators at once recover without machines"
    MISTAKEN = "an operator means to leave out a node that is alive"
    LEFT_ALIVE = "a node that only does not answer is left out as if it were dead"
    OLD_DISK = "a machine that was recovered without is back with its old disk"
    NEW_MACHINE = "a new machine stands in the place of one that is dead"

    # CM.
    STOP_FAILS = "cm_ctl stop fails"
    STOP_HALF = "cm_ctl stop fails half-way"
    STOP_CLAIMS = "cm_ctl stop claims success too early"
    STALE_PROCESS = "a cm_server survives the stop and serves the former set"
    START_FAILS = "cm_ctl start fails"
    START_HALF = "cm_ctl start fails half-way"
    START_CLAIMS = "cm_ctl start only claims success"
    START_DENIES = "cm_ctl start succeeds and says it failed"
    START_BLOCKED = "CM does not come up"
    CM_DIES = "CM dies and is started by om_monitor"
    CM_DEAF = "a cm_server does not answer"

    # Coordinators.
    STOPS = "coordinator stops for ever"
    CTRL_C = "interrupted once"
    CTRL_C_TWICE = "interrupted twice"
    CTRL_C_THRICE = "interrupted three times"
    RECOVERER = "another coordinator recovers in mid-flight"
    FINISHER = "another coordinator finishes in mid-flight"
    BEGINNER = "another coordinator begins a transaction in mid-flight"
    TAKE_OVER = "another coordinator takes over in mid-flight"


CHANCES: Final[dict[Fault, float]] = {
    Fault.REQUEST_LOST: 0.03,
    Fault.REPLY_LOST: 0.03,
    Fault.DELAYED: 0.08,
    Fault.LATE: 0.03,
    Fault.DUPLICATED: 0.08,
    Fault.REFUSED: 0.05,
    Fault.PARTITION: 0.35,
    Fault.SLOW_NODE: 0.004,
    Fault.CRASH: 0.012,
    Fault.CRASH_IN_JOURNAL: 0.02,
    Fault.CRASH_IN_EFFECT: 0.06,
    Fault.CRASH_BESIDE_CHILD: 0.3,
    Fault.CRASH_SETTLING: 0.1,
    Fault.CHILD_SURVIVES: 0.6,
    Fault.ORPHAN_STAYS: 0.6,
    Fault.RESTART_LATE: 0.3,
    Fault.POWER_LOSS: 0.008,
    Fault.BLACKOUT: 0.004,
    Fault.RECORD_UNDONE: 0.5,
    Fault.EXCHANGE_UNDONE: 0.5,
    Fault.MARK_UNDONE: 0.5,
    Fault.CONF_UNDONE: 0.8,
    Fault.STAGE_FAILS: 0.15,
    Fault.STAGE_STAYS: 0.9,
    Fault.STAGE_REFUSED: 0.05,
    Fault.JOURNAL_FAILS: 0.03,
    Fault.STORE_FAILS: 0.06,
    Fault.CONF_FAILS: 0.12,
    Fault.FOREIGN: 0.6,
    Fault.BY_HAND: 0.15,
    Fault.LEASE_ENDS: 0.5,
    Fault.CLOCK_SKEW: 0.8,
    Fault.FORGED: 0.2,
    Fault.JOURNAL_LOST: 0.4,
    Fault.STATE_LOST: 0.4,
    Fault.AWAY: 0.8,
    Fault.LEFT_OUT: 0.9,
    Fault.RETURNS: 0.5,
    Fault.RUNS_OLD: 0.5,
    Fault.GONE: 0.2,
    Fault.DIES: 0.3,
    Fault.ANOTHER_DIES: 0.5,
    Fault.WITHOUT: 0.6,
    Fault.MISTAKEN: 0.15,
    Fault.NEW_MACHINE: 0.3,
    Fault.STOP_FAILS: 0.15,
    Fault.STOP_HALF: 0.15,
    Fault.STOP_CLAIMS: 0.2,
    Fault.STALE_PROCESS: 0.12,
    Fault.START_FAILS: 0.08,
    Fault.START_HALF: 0.08,
    Fault.START_CLAIMS: 0.1,
    Fault.START_DENIES: 0.1,
    Fault.START_BLOCKED: 0.08,
    Fault.CM_DIES: 0.4,
    Fault.CM_DEAF: 0.4,
    Fault.STOPS: 0.45,
    Fault.CTRL_C: 0.4,
    Fault.CTRL_C_TWICE: 0.3,
    Fault.CTRL_C_THRICE: 0.4,
    Fault.RECOVERER: 0.3,
    Fault.FINISHER: 0.4,
    Fault.BEGINNER: 0.15,
    Fault.TAKE_OVER: 0.75,
}
"""At each opportunity, in a seed of usual intensity. What is in `OF_OTHERS` is no choice."""

OF_OTHERS: Final = frozenset(
    {
        Fault.BELOW_FENCE,
        Fault.WITHOUT_MORE,
        Fault.WITHOUT_AT_ONCE,
        Fault.LEFT_ALIVE,
        Fault.OLD_DISK,
    }
)
"""What comes of other kinds."""

_OF_ANOTHER: Final = frozenset(
    {
        Fault.CHILD_SURVIVES,
        Fault.ORPHAN_STAYS,
        Fault.RECORD_UNDONE,
        Fault.EXCHANGE_UNDONE,
        Fault.MARK_UNDONE,
        Fault.CONF_UNDONE,
        Fault.STAGE_STAYS,
        Fault.LEFT_OUT,
        Fault.RETURNS,
        Fault.RUNS_OLD,
        Fault.GONE,
        Fault.ANOTHER_DIES,
        Fault.WITHOUT,
        Fault.MISTAKEN,
        Fault.NEW_MACHINE,
    }
)
"""What can only happen where something else has happened: in no seed left out."""

_OF_PEOPLE: Final = frozenset({Fault.STOPS, Fault.RECOVERER, Fault.FINISHER, Fault.BEGINNER, Fault.TAKE_OVER})
_PEOPLE: Final = 0.35
"""Of so many seeds it is mostly people who make trouble, and the machines do well: transactions then come
far, and are taken out of each other's hands late."""

_LEFT_OUT: Final = 0.7
_INTENSITIES: Final = (0.1, 0.3, 1.0)


class Dice:
    """All chance of one schedule.

    Args:
        seed: Decides everything.
        boost: Makes everything so many times as likely.
    """

    def __init__(self, seed: int, boost: float = 1.0) -> None:
        self.random = Random(seed)  # noqa: S311 - chance that can be had again
        self.injected: Counter[Fault] = Counter()
        self.healed = False
        self._people = self.random.random() < _PEOPLE
        self.chances = {fault: self._weighed(fault, chance * boost) for fault, chance in CHANCES.items()}

    def hits(self, fault: Fault) -> bool:
        """Whether it happens here and now; counted if so."""
        if not self.would_hit(fault):
            return False
        self.injected[fault] += 1
        return True

    def would_hit(self, fault: Fault) -> bool:
        """Whether it is to happen later; whoever lets it happen counts it."""
        chance = self.chances[fault]
        return chance > 0 and self.random.random() < chance

    def between(self, low: float, high: float) -> float:
        """A time, in seconds."""
        return low + (high - low) * self.random.random()

    def one_of(self, things: Sequence[T]) -> T:
        """Any of them."""
        return things[int(self.random.random() * len(things))]

    def at_last(self, fault: Fault) -> bool:
        """Whether it happens although all is mended: what people do is no mishap."""
        return self.random.random() < CHANCES[fault]

    def heal(self) -> None:
        """Nothing goes wrong any more."""
        self.chances = dict.fromkeys(self.chances, 0.0)
        self.healed = True

    def _weighed(self, fault: Fault, chance: float) -> float:
        if fault in _OF_PEOPLE:
            return min(1.0, chance * (2.0 if self._people else 1.0))
        if fault in _OF_ANOTHER:
            return min(1.0, chance)
        if self.random.random() < _LEFT_OUT:
            return 0.0
        return min(1.0, chance * self.one_of(_INTENSITIES) * (0.3 if self._people else 1.0))
