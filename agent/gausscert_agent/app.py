"""One agent from configuration to its end: settle first, only then serve; drain on a signal.

An agent is ready when its credential is good, its port is open and its journal is settled. Where the journal
says that nothing was in flight there is nothing to settle, and all that only calls need is loaded afterwards;
unless there is a second port to be had, for metrics.
"""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING

from gausscert_common.errors import NodeFailure, Reason

from gausscert_agent import economy, notify, renewed
from gausscert_agent.credential_source import CredentialSource
from gausscert_agent.journal import Journal
from gausscert_agent.server import AgentServer

if TYPE_CHECKING:
    from gausscert_agent.config import AgentConfig

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
    server = AgentServer(config, CredentialSource(config), loading=economy.loading)
    try:
        with Journal(config.state_dir) as journal:
            journal.lock()
            renewed.discard_leftover(config)
            _serve(config, journal, server, stop)
    finally:
        server.close()
        server.control.audit.close()


def _serve(config: AgentConfig, journal: Journal, server: AgentServer, stop: threading.Event) -> None:
    at_once = config.metrics is None and _says_idle(journal)
    if at_once:
        _open(server)
    from gausscert_agent.behind import Behind

    if not server.is_whole():
        raise NodeFailure(
            Reason.INTERNAL, "another release was installed while it started", remedy="start it again"
        )
    with Behind(config, journal, server.control) as behind:
        server.answer(behind.node, lambda: behind.monitoring.fitness.fit)
        if not at_once:
            _open(server)
        economy.end()
        behind.monitoring.start()
        stop.wait()
        notify.tell(notify.STOPPING)
        server.drain()


def _says_idle(journal: Journal) -> bool:
    try:
        return journal.says_idle()
    except NodeFailure as failure:
        if failure.reason is not Reason.JOURNAL_DAMAGED:
            raise
        return False


def _open(server: AgentServer) -> None:
    server.start()
    notify.tell(notify.READY)
