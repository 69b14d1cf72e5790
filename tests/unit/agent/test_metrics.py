"""What Prometheus is told, read back by its own parser, over the real endpoint."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from gausscert_agent import metrics, metrics_server
from gausscert_agent.expiry import Alarm, alarms, expiry_report, with_served
from gausscert_agent.last_end import End
from gausscert_agent.looks import Check
from gausscert_agent.metrics import METRICS, Seen
from gausscert_agent.metrics_server import AT_ONCE, MetricsServer
from gausscert_agent.node_findings import node_finding
from gausscert_common.errors import InvalidInput, Reason
from gausscert_common.model import Certificate, CertificateKind, Served, ServedState
from gausscert_common.protocol.state import NodeState, Transaction
from gausscert_common.protocol.words import Outcome, Phase, RestartScope, SslWish, Tombstone
from prometheus_client.parser import text_string_to_metric_families
from support.edges import no_threads_are_left  # noqa: F401 - a fixture for all tests here

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)


def certificate(days, kind=CertificateKind.SERVER, *, file="server.crt", index=0, subject="CN=server"):
    end = NOW + timedelta(days=days)
    return Certificate(file, index, kind, subject, "CN=ca", f"0{index}", "ff", NOW - timedelta(1), end)


SET = (
    certificate(10),
    certificate(-1, CertificateKind.CLIENT, file="client.crt", subject='CN="odd\\name"'),
    certificate(80, CertificateKind.CA, file="cacert.pem"),
    certificate(80, CertificateKind.CA, file="cacert.pem", index=1),
)


SERVED = Served(1, "10.0.0.1:5000", ServedState.SSL_ON, "ee", True, NOW + timedelta(days=5))


CONTROL_PLANE = (
    certificate(800, CertificateKind.CREDENTIAL, file="credential.pem"),
    certificate(70, CertificateKind.CREDENTIAL_CA, file="ca.crt", subject="CN=old"),
    certificate(3000, CertificateKind.CREDENTIAL_CA, file="ca.crt", index=1, subject="CN=new"),
)


def seen(*certificates, served=None, **changes) -> Seen:
    report = with_served(expiry_report("n1", certificates, NOW, 90), served)
    report = replace(report, control_plane=CONTROL_PLANE)
    check = Check(NOW, report, True, True, alarms(report), ())
    state = NodeState(tombstones=(Tombstone("tx-2", Outcome.ABORTED), Tombstone("tx-1", Outcome.COMMITTED)))
    whole = Seen("n1", "prod", NOW, check, state, End("tx-2", 1_700_000_000.5), 3600.0, True)
    return replace(whole, **changes)


class Endpoint:
    """A real one; what is seen may be changed."""

    def __init__(self, shown: Seen | None) -> None:
        self.shown = shown
        self.server = MetricsServer("127.0.0.1:0", metrics.registry(self._see))
        self.server.start()

    def _see(self) -> Seen:
        if self.shown is None:
            raise RuntimeError("secret text of a bug")
        return self.shown

    def get(self, path="/metrics", method="GET") -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=10)
        connection.request(method, path)
        answer = connection.getresponse()
        body = answer.read().decode()
        connection.close()
        return answer.status, body

    def samples(self) -> dict[str, dict[tuple[str, ...], float]]:
        status, body = self.get()
        assert status == 200
        found: dict[str, dict[tuple[str, ...], float]] = {}
        for family in text_string_to_metric_families(body):
            for sample in family.samples:
                labels = tuple(sample.labels[label] for label in METRICS[sample.name][1])
                assert labels not in found.setdefault(sample.name, {}), "told twice"
                found[sample.name][labels] = sample.value
        return found


@pytest.fixture
def endpoint():
    made = Endpoint(seen(*SET))
    yield made
    made.server.close()


def test_all_that_is_documented_is_told_and_nothing_else(endpoint):
    assert set(endpoint.samples()) == set(METRICS)


def test_each_certificate_with_the_seconds_it_has_left(endpoint):
    left = endpoint.samples()["gausscert_certificate_expiry_seconds"]
    assert left == {
        ("disk", "server.crt", "0", "server", "CN=server", "00"): 10 * 86_400,
        ("disk", "client.crt", "0", "client", 'CN="odd\\name"', "00"): -86_400,
        ("disk", "cacert.pem", "0", "ca", "CN=server", "00"): 80 * 86_400,
        ("disk", "cacert.pem", "1", "ca", "CN=server", "01"): 80 * 86_400,
    }


def test_each_ca_of_the_control_plane_has_seconds_of_its_own(endpoint):
    told = endpoint.samples()
    left = told["gausscert_credential_ca_expiry_seconds"]
    assert left == {("CN=old", "00"): 70 * 86_400, ("CN=new", "01"): 3000 * 86_400}
    assert not any("ca.crt" in labels or "credential.pem" in labels for labels in told["gausscert_alarm"])


def test_what_is_served_has_seconds_of_its_own_as_long_as_it_is_served(endpoint):
    endpoint.shown = seen(certificate(999), served=SERVED)
    told = endpoint.samples()
    assert told["gausscert_certificate_expiry_seconds"] == {
        ("disk", "server.crt", "0", "server", "CN=server", "00"): 999 * 86_400,
        ("served", "served by cm_server", "0", "server", "", ""): 5 * 86_400,
    }
    assert told["gausscert_alarm"] == {("CERTIFICATE_EXPIRING", "served by cm_server", "warning"): 1}

    endpoint.shown = seen(certificate(999), served=replace(SERVED, state=ServedState.UNREACHABLE))
    left = endpoint.samples()["gausscert_certificate_expiry_seconds"]
    assert [labels[0] for labels in left] == ["disk"]


@pytest.mark.parametrize("serves", [True, False])
def test_whether_cm_server_serves(endpoint, serves):
    endpoint.shown = replace(endpoint.shown, check=replace(endpoint.shown.check, serves=serves))
    assert endpoint.samples()["gausscert_cm_server_serves"] == {(): float(serves)}


def test_the_metric_of_a_certificate_that_is_gone_disappears(endpoint):
    endpoint.shown = seen(certificate(999))
    told = endpoint.samples()
    assert list(told["gausscert_certificate_expiry_seconds"]) == [
        ("disk", "server.crt", "0", "server", "CN=server", "00")
    ]
    assert "gausscert_alarm" not in told
    assert told["gausscert_alarm_state"] == {(): 0}


def test_alarms_by_code_and_the_worst_of_them(endpoint):
    told = endpoint.samples()
    assert told["gausscert_alarm"] == {
        ("CERTIFICATE_EXPIRED", "client.crt", "error"): 1,
        ("CERTIFICATE_EXPIRING", "server.crt", "warning"): 1,
        ("CA_EXPIRING", "cacert.pem", "warning"): 1,
    }
    assert told["gausscert_alarm_state"] == {(): 2}
    endpoint.shown = seen(certificate(10))
    assert endpoint.samples()["gausscert_alarm_state"] == {(): 1}


def test_time_passes_between_a_look_and_a_scrape(endpoint):
    endpoint.shown = seen(certificate(10), now=NOW + timedelta(hours=1))
    told = endpoint.samples()
    assert list(told["gausscert_certificate_expiry_seconds"].values()) == [10 * 86_400 - 3600]
    assert told["gausscert_last_check_timestamp_seconds"] == {(): NOW.timestamp()}


def test_the_last_transaction(endpoint):
    told = endpoint.samples()
    assert told["gausscert_last_transaction_committed"] == {("tx-2",): 0}
    assert told["gausscert_last_transaction_end_timestamp_seconds"] == {(): 1_700_000_000.5}
    assert told["gausscert_transaction_in_flight"] == {(): 0}
    endpoint.shown = seen(
        *SET, state=NodeState(tombstones=(Tombstone("tx-1", Outcome.COMMITTED),)), ended=None
    )
    told = endpoint.samples()
    assert told["gausscert_last_transaction_committed"] == {("tx-1",): 1}
    assert "gausscert_last_transaction_end_timestamp_seconds" not in told


@pytest.mark.parametrize(
    ("phase", "excluded", "waits"),
    [(Phase.SWAPPED, ("n3",), 0), (Phase.COMMITTED, ("n3",), 1), (Phase.COMMITTED, (), 0)],
)
def test_a_transaction_that_waits_for_nodes_that_were_left_out(endpoint, phase, excluded, waits):
    told = Transaction(
        "tx-3", ("n1", "n2"), "a", SslWish.KEEP, RestartScope.NODE, 0.0, new_digest="b", excluded=excluded
    )
    endpoint.shown = seen(*SET, state=NodeState(phase=phase, transaction=told))

    samples = endpoint.samples()

    assert samples["gausscert_transaction_in_flight"] == {(): 1}
    assert samples["gausscert_transaction_waits"] == {(): waits}


def test_what_is_not_known_is_not_told(endpoint):
    """A damaged journal, a set that cannot be read, no cm_server, no credential."""
    check = Check(NOW, None, None, None, (Alarm(node_finding("NODE_NOT_OBSERVED")),), ())
    endpoint.shown = seen(check=check, state=None, ended=None, credential_s=None, healthy=False)
    told = endpoint.samples()
    assert set(told) == {
        "gausscert_build_info",
        "gausscert_last_check_timestamp_seconds",
        "gausscert_alarm_state",
        "gausscert_alarm",
        "gausscert_healthy",
    }
    assert told["gausscert_healthy"] == {(): 0}
    assert told["gausscert_build_info"] == {("0.1.0", "prod", "n1"): 1}


def test_other_paths_and_methods_are_refused(endpoint):
    assert endpoint.get("/")[0] == 404
    assert endpoint.get("/metrics/..")[0] == 404
    assert endpoint.get(method="POST")[0] == 501
    assert endpoint.get("/metrics?x=1")[0] == 200


def test_a_bug_is_told_without_its_text(endpoint, caplog):
    endpoint.shown = None
    status, body = endpoint.get()
    assert status == 500
    assert "secret" not in body + caplog.text
    endpoint.shown = seen(*SET)
    assert endpoint.get()[0] == 200


def test_silent_callers_are_bounded(endpoint):
    silent = [socket.create_connection(("127.0.0.1", endpoint.server.port)) for _ in range(AT_ONCE)]
    turned_away = socket.create_connection(("127.0.0.1", endpoint.server.port))
    turned_away.settimeout(30)
    assert turned_away.recv(1) == b""
    serving = [thread for thread in threading.enumerate() if "process_request_thread" in thread.name]
    assert len(serving) == AT_ONCE
    for each in (*silent, turned_away):
        each.close()
    for thread in serving:
        thread.join(30)
    assert endpoint.get()[0] == 200


def test_a_silent_caller_is_not_waited_for(endpoint):
    with socket.create_connection(("127.0.0.1", endpoint.server.port), 5) as silent:
        silent.settimeout(20)
        assert silent.recv(1) == b""


def test_a_caller_that_drips_is_not_waited_for_either(endpoint, monkeypatch):
    monkeypatch.setattr(metrics_server, "LONGEST_S", 1.0)
    with socket.create_connection(("127.0.0.1", endpoint.server.port), 5) as dripping:
        dripping.settimeout(0.1)
        deadline = time.monotonic() + 20
        said = None
        while said is None:
            assert time.monotonic() < deadline, "it is served still"
            try:
                dripping.sendall(b"G")
                said = dripping.recv(1)
            except TimeoutError:
                continue
            except ConnectionError:
                said = b""
    assert said == b""


def test_a_port_that_is_taken_is_named(endpoint):
    with pytest.raises(InvalidInput) as caught:
        MetricsServer(f"127.0.0.1:{endpoint.server.port}", metrics.registry(endpoint._see))
    assert caught.value.reason is Reason.CONFIG_INVALID
    assert "address already in use" in caught.value.message


def test_an_agent_without_the_endpoint_does_without_its_library():
    script = (
        "import sys\n"
        "import gausscert_agent.app, gausscert_agent.config_file\n"
        "unwanted = {'prometheus_client', 'http.server', 'socketserver'} & set(sys.modules)\n"
        "assert not unwanted, unwanted\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stderr == ""
