"""Enumerations on the wire and ours: the same words with the prefix that buf's style asks for."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from gausscert.v1 import resources_pb2 as pb

from gausscert_common.errors import InvalidInput, Reason
from gausscert_common.findings import Severity
from gausscert_common.model import CertificateKind, FactorBuild, Layout, ServedState, SetState, Side, SslValue
from gausscert_common.protocol.words import LiveState, Outcome, Phase, RestartScope, SslWish, Step

if TYPE_CHECKING:
    from collections.abc import Sequence

E = TypeVar("E", bound=Enum)


class Words(Generic[E]):
    """One enumeration, both ways. A word of ours that is the wire's zero value ends in _UNSPECIFIED there."""

    def __init__(self, ours: type[E], prefix: str, wire: Sequence[tuple[str, int]]) -> None:
        numbers = dict(wire)
        self._kind = ours.__name__
        self._name: dict[E, str] = {}
        self._value: dict[int, E] = {}
        for member in ours:
            name = f"{prefix}_{member.name}"
            name = name if name in numbers else f"{name}_UNSPECIFIED"
            self._name[member] = name
            self._value[numbers[name]] = member

    def name(self, value: E) -> str:
        """The wire's word, as message constructors take it."""
        return self._name[value]

    def name_or_zero(self, value: E | None) -> str | None:
        """As `name`; None leaves the field at its zero value."""
        return None if value is None else self._name[value]

    def value(self, number: int) -> E:
        """Our word.

        Raises:
            InvalidInput: ARGUMENT_INVALID: not said at all, or a word that this version does not know.
        """
        found = self._value.get(number)
        if found is None:
            raise InvalidInput(
                Reason.ARGUMENT_INVALID,
                f"{self._kind} {number} is not known here",
                remedy="use the same version of gausscert on all machines",
            )
        return found

    def value_or_none(self, number: int) -> E | None:
        """Our word, or None where the wire says nothing.

        Raises:
            InvalidInput: ARGUMENT_INVALID: a word that this version does not know.
        """
        return self.value(number) if number else None


PHASE: Final = Words(Phase, "PHASE", pb.Phase.items())
STEP: Final = Words(Step, "STEP", pb.Step.items())
OUTCOME: Final = Words(Outcome, "OUTCOME", pb.Outcome.items())
LIVE_STATE: Final = Words(LiveState, "LIVE_STATE", pb.LiveState.items())
SET_STATE: Final = Words(SetState, "SET_STATE", pb.SetState.items())
CERTIFICATE_KIND: Final = Words(CertificateKind, "CERTIFICATE_KIND", pb.CertificateKind.items())
SERVED_STATE: Final = Words(ServedState, "SERVED_STATE", pb.ServedState.items())
SSL_VALUE: Final = Words(SslValue, "SSL_VALUE", pb.SslValue.items())
SSL_WISH: Final = Words(SslWish, "SSL_WISH", pb.SslWish.items())
RESTART_SCOPE: Final = Words(RestartScope, "RESTART_SCOPE", pb.RestartScope.items())
FACTOR_BUILD: Final = Words(FactorBuild, "FACTOR_BUILD", pb.FactorBuild.items())
SIDE: Final = Words(Side, "SIDE", pb.Side.items())
LAYOUT: Final = Words(Layout, "LAYOUT", pb.Layout.items())
SEVERITY: Final = Words(Severity, "SEVERITY", pb.Severity.items())
