"""What nothing tells apart is one state. Each of these leaves out what no move, no decision and no invariant
ever looks at, or what is a part of something else that is explored; so nothing is lost by it, and
`tests/model/test_quotient.py` holds it against a search that keeps everything apart, state by state.

What is left out of a node (two nodes alike but for that go through the same moves, to nodes alike but for that):

- `Transaction.reached`. Acquire writes it, only a recovery without a participant reads it, and reports here
  do not tell it (`telling`). A world in which a participant is left out keeps it.
- The record of a cm_ctl child that has died with its agent. A starting agent ends what it names, which is
  nobody, and forgets it.
- The lease, where one coordinator is alone. It keeps others out, never its own holder, and a recovery begins
  when the lease of the one before is over.

What is left out of coordinators: those that have stopped for ever. One that makes no move any more is at
every moment one of the things that a coordinator under way may become: its requests still arrive, and no
answer means anything. So every state that the nodes reach beside a stopped one they reach beside one that
goes on; that it moves on, too, takes nothing away, for it is never made to. No other coordinator knows whether it moves.

While all stand still but one that recovers (I9), its end counts: then the next one comes, whether it had
ended well or stopped anywhere. So from every state in which a coordinator is under way, the nodes as they are
at rest are where the next one begins. Only a cm_ctl child that still runs has to end first: for that a state
without any coordinator is kept.
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
    if state.transaction is not None and state.transaction.reached != _NOWHERE:
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
