"""Who is who in the control plane, and who may call what. No I/O; `credentials` has the files.

An identity is a URI SAN `gausscert://<cluster>/<role>/<name>` in a certificate of the control plane's own CA,
which has nothing to do with the certificates that gausscert replaces.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from gausscert_common.errors import InvalidInput, Reason

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gausscert_common.protocol.words import Step

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""A cluster, a node or a person: what needs no escaping in a URI path (RFC 3986 section 2.3), and no more
than an organizationName or commonName holds (RFC 5280 appendix A.1, ub-common-name = 64)."""

SCHEME: Final = "gausscert"
_DNS_SUFFIX: Final = "node.gausscert.internal"
_DIGEST_CHARS: Final = 32
_LABEL_CHARS: Final = 63


CREDENTIAL_WARNED_DAYS: Final = 30
"""How long before its end a credential is told."""
CA_WARNED_DAYS: Final = 90
"""Another CA takes longer: all nodes and persons must trust it first, and then get new credentials."""


class Role(StrEnum):
    """What an identity is for."""

    NODE = "node"
    """An agent. May call nothing but health."""
    OPERATOR = "operator"
    """May call everything."""
    OBSERVER = "observer"
    """May look."""
    RECOVERER = "recoverer"
    """May look, and finish or roll back what somebody else began; may not begin anything."""


@dataclass(frozen=True, slots=True)
class Identity:
    """One certificate's bearer."""

    cluster: str
    role: Role
    name: str

    def __post_init__(self) -> None:
        check_name("cluster", self.cluster)
        check_name(str(self.role), self.name)

    @property
    def uri(self) -> str:
        """The URI SAN."""
        return f"{SCHEME}://{self.cluster}/{self.role}/{self.name}"

    def __str__(self) -> str:
        return f"{self.role} {self.name} of cluster {self.cluster}"


def check_name(what: str, name: str) -> None:
    """Refuse a name that cannot stand in an identity.

    Raises:
        InvalidInput: ARGUMENT_INVALID.
    """
    if NAME.fullmatch(name) is None:
        raise InvalidInput(
            Reason.ARGUMENT_INVALID,
            f"{what} name {name[:80]!r} cannot be used",
            remedy="use letters, digits, dots, hyphens and underscores, a letter or digit first, 64 at most",
        )


def parse(uri: str) -> Identity:
    """Read a URI SAN. Only the exact spelling that `Identity.uri` makes is read: no other may pass for it.

    Raises:
        InvalidInput: CREDENTIAL_INVALID.
    """
    match = re.fullmatch(rf"{SCHEME}://([^/]+)/([^/]+)/([^/]+)", uri)
    roles = {role.value: role for role in Role}
    if match is None or match[2] not in roles or not (NAME.fullmatch(match[1]) and NAME.fullmatch(match[3])):
        raise InvalidInput(Reason.CREDENTIAL_INVALID, f"{uri[:200]!r} is no gausscert identity")
    return Identity(match[1], roles[match[2]], match[3])


def of_uris(uris: Iterable[bytes]) -> Identity:
    """Whose certificate has these URI SANs: exactly one of them is an identity.

    Raises:
        InvalidInput: CREDENTIAL_INVALID.
    """
    ours = [uri for uri in uris if uri.startswith(f"{SCHEME}:".encode())]
    if len(ours) != 1:
        raise InvalidInput(Reason.CREDENTIAL_INVALID, f"{len(ours)} identities where one is expected")
    return parse(ours[0].decode(errors="replace"))


def node_dns_name(cluster: str, node: str) -> str:
    """The DNS SAN of a node's certificate, by which coordinators dial it whatever its address is.

    Never resolved: gRPC is told to expect it (`grpc.ssl_target_name_override`). DNS names know neither
    underscores nor capitals (RFC 5280 section 4.2.1.6, RFC 1034 section 3.5), node names do: the digest
    keeps different nodes apart, the rest is for a person who reads the certificate.
    """
    digest = hashlib.sha256(f"{cluster}/{node}".encode()).hexdigest()[:_DIGEST_CHARS]
    readable = re.sub(r"[^a-z0-9]+", "-", node.lower()).strip("-")[: _LABEL_CHARS - 1 - _DIGEST_CHARS]
    return f"{readable}-{digest}.{_DNS_SUFFIX}"


AGENT_SERVICE: Final = "gausscert.v1.AgentService"
HEALTH_SERVICE: Final = "grpc.health.v1.Health"

_EVERYBODY: Final = frozenset(Role)
_LOOKING: Final = frozenset({Role.OPERATOR, Role.OBSERVER, Role.RECOVERER})
_ENDING: Final = frozenset({Role.OPERATOR, Role.RECOVERER})
_BEGINNING: Final = frozenset({Role.OPERATOR})

ALLOWED: Final[dict[str, frozenset[Role]]] = {
    f"{HEALTH_SERVICE}/Check": _EVERYBODY,
    f"{HEALTH_SERVICE}/Watch": _EVERYBODY,
    f"{AGENT_SERVICE}/GetNode": _LOOKING,
    f"{AGENT_SERVICE}/Judge": _LOOKING,
    f"{AGENT_SERVICE}/GetExpiry": _LOOKING,
    f"{AGENT_SERVICE}/Probe": _LOOKING,
    f"{AGENT_SERVICE}/WatchTransaction": _LOOKING,
    f"{AGENT_SERVICE}/Acquire": _ENDING,
    f"{AGENT_SERVICE}/Stop": _ENDING,
    f"{AGENT_SERVICE}/Start": _ENDING,
    f"{AGENT_SERVICE}/Commit": _ENDING,
    f"{AGENT_SERVICE}/Purge": _ENDING,
    f"{AGENT_SERVICE}/Abort": _ENDING,
    f"{AGENT_SERVICE}/Clean": _ENDING,
    f"{AGENT_SERVICE}/Prepare": _BEGINNING,
    f"{AGENT_SERVICE}/Swap": _BEGINNING,
    f"{AGENT_SERVICE}/Encrypt": _BEGINNING,
    f"{AGENT_SERVICE}/SetEnableSsl": _BEGINNING,
    f"{AGENT_SERVICE}/BeginRenewal": _BEGINNING,
    f"{AGENT_SERVICE}/FinishRenewal": _BEGINNING,
    f"{AGENT_SERVICE}/ExtendDenyList": _BEGINNING,
    f"{AGENT_SERVICE}/ReadAudit": _LOOKING,
}
"""Who may call what, by `service/method`; what is not in here nobody may call.

A recoverer may not Swap: it can finish a transaction from Start on (every node has voted) and roll back any,
but moving a cluster towards a new set is an operator's decision. For the same reason `may_order` looks at
what a Stop or a Start is part of.
"""


def may_call(role: Role, rpc: str) -> bool:
    """Whether a role may call `service/method`, with or without the leading slash."""
    return role in ALLOWED.get(rpc.removeprefix("/"), frozenset())


def may_order(role: Role, step: Step, *, in_transaction: bool) -> bool:
    """Whether a role that may make a call may make it for this step.

    Args:
        role: The caller's.
        step: What the call stands for; Stop and Start are both part of the way forward and of the way back.
        in_transaction: Whether the node is in one. Without one there is nothing to finish, and a Stop of the
            way forward is an outage.
    """
    from gausscert_common.protocol.words import Step

    return in_transaction or role is not Role.RECOVERER or step not in (Step.STOP, Step.START)
