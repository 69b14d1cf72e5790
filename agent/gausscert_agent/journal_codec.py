"""The agent's durable record as JSON values, field by field: nothing is stored that is not named here.

Decoding is strict. Whatever does not fit raises ValueError, KeyError or TypeError, never gives a
record with something left out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from gausscert_common.protocol.state import NodeState, Operation, SslSetting, Transaction
from gausscert_common.protocol.words import (
    Fence,
    Outcome,
    Phase,
    RestartScope,
    SslWish,
    Step,
    Tombstone,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

REQUESTS_KEPT: Final = 16
"""Ids of requests outside of a transaction that are remembered, so that a repeat does nothing more."""

Values: TypeAlias = dict[str, Any]
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Record:
    """All that an agent journals. Never holds a password or a key."""

    node: NodeState = field(default_factory=NodeState)
    requests: tuple[str, ...] = ()
    """Done outside of a transaction, newest first."""
    request_in_flight: str = ""
    """A request that has a stage on disk, to be removed by a restarted agent."""


def encode(record: Record) -> Values:
    """As JSON values."""
    node = record.node
    return {
        "fence": _encode_fence(node.fence),
        "owner": node.owner,
        "holder": node.holder,
        "phase": node.phase.value,
        "transaction": None if node.transaction is None else _encode_transaction(node.transaction),
        "operation": None if node.operation is None else _encode_operation(node.operation),
        "tombstones": [_encode_tombstone(stone) for stone in node.tombstones],
        "requests": list(record.requests),
        "request_in_flight": record.request_in_flight,
    }


def decode(values: object) -> Record:
    """The record that `encode` made these values of.

    Raises:
        ValueError, KeyError, TypeError: They are of no record.
    """
    found = _exactly(
        values,
        "fence owner holder phase transaction operation tombstones requests request_in_flight",
    )
    transaction, operation = found["transaction"], found["operation"]
    node = NodeState(
        fence=_decode_fence(found["fence"]),
        owner=_typed(found["owner"], str),
        holder=_typed(found["holder"], str),
        phase=Phase(_typed(found["phase"], str)),
        transaction=None if transaction is None else _decode_transaction(transaction),
        operation=None if operation is None else _decode_operation(operation),
        tombstones=tuple(_decode_tombstone(stone) for stone in _typed(found["tombstones"], list)),
    )
    if (node.phase is Phase.NONE) is not (node.transaction is None):
        raise ValueError("a phase without a transaction, or a transaction without a phase")
    return Record(
        node,
        requests=_texts(found["requests"]),
        request_in_flight=_typed(found["request_in_flight"], str),
    )


def _encode_transaction(transaction: Transaction) -> Values:
    """What older agents would not know of is written only where there is something to say: such an agent
    reads all else, and stops at what it could not honour."""
    said: Values = {}
    if transaction.excluded:
        said["excluded"] = list(transaction.excluded)
    if transaction.joins:
        said["joins"] = transaction.joins
    if transaction.begun_by:
        said["begun_by"] = transaction.begun_by
    if transaction.reached != Fence():
        said["reached"] = _encode_fence(transaction.reached)
    if transaction.abort_ended:
        said["abort_ended"] = True
    return said | {
        "transaction_id": transaction.transaction_id,
        "participants": list(transaction.participants),
        "old_digest": transaction.old_digest,
        "ssl_wish": transaction.ssl_wish.value,
        "restart": transaction.restart.value,
        "begun_at": transaction.begun_at,
        "new_digest": transaction.new_digest,
        "bundle_digest": transaction.bundle_digest,
        "previous_ssl": {
            "server": transaction.previous_ssl.server,
            "agent": transaction.previous_ssl.agent,
        },
    }


def _decode_transaction(values: object) -> Transaction:
    found = _exactly(
        values,
        "transaction_id participants old_digest ssl_wish restart begun_at new_digest bundle_digest"
        " previous_ssl",
        or_also="excluded joins begun_by reached abort_ended",
    )
    previous = _exactly(found["previous_ssl"], "server agent")
    return Transaction(
        transaction_id=_typed(found["transaction_id"], str),
        participants=_texts(found["participants"]),
        old_digest=_typed(found["old_digest"], str),
        ssl_wish=SslWish(_typed(found["ssl_wish"], str)),
        restart=RestartScope(_typed(found["restart"], str)),
        begun_at=float(_typed(found["begun_at"], int, float)),
        new_digest=_typed(found["new_digest"], str),
        bundle_digest=_typed(found["bundle_digest"], str),
        excluded=_texts(found.get("excluded", [])),
        joins=_typed(found.get("joins", ""), str),
        begun_by=_typed(found.get("begun_by", ""), str),
        reached=_decode_fence(found["reached"]) if "reached" in found else Fence(),
        previous_ssl=SslSetting(_switch(previous["server"]), _switch(previous["agent"])),
        abort_ended=_typed(found.get("abort_ended", False), bool),
    )


def _encode_operation(operation: Operation) -> Values:
    return {
        "kind": operation.kind,
        "pid": operation.pid,
        "start_ticks": operation.start_ticks,
        "boot": operation.boot,
    }


def _decode_operation(values: object) -> Operation:
    found = _exactly(values, "kind pid start_ticks boot")
    return Operation(
        kind=_typed(found["kind"], str),
        pid=_typed(found["pid"], int),
        start_ticks=_typed(found["start_ticks"], int),
        boot=_typed(found["boot"], str),
    )


def _encode_fence(fence: Fence) -> Values:
    return {"epoch": fence.epoch, "step": int(fence.step)}


def _decode_fence(values: object) -> Fence:
    found = _exactly(values, "epoch step")
    return Fence(_typed(found["epoch"], int), Step(_typed(found["step"], int)))


def _encode_tombstone(stone: Tombstone) -> list[object]:
    """Who was left behind only where somebody was."""
    said: list[object] = [stone.transaction_id, stone.outcome.value]
    return [*said, list(stone.without)] if stone.without else said


def _decode_tombstone(values: object) -> Tombstone:
    transaction_id, outcome, *without = _typed(values, list)
    if len(without) > 1:
        raise ValueError("a tombstone says more than it can")
    return Tombstone(_typed(transaction_id, str), Outcome(outcome), _texts(without[0] if without else []))


def _exactly(values: object, names: str, *, or_also: str = "") -> Mapping[str, object]:
    """A JSON object with these names, perhaps some of `or_also`, and no others."""
    found: dict[str, object] = _typed(values, dict)
    if found.keys() - set(or_also.split()) != set(names.split()):
        raise KeyError(f"{sorted(found)} instead of {sorted(names.split())}")
    return found


def _texts(values: object) -> tuple[str, ...]:
    return tuple(_typed(value, str) for value in _typed(values, list))


def _switch(value: object) -> bool | None:
    return None if value is None else _typed(value, bool)


def _typed(value: object, *kinds: type[_T]) -> Any:  # noqa: ANN401 - the caller's annotation narrows it
    """The value, if it is exactly of one of these types: a bool is no int here."""
    if type(value) not in kinds:
        raise TypeError(f"{type(value).__name__} instead of {' or '.join(kind.__name__ for kind in kinds)}")
    return value
