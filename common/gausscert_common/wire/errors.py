"""Errors to gRPC status and back: one table, both ways.

Beside code and message a call that failed carries google.rpc.Status in its trailing metadata, with a
google.rpc.ErrorInfo (AIP-193) and the findings, so that both ends raise the same error. UNAVAILABLE is sent
only where repeating the very same command is right, because that is what it means to a caller (AIP-194).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import grpc
from gausscert.v1 import resources_pb2 as pb
from google.protobuf.message import DecodeError

from gausscert_common.errors import KIND_OF_REASON, GausscertError, InternalError, Reason
from gausscert_common.findings import Finding, Severity
from gausscert_common.wire import values

if TYPE_CHECKING:
    from collections.abc import Iterable

    from google.rpc.error_details_pb2 import ErrorInfo  # type: ignore[import-untyped] # ships no stubs
    from google.rpc.status_pb2 import Status  # type: ignore[import-untyped] # ships no stubs

DOMAIN: Final = "gausscert"
DETAILS_KEY: Final = "grpc-status-details-bin"
"""Where gRPC carries google.rpc.Status, in every language."""

MAX_METADATA_BYTES: Final = 64 * 1024
"""What both ends must accept as metadata; gRPC's own default of 8 KiB would lose long lists of findings."""

_MAX_STATUS_BYTES: Final = 32 * 1024
_MAX_TEXT: Final = 2000
_LEFT_OUT: Final = "findings_left_out"

_Code = grpc.StatusCode

CODES: Final[dict[Reason, grpc.StatusCode]] = {
    Reason.USAGE: _Code.INVALID_ARGUMENT,
    Reason.CONFIG_INVALID: _Code.INVALID_ARGUMENT,
    Reason.BUNDLE_INVALID: _Code.INVALID_ARGUMENT,
    Reason.ARGUMENT_INVALID: _Code.INVALID_ARGUMENT,
    Reason.CREDENTIAL_INVALID: _Code.INVALID_ARGUMENT,
    Reason.HISTORY_UNUSABLE: _Code.INVALID_ARGUMENT,
    Reason.DENY_LIST_INVALID: _Code.INVALID_ARGUMENT,
    # Somebody else is at work: look again and begin anew, but never repeat the same command.
    Reason.FENCED: _Code.ABORTED,
    Reason.LOCKED: _Code.ABORTED,
    Reason.OTHER_TRANSACTION: _Code.ABORTED,
    Reason.LIVE_CHANGED: _Code.ABORTED,
    # Nothing will help until somebody has changed the node's state.
    Reason.NOT_ACQUIRED: _Code.FAILED_PRECONDITION,
    Reason.TRANSACTION_ENDED: _Code.FAILED_PRECONDITION,
    Reason.WRONG_PHASE: _Code.FAILED_PRECONDITION,
    Reason.FOREIGN_SET: _Code.FAILED_PRECONDITION,
    Reason.NOT_STOPPED: _Code.FAILED_PRECONDITION,
    Reason.NODE_UNFIT: _Code.FAILED_PRECONDITION,
    Reason.SET_INVALID: _Code.FAILED_PRECONDITION,
    Reason.GENERATION_UNKNOWN: _Code.FAILED_PRECONDITION,
    Reason.NODES_EXCLUDED: _Code.FAILED_PRECONDITION,
    Reason.RENEWAL_UNKNOWN: _Code.FAILED_PRECONDITION,
    Reason.SUDO_REFUSED: _Code.FAILED_PRECONDITION,
    Reason.CM_CTL_FAILED: _Code.FAILED_PRECONDITION,
    Reason.CM_CTL_TIMEOUT: _Code.FAILED_PRECONDITION,
    Reason.CM_NOT_STOPPED: _Code.FAILED_PRECONDITION,
    Reason.CM_NOT_STARTED: _Code.FAILED_PRECONDITION,
    Reason.CONF_FAILED: _Code.FAILED_PRECONDITION,
    Reason.NOT_PROVEN: _Code.FAILED_PRECONDITION,
    Reason.AUDIT_BROKEN: _Code.FAILED_PRECONDITION,
    Reason.ROLLOUT_FAILED: _Code.FAILED_PRECONDITION,
    Reason.JOURNAL_DAMAGED: _Code.FAILED_PRECONDITION,
    Reason.IN_DOUBT: _Code.FAILED_PRECONDITION,
    Reason.STORE_FAILED: _Code.INTERNAL,
    Reason.JOURNAL_FAILED: _Code.INTERNAL,
    Reason.INTERNAL: _Code.INTERNAL,
    # The command was not looked at: a repeat is carried out as if it were the first.
    Reason.BUSY: _Code.UNAVAILABLE,
    Reason.DRAINING: _Code.UNAVAILABLE,
    Reason.UNREACHABLE: _Code.UNAVAILABLE,
    Reason.DEADLINE: _Code.DEADLINE_EXCEEDED,
    Reason.UNAUTHENTICATED: _Code.UNAUTHENTICATED,
    Reason.PERMISSION_DENIED: _Code.PERMISSION_DENIED,
    Reason.REVOKED: _Code.PERMISSION_DENIED,
    Reason.DENY_LIST_UNUSABLE: _Code.PERMISSION_DENIED,
}

_BARE: Final[dict[grpc.StatusCode, tuple[Reason, str]]] = {
    _Code.UNAVAILABLE: (Reason.UNREACHABLE, ""),
    _Code.CANCELLED: (Reason.UNREACHABLE, ""),
    _Code.DEADLINE_EXCEEDED: (Reason.DEADLINE, "look at the node: it may still be at work"),
    _Code.RESOURCE_EXHAUSTED: (Reason.BUSY, "try again; if it stays, see who else calls this agent"),
    _Code.UNIMPLEMENTED: (Reason.NODE_UNFIT, "use the same version of gausscert on all machines"),
    _Code.UNAUTHENTICATED: (Reason.UNAUTHENTICATED, ""),
    _Code.PERMISSION_DENIED: (Reason.PERMISSION_DENIED, ""),
    _Code.INVALID_ARGUMENT: (Reason.ARGUMENT_INVALID, ""),
}
"""What a status without our details means: gRPC itself made it, at either end or on the way."""

_TOO_LARGE: Final = "larger than max"
"""gRPC's words when a message exceeds the receiver's limit; its code is the one of all limits."""


_REFUSED_STREAM: Final = "RST_STREAM with error code 7"
"""gRPC's words for REFUSED_STREAM: the other end has not looked at the call (RFC 9113 section 8.7). gRPC says
so where a connection has more calls open than it may."""


def unexpected(incident: str) -> InternalError:
    """What a caller is told of an exception that nobody foresaw: never its text, which may hold anything."""
    return InternalError(
        Reason.INTERNAL,
        f"internal error, incident {incident}",
        remedy="look for the incident in the agent's log and report it",
    )


def code_of(error: GausscertError) -> grpc.StatusCode:
    """The gRPC code."""
    return CODES[error.reason]


def text_of(error: GausscertError) -> str:
    """The gRPC status message: short enough for a header, for tools that do not read details."""
    return error.message[:_MAX_TEXT]


def details(error: GausscertError) -> bytes:
    """google.rpc.Status, serialized, for `DETAILS_KEY`."""
    from google.rpc.error_details_pb2 import ErrorInfo
    from google.rpc.status_pb2 import Status

    fitting, left_out = _fitting(error.findings)
    metadata = {"node": error.node, "file": error.file, "remedy": error.remedy[:_MAX_TEXT]}
    if left_out:
        metadata[_LEFT_OUT] = str(left_out)
    status = Status(code=int(code_of(error).value[0]), message=text_of(error))
    info = ErrorInfo(
        reason=error.reason, domain=DOMAIN, metadata={key: text for key, text in metadata.items() if text}
    )
    status.details.add().Pack(info)
    for message in fitting:
        status.details.add().Pack(message)
    serialized: bytes = status.SerializeToString()
    return serialized


def from_rpc(code: grpc.StatusCode, text: str, serialized: bytes | None, *, node: str) -> GausscertError:
    """The error that the other end raised, or what a bare status means.

    Args:
        code: The gRPC code.
        text: The gRPC status message.
        serialized: What came under `DETAILS_KEY`, if anything.
        node: The node that was called; an error that names none is said of this one.
    """
    status = _parsed(serialized)
    info = _info(status) if status is not None and status.code == code.value[0] else None
    if status is None or info is None:
        return _bare(code, text, node)
    try:
        reason = Reason(info.reason)
    except ValueError:  # a newer agent knows more reasons; the code still says what to do
        return _bare(code, f"{status.message} [{info.reason}]", node)
    message = status.message
    if _LEFT_OUT in info.metadata:
        message = f"{message}; {info.metadata[_LEFT_OUT]} more findings are left out"
    return KIND_OF_REASON[reason](
        reason,
        message,
        node=info.metadata.get("node") or node,
        file=info.metadata.get("file", ""),
        remedy=info.metadata.get("remedy", ""),
        findings=_findings(status),
    )


def _fitting(findings: Iterable[Finding]) -> tuple[list[pb.Finding], int]:
    """As many as a trailer holds, errors before warnings, and how many do not fit."""
    messages = [
        values.finding(one) for one in sorted(findings, key=lambda one: one.severity is not Severity.ERROR)
    ]
    room = _MAX_STATUS_BYTES
    for count, message in enumerate(messages):
        room -= message.ByteSize() + 64
        if room < 0:
            return messages[:count], len(messages) - count
    return messages, 0


def _parsed(serialized: bytes | None) -> Status | None:
    from google.rpc.status_pb2 import Status

    try:
        return None if serialized is None else Status.FromString(serialized)
    except DecodeError:
        return None


def _info(status: Status) -> ErrorInfo | None:
    from google.rpc.error_details_pb2 import ErrorInfo

    for detail in status.details:
        info = ErrorInfo()
        if detail.Unpack(info) and info.domain == DOMAIN:
            return info
    return None


def _findings(status: Status) -> tuple[Finding, ...]:
    found = []
    for detail in status.details:
        message = pb.Finding()
        if detail.Unpack(message):
            found.append(values.as_finding(message))
    return tuple(found)


def _bare(code: grpc.StatusCode, text: str, node: str) -> GausscertError:
    reason, remedy = _BARE.get(code, (Reason.INTERNAL, "look into the agent's log"))
    if code is _Code.RESOURCE_EXHAUSTED and _TOO_LARGE in text:
        reason, remedy = Reason.ARGUMENT_INVALID, "hand in smaller files"
    if code is _Code.UNAVAILABLE and _REFUSED_STREAM in text:
        reason, remedy = _BARE[_Code.RESOURCE_EXHAUSTED]
    message = text[:_MAX_TEXT] or f"the call ended with {code.name}"
    return KIND_OF_REASON[reason](reason, message, node=node, remedy=remedy)
