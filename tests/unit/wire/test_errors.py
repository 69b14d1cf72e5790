from __future__ import annotations

import grpc
import pytest
from gausscert_common.errors import KIND_OF_REASON, InternalError, NodeRefusal, Reason, Unreachable
from gausscert_common.findings import Finding, Severity
from gausscert_common.wire import errors

WARNING = Finding("EXPIRES_SOON", Severity.WARNING, "in 3 days", "renew", "n1", "server.crt")
ERROR = Finding("KEY_MISMATCH", Severity.ERROR, "another key", "hand in the right one", "n1", "server.key")


def over_the_wire(error, node="n9"):
    return errors.from_rpc(errors.code_of(error), errors.text_of(error), errors.details(error), node=node)


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_survives_the_wire(reason):
    error = KIND_OF_REASON[reason](
        reason, "what", node="n1", file="server.key", remedy="do this", findings=(ERROR, WARNING)
    )

    read = over_the_wire(error)

    assert type(read) is type(error)
    assert vars(read) == vars(error)


def test_every_reason_has_a_code_and_none_is_ok():
    assert set(errors.CODES) == set(Reason)
    assert grpc.StatusCode.OK not in errors.CODES.values()


def test_unavailable_is_only_what_may_be_repeated_as_it_is():
    repeatable = {r for r, code in errors.CODES.items() if code is grpc.StatusCode.UNAVAILABLE}

    assert repeatable == {Reason.BUSY, Reason.DRAINING, Reason.UNREACHABLE}


def test_an_error_that_names_no_node_is_said_of_the_one_that_was_called():
    assert over_the_wire(NodeRefusal(Reason.FENCED, "late")).node == "n9"


def test_errors_come_before_warnings_and_what_does_not_fit_is_counted():
    many = [WARNING] * 300 + [ERROR] * 3
    error = NodeRefusal(Reason.SET_INVALID, "not good", findings=many)

    read = over_the_wire(error)

    assert len(errors.details(error)) < errors.MAX_METADATA_BYTES
    assert list(read.findings[:3]) == [ERROR] * 3
    assert f"{303 - len(read.findings)} more findings are left out" in read.message


def test_texts_without_end_are_cut():
    error = NodeRefusal(Reason.FENCED, "x" * 100_000, remedy="y" * 100_000)

    assert len(errors.details(error)) < 8192
    assert len(errors.text_of(error)) == 2000


@pytest.mark.parametrize(
    ("code", "text", "reason"),
    [
        (grpc.StatusCode.UNAVAILABLE, "Socket closed", Reason.UNREACHABLE),
        (
            grpc.StatusCode.UNAVAILABLE,
            "Stream removed (RST_STREAM (Received RST_STREAM with error code 7))",
            Reason.BUSY,
        ),
        (
            grpc.StatusCode.UNAVAILABLE,
            "Stream removed (RST_STREAM (Received RST_STREAM with error code 2))",
            Reason.UNREACHABLE,
        ),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded", Reason.DEADLINE),
        (grpc.StatusCode.CANCELLED, "", Reason.UNREACHABLE),
        (grpc.StatusCode.UNIMPLEMENTED, "Method not found!", Reason.NODE_UNFIT),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "Concurrent RPC limit exceeded!", Reason.BUSY),
        (
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "SERVER: Received message larger than max (2 vs. 1)",
            Reason.ARGUMENT_INVALID,
        ),
        (grpc.StatusCode.UNKNOWN, "boom", Reason.INTERNAL),
        (grpc.StatusCode.DATA_LOSS, "", Reason.INTERNAL),
    ],
)
@pytest.mark.parametrize("details", [None, b"\xff\xff no status"])
def test_a_bare_status_of_grpc_itself_has_a_meaning(code, text, reason, details):
    error = errors.from_rpc(code, text, details, node="n1")

    assert (error.reason, error.node) == (reason, "n1")
    assert isinstance(error, KIND_OF_REASON[reason])
    assert error.message


def test_details_that_contradict_the_code_are_not_believed():
    late = NodeRefusal(Reason.FENCED, "late")

    error = errors.from_rpc(grpc.StatusCode.UNAVAILABLE, "gone", errors.details(late), node="n1")

    assert isinstance(error, Unreachable)


def test_a_reason_of_a_newer_agent_falls_back_to_its_code(monkeypatch):
    late = errors.details(NodeRefusal(Reason.BUSY, "later")).replace(b"BUSY", b"LAZY")

    error = errors.from_rpc(grpc.StatusCode.UNAVAILABLE, "later", late, node="n1")

    assert error.reason is Reason.UNREACHABLE
    assert "LAZY" in error.message


def test_an_unforeseen_exception_is_an_incident_and_nothing_else():
    error = errors.unexpected("1f2e")

    assert isinstance(error, InternalError)
    assert "1f2e" in error.message
