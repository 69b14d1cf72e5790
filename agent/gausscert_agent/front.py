"""The door of the agent's server, which is there before the rooms behind it.

To be ready an agent needs its port, its credential and its journal. What answers calls, with all messages of
the wire, is more code than that, and is loaded when somebody calls for the first time.
"""

from __future__ import annotations

import logging
import os
import threading
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import gausscert_common
import grpc

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    Handler: TypeAlias = grpc.RpcMethodHandler[Any, Any]
    Find: TypeAlias = Callable[[grpc.HandlerCallDetails], Handler | None]
    Rooms: TypeAlias = tuple[Sequence[grpc.GenericRpcHandler], Sequence[grpc.ServerInterceptor]]
    """Handlers, asked in this order, and interceptors, the outermost first."""

logger = logging.getLogger(__name__)


class CannotAnswerError(Exception):
    """gRPC tells the text to the caller."""


class Front(grpc.GenericRpcHandler, grpc.ServerInterceptor):
    """Stands for all handlers and interceptors of a server, and passes calls on to them.

    gRPC's own thread waits here until it is known who makes them, and while they are made.

    Args:
        loading: Entered while they are made.
    """

    def __init__(self, loading: Callable[[], AbstractContextManager[None]] = nullcontext) -> None:
        self._loading = loading
        self._opened = threading.Event()
        self._making = threading.Lock()
        self._make: Callable[[], Rooms] = _nobody
        self._rooms: Rooms | None = None
        self._installed = _installed()

    def open(self, make: Callable[[], Rooms]) -> None:
        """From now on calls are answered.

        Args:
            make: Makes what answers them; called once, when somebody calls.
        """
        self._make = make
        self._opened.set()

    def close(self) -> None:
        """Nobody answers any more, and nobody waits."""
        self._rooms = _nobody()
        self._opened.set()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler | None:
        """As the handlers say."""
        handlers, _ = self._entered()
        found = (handler.service(handler_call_details) for handler in handlers)
        return next((handler for handler in found if handler is not None), None)

    def intercept_service(
        self, continuation: Find, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        """Through all interceptors."""
        _, interceptors = self._entered()
        for interceptor in reversed(interceptors):
            continuation = partial(interceptor.intercept_service, continuation)
        return continuation(handler_call_details)

    def _entered(self) -> Rooms:
        self._opened.wait()
        with self._making:
            if self._rooms is None:
                self._rooms = self._made()
            return self._rooms

    def _made(self) -> Rooms:
        """Halves of two releases must not meet in one process.

        Raises:
            CannotAnswerError: Another release was installed meanwhile, or it cannot be loaded.
        """
        if _installed() != self._installed:
            logger.error("another release was installed under this agent: restart it")
            raise CannotAnswerError("another release was installed under this agent: restart it")
        try:
            with self._loading():
                return self._make()
        except Exception as error:
            logger.exception("what answers calls cannot be loaded")
            raise CannotAnswerError("this agent cannot answer: look into its log") from error


class Collected:
    """In place of a server for the generated `add_...Servicer_to_server`: collects what it is given."""

    def __init__(self) -> None:
        self.handlers: list[grpc.GenericRpcHandler] = []

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """As `grpc.Server`."""
        self.handlers.extend(handlers)

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Handler]) -> None:
        """The same handlers, by which gRPC finds them sooner."""


def _nobody() -> Rooms:
    return (), ()


def _installed() -> tuple[int, ...]:
    """Changes whenever a release is installed."""
    try:
        found = os.stat(gausscert_common.__file__)
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
