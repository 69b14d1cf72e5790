"""What an effect does to a site: every way in which it can succeed, fail, or be cut short by a crash."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from gausscert_common.errors import NodeFailure, NodeRefusal, Reason
from gausscert_common.protocol.rules import Effect, StageFacts
from gausscert_common.protocol.script import Answer
from gausscert_common.protocol.state import SslSetting, Transaction
from gausscert_common.protocol.words import Step

from explorer.site import FOREIGN, NEW, TORN, Site

FAILURE: Final = NodeFailure(Reason.STORE_FAILED, "fails in the model")
NOT_STOPPED: Final = NodeRefusal(Reason.NOT_STOPPED, "CM runs")

STARTS: Final = frozenset({Step.START, Step.ROLLBACK_START})


class Act(NamedTuple):
    """How far an effect has come."""

    site: Site
    answer: Answer | Exception
    ended: bool = True
    """Not ended: a crash may fall here, nothing else."""


def act(effect: Effect, transaction: Transaction | None, site: Site) -> Iterator[Act]:
    """All that an effect can do, but for stopping and starting CM."""
    yield from HANDS[effect](transaction, site)
    if effect not in NEVER_FAIL:
        yield Act(site, FAILURE)


def _build_stage(transaction: Transaction | None, site: Site) -> Iterator[Act]:
    """Files, directory and parent are synced before it is answered."""
    name = _of(transaction).transaction_id
    yield Act(site.with_stage(name, TORN), None, ended=False)
    yield Act(site.with_stage(name, TORN), FAILURE)
    yield Act(site.with_stage(name, NEW[name]), None, ended=False)
    yield Act(site.with_stage(name, NEW[name]), StageFacts(NEW[name], "bundle", SslSetting()))


def _require_stopped(_: Transaction | None, site: Site) -> Iterator[Act]:
    yield Act(site, NOT_STOPPED if site.running else None)


def _make_new_live(transaction: Transaction | None, site: Site) -> Iterator[Act]:
    whole = _of(transaction)
    yield from ensure_live(site, whole.transaction_id, whole.new_digest, whole.old_digest)


def _make_old_live(transaction: Transaction | None, site: Site) -> Iterator[Act]:
    whole = _of(transaction)
    yield from ensure_live(site, whole.transaction_id, whole.old_digest, whole.new_digest)


def ensure_live(site: Site, name: str, wanted: str, other: str) -> Iterator[Act]:
    """As `Store.ensure_live`: exchange where need be, sync always; refuse what is neither."""
    if site.live not in (wanted, other) or (site.live == other and site.stage(name) != wanted):
        yield Act(site, FAILURE)
        return
    if site.live == other:
        site = exchanged(site, name)
        # A sync that fails is like dying here: the agent settles before it does anything else.
        yield Act(site, None, ended=False)
    site = site._replace(unsynced="")
    yield Act(site, FAILURE)
    yield Act(site, None)


def exchanged(site: Site, name: str) -> Site:
    """The one system call: stage and live set change places."""
    broken = site.broken
    if site.running:
        broken = "I7: a set was exchanged while CM runs"
    if site.live == FOREIGN:
        broken = "I10: a foreign set was overwritten"
    before = site.live
    site = site._replace(live=site.stage(name), unsynced=before, broken=broken)
    return site.with_stage(name, before)


def reverted(site: Site) -> Site:
    """A power cut has undone an exchange that was not synced."""
    name = next(name for name, content in site.beside if content == site.unsynced)
    return site._replace(live=site.unsynced, unsynced="").with_stage(name, site.live)


def _retire_old(transaction: Transaction | None, site: Site) -> Iterator[Act]:
    """Giving it up altogether is the worst that retiring may mean."""
    site = site.with_stage(_of(transaction).transaction_id, "")
    yield Act(site, None, ended=False)
    yield Act(site, None)


def _remove_stage(transaction: Transaction | None, site: Site) -> Iterator[Act]:
    name = _of(transaction).transaction_id
    if site.stage(name):
        yield Act(site.with_stage(name, TORN), None, ended=False)
        yield Act(site.with_stage(name, TORN), FAILURE)
    yield Act(site.with_stage(name, ""), None, ended=False)
    yield Act(site.with_stage(name, ""), None)


def _nothing(_: Transaction | None, site: Site) -> Iterator[Act]:
    """enable_ssl and pruning are left out of the model; that they may fail is not."""
    yield Act(site, None)


HANDS: Final[dict[Effect, Callable[[Transaction | None, Site], Iterator[Act]]]] = {
    Effect.BUILD_STAGE: _build_stage,
    Effect.REQUIRE_STOPPED: _require_stopped,
    Effect.MAKE_NEW_LIVE: _make_new_live,
    Effect.MAKE_OLD_LIVE: _make_old_live,
    Effect.APPLY_SSL: _nothing,
    Effect.RESTORE_SSL: _nothing,
    Effect.RETIRE_OLD: _retire_old,
    Effect.TIDY: _nothing,
    Effect.REMOVE_STAGE: _remove_stage,
}
NEVER_FAIL: Final = frozenset({Effect.TIDY, Effect.REQUIRE_STOPPED})


class Ended(NamedTuple):
    """How a cm_ctl child has ended."""

    site: Site
    answer: Exception | None
    how: str


def already_so(step: Step, site: Site) -> bool:
    """Whether the agent finds nothing to do (`Restarter` with scope NODE)."""
    if step in STARTS:
        return bool(site.running) and not site.manual
    return not site.running and site.manual


def child_ends(step: Step, site: Site) -> Iterator[Ended]:
    """What `cm_ctl stop` or `start` may have done, and what the agent makes of it. "Stopped" is only what
    the process list shows; that a start had an effect is for the coordinator's proof to find out."""
    whole, half = acted(step, site), half_acted(step, site)
    yield Ended(whole, None, "does it")
    yield Ended(site, FAILURE, "fails")
    yield Ended(half, FAILURE, "fails half-way")
    if step in STARTS:
        yield Ended(whole, FAILURE, "does it, says it failed")
        yield Ended(site, None, "only claims success")
        yield Ended(half, None, "only claims success")


def acted(step: Step, site: Site) -> Site:
    """What cm_ctl does, whole."""
    if step in STARTS:
        return site._replace(manual=False, running=site.running or site.live)
    return site._replace(manual=True, running="")


def half_acted(step: Step, site: Site) -> Site:
    """The mark of a manual stop goes or comes first (facts section 14)."""
    return site._replace(manual=step not in STARTS)


def starts_by_itself(site: Site) -> bool:
    """om_monitor starts CM unless somebody has stopped it by hand."""
    return not site.running and not site.manual


def started(site: Site) -> Site:
    """CM runs; it has loaded what was live then."""
    return site._replace(running=site.live)


def _of(transaction: Transaction | None) -> Transaction:
    if transaction is None:
        raise ValueError("the effect belongs to a transaction")
    return transaction
