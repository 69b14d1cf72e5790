"""All that is behind the agent's door: its core, settled, with what looks and watches."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

from gausscert_agent.assembly import assemble
from gausscert_agent.cm import LocalCm
from gausscert_agent.drivers.process import ProcessRunner
from gausscert_agent.drivers.rehearsal import hold
from gausscert_agent.expiry import ExpiryWatch
from gausscert_agent.node import LocalNode, transaction_report
from gausscert_agent.observe import Observer

if TYPE_CHECKING:
    from collections.abc import Callable

    from gausscert_common.findings import Finding

    from gausscert_agent.config import AgentConfig
    from gausscert_agent.journal import Journal


class Behind:
    """Settled as soon as it is made; use it as a context manager.

    Args:
        config: The agent's.
        journal: Locked.
        own: What is to be said of the agent's own credential.

    Attributes:
        node: Answers calls.
        watch: Looks at the certificates every day; not started yet.

    Raises:
        NodeFailure, NodeRefusal: The state a predecessor left cannot be settled.
    """

    def __init__(
        self, config: AgentConfig, journal: Journal, *, own: Callable[[], tuple[Finding, ...]]
    ) -> None:
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
                config, core.store, cm, transaction=lambda: transaction_report(core.runner, core.store)
            )
            stack.callback(core.runner.close)
            core.runner.recover()
            self.node = LocalNode(core.runner, core.store, observer, core.hub)
            self.watch = ExpiryWatch(
                observer.expiry, observer.check_interval_s, clock=time.monotonic, own=own
            )
            stack.callback(self.watch.stop)
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
