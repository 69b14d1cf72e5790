"""All that is behind the agent's door: its core, settled, with what looks and watches."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

from gausscert_common.errors import NodeFailure, Reason

from gausscert_agent.assembly import assemble
from gausscert_agent.cm import LocalCm
from gausscert_agent.drivers.overlap import hold
from gausscert_agent.drivers.process import ProcessRunner
from gausscert_agent.monitoring import Monitoring
from gausscert_agent.node import LocalNode, transaction_report
from gausscert_agent.observe import Observer

if TYPE_CHECKING:
    from gausscert_agent.assembly import Core
    from gausscert_agent.config import AgentConfig
    from gausscert_agent.control_plane import ControlPlane
    from gausscert_agent.journal import Journal
    from gausscert_agent.node import Node

logger = logging.getLogger(__name__)


class Behind:
    """Settled as soon as it is made; use it as a context manager.

    Args:
        config: The agent's.
        journal: Locked.
        control: The agent's own credential, and whom it lets in no more.

    Attributes:
        node: Answers calls.
        monitoring: Watches the node and the agent; not started yet.

    Raises:
        InvalidInput: CONFIG_INVALID; the port for metrics cannot be had.
        NodeFailure, NodeRefusal: The state a predecessor left cannot be settled.
    """

    def __init__(self, config: AgentConfig, journal: Journal, control: ControlPlane) -> None:
        with ExitStack() as stack:
            children = ProcessRunner()
            stack.callback(children.close)
            cm = LocalCm(config.cm, children)
            core = assemble(
                config,
                cm,
                hold,
                threshold_days=lambda: observer.alert_threshold_days(),  # noqa: PLW0108 - it needs the core's store first
                journal=journal,
            )
            observer = Observer(
                config,
                core.store,
                cm,
                transaction=lambda: transaction_report(core.runner, core.store),
                more=lambda: self.monitoring.findings(),  # noqa: PLW0108 - which looks at what the observer sees
                control_plane=control.source.certificates,
            )
            stack.callback(core.runner.close)
            damage = _recover(core)
            self.monitoring = Monitoring(config, core, observer, control, sealed=damage is not None)
            stack.callback(self.monitoring.stop)
            self.node = _node(core, observer, self.monitoring, damage)
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def _recover(core: Core) -> NodeFailure | None:
    """Settle what a predecessor has left; answers the damage of its journal, if there is any."""
    try:
        core.runner.recover()
    except NodeFailure as failure:
        if failure.reason is not Reason.JOURNAL_DAMAGED:
            raise
        logger.error(
            "the journal is damaged or gone; nothing is done here but looking at certificates",
            extra={"file": failure.file, "cause": failure.message, "remedy": failure.remedy},
        )
        return failure
    return None


def _node(core: Core, observer: Observer, monitoring: Monitoring, damage: NodeFailure | None) -> Node:
    if damage is None:
        return LocalNode(core.runner, core.store, observer, core.hub, core.candidates, monitoring.ended)
    from gausscert_agent.sealed import SealedNode  # rare, and an agent holds what it has loaded

    return SealedNode(observer, damage)
