"""What every call passes on its way in and out: first the catcher, then the doorkeeper.

`Outermost` lets nothing out but errors of ours: grpcio would send the text of any exception to the caller
(reliability section 3). `Doorkeeper` decides by the URI SAN of the caller's certificate, anew on every call,
because a connection outlives the moment at which its certificate was looked at.
"""

from __future__ import annotations

import logging
import secrets
import time
import traceback
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import grpc
from gausscert_common import identity
from gausscert_common.errors import Denied, GausscertError, InvalidInput, NodeFailure, Reason
from gausscert_common.identity import Identity
from gausscert_common.wire import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import ThreadPoolExecutor

    from google.protobuf.message import Message

    Handler: TypeAlias = grpc.RpcMethodHandler[Any, Any]
    Guard: TypeAlias = Callable[[str, Any, grpc.ServicerContext], AbstractContextManager[None]]

logger = logging.getLogger(__name__)

_MAX_ID: Final = 64

_QUIET: Final = frozenset(
    {
        f"{identity.HEALTH_SERVICE}/Check",
        f"{identity.AGENT_SERVICE}/GetNode",
        f"{identity.AGENT_SERVICE}/GetExpiry",
        f"{identity.AGENT_SERVICE}/Probe",
    }
)
"""Monitoring calls these all day."""


class _Status(grpc.Status):
    """What `abort_with_status` takes."""

    def __init__(self, error: GausscertError) -> None:
        self.code = errors.code_of(error)
        self.details = errors.text_of(error)
        self.trailing_metadata = ((errors.DETAILS_KEY, errors.details(error)),)


class _Guarding(grpc.ServerInterceptor):
    """Puts every handler into a context manager."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Handler | None],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """Wrap what the continuation finds."""
        handler = continuation(handler_call_details)
        if handler is None:
            return None
        return self._wrapped(handler, handler_call_details.method.removeprefix("/"))

    def _wrapped(self, handler: Handler, rpc: str) -> Handler:
        if handler.unary_unary is not None:
            answer = handler.unary_unary

            def unary(request: Any, context: grpc.ServicerContext) -> Any:  # noqa: ANN401 - any message
                with self._guard(rpc, request, context):
                    return answer(request, context)

            return grpc.unary_unary_rpc_method_handler(
                self._marked(unary, rpc), handler.request_deserializer, handler.response_serializer
            )
        if handler.unary_stream is not None:
            answers = handler.unary_stream

            def stream(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:  # noqa: ANN401
                with self._guard(rpc, request, context):
                    yield from answers(request, context)

            return grpc.unary_stream_rpc_method_handler(
                self._marked(stream, rpc), handler.request_deserializer, handler.response_serializer
            )
        raise TypeError(f"{rpc} streams requests, and nothing here guards that")

    def _marked(self, behavior: Callable[..., Any], rpc: str) -> Callable[..., Any]:  # noqa: ARG002
        return behavior


class Outermost(_Guarding):
    """Catches everything, and gives every call the thread pool of its kind.

    Args:
        node: The node's name, for errors that name none.
        pool_of: The pool for `service/method`. grpcio looks for it on the outermost handler
            (`_server._select_thread_pool_for_behavior`).
    """

    def __init__(self, node: str, pool_of: Callable[[str], ThreadPoolExecutor]) -> None:
        super().__init__(self._catch)
        self._node = node
        self._pool_of = pool_of

    def _marked(self, behavior: Callable[..., Any], rpc: str) -> Callable[..., Any]:
        behavior.experimental_thread_pool = self._pool_of(rpc)  # type: ignore[attr-defined]
        return behavior

    @contextmanager
    def _catch(self, rpc: str, request: Message, context: grpc.ServicerContext) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        except GausscertError as error:
            failed = error
        except Exception as error:  # noqa: BLE001 - the outermost loop of a call
            failed = errors.unexpected(_incident(rpc, error))
        else:
            _log_end(rpc, request, context, began, None)
            return
        failed.node = failed.node or self._node
        _log_end(rpc, request, context, began, failed)
        context.abort_with_status(_Status(failed))


class Doorkeeper(_Guarding):
    """Lets in whom `identity.ALLOWED` lets in, and nobody else.

    Args:
        cluster: The agent's; identities of another cluster are refused.
    """

    def __init__(self, cluster: str) -> None:
        super().__init__(self._admit)
        self._cluster = cluster

    @contextmanager
    def _admit(self, rpc: str, request: Message, context: grpc.ServicerContext) -> Iterator[None]:  # noqa: ARG002
        caller = caller_of(context)
        if caller.cluster != self._cluster:
            raise Denied(
                Reason.PERMISSION_DENIED,
                f"{caller} has nothing to say in cluster {self._cluster}",
                remedy="use a credential of this cluster",
            )
        if not identity.may_call(caller.role, rpc):
            raise Denied(
                Reason.PERMISSION_DENIED,
                f"{caller} may not call {rpc.rpartition('/')[2]}",
                remedy="use the credential of an operator",
            )
        yield


def caller_of(context: grpc.ServicerContext) -> Identity:
    """Who calls: the one gausscert URI SAN of the certificate that TLS has verified.

    Raises:
        Denied: UNAUTHENTICATED: there is none, or more than one.
    """
    said: Any = context.auth_context().get("peer_uri", ())
    uris = [uri for uri in said if uri.startswith(f"{identity.SCHEME}:".encode())]
    try:
        (uri,) = uris
        return identity.parse(uri.decode())
    except (ValueError, InvalidInput):
        raise Denied(
            Reason.UNAUTHENTICATED,
            "the caller's certificate holds no gausscert identity",
            remedy="use a credential that gausscert pki issue made",
        ) from None


def _incident(rpc: str, error: Exception) -> str:
    """Log what nobody foresaw: where it happened, and of what kind, but never its text, which may hold
    whatever the code had at hand."""
    incident = secrets.token_hex(6)
    where = [f"{f.filename}:{f.lineno} {f.name}" for f in traceback.extract_tb(error.__traceback__)]
    fields = {
        "incident": incident,
        "rpc": rpc,
        "exception": type(error).__name__,
        "where": " < ".join(where[::-1]),
    }
    if isinstance(error, OSError):
        fields["errno"] = str(error.errno)
    logger.error("unexpected exception", extra=fields)
    return incident


def _log_end(
    rpc: str,
    request: Message,
    context: grpc.ServicerContext,
    began: float,
    error: GausscertError | None,
) -> None:
    """Who asked for what, and what came of it: the node's record of everything that was asked of it."""
    fields = {
        "rpc": rpc.rpartition("/")[2],
        "caller": _caller_text(context),
        "duration_s": round(time.monotonic() - began, 3),
        "result": "ok" if error is None else str(error.reason),
        **_command_fields(request),
    }
    if error is None:
        logger.log(logging.DEBUG if rpc in _QUIET else logging.INFO, "call answered", extra=fields)
        return
    level = logging.WARNING if isinstance(error, NodeFailure | Denied) else logging.INFO
    logger.log(level, "call refused", extra=fields | {"cause": error.message})


def _command_fields(request: Message) -> dict[str, object]:
    """Which transaction and step. The request may not have been checked yet: nothing long is written."""
    ref: Any = getattr(request, "ref", None)
    if ref is None:
        return {}
    return {"transaction": ref.transaction_id[:_MAX_ID], "epoch": ref.epoch, "step": ref.step}


def _caller_text(context: grpc.ServicerContext) -> str:
    try:
        return caller_of(context).uri
    except Denied:
        return "nobody"
