"""How the simulated cm_server loads, refuses and serves: facts sections 2, 4, 9 and 17."""

import os
import re
import signal
import socket
import ssl
import struct
import subprocess
from contextlib import suppress

import pytest
from gausscert_agent.drivers.cm_logs import CmLogs
from gausscert_sim import wire
from gausscert_sim.cluster import SimulatedCluster
from gausscert_sim.faults import Faults
from support import sim_certs, sim_run
from support.sim_run import until

FAST = 0.01
STARTED = []


@pytest.fixture
def cluster(tmp_path):
    with SimulatedCluster.create(tmp_path, nodes=1, time_scale=FAST) as cluster:
        cluster.nodes[0].install(sim_certs.old_set())
        yield cluster
    for process in STARTED:
        process.wait()
    STARTED.clear()


@pytest.fixture
def node(cluster):
    return cluster.nodes[0]


CAUSES = {
    "key 0600": ("CM_LOG_FILE_MODE", "server.key"),
    "certificate 0600": ("CM_LOG_FILE_MODE", "server.crt"),
    "ca 0600": ("CM_LOG_FILE_MODE", "cacert.pem"),
    "key 0440": ("CM_LOG_FILE_MODE", "server.key"),
    "ca 0404": ("CM_LOG_FILE_MODE", "cacert.pem"),
    "no certificate": ("CM_LOG_FILE_MISSING", ""),
    "no ca": ("CM_LOG_FILE_MISSING", ""),
    "no key": ("CM_LOG_FILE_MISSING", ""),
    "no cipher": ("CM_LOG_FACTOR_FILES", "server.key.cipher"),
    "no rand": ("CM_LOG_FACTOR_FILES", "server.key.rand"),
    "short rand": ("CM_LOG_FACTOR_FILES", ""),
    "other password": ("CM_LOG_KEY_PASSWORD", ""),
    "other key": ("CM_LOG_KEY_MISMATCH", ""),
    "DER": ("CM_LOG_NOT_LOADED", ""),
    "empty certificate": ("CM_LOG_NOT_LOADED", ""),
    "garbage ca": ("CM_LOG_NOT_LOADED", ""),
    "garbage crl": ("CM_LOG_NOT_LOADED", ""),
}
"""What the agent makes of the logs: finding and file."""


def causes_since(node, act):
    """The findings of the agent about what is logged while something is done."""
    logs = CmLogs(node.log_path)
    logs.mark()
    act()
    return [(found.code, found.file) for found in logs.causes()]


def start_alone(node):
    """cm_server without anybody who looks after it; its exit code, or None if it stays."""
    process = subprocess.Popen(
        [str(node.record.program("cm_server"))],
        env={**node.environment(), "CANARY": "in the environment"},
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    STARTED.append(process)
    while True:
        try:
            return process.wait(timeout=0.05)
        except subprocess.TimeoutExpired:
            if "cm_server changes to Primary" in sim_run.server_log(node):
                return None


def put(name, body=None, mode=0o400):
    def bend(node):
        files = node.installed()
        node.put(name, files[name] if body is None else body, mode)

    return bend


def remove(name):
    return lambda node: (node.set_directory / name).unlink()


def install(**changes):
    return lambda node: node.install(sim_certs.bent(**changes))


DER = ssl.PEM_cert_to_DER_cert(sim_certs.old_set()["server.crt"].decode())
NOT_STARTED = "Failed to start dcc."
REFUSALS = {
    "key 0600": (put("server.key", mode=0o600), "has execute, group or world access", ""),
    "certificate 0600": (put("server.crt", mode=0o600), "ssl init failed.", ""),
    "ca 0600": (put("cacert.pem", mode=0o600), "ssl init failed.", ""),
    "key 0440": (put("server.key", mode=0o440), NOT_STARTED, "has execute, group or world access"),
    "ca 0404": (put("cacert.pem", mode=0o404), NOT_STARTED, "has execute, group or world access"),
    "no certificate": (remove("server.crt"), "failed to init ddb server, cms will exit.", ""),
    "no ca": (remove("cacert.pem"), "ssl file does not exist.", ""),
    "no key": (remove("server.key"), "ssl file does not exist.", ""),
    "no cipher": (remove("server.key.cipher"), "Failed to ssl text, cms will exit.", ""),
    "no rand": (remove("server.key.rand"), "could not open file", ""),
    "short rand": (put("server.key.rand", b"x" * 23), "could not read file", ""),
    "other password": (install(factor_password=b"Other#9Test"), NOT_STARTED, "Unable to get private key"),
    "other key": (
        put("server.key", sim_certs.old_set()["client.key"]),
        NOT_STARTED,
        "Private key does not match the certificate public key",
    ),
    "DER": (put("server.crt", DER), NOT_STARTED, "Unable to get certificate."),
    "empty certificate": (put("server.crt", b""), NOT_STARTED, "Unable to get certificate."),
    "garbage ca": (put("cacert.pem", b"garbage"), NOT_STARTED, "Load CA certificate file failed"),
    "garbage crl": (put("server.crl", b"garbage"), "ssl init failed.", ""),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_it_refuses_and_leaves_the_reason_where_cm_does(node, case):
    bend, in_log, in_dcc_log = REFUSALS[case]
    bend(node)
    codes = []

    def act():
        codes.append(start_alone(node))

    assert causes_since(node, act) == [CAUSES[case]]
    assert codes == [255]
    assert in_log in sim_run.server_log(node)
    assert in_dcc_log in sim_run.dcc_log(node)
    assert not node.record.pid_file("cm_server").exists()


OLD = sim_certs.old_set()
ACCEPTED = {
    "as it should be": put("server.crt"),
    "key 0000, readable by root alone": put("server.key", mode=0o000),
    "factor files of any mode": put("server.key.rand", mode=0o644),
    "wrong checksum": put("server.key.rand", OLD["server.key.rand"][:-1] + b"\xff"),
    "trailing bytes": put("server.key.cipher", OLD["server.key.cipher"] + b"more"),
    "text before the certificate": put("server.crt", b"Certificate:\n" + OLD["server.crt"]),
    "another certificate behind it": put("server.crt", OLD["server.crt"] + OLD["cacert.pem"]),
    "spoilt client files": put("client.key", b"garbage"),
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_it_runs_with_what_cm_never_checks(node, case):
    if "root alone" in case and os.getuid() != 0:
        pytest.skip("only root reads a 0000 file")
    ACCEPTED[case](node)
    assert start_alone(node) is None
    assert "[INST] srv_init_ssl: ssl init success." in sim_run.server_log(node)


def test_factor_files_of_the_other_build_end_it(node):
    """The read succeeds, the decryption gives noise: refused at once, or as a wrong password."""
    node.install(sim_certs.bent(libpq_off=True))
    assert start_alone(node) == 255
    assert re.search(r"Failed to ssl text|Failed to start dcc", sim_run.server_log(node))


@pytest.mark.parametrize(("threshold", "code"), [(6, 255), (7, None), (180, None), (181, 255)])
def test_a_wild_threshold_ends_it(node, threshold, code):
    conf = node.record.conf("cm_server")
    text = conf.read_text()
    conf.write_text(text.replace("alert_threshold = 90", f"alert_threshold = {threshold}"))
    codes = []
    causes = causes_since(node, lambda: codes.append(start_alone(node)))
    assert codes == [code]
    assert causes == ([("CM_LOG_THRESHOLD", "")] if code else [])


def test_an_expired_certificate_is_served_and_refused_by_every_client(node):
    node.install(sim_certs.bent(server_days=(-20, -10)))
    assert start_alone(node) is None
    assert "The server certificate is expired" in sim_run.server_log(node)
    done = sim_run.cm_ctl(node, "query", "-Cv")
    assert (done.code, "result code is 10" in done.out) == (255, True)
    assert causes_since(node, lambda: sim_run.cm_ctl(node, "query", "-Cv")) == [("CM_LOG_EXPIRED", "")]


def test_a_certificate_of_tomorrow_is_not_even_logged(node):
    node.install(sim_certs.bent(server_days=(1, 100)))
    assert start_alone(node) is None
    assert "expired" not in sim_run.server_log(node)
    assert "result code is 9" in sim_run.cm_ctl(node, "query", "-Cv").out


def test_a_certificate_that_ends_soon_is_warned_about(node):
    node.install(sim_certs.bent(server_days=(-1, 20)))
    assert start_alone(node) is None
    assert re.search(r"WARNING: .*server certificate will expire in (19|20) days", sim_run.server_log(node))


def every_few_moments(node, role):
    """CM's daily check, in this simulation's time every third of a second."""
    conf = node.record.conf(role)
    kept = [line for line in conf.read_text().splitlines() if "check_interval" not in line]
    conf.write_text("\n".join([*kept, "ssl_cert_expire_check_interval = 30", ""]))


def test_what_was_loaded_is_warned_about_again_each_interval_whatever_lies_on_the_disk(node):
    every_few_moments(node, "cm_server")
    node.install(sim_certs.bent(server_days=(-1, 20), authority_days=(-1, 60)))
    assert start_alone(node) is None
    for line in (r"server certificate will expire in \d+ days", r"ca will expire in \d+ days"):
        until(lambda line=line: len(re.findall(line, sim_run.server_log(node))) >= 3, line)
    node.install(sim_certs.new_set())
    seen = sim_run.server_log(node).count("will expire")
    until(lambda: sim_run.server_log(node).count("will expire") >= seen + 2, "it goes on")


def test_cm_agent_warns_of_its_own_certificate_and_the_cas_with_tls_among_the_agents_only(cluster, node):
    every_few_moments(node, "cm_agent")
    node.install(sim_certs.bent(client_days=(-1, 20), authority_days=(-1, 60)))
    cluster.start()
    for line in (r"client certificate will expire in \d+ days", r"ca will expire in \d+ days"):
        until(lambda line=line: len(re.findall(line, sim_run.agent_log(node))) >= 3, line)
    assert "client certificate" not in sim_run.server_log(node)

    cluster.stop()
    conf = node.record.conf("cm_agent")
    conf.write_text(re.sub(r"(?m)^enable_ssl = on", "enable_ssl = off", conf.read_text()))
    seen = sim_run.agent_log(node).count("will expire")
    cluster.start()
    assert sim_run.agent_log(node).count("will expire") == seen


def test_a_wild_threshold_is_only_logged_by_cm_agent(cluster, node):
    conf = node.record.conf("cm_agent")
    conf.write_text(re.sub(r"(?m)^(ssl_cert_expire_alert_threshold) = 90", r"\1 = 6", conf.read_text()))
    cluster.start()
    assert "invalid ssl expire alert threshold 6, must between 7 and 180" in sim_run.agent_log(node)


def test_its_whole_environment_is_in_its_log(node):
    assert start_alone(node) is None
    assert "CANARY=in the environment" in sim_run.server_log(node)
    assert "simulated CM" in sim_run.server_log(node).splitlines()[0]


def test_replaced_files_and_a_reload_change_nothing_until_it_is_restarted(node):
    assert start_alone(node) is None
    before = node.served_fingerprint()
    node.install(sim_certs.new_set())
    assert "reload cm_server.conf success." in sim_run.cm_ctl(node, "reload", "--param", "--server").out
    assert node.served_fingerprint() == before != ""
    (pid,) = sim_run.pids(node, "cm_server")
    os.kill(pid, signal.SIGTERM)
    until(lambda: not sim_run.pids(node, "cm_server"), "SIGTERM ends it")
    node.record.log_path.joinpath("cm", "cm_server").rename(node.log_path / "kept")
    assert start_alone(node) is None
    assert node.served_fingerprint() not in ("", before)


def test_a_scripted_server_starts_with_one_certificate_and_not_with_another(node):
    assert start_alone(node) is None
    old = node.served_fingerprint()
    (pid,) = sim_run.pids(node, "cm_server")
    os.kill(pid, signal.SIGKILL)
    until(lambda: not sim_run.pids(node, "cm_server"), "SIGKILL ends it")
    node.record.log_path.joinpath("cm", "cm_server").rename(node.log_path / "kept")
    node.faults = Faults(server_accepts_only=(old,))
    node.install(sim_certs.new_set())
    assert start_alone(node) == 255
    node.install(sim_certs.old_set())
    assert start_alone(node) is None


# The exchange of section 9


@pytest.fixture
def served(node):
    assert start_alone(node) is None
    return node


def dial(node, source=None):
    address = (node.address, node.port)
    return socket.create_connection(address, timeout=5, source_address=(source or node.address, 0))


def packet(node, **changes):
    values = {
        "user": node.settings.user,
        "node_name": "probe",
        "host": node.address,
        "node_id": 1,
        "remote_type": wire.REMOTE_CTL,
        "is_postmaster": True,
    }
    return wire.frame(wire.STARTUP, wire.StartupPacket(**{**values, **changes}).encode())


@pytest.mark.parametrize(
    ("source", "changes", "answer"),
    [
        ("127.0.0.1", {}, b"invalid host".ljust(128, b"\0")),
        (None, {"user": "stranger"}, b"invalid connection\0"),
        (None, {"remote_type": 9}, b"invalid remote type".ljust(128, b"\0")),
    ],
)
def test_strangers_are_turned_away_with_these_bytes(served, source, changes, answer):
    with dial(served, source) as connection:
        connection.sendall(packet(served, **changes))
        assert wire.receive(connection) == (b"E", answer)
        assert connection.recv(1) == b""


def test_the_upgrade_goes_as_documented_and_needs_no_client_certificate(served):
    with dial(served) as connection:
        connection.sendall(packet(served))
        assert connection.recv(9, socket.MSG_WAITALL) == bytes.fromhex("5200000008 00000000")
        connection.sendall(bytes.fromhex("430000000c 96000000 01000000"))
        assert connection.recv(13, socket.MSG_WAITALL) == bytes.fromhex("530000000c 97000000 01000000")
        context = ssl.create_default_context(cadata=sim_certs.old_set()["cacert.pem"].decode())
        context.check_hostname = False
        with context.wrap_socket(connection) as secure:
            assert secure.version() == "TLSv1.3"
            assert secure.getpeercert(binary_form=True) == DER
            secure.sendall(wire.frame(wire.COMMAND, wire.command(wire.QUERY)))
            assert wire.read_query_answer(wire.receive(secure)[1])["role"] == "Primary"


def test_of_its_file_only_the_first_certificate_is_sent(node):
    other = sim_certs.new_set()["cacert.pem"]
    node.put("server.crt", OLD["server.crt"] + other)
    assert start_alone(node) is None
    done = subprocess.run(
        [
            "openssl",
            "s_client",
            "-connect",
            f"{node.address}:{node.record.ha_port}",
            "-showcerts",
        ],
        input=b"",
        capture_output=True,
        timeout=20,
        check=False,
    )
    assert OLD["server.crt"] in done.stdout
    assert other not in done.stdout


def test_whoever_skips_the_ssl_request_is_dropped(served):
    with dial(served) as connection:
        connection.sendall(packet(served))
        wire.receive(connection)
        connection.sendall(wire.frame(wire.COMMAND, wire.command(wire.QUERY)))
        assert connection.recv(1) == b""
    until(
        lambda: "It will disconnect the connection for msg type" in sim_run.server_log(served),
        "the reason is in the log",
    )


@pytest.mark.parametrize(
    "noise", [b"GET / HTTP/1.0\r\n\r\n", struct.pack(">cI", b"A", 5) + b"x", b"\x16\x03\x01"]
)
def test_noise_does_not_end_it(served, noise):
    with dial(served) as connection, suppress(ConnectionResetError):
        connection.sendall(noise)
        with suppress(OSError):  # it has hung up already
            connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""
    assert served.served_fingerprint() != ""


def test_a_client_certificate_of_another_ca_is_refused(served):
    served.install({**sim_certs.old_set(), **_client_files(sim_certs.new_set())})
    done = sim_run.cm_ctl(served, "query", "-Cv")
    assert done.code == 255
    assert "can't connect to cm_server.\nMaybe cm_server is not running" in done.out
    until(lambda: "srv ssl accept failed" in sim_run.server_log(served), "the server says why")


def test_a_stale_revocation_list_of_the_client_breaks_it(served):
    served.put("client.crl", sim_certs.revocation_list("old", days=(-9, -3)))
    assert "result code is 12" in sim_run.cm_ctl(served, "query", "-Cv").out
    served.put("client.crl", sim_certs.revocation_list("new"))
    assert "result code is 3" in sim_run.cm_ctl(served, "query", "-Cv").out
    served.put("client.crl", sim_certs.revocation_list("old"))
    assert "result code" not in sim_run.cm_ctl(served, "query", "-Cv").out


def _client_files(files):
    return {name: body for name, body in files.items() if name.startswith("client")}
