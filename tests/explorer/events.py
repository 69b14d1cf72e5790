"""What happens to a node by itself, at any time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from explorer.handler import dead, start_agent
from explorer.hands import acted, half_acted, reverted, started, starts_by_itself
from explorer.site import Site


class Event(NamedTuple):
    """Something that happens to one node."""

    kind: str
    """For the counts."""
    site: Site
    how: str = ""
    helps: bool = False
    """It happens by itself sooner or later where nothing breaks: a recovering coordinator may wait for it."""


def crash(site: Site) -> Iterator[Event]:
    """The agent alone dies. Its child dies with it, or for want of `setpriv` lives on."""
    if not site.up:
        return
    yield Event("agent crash", dead(site))
    if site.busy is not None:
        yield Event("agent crash, child survives", dead(site)._replace(orphan=site.busy))


def power_loss(site: Site) -> Iterator[Event]:
    """Nothing runs any more; what was not synced may be as it was before."""
    off = dead(site)._replace(running="", orphan=None)
    yield Event("power loss", off._replace(unsynced=""))
    if off.unsynced:
        yield Event("power loss undoes an exchange", reverted(off))


def autostart(site: Site) -> Iterator[Event]:
    """Whether an agent serves or not."""
    if starts_by_itself(site) and not site.gone:
        yield Event("CM starts by itself", started(site), helps=True)


def restart(site: Site) -> Iterator[Event]:
    """A new agent settles what it finds; it may die again meanwhile."""
    if site.up or site.gone:
        return
    for outcome in start_agent(site):
        if outcome.replied:
            yield Event("agent starts", outcome.site, helps=True)
        else:
            yield Event("agent dies while it starts", outcome.site, outcome.how)


def orphan_acts(site: Site) -> Iterator[Event]:
    """A child that has survived its agent does what it was begun for, whole or half, and ends."""
    if site.orphan is None:
        return
    for changed in (acted, half_acted):
        after = changed(site.orphan.step, site)._replace(orphan=None)
        broken = site.broken
        if site.orphan.fence < site.state.fence:
            broken = f"I8: {site.orphan.step.name} took effect below the fence"
        yield Event("orphan acts", after._replace(broken=broken), site.orphan.step.name)


def lease_expires(site: Site) -> Iterator[Event]:
    """At any time: leases are convenience, never safety."""
    if site.lease:
        yield Event("lease expires", site._replace(lease=""), helps=True)


EVENTS: Final[list[Callable[[Site], Iterator[Event]]]] = [
    crash,
    power_loss,
    autostart,
    restart,
    orphan_acts,
    lease_expires,
]


def events(site: Site) -> Iterator[Event]:
    """Everything that may happen to the site by itself."""
    for kind in EVENTS:
        for event in kind(site):
            if event.site != site:
                yield event
