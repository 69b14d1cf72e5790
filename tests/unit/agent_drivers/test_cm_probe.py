from __future__ import annotations

import socket
import ssl
import threading
import time
from contextlib import contextmanager

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from gausscert_agent.drivers.cm_packets import Caller
from gausscert_agent.drivers.cm_probe import probe, probe_all
from gausscert_common.model import CmNode, CmTopology, Served, ServedState
from support import sim_certs

AUTHENTICATED = b"R\x00\x00\x00\x08\x00\x00\x00\x00"
SSL_ON = b"S\x00\x00\x00\x0c\x97\x00\x00\x00\x01\x00\x00\x00"
SSL_OFF = b"S\x00\x00\x00\x0c\x97\x00\x00\x00\x02\x00\x00\x00"
CALLER = Caller("omm", "db1", 1, "127.0.0.1")


class FakeServer:
    """A cm_server that says what it is told to: `answers` to the startup and to the SSL request, then
    TLS with `files` if there are any. What it heard is in `heard`."""

    def __init__(self, answers, files=None, pause_s=0.0):
        self.answers, self.files, self.pause_s = answers, files, pause_s
        self.heard: list[bytes] = []
        self.peers: list[str] = []
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    @property
    def node(self) -> CmNode:
        return CmNode(7, "db7", "127.0.0.1", self.socket.getsockname()[1], "127.0.0.1")

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.socket.close()

    def _serve(self):
        while True:
            try:
                connection, (peer, _) = self.socket.accept()
            except OSError:
                return
            self.peers.append(peer)
            with connection:
                self._talk(connection)

    def _talk(self, connection):
        try:
            for answer in self.answers:
                self.heard.append(connection.recv(4096))
                time.sleep(self.pause_s)
                connection.sendall(answer)
            if self.files is not None:
                self._context().wrap_socket(connection, server_side=True).close()
            else:
                while connection.recv(4096):
                    pass
        except OSError:
            pass

    def _context(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(
            self.files / "server.crt", self.files / "server.key", sim_certs.PASSWORD.decode()
        )
        return context


@pytest.fixture
def serving(tmp_path):
    servers = []

    @contextmanager
    def closing():
        yield
        for server in servers:
            server.close()

    def make(answers=(AUTHENTICATED, SSL_ON), files=None, pause_s=0.0):
        folder = None
        if files is not None:
            folder = tmp_path / f"set{len(servers)}"
            folder.mkdir()
            for name, body in files.items():
                (folder / name).write_bytes(body)
        servers.append(FakeServer(answers, folder, pause_s))
        return servers[-1]

    with closing():
        yield make


def ask(server, ca=b"", timeout_s=10.0) -> Served:
    return probe(server.node, CALLER, ca, timeout_s)


def leaf(files) -> x509.Certificate:
    return x509.load_pem_x509_certificate(files["server.crt"])


def test_what_is_served_is_seen_and_verified(serving):
    files = sim_certs.new_set()
    server = serving(files=files)
    served = ask(server, files["cacert.pem"])
    assert served == Served(
        cm_node_id=7,
        target=f"127.0.0.1:{server.node.server_port}",
        state=ServedState.SSL_ON,
        fingerprint=leaf(files).fingerprint(SHA256()).hex(),
        chain_verified=True,
        not_after=leaf(files).not_valid_after_utc,
        leaf=leaf(files).public_bytes(Encoding.DER),
    )
    assert [len(frame) for frame in server.heard] == [129, 13]
    assert server.heard[0][5:8] == b"omm"


def test_a_chain_that_does_not_verify_is_told_with_the_certificate(serving):
    served = ask(serving(files=sim_certs.new_set()), sim_certs.old_set()["cacert.pem"])
    assert served.state is ServedState.SSL_ON
    assert served.fingerprint
    assert not served.chain_verified
    assert "unable to get local issuer certificate (20)" in served.cause


@pytest.mark.parametrize("body", [b"AAAA", b"!!!!"])
def test_a_cacert_that_was_spoilt_on_the_disk_does_not_hide_what_is_served(serving, body):
    files = sim_certs.new_set()
    block = b"-----BEGIN CERTIFICATE-----\n" + body + b"\n-----END CERTIFICATE-----\n"
    for ca in (block, files["cacert.pem"] + block):
        served = ask(serving(files=files), ca)
        assert (served.state, served.chain_verified) == (ServedState.SSL_ON, False)
        assert served.fingerprint == leaf(files).fingerprint(SHA256()).hex()
        assert "the live cacert.pem cannot be read" in served.cause


def test_a_leaf_that_only_openssl_can_read_is_told_without_its_date(serving):
    files = sim_certs.new_set()
    der = leaf(files).public_bytes(Encoding.DER)
    odd = der.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x05", 1)  # a version that there is not
    with pytest.raises(x509.InvalidVersion):
        x509.load_der_x509_certificate(odd)
    shown = files | {"server.crt": ssl.DER_cert_to_PEM_cert(odd).encode()}
    served = ask(serving(files=shown), files["cacert.pem"])
    assert (served.state, served.chain_verified) == (ServedState.SSL_ON, False)
    assert (served.leaf, served.not_after) == (odd, None)


def test_an_expired_leaf_is_told_with_its_date(serving):
    files = sim_certs.bent(server_days=(-9, -2))
    served = ask(serving(files=files), files["cacert.pem"])
    assert not served.chain_verified
    assert served.not_after == leaf(files).not_valid_after_utc
    assert "expired" in served.cause


def test_a_leaf_for_clients_only_does_not_verify(serving):
    files = sim_certs.bent(server_usage=(x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH,))
    served = ask(serving(files=files), files["cacert.pem"])
    assert not served.chain_verified
    assert "(26)" in served.cause


@pytest.mark.parametrize("ca", [b"", b"no certificate in here"])
def test_without_a_ca_the_certificate_is_seen_all_the_same(serving, ca):
    served = ask(serving(files=sim_certs.new_set()), ca)
    assert served.fingerprint
    assert not served.chain_verified
    assert "no live cacert.pem" in served.cause


def test_ssl_off_is_told(serving):
    server = serving((AUTHENTICATED, SSL_OFF))
    served = ask(server)
    assert (served.state, served.fingerprint, served.cause) == (ServedState.SSL_OFF, "", "")


def test_a_refusal_is_told_in_the_words_of_cm_server(serving):
    body = b"invalid host".ljust(128, b"\0")
    served = ask(serving((b"E\x00\x00\x00\x84" + body,)))
    assert served.state is ServedState.REFUSED
    assert served.cause == "cm_server refuses: invalid host"


def test_a_bare_close_is_a_refusal(serving):
    server = serving()
    server._talk = lambda connection: None
    served = ask(server)
    assert (served.state, served.cause) == (ServedState.REFUSED, "cm_server closed the connection")


def test_something_else_that_answers_is_a_refusal(serving):
    served = ask(serving((b"HTTP/1.1 400 Bad Request\r\n\r\n",)))
    assert served.state is ServedState.REFUSED
    assert "no frame of CM" in served.cause


def test_a_failing_handshake_is_a_refusal(serving):
    served = ask(serving((AUTHENTICATED, SSL_ON + b"this is no TLS at all")))
    assert served.state is ServedState.REFUSED
    assert "TLS handshake failed" in served.cause


def test_nobody_there_is_unreachable():
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    served = probe(CmNode(1, "x", "127.0.0.1", port), CALLER, b"", 5.0)
    assert served.state is ServedState.UNREACHABLE
    assert "refused" in served.cause.lower()


@pytest.mark.parametrize("answers", [(b"",), (AUTHENTICATED, b""), (AUTHENTICATED, SSL_ON)])
def test_whoever_falls_silent_is_unreachable_after_the_deadline(serving, answers):
    started = time.monotonic()
    served = ask(serving(answers), timeout_s=0.4)
    assert served.state is ServedState.UNREACHABLE
    assert 0.3 < time.monotonic() - started < 5


def test_the_deadline_holds_for_all_of_it_and_not_for_each_step(serving):
    started = time.monotonic()
    served = ask(serving((AUTHENTICATED, SSL_ON), sim_certs.new_set(), pause_s=0.4), timeout_s=0.6)
    assert served.state is ServedState.UNREACHABLE
    assert time.monotonic() - started < 5


def test_the_probe_comes_from_the_nodes_own_address(serving):
    server = serving((AUTHENTICATED, SSL_OFF))
    probe(server.node, Caller("omm", "db1", 1, "127.0.0.42"), b"", 5.0)
    assert server.peers == ["127.0.0.42"]


def test_all_are_probed_at_once_in_the_order_of_their_ids():
    def one(node, caller, ca, timeout_s):
        barrier.wait()
        asked.append((caller, ca, timeout_s))
        return Served(node.id, "", ServedState.SSL_ON)

    nodes = tuple(CmNode(i, f"db{i}", f"10.0.0.{i}", 5000, f"10.0.0.{i}") for i in (3, 1, 2))
    barrier = threading.Barrier(3, timeout=10)
    asked = []
    topology = CmTopology(3, (*nodes, CmNode(9, "db9", "", 0, "10.0.0.9")))
    served = probe_all(topology, "omm", b"ca", 2.0, probe_one=one)
    assert [one.cm_node_id for one in served] == [1, 2, 3]
    assert set(asked) == {(Caller("omm", "db3", 3, "10.0.0.3"), b"ca", 2.0)}


def test_without_a_local_node_nothing_is_probed():
    assert probe_all(CmTopology(), "omm", b"", 1.0) == ()
