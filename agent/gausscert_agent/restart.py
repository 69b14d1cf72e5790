"""Stops and starts CM, and proves that it has stopped.

What cm_ctl says is not believed: it has reported success while a cm_server was still running (facts
section 17). Stopped is what the process list shows and keeps showing, with `cluster_manual_start`
there, without which om_monitor would start cm_agent again (facts section 14).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gausscert_common.errors import NodeFailure, NodeRefusal, Reason
from gausscert_common.protocol.words import RestartScope

from gausscert_agent.alone import Alone, named

if TYPE_CHECKING:
    from collections.abc import Callable

    from gausscert_common.model import CmProcess

    from gausscert_agent.ports import Cm, OnStart

logger = logging.getLogger(__name__)

DAEMONS: Final = frozenset({"cm_server", "cm_agent"})
"""The processes that load the set; om_monitor does not (facts section 1)."""

_LOOK_EVERY_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class RestartOrders:
    """What Stop and Start carry beside the command."""

    scope: RestartScope
    executor: bool
    """With scope CLUSTER: this is the one node that runs cm_ctl."""
    timeout_s: float
    """For cm_ctl and the processes together."""
    way_back: bool = False
    """Part of a rollback, or of making sure that CM is up: no guard of the way forward holds it up."""


def daemons(cm: Cm) -> tuple[CmProcess, ...]:
    """The processes that must be gone before a set is exchanged."""
    return tuple(process for process in cm.processes() if process.name in DAEMONS)


class Restarter:
    """Stops and starts CM on this node. Whoever does it for the whole cluster asks cm_ctl even if its
    own CM is stopped or runs already: a partly successful try before may have left the other nodes behind.

    Args:
        cm: CM.
        stopped_for_s: How long nothing may show up before CM counts as stopped.
        monotonic: Seconds, for waiting.
        sleep: Waits that many seconds.
        activity: Told what is being done, for a person.
        alone: Waits for cm_ctl of others.
    """

    def __init__(
        self,
        cm: Cm,
        *,
        stopped_for_s: float,
        monotonic: Callable[[], float],
        sleep: Callable[[float], None],
        activity: Callable[[str], None],
        alone: Alone,
    ) -> None:
        self._cm = cm
        self._alone = alone
        self._stopped_for_s = stopped_for_s
        self._monotonic = monotonic
        self._sleep = sleep
        self._activity = activity

    def require_stopped(self) -> None:
        """Look once.

        Raises:
            NodeRefusal: NOT_STOPPED; names what runs.
        """
        running = daemons(self._cm)
        if running:
            raise NodeRefusal(
                Reason.NOT_STOPPED,
                f"CM runs: {named(running)}",
                remedy="stop CM on this node; the set is never exchanged under a running process",
            )

    def stop(self, orders: RestartOrders, on_start: OnStart) -> None:
        """Stop CM, or wait for whoever stops it; success only when it has stopped and stays so, also after
        a power cut: nodes that lose power between two swaps must not start by themselves, each with
        another set.

        Raises:
            NodeRefusal: NOT_STOPPED, with scope NONE. NODE_UNFIT: somebody else's cm_ctl runs.
            NodeFailure: CM_NOT_STOPPED with the pids; CM_CTL_FAILED, CM_CTL_TIMEOUT; STORE_FAILED.
        """
        if orders.scope is RestartScope.NONE:
            self._keep_looking()
        else:
            self._stop(orders, on_start)
        self._cm.sync_mark()

    def _stop(self, orders: RestartOrders, on_start: OnStart) -> None:
        deadline = self._monotonic() + orders.timeout_s
        if self._is_mine(orders) and not (orders.scope is RestartScope.NODE and self._is_stopped()):
            self._await_alone(orders)
            self._activity(f"stopping CM ({orders.scope})")
            try:
                self._cm.stop(orders.scope, self._left_s(deadline), on_start)
            except NodeFailure as failure:
                if not self._is_stopped():
                    raise
                self._tell_swallowed(orders.scope, failure)
        self._await_stopped(deadline)

    def start(self, orders: RestartOrders, on_start: OnStart) -> None:
        """Start CM where it is this node's to start and does not run.

        What is served afterwards is for a probe to show. Whoever starts it, from here on CM's logs on this
        node are looked at for the cause of what goes wrong.

        Raises:
            NodeRefusal: NODE_UNFIT: somebody else's cm_ctl runs.
            NodeFailure: CM_CTL_FAILED, CM_CTL_TIMEOUT, CM_NOT_STARTED; STORE_FAILED.
        """
        self._cm.mark_logs()
        deadline = self._monotonic() + orders.timeout_s
        if not self._is_mine(orders) or (orders.scope is RestartScope.NODE and self._is_running()):
            return
        self._await_alone(orders)
        self._activity(f"starting CM ({orders.scope})")
        self._cm.start(orders.scope, self._left_s(deadline), on_start)
        # The mark that Stop has made durable must not be back after a power cut.
        self._cm.sync_mark()

    def _tell_swallowed(self, scope: RestartScope, failure: NodeFailure) -> None:
        """This node is stopped in spite of the failure, and each other node looks for itself. With scope
        CLUSTER the failure may be about those, and their "still running" would be all that is ever heard."""
        if scope is RestartScope.CLUSTER:
            logger.warning(
                "cm_ctl stop failed, but CM is stopped here; going on",
                extra={"reason": failure.reason, "cause": failure.message, "remedy": failure.remedy},
            )
            self._activity(f"cm_ctl stop says: {failure.message}")

    def _await_alone(self, orders: RestartOrders) -> None:
        most_s = orders.timeout_s / 2
        if orders.way_back:
            self._alone.back(most_s)
        else:
            self._alone.before(most_s)

    def _left_s(self, deadline: float) -> float:
        return max(1.0, deadline - self._monotonic())

    @staticmethod
    def _is_mine(orders: RestartOrders) -> bool:
        if orders.scope is RestartScope.CLUSTER:
            return orders.executor
        return orders.scope is RestartScope.NODE

    def _is_stopped(self) -> bool:
        return not daemons(self._cm) and self._cm.manually_stopped()

    def _is_running(self) -> bool:
        agent = any(process.name == "cm_agent" for process in self._cm.processes())
        return agent and not self._cm.manually_stopped()

    def _keep_looking(self) -> None:
        end = self._monotonic() + self._stopped_for_s
        self.require_stopped()
        while self._monotonic() < end:
            self._sleep(_LOOK_EVERY_S)
            self.require_stopped()

    def _await_stopped(self, deadline: float) -> None:
        """At least one whole period of quiet is granted, whatever cm_ctl has used up."""
        deadline = max(deadline, self._monotonic() + self._stopped_for_s + _LOOK_EVERY_S)
        quiet_since: float | None = None
        self._activity("waiting until CM has stopped")
        while True:
            running = daemons(self._cm)
            manual = self._cm.manually_stopped()
            now = self._monotonic()
            quiet_since = None if running or not manual else (now if quiet_since is None else quiet_since)
            if quiet_since is not None and now - quiet_since >= self._stopped_for_s:
                return
            if now >= deadline:
                raise _not_stopped(running, manual=manual)
            self._sleep(_LOOK_EVERY_S)


def _not_stopped(running: tuple[CmProcess, ...], *, manual: bool) -> NodeFailure:
    if running:
        seen = f"still running: {named(running)}"
    elif not manual:
        seen = "bin/cluster_manual_start is not there, so om_monitor would start it again"
    else:
        seen = "processes kept coming back"
    return NodeFailure(
        Reason.CM_NOT_STOPPED,
        f"CM has not stopped: {seen}",
        remedy="look at the logs of cm_ctl and cm_agent; stop CM here by hand, then run gausscert recover",
    )
