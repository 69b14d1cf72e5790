"""How long each call may take, whether it is repeated, and when a node is given up: one table. Pure.

A call that met UNAVAILABLE is repeated (AIP-194), always as the very same bytes: same transaction id, epoch
and step, so that a node that has carried the command out answers as it did before. `repeating` does that.

A node that is slow is not a node that is dead. One that says BUSY is alive, and is waited for as long as the
longest command may take; one that shows no sign of life is given up much sooner.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from gausscert_common.protocol.words import Step

if TYPE_CHECKING:
    from collections.abc import Callable

    from gausscert_coordinator.inventory import Timeouts

FIRST_CONTACT_S: Final = 3.0
"""Budget as long as a node has never answered: an agent that is not there is to be told soon."""


class Call(StrEnum):
    """What the coordinator calls; the value begins with the method."""

    GET_NODE = "GetNode"
    PREFLIGHT = "GetNode with preflight"
    JUDGE = "Judge"
    GET_EXPIRY = "GetExpiry"
    PROBE = "Probe"
    ACQUIRE = "Acquire"
    PREPARE = "Prepare"
    STOP = "Stop"
    SWAP = "Swap"
    START = "Start"
    COMMIT = "Commit"
    PURGE = "Purge"
    ROLLBACK_STOP = "Stop of a rollback"
    ABORT = "Abort"
    ROLLBACK_START = "Start of a rollback"
    CLEAN = "Clean"
    ENCRYPT = "Encrypt"
    SET_ENABLE_SSL = "SetEnableSsl"
    BEGIN_RENEWAL = "BeginRenewal"
    FINISH_RENEWAL = "FinishRenewal"
    EXTEND_DENY_LIST = "ExtendDenyList"
    READ_AUDIT = "ReadAudit"

    @property
    def method(self) -> str:
        """The method's name on the wire."""
        return self.value.split()[0]


class Late(StrEnum):
    """What is done about a call that ran into its deadline; the node may still be at work on it."""

    READ = "told"
    """A question: its answer is not worth more time."""
    TOLD = "told: the same may be asked for again"
    """What stands alone and does no harm if it is done twice."""
    TURN_BACK = "told: the transaction turns back"
    """There is a way back, and the rollback's own commands wait for what still runs."""
    REPEAT = "repeated"
    """There is no other way than through this command."""


@dataclass(frozen=True, slots=True)
class Policy:
    """One row."""

    deadline_s: Callable[[Timeouts], float]
    """Of each attempt."""
    budget_s: Callable[[Timeouts], float]
    """How long a node that shows no sign of life is tried again."""
    patience_s: Callable[[Timeouts], float]
    """How long attempts may begin anew at all, whatever the node shows."""
    late: Late
    why: str


def _quick(timeouts: Timeouts) -> float:
    return timeouts.call_s


def _long(timeouts: Timeouts) -> float:
    return timeouts.prepare_s


def _stop(timeouts: Timeouts) -> float:
    return timeouts.stop_s + timeouts.call_s


def _start(timeouts: Timeouts) -> float:
    return timeouts.start_s + timeouts.call_s


def _dead(timeouts: Timeouts) -> float:
    return timeouts.retry_s


def _patient(timeouts: Timeouts) -> float:
    """A node carries out one command at a time, and the one before may be the longest there is."""
    return max(_long(timeouts), _stop(timeouts), _start(timeouts)) + timeouts.retry_s


def _question(deadline_s: Callable[[Timeouts], float], why: str) -> Policy:
    return Policy(deadline_s, _quick, _quick, Late.READ, why)


def _forward(deadline_s: Callable[[Timeouts], float], why: str) -> Policy:
    return Policy(deadline_s, _dead, _patient, Late.TURN_BACK, why)


def _no_way_back(deadline_s: Callable[[Timeouts], float], why: str) -> Policy:
    return Policy(deadline_s, _dead, _patient, Late.REPEAT, why)


def _own(deadline_s: Callable[[Timeouts], float], why: str) -> Policy:
    """What the agent does to itself waits for no command, so nobody is patient with it."""
    return Policy(deadline_s, _quick, _quick, Late.TOLD, why)


TABLE: Final[dict[Call, Policy]] = {
    Call.GET_NODE: _question(_quick, "looks at disk and processes only"),
    Call.PREFLIGHT: _question(_long, "runs several cm_ctl, of which each may hang"),
    Call.JUDGE: _question(_long, "opens keys and shakes hands, one question at a time"),
    Call.GET_EXPIRY: _question(_quick, "reads a directory; what the own cm_server takes comes on top"),
    Call.PROBE: _question(_quick, "waits for cm_servers; what is asked for comes on top"),
    Call.ACQUIRE: _forward(_quick, "waits for a running command; a repeat by the holder is granted"),
    Call.PREPARE: _forward(_long, "encrypts two keys with cm_ctl; a repeat finds the stage"),
    Call.STOP: _forward(_stop, "cm_ctl gets stop_s, the proof by the process list comes on top"),
    Call.SWAP: _forward(_long, "may set enable_ssl with cm_ctl; ensures, never toggles"),
    Call.START: _forward(_start, "cm_ctl gets start_s; a repeat finds CM running"),
    Call.COMMIT: _no_way_back(_quick, "one record; once it was sent only repetition is left"),
    Call.PURGE: _no_way_back(_quick, "moves a directory; a repeat finds the tombstone"),
    Call.ROLLBACK_STOP: _no_way_back(_stop, "as Stop; given up, the cluster stays in doubt"),
    Call.ABORT: _no_way_back(_long, "may restore enable_ssl with cm_ctl; ensures, never toggles"),
    Call.ROLLBACK_START: _no_way_back(_start, "as Start; given up, the cluster stays down"),
    Call.CLEAN: _no_way_back(_quick, "removes a directory; a repeat finds the tombstone"),
    Call.ENCRYPT: _forward(_long, "as Prepare; a repeat has the same request id"),
    Call.SET_ENABLE_SSL: _forward(_long, "runs cm_ctl; a repeat has the same request id"),
    Call.BEGIN_RENEWAL: _own(_quick, "makes a key of P-256; a repeat gets the same request"),
    Call.FINISH_RENEWAL: _own(_quick, "writes one file; a repeat finds the certificate in place"),
    Call.EXTEND_DENY_LIST: _own(_quick, "writes one file; a repeat finds nothing to add"),
    Call.READ_AUDIT: _question(_quick, "reads one page of a file"),
}

OF_STEP: Final[dict[Step, Call]] = {
    Step.ACQUIRE: Call.ACQUIRE,
    Step.PREPARE: Call.PREPARE,
    Step.STOP: Call.STOP,
    Step.SWAP: Call.SWAP,
    Step.START: Call.START,
    Step.COMMIT: Call.COMMIT,
    Step.PURGE: Call.PURGE,
    Step.ROLLBACK_STOP: Call.ROLLBACK_STOP,
    Step.ABORT: Call.ABORT,
    Step.ROLLBACK_START: Call.ROLLBACK_START,
    Step.CLEAN: Call.CLEAN,
}
"""The call that carries each step's command."""
