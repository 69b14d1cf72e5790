"""An agent deployed while the control plane changes from one CA to another, as a server over real TLS."""

from __future__ import annotations

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from gausscert_common.identity import Role
from gausscert_coordinator import pki
from gausscert_coordinator.diagnosis import Dialled, served_fingerprint
from gausscert_coordinator.inventory import Credentials
from gausscert_coordinator.rollout import credential
from gausscert_coordinator.rollout.facts import Held
from support.edge_calls import edge, outcome
from support.edges import CLUSTER, NODE, make_ca, no_threads_are_left

__all__ = ["edge", "no_threads_are_left"]

GET_NODE = "gausscert.v1.AgentService/GetNode"


@pytest.mark.parametrize("issuer", ["old", "new"])
def test_it_accepts_the_operators_of_both_and_they_accept_it(edge, tmp_path, issuer):
    """It was a bug: ca.crt held the CA alone that had issued its credential."""
    homes = {"old": edge.ca, "new": make_ca(tmp_path / "new")}
    both = tmp_path / "both.crt"
    both.write_bytes(b"".join((home / "ca.crt").read_bytes() for home in homes.values()))
    people = {name: person(home, both, tmp_path / name) for name, home in homes.items()}

    deploy(edge, pki.sign(homes[issuer], Role.NODE, NODE), people["old"])

    for who in people.values():
        served = served_fingerprint(Dialled(CLUSTER, NODE, edge.address, who))
        assert served == fingerprint(edge.config.tls.cert)
        channel = edge.channel(who, **{"grpc.use_local_subchannel_pool": 1})
        assert outcome(channel, GET_NODE) is grpc.StatusCode.OK
    stranger = person(make_ca(tmp_path / "third"), both, tmp_path / "stranger")
    channel = edge.channel(stranger, **{"grpc.use_local_subchannel_pool": 1})
    assert outcome(channel, GET_NODE) is grpc.StatusCode.UNAVAILABLE


def person(ca, trusted, out) -> Credentials:
    issued = pki.issue(ca, Role.OPERATOR, out.name, out=out)
    return Credentials(trusted, issued.cert, issued.key)


def fingerprint(path) -> str:
    return x509.load_pem_x509_certificate(path.read_bytes()).fingerprint(hashes.SHA256()).hex()


def deploy(edge, signed, operator: Credentials) -> None:
    """Put there what `agents deploy` sends to a node without a credential."""
    own = credential.Own(
        x509.load_pem_x509_certificate(operator.cert.read_bytes()),
        tuple(x509.load_pem_x509_certificates(operator.ca.read_bytes())),
    )
    given = credential.trust(signed, Held("", "", False), own, NODE)
    tls = edge.config.tls
    bodies = ((tls.ca, given.ca_pem), (tls.key, given.key_pem), (tls.cert, given.cert_pem))
    for path, body in bodies:
        new = path.with_suffix(".new")
        new.touch(0o600)
        new.write_bytes(body)
        new.replace(path)
