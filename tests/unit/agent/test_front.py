"""The door of the server: calls wait until it is known who answers, and nothing is loaded before a call."""

from __future__ import annotations

import os
import threading

import grpc
import pytest
from gausscert_agent import front
from gausscert_agent.front import Front


class Details:
    """`grpc.HandlerCallDetails`."""

    def __init__(self, method: str) -> None:
        self.method = method
        self.invocation_metadata = ()


class Handlers(grpc.GenericRpcHandler):
    def __init__(self, method: str) -> None:
        self.method = method
        self.handler = grpc.unary_unary_rpc_method_handler(lambda request, context: request)

    def service(self, details):
        return self.handler if details.method == self.method else None


class Interceptor(grpc.ServerInterceptor):
    def __init__(self, name: str, passed: list[str]) -> None:
        self.name = name
        self.passed = passed

    def intercept_service(self, continuation, details):
        self.passed.append(self.name)
        return continuation(details)


def call(door: Front, method: str) -> grpc.RpcMethodHandler | None:
    """As gRPC does."""
    return door.intercept_service(door.service, Details(method))


def test_every_call_goes_through_all_interceptors_to_the_handler_that_knows_it():
    one, two, passed = Handlers("/a"), Handlers("/b"), []
    door = Front()
    door.open(lambda: ([one, two], [Interceptor("outer", passed), Interceptor("inner", passed)]))
    assert call(door, "/b") is two.handler
    assert passed == ["outer", "inner"]
    assert call(door, "/b") is two.handler
    assert passed == ["outer", "inner"]  # asked once for each method
    assert call(door, "/a") is one.handler
    assert call(door, "/c") is None


def test_what_answers_is_made_once_and_only_when_somebody_calls():
    made = []

    def make():
        made.append(1)
        return [Handlers("/a")], []

    door = Front()
    door.open(make)
    assert not made
    for _ in range(3):
        assert call(door, "/a") is not None
    assert made == [1]


def test_a_call_waits_until_the_door_is_open():
    door, answers = Front(), []
    waiting = threading.Thread(target=lambda: answers.append(call(door, "/a")))
    waiting.start()
    waiting.join(0.05)
    assert waiting.is_alive()
    handlers = Handlers("/a")
    door.open(lambda: ([handlers], []))
    waiting.join(10)
    assert answers == [handlers.handler]


class Aborted(Exception):
    pass


class Context:
    """`grpc.ServicerContext`."""

    def abort(self, code, details):
        raise Aborted(code, details)


def told(handler: grpc.RpcMethodHandler) -> str:
    """Why a call is refused, in a way that callers repeat."""
    with pytest.raises(Aborted) as caught:
        handler.stream_unary(iter(()), Context())
    code, text = caught.value.args
    assert code is grpc.StatusCode.UNAVAILABLE
    return text


def test_whoever_waits_at_a_door_that_is_closed_for_good_is_told_to_come_again():
    door, answers = Front(), []
    waiting = threading.Thread(target=lambda: answers.append(call(door, "/a")))
    waiting.start()
    door.close()
    waiting.join(10)
    (answer,) = answers
    assert told(answer) == "this agent is about to stop"


def test_halves_of_two_releases_never_meet(monkeypatch, tmp_path):
    """Modules of a release that was installed meanwhile would be loaded into a process of the one before."""
    package = tmp_path / "__init__.py"
    package.write_text("")
    monkeypatch.setattr(front.gausscert_common, "__file__", str(package))
    door = Front()
    door.open(lambda: pytest.fail("loaded all the same"))
    os.replace(_other(tmp_path), package)
    assert "restart it" in told(call(door, "/a"))


def _other(place):
    path = place / "other"
    path.write_text("# another one")
    return path


def test_a_caller_is_not_told_what_went_wrong_while_loading(caplog):
    def make():
        raise ImportError("secret detail")

    door = Front()
    door.open(make)
    assert told(call(door, "/a")) == "this agent cannot answer: look into its log"
    assert "cannot be loaded" in caplog.text
