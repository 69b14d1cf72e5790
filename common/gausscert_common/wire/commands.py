"""What coordinators ask for: incoming requests to commands. `requests` has the other way.

Here a request is checked: everything a node does later may rely on closed words, bounded sizes and names
that are names. All functions raise InvalidInput (ARGUMENT_INVALID) and name the field.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from gausscert.v1 import agent_service_pb2 as calls
from gausscert.v1 import resources_pb2 as pb

from gausscert_common import certset, identity
from gausscert_common.bundle import Bundle, FactorFiles
from gausscert_common.errors import InvalidInput, Reason
from gausscert_common.protocol.commands import (
    AcquireCommand,
    Command,
    CommitCommand,
    PrepareCommand,
    PurgeCommand,
)
from gausscert_common.protocol.words import RestartScope, SslWish, Step
from gausscert_common.source import Generation, LiveSet
from gausscert_common.wire import enums, times
from gausscert_common.wire.requests import FACTOR_FIELDS, PEM_FIELDS
from gausscert_common.wire.values import MAX_EPOCH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from google.protobuf.message import Message

    from gausscert_common.source import Source

TRANSACTION_ID: Final = re.compile(r"[a-z0-9-]{8,64}")
MAX_PARTICIPANTS: Final = 4096
MAX_LEASE_S: Final = 3600.0
MAX_TIMEOUT_S: Final = 3600.0
"""An hour for cm_ctl is more than any cluster needs and less than for ever."""
PROBE_TIMEOUT_S: Final = 5.0
_MAX_PROBE_S: Final = 15.0
"""A Probe holds one of few slots for that long; coordinators ask for 5 s, and with a query for all of it."""
_MAX_HOLDER: Final = 200
_MAX_PASSWORD_BYTES: Final = 1024
"""CM takes 15; validation says so in its own words, this only bounds what is looked at."""
_MAX_FACTOR_BYTES: Final = 1024
_DIGEST: Final = re.compile(r"[0-9a-f]{64}|")


@dataclass(frozen=True, slots=True)
class AcquireOrder:
    """A checked Acquire."""

    command: AcquireCommand
    lease_s: float


@dataclass(frozen=True, slots=True)
class PrepareOrder:
    """A checked Prepare."""

    command: PrepareCommand
    source: Source
    drop_crls: bool


@dataclass(frozen=True, slots=True)
class Question:
    """A checked Judge."""

    source: Source
    drop_crls: bool


@dataclass(frozen=True, slots=True)
class RestartOrder:
    """A checked Stop or Start."""

    command: Command
    scope: RestartScope
    executor: bool
    timeout_s: float


class _WithRef(Protocol):
    @property
    def ref(self) -> calls.TransactionRef: ...


class _WithCrlPolicy(Protocol):
    @property
    def crl_policy(self) -> pb.CrlPolicy: ...


class _Restart(_WithRef, Protocol):
    @property
    def scope(self) -> pb.RestartScope: ...
    @property
    def executor(self) -> bool: ...


def as_command(request: _WithRef, *steps: Step) -> Command:
    """The reference of any request.

    Args:
        request: The message.
        steps: Those that the call stands for.
    """
    said = request.ref
    check_transaction_id("ref.transaction_id", said.transaction_id)
    _require(1 <= said.epoch <= MAX_EPOCH, "ref.epoch", "must be at least 1")
    step = enums.STEP.value(said.step)
    _require(step in steps, "ref.step", f"{step.name} is not a step of this call")
    return Command(said.transaction_id, said.epoch, step)


def as_acquire(request: calls.AcquireRequest) -> AcquireOrder:
    """Step 0."""
    base = as_command(request, Step.ACQUIRE)
    _require(
        0 < len(request.holder) <= _MAX_HOLDER and request.holder.isprintable(),
        "holder",
        f"must be 1 to {_MAX_HOLDER} printable characters",
    )
    command = AcquireCommand(
        base.transaction_id,
        base.epoch,
        base.step,
        holder=request.holder,
        take_over=request.take_over,
        excluded=_nodes("excluded", request.excluded),
    )
    return AcquireOrder(command, _bounded(request, "lease", MAX_LEASE_S))


def as_prepare(request: calls.PrepareRequest, *, begun_at: float) -> PrepareOrder:
    """Step 1.

    Args:
        request: The message.
        begun_at: Now, by the node's clock, in seconds since the epoch.
    """
    base = as_command(request, Step.PREPARE)
    source, drop_crls = _source(request), drops_crls(request)
    ssl_wish = enums.SSL_WISH.value(request.enable_ssl)
    if isinstance(source, LiveSet):
        _require(ssl_wish is not SslWish.KEEP, "enable_ssl", "must be on or off where the set stays as it is")
    participants = _participants(request.participants)
    excluded = _nodes("excluded", request.excluded)
    _require(not set(participants) & set(excluded), "excluded", "names a participant")
    if request.joins:
        check_transaction_id("joins", request.joins)
    command = PrepareCommand(
        base.transaction_id,
        base.epoch,
        base.step,
        participants=participants,
        excluded=excluded,
        joins=request.joins,
        expected_live_digest=_digest("expected_live_digest", request.expected_live_digest),
        ssl_wish=ssl_wish,
        restart=enums.RESTART_SCOPE.value(request.restart),
        begun_at=begun_at,
    )
    return PrepareOrder(command, source, drop_crls)


def as_question(request: calls.JudgeRequest) -> Question:
    """What Judge is asked about."""
    return Question(_source(request), drops_crls(request))


def as_commit(request: calls.CommitRequest) -> CommitCommand:
    """Step 5."""
    base = as_command(request, Step.COMMIT)
    return CommitCommand(base.transaction_id, base.epoch, base.step, request.start_follows)


def as_purge(request: calls.PurgeRequest) -> PurgeCommand:
    """Step 6."""
    base = as_command(request, Step.PURGE)
    settled = _nodes("settled", request.settled)
    return PurgeCommand(base.transaction_id, base.epoch, base.step, settled, request.start_follows)


def as_stop(request: calls.StopRequest) -> RestartOrder:
    """Steps 2 and 7."""
    return _restart(request, request, Step.STOP, Step.ROLLBACK_STOP)


def as_start(request: calls.StartRequest) -> RestartOrder:
    """Steps 4 and 9."""
    return _restart(request, request, Step.START, Step.ROLLBACK_START)


def as_bundle(message: pb.Bundle) -> Bundle:
    """A bundle, its sizes checked; whether it is a good one is for validation to say."""
    pem = {}
    for name, field in PEM_FIELDS.items():
        body: bytes = getattr(message, field)
        _require(len(body) <= certset.MAX_FILE_BYTES, f"bundle.{field}", "is too large")
        if message.HasField(field):
            pem[name] = body
    factors = _factor_files(message)
    server, client = password(message, "server_password"), password(message, "client_password")
    _require(
        factors is None or server is client is None,
        "bundle",
        "brings passwords and factor files, must bring one of them",
    )
    return Bundle(pem, server_password=server, client_password=client, factor_files=factors)


def as_generation(name: str) -> Generation:
    """The name of a retired set: no more than a transaction's id, and so never a path."""
    check_transaction_id("generation", name)
    return Generation(name)


def drops_crls(request: _WithCrlPolicy) -> bool:
    """Whether CRLs that are there already are dropped."""
    policy = request.crl_policy
    _require(policy in pb.CrlPolicy.values(), "crl_policy", "is not known here")
    return policy == pb.CRL_POLICY_DROP


def as_ssl_value(request: calls.SetEnableSslRequest) -> bool:
    """On or off."""
    wish = enums.SSL_WISH.value(request.enable_ssl)
    _require(wish is not SslWish.KEEP, "enable_ssl", "must be on or off")
    return wish is SslWish.ON


def probe_timeout_s(request: calls.ProbeRequest) -> float:
    """Longest time for one cm_server, and for the query."""
    if not request.HasField("timeout"):
        return PROBE_TIMEOUT_S
    return _bounded(request, "timeout", _MAX_PROBE_S)


def check_transaction_id(field: str, text: str) -> None:
    """A transaction's or request's id."""
    _require(
        TRANSACTION_ID.fullmatch(text) is not None,
        field,
        "must be 8 to 64 lower-case letters, digits and hyphens",
    )


def password(message: Message, field: str) -> str | None:
    """A password, or None where there is none."""
    text: str = getattr(message, field)
    _require(len(text.encode()) <= _MAX_PASSWORD_BYTES, field, "is too long")
    return text or None


def _source(request: calls.PrepareRequest | calls.JudgeRequest) -> Source:
    which = request.WhichOneof("source")
    _require(which is not None, "source", "must be a bundle, a generation or the live set")
    if which == "live":
        _require(request.live, "live", "must be true")
        return LiveSet()
    return as_generation(request.generation) if which == "generation" else as_bundle(request.bundle)


def _restart(message: Message, request: _Restart, *steps: Step) -> RestartOrder:
    return RestartOrder(
        as_command(request, *steps),
        enums.RESTART_SCOPE.value(request.scope),
        executor=request.executor,
        timeout_s=_bounded(message, "timeout", MAX_TIMEOUT_S),
    )


def _participants(names: Sequence[str]) -> tuple[str, ...]:
    _require(len(names) > 0, "participants", f"must be 1 to {MAX_PARTICIPANTS} nodes")
    return _nodes("participants", names)


def _nodes(field: str, names: Sequence[str]) -> tuple[str, ...]:
    _require(len(names) <= MAX_PARTICIPANTS, field, f"must be at most {MAX_PARTICIPANTS} nodes")
    _require(len(set(names)) == len(names), field, "names a node twice")
    for name in names:
        identity.check_name("node", name)
    return tuple(sorted(names))


def _factor_files(message: pb.Bundle) -> FactorFiles | None:
    if not message.HasField("factor_files"):
        return None
    bodies: list[bytes] = [getattr(message.factor_files, field) for field in FACTOR_FIELDS.values()]
    _require(all(bodies), "bundle.factor_files", "must be all four or none")
    _require(
        all(len(body) <= _MAX_FACTOR_BYTES for body in bodies), "bundle.factor_files", "one is too large"
    )
    return FactorFiles(*bodies)


def _digest(field: str, text: str) -> str:
    _require(_DIGEST.fullmatch(text) is not None, field, "must be 64 hex digits, or empty")
    return text


def _bounded(message: Message, field: str, most_s: float) -> float:
    length_s = times.length_s(message, field)
    _require(
        math.isfinite(length_s) and 0 < length_s <= most_s, field, f"must be above 0 and at most {most_s:g} s"
    )
    return length_s


def _require(holds: bool, field: str, problem: str) -> None:
    if not holds:
        raise InvalidInput(
            Reason.ARGUMENT_INVALID,
            f"{field} {problem}",
            remedy="use the same version of gausscert on all machines",
        )
