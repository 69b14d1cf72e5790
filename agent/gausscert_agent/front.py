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
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias

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

_ENDING: Final = "this agent is about to stop"
_REPLACED: Final = "another release was installed under this agent: restart it"


class _Nobody(grpc.GenericRpcHandler):
    """Answers every call with UNAVAILABLE, which callers repeat: the agent that comes next may answer. To
    gRPC all requests are streams: for those it does not wait. The thread of the door, or gRPC's own, would
    otherwise wait here for whoever never sends one, and nobody else be answered.

    Args:
        why: For the caller.
    """

    def __init__(self, why: str) -> None:
        def refuse(_: object, context: grpc.ServicerContext) -> NoReturn:
            context.abort(grpc.StatusCode.UNAVAILABLE, why)
            raise AssertionError("abort has raised")

        self._handler: Handler = grpc.stream_unary_rpc_method_handler(refuse)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler:
        """The same for all."""
        del handler_call_details
        return self._handler


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
        self._make: Callable[[], Rooms] = partial(_nobody, _ENDING)
        self._rooms: Rooms | None = None
        self._found: dict[str, Handler] = {}
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
        self._found.clear()
        self._rooms = _nobody(_ENDING)
        self._opened.set()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler | None:
        """As the handlers say."""
        handlers, _ = self._entered()
        found = (handler.service(handler_call_details) for handler in handlers)
        return next((handler for handler in found if handler is not None), None)

    def intercept_service(
        self, continuation: Find, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        """Through all interceptors. What they answer for a method is asked for once: none of them looks at
        anything else of a call before it has a thread."""
        method = handler_call_details.method
        known = self._found.get(method)
        if known is not None:
            return known
        _, interceptors = self._entered()
        for interceptor in reversed(interceptors):
            continuation = partial(interceptor.intercept_service, continuation)
        found = continuation(handler_call_details)
        if found is not None:
            self._found[method] = found
        return found

    def _entered(self) -> Rooms:
        self._opened.wait()
        with self._making:
            if self._rooms is None:
                self._rooms = self._made()
            return self._rooms

    def _made(self) -> Rooms:
        """Halves of two releases must not meet in one process."""
        if not self.is_whole():
            logger.error(_REPLACED)
            return _nobody(_REPLACED)
        try:
            with self._loading():
                return self._make()
        except Exception:
            logger.exception("what answers calls cannot be loaded")
            return _nobody("this agent cannot answer: look into its log")

    def is_whole(self) -> bool:
        """Whether what is installed is still what this process was started from."""
        return _installed() == self._installed


class Collected:
    """In place of a server for the generated `add_...Servicer_to_server`: collects what it is given."""

    def __init__(self) -> None:
        self.handlers: list[grpc.GenericRpcHandler] = []

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """As `grpc.Server`."""
        self.handlers.extend(handlers)

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Handler]) -> None:
        """The same handlers, by which gRPC finds them sooner."""


def _nobody(why: str) -> Rooms:
    return (_Nobody(why),), ()


def _installed() -> tuple[int, ...]:
    """Changes whenever a release is installed."""
    try:
        found = os.stat(gausscert_common.__file__)
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
