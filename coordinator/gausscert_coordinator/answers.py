"""What one cm_server answers, and whether that is what it must. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gausscert_common.model import ServedState

if TYPE_CHECKING:
    from gausscert_common.model import Served

SSL_OFF: Final = "ssl off"
"""Stands among the accepted leaves for "answers that SSL is off"; never equal to a missing fingerprint."""

_SHOWN: Final = 16
"""Hex digits of a fingerprint that people compare."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one cm_server must be seen to do."""

    leaves: frozenset[str]
    """SHA-256 fingerprints, any of which will do; `SSL_OFF` among them accepts SSL off."""
    chain: bool = True
    """The chain must verify against the prober's live cacert.pem."""


def rank(served: Served | None) -> int:
    """0 when nothing was spoken, 2 for a verified chain, else 1."""
    if served is None or served.state in (ServedState.UNREACHABLE, ServedState.REFUSED):
        return 0
    return 2 if served.chain_verified else 1


def speaks(served: Served) -> bool:
    """Whether the cm_server answered: with a certificate, or that SSL is off."""
    return rank(served) > 0


def answers_wrongly(wanted: Wanted, served: Served) -> bool:
    """Whether a cm_server serves another certificate than it must, or one instead of none, or none instead of
    one. Where it is not known what it must serve nothing is said."""
    if not wanted.leaves or not speaks(served):
        return False
    return (SSL_OFF if served.state is ServedState.SSL_OFF else served.fingerprint) not in wanted.leaves


def objection_to(wanted: Wanted, served: Served) -> str:
    """What is not as wanted, for a person; "" when nothing is."""
    where = f"cm_server {served.cm_node_id} at {served.target}"
    if served.state is ServedState.SSL_OFF:
        return "" if SSL_OFF in wanted.leaves else f"{where} has SSL off, must serve {_names(wanted)}"
    if served.state is not ServedState.SSL_ON:
        return f"{where} is {served.state}: {served.cause or 'no answer'}"
    if served.fingerprint not in wanted.leaves:
        return f"{where} serves {served.fingerprint[:_SHOWN]}, must serve {_names(wanted)}"
    if wanted.chain and not served.chain_verified:
        return f"{where} serves the right certificate, but its chain does not verify: {served.cause}"
    return ""


def _names(wanted: Wanted) -> str:
    leaves = sorted("nothing (SSL off)" if leaf == SSL_OFF else leaf[:_SHOWN] for leaf in wanted.leaves)
    return " or ".join(leaves) or "a certificate"
