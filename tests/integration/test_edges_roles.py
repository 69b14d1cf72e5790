"""Who may call what, over the wire: every call that the agent's services have, by everybody there is.

The matrix is written out here and not derived from `identity.ALLOWED`, so that neither can change alone; its
calls are compared with the descriptors of the services, so that no call can be added without a row.
"""

from __future__ import annotations

import grpc
import pytest
from gausscert.v1 import agent_service_pb2 as pb
from gausscert_common import identity
from gausscert_common.identity import ALLOWED, Role
from gausscert_coordinator import pki
from grpc_health.v1 import health_pb2
from support.edge_calls import GOOD, edge, outcome
from support.edges import credentials_of, make_ca, no_threads_are_left, odd_identity

__all__ = ["edge", "no_threads_are_left"]

AGENT, HEALTH = identity.AGENT_SERVICE, identity.HEALTH_SERVICE

_LOOK = "operator observer recoverer"
_END = "operator recoverer"
_BEGIN = "operator"

MATRIX = {
    f"{HEALTH}/Check": "node operator observer recoverer",
    f"{HEALTH}/Watch": "node operator observer recoverer",
    f"{HEALTH}/List": "",
    f"{AGENT}/GetNode": _LOOK,
    f"{AGENT}/Judge": _LOOK,
    f"{AGENT}/GetExpiry": _LOOK,
    f"{AGENT}/Probe": _LOOK,
    f"{AGENT}/WatchTransaction": _LOOK,
    f"{AGENT}/Acquire": _END,
    f"{AGENT}/Prepare": _BEGIN,
    f"{AGENT}/Stop": _END,
    f"{AGENT}/Swap": _BEGIN,
    f"{AGENT}/Start": _END,
    f"{AGENT}/Commit": _END,
    f"{AGENT}/Purge": _END,
    f"{AGENT}/Abort": _END,
    f"{AGENT}/Clean": _END,
    f"{AGENT}/Encrypt": _BEGIN,
    f"{AGENT}/SetEnableSsl": _BEGIN,
    f"{AGENT}/BeginRenewal": _BEGIN,
    f"{AGENT}/FinishRenewal": _BEGIN,
    f"{AGENT}/ExtendDenyList": _BEGIN,
    f"{AGENT}/ReadAudit": _LOOK,
}
"""The roles that may make each call of the services; nobody else may, whoever it is."""

OWN = {f"{AGENT}/{method}" for method in ("BeginRenewal", "FinishRenewal", "ExtendDenyList", "ReadAudit")}
"""What the agent answers without asking the node."""

STRANGERS = {
    "no identity": [],
    "a URI of somebody else's": ["https://example.org/operator"],
    "an unknown role": ["gausscert://prod/root/alice"],
    "two identities": ["gausscert://prod/operator/alice", "gausscert://prod/observer/alice"],
    **{f"the {role} of another cluster": [f"gausscert://test/{role}/alice"] for role in Role},
}
"""Who bears a certificate of our CA and is nobody here, by the URI SANs of it."""


def described() -> set[str]:
    """Every call that the services have, by their descriptors."""
    services = (
        pb.DESCRIPTOR.services_by_name["AgentService"],
        health_pb2.DESCRIPTOR.services_by_name["Health"],
    )
    return {f"{service.full_name}/{method.name}" for service in services for method in service.methods}


def test_every_call_of_the_services_has_a_row():
    # An older grpcio-health-checking has no List; refusing what is not there is no less a row.
    assert described() | {f"{HEALTH}/List"} == set(MATRIX)


def test_the_table_of_the_product_says_the_same():
    said = {rpc: " ".join(role for role in Role if role in roles) for rpc, roles in ALLOWED.items()}

    assert said == {rpc: _in_order(roles) for rpc, roles in MATRIX.items() if roles}


def _in_order(roles: str) -> str:
    return " ".join(role for role in Role if role in roles.split())


def test_there_is_a_good_request_for_every_call_that_somebody_may_make():
    assert set(GOOD) == {rpc.rpartition("/")[2] for rpc, roles in MATRIX.items() if roles}


@pytest.mark.parametrize("role", list(Role))
def test_each_role_makes_the_calls_of_its_rows_and_no_other(edge, role):
    channel = edge.channel(edge.person(role, "bob"))
    good = GOOD | {"FinishRenewal": what_is_there_already(edge)}
    found, expected = {}, {}

    for rpc, roles in MATRIX.items():
        edge.node.seen.clear()
        allowed = role in roles.split()
        found[rpc] = (outcome(channel, rpc, good), len(edge.node.seen))
        expected[rpc] = (
            grpc.StatusCode.OK if allowed else grpc.StatusCode.PERMISSION_DENIED,
            int(allowed and _reaches_the_node(rpc)),
        )

    assert found == expected


def what_is_there_already(edge) -> pb.FinishRenewalRequest:
    return pb.FinishRenewalRequest(request_id="req-0001", certificate=edge.issued.cert.read_bytes())


def _reaches_the_node(rpc: str) -> bool:
    return rpc.startswith(AGENT) and rpc not in OWN


@pytest.mark.parametrize("who", list(STRANGERS))
def test_nobody_of_ours_makes_no_call_at_all(edge, tmp_path, who):
    channel = edge.channel(odd_identity(edge.ca, STRANGERS[who], tmp_path))
    known = "another cluster" in who
    refused = grpc.StatusCode.PERMISSION_DENIED if known else grpc.StatusCode.UNAUTHENTICATED

    assert {rpc: outcome(channel, rpc) for rpc in MATRIX} == dict.fromkeys(MATRIX, refused)
    assert edge.node.seen == []


@pytest.mark.parametrize("role", list(Role))
def test_the_same_identity_of_another_ca_makes_no_call_at_all(edge, tmp_path, role):
    other = make_ca(tmp_path / "other")
    found = credentials_of(pki.issue(other, role, "bob", out=tmp_path / "bob"))
    channel = edge.channel(type(found)(edge.issued.ca, found.cert, found.key))

    assert {outcome(channel, rpc) for rpc in MATRIX} == {grpc.StatusCode.UNAVAILABLE}
    assert edge.node.seen == []
