"""The one error tree of gausscert.

    GausscertError
    ├── InvalidInput     the caller's input is wrong; mend it. Nothing was changed.
    ├── NodeRefusal      a node refused a command; its state is what it was before.
    ├── NodeFailure      a node tried and failed; its journal says how far it came.
    ├── Denied           the caller's credential may not do this.
    ├── Unreachable      a node does not answer.
    ├── InDoubt          a transaction is neither committed nor rolled back; run `gausscert recover`.
    └── InternalError    a bug in gausscert.

Branches follow what the caller does next. Every error has a stable reason, and names the node, the
file and the remedy where there are such. Messages are for people and never hold a password or a key.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gausscert_common.findings import Finding


class Reason(StrEnum):
    """Why, for programs. Stable: a reason is never renamed or given another meaning."""

    # InvalidInput
    USAGE = "USAGE"
    CONFIG_INVALID = "CONFIG_INVALID"
    BUNDLE_INVALID = "BUNDLE_INVALID"
    ARGUMENT_INVALID = "ARGUMENT_INVALID"
    CREDENTIAL_INVALID = "CREDENTIAL_INVALID"
    HISTORY_UNUSABLE = "HISTORY_UNUSABLE"
    DENY_LIST_INVALID = "DENY_LIST_INVALID"
    # NodeRefusal
    FENCED = "FENCED"
    NOT_ACQUIRED = "NOT_ACQUIRED"
    LOCKED = "LOCKED"
    OTHER_TRANSACTION = "OTHER_TRANSACTION"
    TRANSACTION_ENDED = "TRANSACTION_ENDED"
    WRONG_PHASE = "WRONG_PHASE"
    LIVE_CHANGED = "LIVE_CHANGED"
    FOREIGN_SET = "FOREIGN_SET"
    NOT_STOPPED = "NOT_STOPPED"
    BUSY = "BUSY"
    NODE_UNFIT = "NODE_UNFIT"
    SET_INVALID = "SET_INVALID"
    DRAINING = "DRAINING"
    GENERATION_UNKNOWN = "GENERATION_UNKNOWN"
    NODES_EXCLUDED = "NODES_EXCLUDED"
    RENEWAL_UNKNOWN = "RENEWAL_UNKNOWN"
    SUDO_REFUSED = "SUDO_REFUSED"
    # NodeFailure
    CM_CTL_FAILED = "CM_CTL_FAILED"
    CM_CTL_TIMEOUT = "CM_CTL_TIMEOUT"
    CM_NOT_STOPPED = "CM_NOT_STOPPED"
    CM_NOT_STARTED = "CM_NOT_STARTED"
    CONF_FAILED = "CONF_FAILED"
    STORE_FAILED = "STORE_FAILED"
    JOURNAL_FAILED = "JOURNAL_FAILED"
    JOURNAL_DAMAGED = "JOURNAL_DAMAGED"
    NOT_PROVEN = "NOT_PROVEN"
    AUDIT_BROKEN = "AUDIT_BROKEN"
    ROLLOUT_FAILED = "ROLLOUT_FAILED"
    # Denied
    UNAUTHENTICATED = "UNAUTHENTICATED"
    PERMISSION_DENIED = "PERMISSION_DENIED"
    REVOKED = "REVOKED"
    DENY_LIST_UNUSABLE = "DENY_LIST_UNUSABLE"
    # Unreachable
    UNREACHABLE = "UNREACHABLE"
    DEADLINE = "DEADLINE"
    # InDoubt
    IN_DOUBT = "IN_DOUBT"
    # InternalError
    INTERNAL = "INTERNAL"


class GausscertError(Exception):
    """Base of all errors of gausscert; never raised itself.

    Attributes:
        reason: Why, for programs.
        message: What happened, for a person; lower case, no full stop.
        node: The node's name, or "".
        file: The file, or "".
        remedy: What to do, for a person, or "".
        findings: Everything that was found wrong, where something was judged.
    """

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        node: str = "",
        file: str = "",
        remedy: str = "",
        findings: Sequence[Finding] = (),
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.node = node
        self.file = file
        self.remedy = remedy
        self.findings = tuple(findings)

    def __str__(self) -> str:
        where = ": ".join(part for part in (self.node, self.file) if part)
        text = f"{where}: {self.message}" if where else self.message
        return f"{text} ({self.remedy})" if self.remedy else text


class InvalidInput(GausscertError):
    """The caller's input is wrong; nothing was changed."""


class NodeRefusal(GausscertError):
    """A node refused a command and left its state untouched."""


class NodeFailure(GausscertError):
    """A node tried and failed; its journal says how far it came."""


class Denied(GausscertError):
    """The caller's credential may not do this."""


class Unreachable(GausscertError):
    """A node does not answer, or not in time."""


class InDoubt(GausscertError):
    """A transaction is neither committed nor rolled back on every node."""


class InternalError(GausscertError):
    """A bug in gausscert; the message holds an incident id, the agent's log the rest."""


KIND_OF_REASON: dict[Reason, type[GausscertError]] = {
    Reason.USAGE: InvalidInput,
    Reason.CONFIG_INVALID: InvalidInput,
    Reason.BUNDLE_INVALID: InvalidInput,
    Reason.ARGUMENT_INVALID: InvalidInput,
    Reason.CREDENTIAL_INVALID: InvalidInput,
    Reason.HISTORY_UNUSABLE: InvalidInput,
    Reason.DENY_LIST_INVALID: InvalidInput,
    Reason.FENCED: NodeRefusal,
    Reason.NOT_ACQUIRED: NodeRefusal,
    Reason.LOCKED: NodeRefusal,
    Reason.OTHER_TRANSACTION: NodeRefusal,
    Reason.TRANSACTION_ENDED: NodeRefusal,
    Reason.WRONG_PHASE: NodeRefusal,
    Reason.LIVE_CHANGED: NodeRefusal,
    Reason.FOREIGN_SET: NodeRefusal,
    Reason.NOT_STOPPED: NodeRefusal,
    Reason.BUSY: NodeRefusal,
    Reason.NODE_UNFIT: NodeRefusal,
    Reason.SET_INVALID: NodeRefusal,
    Reason.DRAINING: NodeRefusal,
    Reason.GENERATION_UNKNOWN: NodeRefusal,
    Reason.NODES_EXCLUDED: NodeRefusal,
    Reason.RENEWAL_UNKNOWN: NodeRefusal,
    Reason.SUDO_REFUSED: NodeRefusal,
    Reason.CM_CTL_FAILED: NodeFailure,
    Reason.CM_CTL_TIMEOUT: NodeFailure,
    Reason.CM_NOT_STOPPED: NodeFailure,
    Reason.CM_NOT_STARTED: NodeFailure,
    Reason.CONF_FAILED: NodeFailure,
    Reason.STORE_FAILED: NodeFailure,
    Reason.JOURNAL_FAILED: NodeFailure,
    Reason.JOURNAL_DAMAGED: NodeFailure,
    Reason.NOT_PROVEN: NodeFailure,
    Reason.AUDIT_BROKEN: NodeFailure,
    Reason.ROLLOUT_FAILED: NodeFailure,
    Reason.UNAUTHENTICATED: Denied,
    Reason.PERMISSION_DENIED: Denied,
    Reason.REVOKED: Denied,
    Reason.DENY_LIST_UNUSABLE: Denied,
    Reason.UNREACHABLE: Unreachable,
    Reason.DEADLINE: Unreachable,
    Reason.IN_DOUBT: InDoubt,
    Reason.INTERNAL: InternalError,
}
"""Which branch of the tree a reason belongs to; every reason has exactly one."""
