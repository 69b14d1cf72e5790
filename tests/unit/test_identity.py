from __future__ import annotations

import re
from pathlib import Path

import pytest
from gausscert_common.errors import InvalidInput, Reason
from gausscert_common.identity import (
    ALLOWED,
    Identity,
    Role,
    check_name,
    may_call,
    may_order,
    node_dns_name,
    parse,
)
from gausscert_common.protocol.words import Step

PROTO = Path(__file__).parents[2] / "protos" / "gausscert" / "v1" / "agent_service.proto"
GOOD = ["n1", "N1", "node_1", "db.prod-3", "0", "x" * 64]
BAD = ["", "-n", ".n", "_n", "a b", "a/b", "a%2fb", "x" * 65, "ä", "n\n", "n\x00", "a?b", "a#b", "a:b", "a@b"]


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("name", GOOD)
def test_an_identity_survives_its_uri(role, name):
    identity = Identity("prod_EU.1", role, name)

    assert parse(identity.uri) == identity


def test_the_uri_is_spelled_as_documented():
    assert Identity("production", Role.OPERATOR, "alice").uri == "gausscert://production/operator/alice"


@pytest.mark.parametrize("name", BAD)
def test_a_name_that_needs_escaping_is_refused(name):
    with pytest.raises(InvalidInput) as refused:
        check_name("node", name)
    assert refused.value.reason is Reason.ARGUMENT_INVALID
    with pytest.raises(InvalidInput):
        Identity("c", Role.NODE, name)
    with pytest.raises(InvalidInput):
        Identity(name, Role.NODE, "n")


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "gausscert://c/operator",
        "gausscert://c/operator/",
        "gausscert://c/operator/a/b",
        "gausscert://c/Operator/a",
        "gausscert://c/root/a",
        "GAUSSCERT://c/operator/a",
        "https://c/operator/a",
        "gausscert://c/operator/a?x",
        "gausscert://c/operator/a#x",
        "gausscert://c:1/operator/a",
        "gausscert://u@c/operator/a",
        "gausscert://c/operator/%61",
        " gausscert://c/operator/a",
        "gausscert://c/operator/a\n",
    ],
)
def test_any_other_spelling_is_no_identity(uri):
    with pytest.raises(InvalidInput) as refused:
        parse(uri)

    assert refused.value.reason is Reason.CREDENTIAL_INVALID


@pytest.mark.parametrize("node", [*GOOD, "___".join("ab"), "A" * 64, "xn--foo", "a." * 30 + "a"])
def test_a_nodes_dns_name_is_one_whatever_the_node_is_called(node):
    name = node_dns_name("c", node)

    assert len(name) <= 253
    assert all(re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", label) for label in name.split("."))


def test_different_nodes_have_different_dns_names():
    names = ["n1", "N1", "n_1", "n.1", "n-1", "n--1", "n1-", "A" * 64, "A" * 63, "A" * 63 + "B"]
    pairs = [(cluster, node) for cluster in ("c", "C", "c1") for node in names]

    assert len({node_dns_name(*pair) for pair in pairs}) == len(pairs)


def test_a_nodes_dns_name_never_changes():
    """It is in certificates that were issued long ago."""
    assert node_dns_name("production", "n1") == "n1-e66b01b05609a1b9967482f40167663a.node.gausscert.internal"


def test_every_call_of_the_proto_has_its_row_and_no_other():
    calls = set(re.findall(r"^  rpc (\w+)\(", PROTO.read_text(), re.MULTILINE))
    rows = {rpc.split("/")[1] for rpc in ALLOWED if rpc.startswith("gausscert.v1.AgentService/")}

    assert len(calls) == 20
    assert rows == calls


@pytest.mark.parametrize(
    ("role", "calls"),
    [
        (Role.NODE, set()),
        (Role.OBSERVER, {"GetNode", "Judge", "GetExpiry", "Probe", "WatchTransaction", "ReadAudit"}),
        (
            Role.RECOVERER,
            {
                "GetNode",
                "Judge",
                "GetExpiry",
                "Probe",
                "WatchTransaction",
                "ReadAudit",
                "Acquire",
                "Stop",
                "Start",
                "Commit",
                "Purge",
                "Abort",
                "Clean",
            },
        ),
    ],
)
def test_what_a_role_may_call(role, calls):
    allowed = {rpc for rpc in ALLOWED if may_call(role, rpc)}

    health = {"grpc.health.v1.Health/Check", "grpc.health.v1.Health/Watch"}
    assert allowed == {f"gausscert.v1.AgentService/{call}" for call in calls} | health


def test_an_operator_may_call_everything_that_is_there():
    assert all(may_call(Role.OPERATOR, f"/{rpc}") for rpc in ALLOWED)


@pytest.mark.parametrize("rpc", ["", "/", "gausscert.v1.AgentService/Nuke", "GetNode", "/x/GetNode"])
def test_what_is_not_in_the_table_nobody_may_call(rpc):
    assert not any(may_call(role, rpc) for role in Role)


@pytest.mark.parametrize("step", list(Step))
def test_only_a_recoverer_outside_of_a_transaction_may_not_go_forward(step):
    refused = {role for role in Role if not may_order(role, step, in_transaction=False)}
    assert refused == ({Role.RECOVERER} if step in (Step.STOP, Step.START) else set())
    assert all(may_order(role, step, in_transaction=True) for role in Role)
