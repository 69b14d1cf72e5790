"""What coordinators ask for: commands to requests. `commands` has the other way, and checks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gausscert.v1 import agent_service_pb2 as calls
from gausscert.v1 import resources_pb2 as pb

from gausscert_common import certset
from gausscert_common.protocol.commands import CommitCommand, PurgeCommand
from gausscert_common.source import Generation, LiveSet
from gausscert_common.wire import enums, times

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gausscert_common.bundle import Bundle
    from gausscert_common.protocol.commands import Command
    from gausscert_common.protocol.words import RestartScope, SslWish
    from gausscert_common.source import Source

PEM_FIELDS: Final = {name: name.replace(".", "_") for name in certset.BUNDLE_NAMES}
"""The fields of the message Bundle by the names of the set."""
FACTOR_FIELDS: Final = {name: name.replace(".", "_") for name in certset.FACTOR_NAMES}
"""The fields of the message FactorFiles by the names of the set."""
_CRL_POLICY: Final = {True: "CRL_POLICY_DROP", False: "CRL_POLICY_KEEP_UNSPECIFIED"}
"""By whether CRLs are dropped."""


def ref(command: Command) -> calls.TransactionRef:
    """Which transaction, epoch and step a command belongs to."""
    return calls.TransactionRef(
        transaction_id=command.transaction_id, epoch=command.epoch, step=enums.STEP.name(command.step)
    )


def judge_request(source: Source, *, drop_crls: bool) -> calls.JudgeRequest:
    """What is to be judged."""
    request = calls.JudgeRequest(crl_policy=_CRL_POLICY[drop_crls])
    _put(source, request)
    return request


def acquire_request(
    command: Command, *, holder: str, lease_s: float, take_over: bool, excluded: Sequence[str] = ()
) -> calls.AcquireRequest:
    """Step 0."""
    return calls.AcquireRequest(
        ref=ref(command),
        holder=holder,
        lease=times.duration(lease_s),
        take_over=take_over,
        excluded=excluded,
    )


def prepare_request(
    command: Command,
    *,
    participants: Sequence[str],
    expected_live_digest: str,
    source: Source,
    ssl_wish: SslWish,
    restart: RestartScope,
    drop_crls: bool,
    excluded: Sequence[str] = (),
    joins: str = "",
) -> calls.PrepareRequest:
    """Step 1."""
    request = calls.PrepareRequest(
        ref=ref(command),
        participants=participants,
        excluded=excluded,
        joins=joins,
        expected_live_digest=expected_live_digest,
        enable_ssl=enums.SSL_WISH.name(ssl_wish),
        restart=enums.RESTART_SCOPE.name(restart),
        crl_policy=_CRL_POLICY[drop_crls],
    )
    _put(source, request)
    return request


def commit_request(command: Command) -> calls.CommitRequest:
    """Step 5."""
    follows = isinstance(command, CommitCommand) and command.start_follows
    return calls.CommitRequest(ref=ref(command), start_follows=follows)


def purge_request(command: Command) -> calls.PurgeRequest:
    """Step 6."""
    if not isinstance(command, PurgeCommand):
        return calls.PurgeRequest(ref=ref(command))
    return calls.PurgeRequest(ref=ref(command), settled=command.settled, start_follows=command.start_follows)


def stop_request(
    command: Command, *, scope: RestartScope, executor: bool, timeout_s: float
) -> calls.StopRequest:
    """Steps 2 and 7."""
    return calls.StopRequest(
        ref=ref(command),
        scope=enums.RESTART_SCOPE.name(scope),
        executor=executor,
        timeout=times.duration(timeout_s),
    )


def start_request(
    command: Command, *, scope: RestartScope, executor: bool, timeout_s: float
) -> calls.StartRequest:
    """Steps 4 and 9."""
    return calls.StartRequest(
        ref=ref(command),
        scope=enums.RESTART_SCOPE.name(scope),
        executor=executor,
        timeout=times.duration(timeout_s),
    )


def bundle_message(bundle: Bundle) -> pb.Bundle:
    """A bundle as a message; a file or password that is not there is empty."""
    message = pb.Bundle(server_password=bundle.server_password, client_password=bundle.client_password)
    for name, body in bundle.pem.items():
        setattr(message, PEM_FIELDS[name], body)
    if bundle.factor_files is not None:
        for name, body in bundle.factor_files.as_files().items():
            setattr(message.factor_files, FACTOR_FIELDS[name], body)
    return message


def _put(source: Source, request: calls.PrepareRequest | calls.JudgeRequest) -> None:
    if isinstance(source, Generation):
        request.generation = source.name
    elif isinstance(source, LiveSet):
        request.live = True
    else:
        request.bundle.MergeFrom(bundle_message(source))
