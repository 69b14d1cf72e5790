"""grpc.health.v1.Health. Unlike grpcio's own servicer this one can end its watches, without which a drain
would wait for its whole grace whenever somebody watches."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from gausscert_common import identity
from gausscert_common.errors import InvalidInput, NodeRefusal, Reason
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped] # ships no stubs

from gausscert_agent.admission import HEALTH_WATCHERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import grpc

SERVICES: Final = frozenset({"", identity.AGENT_SERVICE})
_LOOK_EVERY_S: Final = 1.0

_Status = health_pb2.HealthCheckResponse


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc] # the same
    """SERVING from `up` on until `down` while the agent is fit, for "" and the agent's service alike.

    Args:
        fit: Whether the agent could do its job; asked by every Check, and once a second by every Watch.
    """

    def __init__(self, fit: Callable[[], bool]) -> None:
        self._fit = fit
        self._changed = threading.Condition()
        self._serving = False
        self._over = False
        self._watchers = 0

    def up(self) -> None:
        """Serving from now on."""
        with self._changed:
            self._serving = True
            self._changed.notify_all()

    def down(self) -> None:
        """Not serving any more, for good; every watch ends with that."""
        with self._changed:
            self._serving, self._over = False, True
            self._changed.notify_all()

    def Check(  # noqa: N802 - the proto's name
        self, request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext
    ) -> health_pb2.HealthCheckResponse:
        """The present state."""
        del context
        if request.service not in SERVICES:
            raise InvalidInput(Reason.ARGUMENT_INVALID, "there is no such service here")
        return _Status(status=self._status())

    def Watch(  # noqa: N802
        self, request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext
    ) -> Iterator[health_pb2.HealthCheckResponse]:
        """The present state and every change of it."""
        if request.service not in SERVICES:
            yield _Status(status=_Status.SERVICE_UNKNOWN)
            return
        self._enter()
        try:
            yield from self._changes(context)
        finally:
            with self._changed:
                self._watchers -= 1

    def _changes(self, context: grpc.ServicerContext) -> Iterator[health_pb2.HealthCheckResponse]:
        told: bool | None = None
        while context.is_active():
            fit = self._fit()
            with self._changed:
                up, over = self._serving, self._over
            if (up and fit) is not told:
                told = up and fit
                yield _Status(status=_Status.SERVING if told else _Status.NOT_SERVING)
            if over:
                return
            with self._changed:
                self._changed.wait_for(lambda: self._over or self._serving is not up, _LOOK_EVERY_S)  # noqa: B023 - called here only

    def _enter(self) -> None:
        with self._changed:
            if self._watchers >= HEALTH_WATCHERS:
                raise NodeRefusal(Reason.BUSY, f"{HEALTH_WATCHERS} others watch this agent's health already")
            self._watchers += 1

    def _status(self) -> health_pb2.HealthCheckResponse.ServingStatus:
        fit = self._fit()
        with self._changed:
            return _Status.SERVING if self._serving and fit else _Status.NOT_SERVING
