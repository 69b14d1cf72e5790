"""What a node of the model tells, in the product's own words: the reports that `recovery_case` decides by."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Final

from gausscert_common.errors import Reason, Unreachable
from gausscert_common.model import (
    CertificateSet,
    CmProcess,
    CmTopology,
    NodeReport,
    SetState,
    SslSwitch,
    SslValue,
    TransactionReport,
)
from gausscert_common.protocol.recovery import Choice
from gausscert_common.protocol.state import live_state
from gausscert_common.protocol.words import Fence
from gausscert_coordinator.fanout import Answers
from gausscert_coordinator.inventory import Timeouts
from gausscert_coordinator.recovery_case import Wish
from support.fake_node import EPOCH

from explorer.site import EVERYBODY, TRANSACTIONS, Site

_ON: Final = SslSwitch(SslValue.ON, SslValue.ON)
_CM: Final = (CmProcess("cm_server", 1, EPOCH),)


@dataclass(frozen=True)
class Brought:
    """The bundle that an operator brings for those that join, as far as recovery looks at it."""

    digest: str


@cache
def report(site: Site) -> NodeReport:
    """One node. Which fence it has promised to whom is left out: nothing is decided by it. How far the last
    coordinator had come decides only where a participant is left out."""
    state, told = site.state, site.state.transaction
    transaction = TransactionReport(phase=state.phase, tombstones=state.tombstones)
    stage = CertificateSet()
    if told is not None:
        stage = _held(site.stage(told.transaction_id))
        transaction = TransactionReport(
            told.transaction_id,
            state.phase,
            participants=told.participants,
            excluded=told.excluded,
            joins=told.joins,
            old_digest=told.old_digest,
            new_digest=told.new_digest,
            live_state=live_state(told, site.live),
            tombstones=state.tombstones,
            restart=told.restart,
            ssl_wish=told.ssl_wish,
            reached=state.reached if site.name else Fence(),
        )
    return NodeReport(
        cluster="model",
        name="",
        agent_version="",
        clock=EPOCH,
        transaction=transaction,
        live=_held(site.live),
        stage=stage,
        enable_ssl=_ON,
        processes=_CM if site.running else (),
        manually_stopped=site.manual,
        topology=CmTopology(),
    )


def read(sites: Mapping[str, Site]) -> Answers[NodeReport]:
    """All of them, by name; of those that are down, that they do not answer."""
    names = tuple(sites)
    return Answers(
        {name: named(report(site), names) for name, site in sites.items() if site.up},
        {name: Unreachable(Reason.UNREACHABLE, "down") for name, site in sites.items() if not site.up},
    )


def named(told: NodeReport, names: Collection[str]) -> NodeReport:
    """With the participants called as they are here."""
    if told.transaction.participants != EVERYBODY or tuple(names) == EVERYBODY:
        return told
    return replace(told, transaction=replace(told.transaction, participants=tuple(names)))


def wish(prefer: Choice, brought: str, exclude: tuple[str, ...] = ()) -> Wish:
    """Of an operator who takes over from whoever still holds a lease: Acquire is refused all the same."""
    return Wish(
        prefer=prefer,
        take_over=True,
        restart=None,
        accept_state=False,
        holder="model",
        timeouts=Timeouts(),
        fresh_id=lambda: TRANSACTIONS[-1],
        is_gone=lambda _: False,
        bundle=Brought(brought),
        exclude=exclude,
    )


def _held(content: str) -> CertificateSet:
    return CertificateSet(SetState.WHOLE, content, content) if content else CertificateSet()
