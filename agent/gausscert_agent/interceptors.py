"""What every call passes on its way in and out: first the catcher, then the doorkeeper.

`Outermost` lets nothing out but errors of ours: grpcio would send the text of any exception to the caller
(reliability section 3). `Doorkeeper` decides by the URI SAN of the caller's certificate, anew on every call,
because a connection outlives the moment at which its certificate was looked at.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

import grpc
from gausscert_common import auditing, identity
from gausscert_common.errors import Denied, GausscertError, InvalidInput, NodeRefusal, Reason
from gausscert_common.identity import Identity
from gausscert_common.wire import enums, errors

from gausscert_agent import peer
from gausscert_agent.admission import is_turned_away
from gausscert_agent.audited import audited
from gausscert_agent.awaited import Awaited
from gausscert_agent.call_log import Call, CallLog, incident
from gausscert_agent.peer import caller_of
from gausscert_agent.turned_away import TurnedAway

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gausscert_common.auditing import Head
    from google.protobuf.message import Message

    from gausscert_agent.admission import Entrance
    from gausscert_agent.audit import AuditLog
    from gausscert_agent.deny_list import DenyListFile
    from gausscert_agent.peer import Peer

    Handler: TypeAlias = grpc.RpcMethodHandler[Any, Any]


class _Status(grpc.Status):
    """What `abort_with_status` takes."""

    def __init__(self, error: GausscertError) -> None:
        self.code = errors.code_of(error)
        self.details = errors.text_of(error)
        self.trailing_metadata = ((errors.DETAILS_KEY, errors.details(error)),)


class Outermost(grpc.ServerInterceptor):
    """Catches everything, and gives every call a thread of its kind.

    The request is awaited only once the caller is known to be allowed to send it: whoever opened calls and
    never sent a request would otherwise fill the slots of calls that are not his.

    Args:
        node: The node's name, for errors that name none.
        pool_of: Where calls to `service/method` come in. grpcio looks for it on the outermost handler
            (`_server._select_thread_pool_for_behavior`).
        check: Refuses callers before their request is there.
        audit: Written to before anybody is answered.
    """

    def __init__(
        self,
        node: str,
        pool_of: Callable[[str], Entrance],
        check: Callable[[str, Peer], object],
        audit: AuditLog,
    ) -> None:
        self._node = node
        self._pool_of = pool_of
        self._check = check
        self._audit = audit
        self.awaited = Awaited()
        self._log = CallLog()
        no_slot = _no_slot(node)
        self._no_slot_status = _Status(no_slot)
        self._turned_away = TurnedAway(self._log, audit, no_slot)

    def close(self) -> None:
        """Write what is still to be written; no call may come any more."""
        self.awaited.close()
        self._turned_away.close()

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Handler | None],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """Wrap what the continuation finds. To gRPC all requests are streams: for those it does not wait."""
        handler = continuation(handler_call_details)
        if handler is None:
            return None
        rpc = handler_call_details.method.removeprefix("/")
        if handler.request_streaming:
            raise TypeError(f"{rpc} streams requests, and nothing here guards that")
        make = (
            grpc.stream_stream_rpc_method_handler
            if handler.response_streaming
            else grpc.stream_unary_rpc_method_handler
        )
        guarded = self._streamed if handler.response_streaming else self._single
        behavior = guarded(_behavior(handler), rpc)
        return make(
            _in(self._pool_of(rpc), behavior), handler.request_deserializer, handler.response_serializer
        )

    def _single(self, behavior: Callable[..., Any], rpc: str) -> Callable[..., Any]:
        def answer(requests: Iterator[Any], context: grpc.ServicerContext) -> Any:  # noqa: ANN401 - any message
            if is_turned_away():
                self._turn_away(rpc, context)
            with self._catch(rpc, context) as call:
                return behavior(self._request(call, requests, context), context)

        return answer

    def _streamed(self, behavior: Callable[..., Any], rpc: str) -> Callable[..., Any]:
        def answers(requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
            if is_turned_away():
                self._turn_away(rpc, context)
            with self._catch(rpc, context) as call:
                for told in behavior(self._request(call, requests, context), context):
                    self._check(rpc, context)  # what was allowed when it began may not be any more
                    yield told

        return answers

    def _turn_away(self, rpc: str, context: grpc.ServicerContext) -> NoReturn:
        """Said a thousand times a second, if need be: made once."""
        self._turned_away.note(Call(rpc, context, time.monotonic()))
        context.abort_with_status(self._no_slot_status)
        raise AssertionError("abort has raised")

    def _request(self, call: Call, requests: Iterator[Any], context: grpc.ServicerContext) -> Any:  # noqa: ANN401
        self._check(call.rpc, context)
        with self.awaited.waiting(context):
            for request in requests:
                call.request = request
                return request
        raise InvalidInput(Reason.ARGUMENT_INVALID, "the call came without a request")

    @contextmanager
    def _catch(self, rpc: str, context: grpc.ServicerContext) -> Iterator[Call]:
        """No error outlives this: its traceback holds this frame, and with it the call, until the collector
        comes by. To gRPC such a call is open still, and with more of them on a connection than it may have it
        refuses the next one there (GRPC_ARG_MAX_CONCURRENT_STREAMS_OVERLOAD_PROTECTION)."""
        call = Call(rpc, context, time.monotonic())
        failed: GausscertError | None = None
        try:
            yield call
        except GausscertError as error:
            failed = error
        except grpc.RpcError:
            # gRPC's own: the request was no message, or the caller hung up before it was there.
            raise
        except Exception as error:  # noqa: BLE001 - the outermost loop of a call
            failed = errors.unexpected(incident(rpc, error))
        if failed is not None:
            failed.node = failed.node or self._node
        head = self._written(call, failed)
        if failed is not None:
            status, failed = _Status(failed), None
            context.abort_with_status(status)
        if head is not None:
            context.set_trailing_metadata(((auditing.HEAD_KEY, auditing.written(head)),))

    def _written(self, call: Call, failed: GausscertError | None) -> Head | None:
        """What nobody foresaw here must not change what was done, and tells the caller nothing either."""
        try:
            if failed is None:
                self._log.answered(call)
            else:
                self._log.refused(call, failed)
            return audited(self._audit, call.rpc, call.context, call.request, failed)
        except Exception as error:  # noqa: BLE001 - the outermost loop of a call
            incident(call.rpc, error)
            return None


def _no_slot(node: str) -> NodeRefusal:
    return NodeRefusal(
        Reason.BUSY,
        "too many calls of this kind are open",
        node=node,
        remedy="try again; if it stays, see in the agent's log who else calls it",
    )


def _behavior(handler: Handler) -> Callable[..., Any]:
    """What answers a single request."""
    found = handler.unary_stream if handler.response_streaming else handler.unary_unary
    if found is None:
        raise TypeError("this handler streams requests")
    return found


def _in(pool: Entrance, behavior: Callable[..., Any]) -> Callable[..., Any]:
    behavior.experimental_thread_pool = pool  # type: ignore[attr-defined]
    return behavior


class Doorkeeper(grpc.ServerInterceptor):
    """Lets in whom `identity.ALLOWED` lets in and no deny list keeps out, and nobody else.

    Args:
        cluster: The agent's; identities of another cluster are refused.
        in_transaction: Whether the node is in a transaction at this moment.
        denied: Who is kept out all the same.
    """

    def __init__(self, cluster: str, in_transaction: Callable[[], bool], denied: DenyListFile) -> None:
        self._cluster = cluster
        self._in_transaction = in_transaction
        self._denied = denied

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Handler | None],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """Let nothing through to what the continuation finds before the caller was looked at."""
        handler = continuation(handler_call_details)
        rpc = handler_call_details.method.removeprefix("/")
        if handler is None or handler.request_streaming:
            return handler
        make = (
            grpc.unary_stream_rpc_method_handler
            if handler.response_streaming
            else grpc.unary_unary_rpc_method_handler
        )
        answer = _behavior(handler)

        def admitted(request: Any, context: grpc.ServicerContext) -> Any:  # noqa: ANN401 - any message
            self._check_step(self.check(rpc, context), request)
            return answer(request, context)

        return make(admitted, handler.request_deserializer, handler.response_serializer)

    def check(self, rpc: str, context: Peer) -> Identity:
        """Who calls, if that may be.

        Raises:
            Denied: UNAUTHENTICATED, PERMISSION_DENIED, REVOKED, DENY_LIST_UNUSABLE.
        """
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
        self._check_denied(rpc, context)
        return caller

    def _check_denied(self, rpc: str, context: Peer) -> None:
        """A list that cannot be used keeps everybody out, but nobody from hearing that something is wrong."""
        try:
            self._denied.check(peer.numbers_of(context))
        except Denied as error:
            if error.reason is Reason.DENY_LIST_UNUSABLE and rpc.startswith(f"{identity.HEALTH_SERVICE}/"):
                return
            raise

    def _check_step(self, caller: Identity, request: Message) -> None:
        ref: Any = getattr(request, "ref", None)
        if ref is None:
            return
        step = enums.STEP.value(ref.step)
        if not identity.may_order(caller.role, step, in_transaction=self._in_transaction()):
            raise Denied(
                Reason.PERMISSION_DENIED,
                f"{caller} may not order {step.name} where no transaction is to be finished",
                remedy="use the credential of an operator",
            )
