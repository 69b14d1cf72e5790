"""One agent from configuration to its end: recover first, only then serve; drain on a signal."""

from __future__ import annotations

import logging
import signal
import threading
from typing import TYPE_CHECKING

from gausscert_common.errors import NodeFailure, Reason

from gausscert_agent import notify
from gausscert_agent.assembly import assemble
from gausscert_agent.cm import LocalCm
from gausscert_agent.credential_source import CredentialSource
from gausscert_agent.drivers.process import ProcessRunner
from gausscert_agent.drivers.rehearsal import hold
from gausscert_agent.monitoring import Monitoring
from gausscert_agent.node import LocalNode, transaction_report
from gausscert_agent.observe import Observer
from gausscert_agent.server import AgentServer

if TYPE_CHECKING:
    from gausscert_agent.assembly import Core
    from gausscert_agent.config import AgentConfig
    from gausscert_agent.node import Node

logger = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT)


def serve(config: AgentConfig) -> None:
    """Serve until SIGTERM or SIGINT, then drain.

    Raises:
        InvalidInput: CONFIG_INVALID, CREDENTIAL_INVALID; nothing was served.
        NodeFailure, NodeRefusal: The state a predecessor left cannot be settled; nothing was served.
    """
    stop = threading.Event()
    for number in SIGNALS:
        signal.signal(number, lambda *_: stop.set())
    children = ProcessRunner()
    try:
        _serve(config, children, stop)
    finally:
        children.close()


def _serve(config: AgentConfig, children: ProcessRunner, stop: threading.Event) -> None:
    cm = LocalCm(config.cm, children)
    core = assemble(
        config,
        cm,
        hold,
        threshold_days=lambda: observer.alert_threshold_days(),  # noqa: PLW0108 - it needs the core's store first
    )
    observer = Observer(
        config,
        core.store,
        cm,
        transaction=lambda: transaction_report(core.runner, core.store),
        more=lambda: monitoring.findings(),  # noqa: PLW0108 - which looks at what the observer sees
    )
    source = CredentialSource(config)
    source.first()
    try:
        damage = _recover(core)
        monitoring = Monitoring(config, core, observer, source, sealed=damage is not None)
        node = _node(core, observer, monitoring, damage)
        try:
            _serve_until(stop, AgentServer(config, node, source, lambda: monitoring.fitness.fit), monitoring)
        finally:
            monitoring.stop()
    finally:
        core.runner.close()


def _recover(core: Core) -> NodeFailure | None:
    """Settle what a predecessor has left; answers the damage of its journal, if there is any."""
    try:
        core.runner.recover()
    except NodeFailure as failure:
        if failure.reason is not Reason.JOURNAL_DAMAGED:
            raise
        logger.error(
            "the journal is damaged; nothing is done here but looking at certificates",
            extra={"file": failure.file, "cause": failure.message, "remedy": failure.remedy},
        )
        return failure
    return None


def _node(core: Core, observer: Observer, monitoring: Monitoring, damage: NodeFailure | None) -> Node:
    if damage is None:
        return LocalNode(core.runner, core.store, observer, core.hub, core.generations, monitoring.ended)
    from gausscert_agent.sealed import SealedNode  # rare, and an agent holds what it has loaded

    return SealedNode(observer, damage)


def _serve_until(stop: threading.Event, server: AgentServer, monitoring: Monitoring) -> None:
    try:
        server.start()
    except BaseException:
        server.close()
        raise
    monitoring.start()
    notify.tell(notify.READY)
    stop.wait()
    notify.tell(notify.STOPPING)
    server.drain()
