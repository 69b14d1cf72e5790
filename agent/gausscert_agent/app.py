"""One agent from configuration to its end: recover first, only then serve; drain on a signal."""

from __future__ import annotations

import logging
import signal
import threading
import time
from typing import TYPE_CHECKING

from gausscert_agent import notify
from gausscert_agent.assembly import assemble
from gausscert_agent.cm import LocalCm
from gausscert_agent.credential_source import CredentialSource
from gausscert_agent.drivers.process import ProcessRunner
from gausscert_agent.drivers.rehearsal import hold
from gausscert_agent.expiry import ExpiryWatch
from gausscert_agent.node import LocalNode, transaction_report
from gausscert_agent.observe import Observer
from gausscert_agent.server import AgentServer

if TYPE_CHECKING:
    from gausscert_agent.config import AgentConfig

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
        config, core.store, cm, transaction=lambda: transaction_report(core.runner, core.store)
    )
    source = CredentialSource(config)
    source.first()
    core.runner.recover()
    try:
        node = LocalNode(core.runner, core.store, observer, core.hub, core.generations)
        server = AgentServer(config, node, source)
        watch = ExpiryWatch(
            observer.expiry, observer.check_interval_s, clock=time.monotonic, own=source.findings
        )
        try:
            server.start()
        except BaseException:
            server.close()
            raise
        watch.start()
        notify.tell(notify.READY)
        stop.wait()
        notify.tell(notify.STOPPING)
        server.drain()
        watch.stop()
    finally:
        core.runner.close()
