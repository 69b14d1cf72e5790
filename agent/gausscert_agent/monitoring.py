"""What an agent watches about its node and about itself, put together: health, alarms, and metrics where they
are on."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gausscert_agent.alarms import AlarmWatch, summary
from gausscert_agent.fitness import Fitness
from gausscert_agent.journal import Journal
from gausscert_agent.last_end import LastEnd

if TYPE_CHECKING:
    from gausscert_common.findings import Finding
    from gausscert_common.protocol.state import Operation

    from gausscert_agent.assembly import Core
    from gausscert_agent.config import AgentConfig
    from gausscert_agent.control_plane import ControlPlane
    from gausscert_agent.metrics import Seen
    from gausscert_agent.metrics_server import MetricsServer
    from gausscert_agent.observe import Observer


class Monitoring:
    """See the module. Make it when the state directory is locked; `start` it when the agent serves.

    Args:
        config: The agent's.
        core: What is watched.
        observer: Looks at the node.
        control: The agent's own credential, and whom it lets in no more.
        sealed: Whether the journal is damaged.

    Raises:
        InvalidInput: CONFIG_INVALID; the endpoint's port cannot be had.
    """

    def __init__(
        self,
        config: AgentConfig,
        core: Core,
        observer: Observer,
        control: ControlPlane,
        *,
        sealed: bool,
    ) -> None:
        self._config = config
        self._runner = core.runner
        self._source = control.source
        self._sealed = sealed
        self._last_end = LastEnd(config.state_dir, time.time)
        self.fitness = Fitness(
            config.state_dir,
            Journal(config.state_dir),
            config.cm.home / "bin" / "cm_ctl",
            credential=control.source.findings,
            access=control.findings,
            orphan=self._orphan,
            clock=time.monotonic,
        )
        self._watch = AlarmWatch(
            observer.watched,
            observer.check_interval_s,
            clock=time.monotonic,
            own=self.fitness.findings,
            served=observer.served_now,
            complete=observer.with_served,
        )
        self._endpoint = self._make_endpoint()

    def start(self) -> None:
        """Look at the certificates, and serve metrics."""
        self._watch.start()
        if self._endpoint is not None:
            self._endpoint.start()

    def stop(self) -> None:
        """End it; harmless if it was never started."""
        if self._endpoint is not None:
            self._endpoint.close()
        self._watch.stop()

    def findings(self) -> tuple[Finding, ...]:
        """What is to be said of the node beside what is looked at for each report."""
        return (*self.fitness.findings(), *summary(self._watch.last))

    def ended(self) -> None:
        """A transaction has ended here, or a step to its end was taken."""
        self._last_end.note(self._runner.state)
        self._watch.nudge()

    def _orphan(self) -> Operation | None:
        # In this order: a command that is over by the second look has awaited its child.
        operation = self._runner.state.operation
        return None if self._runner.busy else operation

    def _make_endpoint(self) -> MetricsServer | None:
        if self._config.metrics is None:
            return None
        from gausscert_agent import metrics
        from gausscert_agent.metrics_server import MetricsServer

        return MetricsServer(self._config.metrics.listen, metrics.registry(self._see))

    def _see(self) -> Seen:
        from gausscert_agent.metrics import Seen

        max_age_s = self._config.metrics.max_age_s if self._config.metrics is not None else 0.0
        left = self._source.left()
        state = self._runner.state
        return Seen(
            node=self._config.name,
            cluster=self._config.cluster,
            now=datetime.now(UTC),
            check=self._watch.recent(max_age_s),
            state=None if self._sealed else state,
            ended=self._last_end.of(state),
            credential_s=None if left is None else left.total_seconds(),
            healthy=self.fitness.fit,
        )
