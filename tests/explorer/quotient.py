"""What nothing tells apart is one state. Left out is what no move, no decision and no invariant ever looks
at, or what is a part of something that is explored all the same. So nothing is lost by it, and
`tests/model/test_quotient.py` holds it against searches that keep everything apart, state by state and step
by step.

Left out of a node (two that are alike but for it go through the same moves, and are alike but for it again):

- `Transaction.reached`. Acquire writes it, and only a recovery without a participant reads it. Where that can
  happen it is kept; elsewhere reports do not even tell it (`telling`).
- The record of a cm_ctl child that died with its agent. A starting agent ends the child that it names, and
  there is none, and forgets it.
- In recovery (I9) the lease. It keeps others out and never its own holder; coordinators come one after the
  other there, all of one name, each when the lease of the one before is over.

Left out of coordinators: those that have stopped for ever. What one has sent still arrives when it has
stopped, and no answer means anything to it. All of that can happen as well beside one that goes on and just
makes no move, for none is ever made to move; and no other coordinator knows which of the two it is. So the
nodes come to the same states without it. A move that only stops is counted, and leads nowhere.

In recovery it counts that a coordinator has stopped: then the next one comes. It may stop anywhere. So from
every state in which one is under way the nodes as they are at rest are where the next one begins, which helps
if it had come to its end. Only a cm_ctl child that runs must end first: for that a state without any
coordinator is kept, and the nodes get out of it by themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final, NamedTuple

from gausscert_common.protocol.words import Fence

from explorer.site import Site


class Quotient(NamedTuple):
    """What is taken for one state."""

    alike: Callable[[Site], Site]
    """The node that stands for all that are like it."""
    stopped: bool = False
    """Coordinators that have stopped are states of their own."""


def untold(site: Site) -> Site:
    """Without what nothing looks at."""
    state = site.state
    if not site.name and state.transaction is not None and state.transaction.reached != _NOWHERE:
        state = replace(state, transaction=replace(state.transaction, reached=_NOWHERE))
    if state.operation is not None and site.orphan is None and site.busy is None:
        state = replace(state, operation=None)
    return site if state is site.state else site._replace(state=state)


def unleased(site: Site) -> Site:
    """Also without the lease."""
    return untold(site)._replace(lease="")


_NOWHERE: Final = Fence()

APART: Final = Quotient(lambda site: site, stopped=True)
"""Everything is kept apart."""
ALIKE: Final = Quotient(untold)
ALONE: Final = Quotient(unleased)
