"""The small pure pieces of the simulated CM."""

import datetime as dt
import importlib
import json
import stat

import pytest
from gausscert_sim import faults, pem, settings, tls, wire
from gausscert_sim.cm_ctl import MODULES
from gausscert_sim.ctl_encrypt import complaint
from gausscert_sim.ctl_options import ACCEPTED
from gausscert_sim.faults import Faults, QueryFault, StopFault
from gausscert_sim.quorum import ClusterState, Role, cluster_state, role
from support import sim_certs


@pytest.mark.parametrize(
    ("own", "linked", "total", "expected"),
    [
        (1, set(), 1, Role.PRIMARY),
        (1, {2}, 3, Role.PRIMARY),
        (2, {1, 3}, 3, Role.STANDBY),
        (2, {3}, 3, Role.PRIMARY),
        (1, set(), 3, Role.STANDBY),
        (1, set(), 2, Role.STANDBY),
        (1, {2}, 4, Role.STANDBY),
    ],
)
def test_the_lowest_of_a_linked_majority_is_primary(own, linked, total, expected):
    assert role(own, linked, total) is expected


@pytest.mark.parametrize(
    ("linked", "agents", "expected"),
    [
        ({2, 3}, {1, 2, 3}, ClusterState.NORMAL),
        ({2, 3}, {1, 2}, ClusterState.DEGRADED),
        ({2}, {1, 2, 3}, ClusterState.DEGRADED),
        ({2, 3}, {1}, ClusterState.UNAVAILABLE),
        (set(), {1, 2, 3}, ClusterState.UNAVAILABLE),
    ],
)
def test_the_cluster_is_as_good_as_its_servers_and_agents(linked, agents, expected):
    assert cluster_state(1, linked, agents, 3) is expected


def test_a_startup_packet_has_the_documented_bytes():
    packet = wire.StartupPacket("omm", "n1", "127.0.0.1", 3, wire.REMOTE_CTL, is_postmaster=True)
    message = wire.frame(wire.STARTUP, packet.encode())
    assert message[:5] == bytes.fromhex("4100000080")
    assert (len(message), message[5:8], message[5 + 32 : 5 + 34]) == (129, b"omm", b"n1")
    assert message[5 + 112 : 5 + 121] == bytes.fromhex("03000000 08000000 01")
    assert wire.StartupPacket.decode(message[5:]) == packet


def test_the_ssl_request_and_its_answers_have_the_documented_bytes():
    request = wire.frame(wire.COMMAND, wire.command(wire.SSL_REQUEST, 3))
    assert request == bytes.fromhex("430000000c 96000000 03000000")
    answer = wire.frame(wire.ANSWER, wire.command(wire.SSL_ACK, wire.SSL_ON))
    assert answer == bytes.fromhex("530000000c 97000000 01000000")
    assert wire.frame(wire.GOODBYE) == bytes.fromhex("5800000004")


def test_a_startup_packet_of_another_size_is_refused():
    with pytest.raises(wire.ConnectionEnded):
        wire.StartupPacket.decode(bytes(123))


@pytest.mark.parametrize("password", [b"Gauss#9Test", b"abcDEF12", b"aA1" + b"\xc3" * 5, b"123456789abcDE#"])
def test_passwords_that_cm_accepts(password):
    assert complaint(password) == ""


@pytest.mark.parametrize(
    ("password", "words"),
    [
        (b"", "at least eight characters"),
        (b"aA1#567", "at least eight characters"),
        (b"aA1#567890123456", "the length exceed 15"),
        (b"abcdefgh12", "at least three kinds"),
        (b"abcdefgh'1", "at least three kinds"),
    ],
)
def test_passwords_that_cm_refuses(password, words):
    assert words in complaint(password)


def test_only_the_first_certificate_of_a_file_counts():
    files = sim_certs.old_set()
    text = b"Subject: CN = server\n" + files["server.crt"] + files["cacert.pem"]
    assert pem.first_certificate(text) == files["server.crt"]
    with pytest.raises(ValueError, match="no certificate"):
        pem.first_certificate(b"nothing")


@pytest.mark.parametrize("days", [20, 365 * 30])
def test_the_end_of_a_certificate_is_read(days):
    # Beyond 2049 a certificate has GeneralizedTime instead of UTCTime (RFC 5280 section 4.1.2.5).
    certificate = sim_certs.bent(server_days=(-1, days))["server.crt"]
    wanted = dt.datetime.now(dt.UTC) + dt.timedelta(days=days)
    assert abs(pem.not_after(certificate) - wanted) < dt.timedelta(minutes=10)


@pytest.mark.parametrize("mode", [0o400, 0o000])
def test_modes_that_cm_accepts(tmp_path, mode):
    _put(tmp_path, mode)
    tls.check_modes(tmp_path, "server", tls.CM_FORBIDDEN)


@pytest.mark.parametrize("mode", [0o600, 0o200, 0o500, 0o440, 0o404, 0o401])
def test_modes_that_cm_refuses(tmp_path, mode):
    _put(tmp_path, mode)
    with pytest.raises(tls.ModeFailure, match="has execute, group or world access permission"):
        tls.check_modes(tmp_path, "server", tls.CM_FORBIDDEN)


def _put(directory, mode):
    for name in tls.names("server"):
        (directory / name).touch(mode=0o400)
    (directory / "server.crt").chmod(mode)


def test_faults_come_back_as_they_were_saved(tmp_path):
    (tmp_path / "sim").mkdir()
    assert faults.load(tmp_path) == Faults()
    wanted = Faults(stop=StopFault.LIE, query=QueryFault.HANG, unreachable=(2,), server_refuses=True)
    faults.save(tmp_path, wanted)
    assert faults.load(tmp_path) == wanted
    assert stat.S_IMODE(faults.faults_path(tmp_path).stat().st_mode) == 0o600


def test_faults_may_be_written_by_hand_but_not_misspelt(tmp_path):
    (tmp_path / "sim").mkdir()
    faults.faults_path(tmp_path).write_text('{"stop": "partly"}')
    assert faults.load(tmp_path) == Faults(stop=StopFault.PARTLY)
    for wrong in ({"stopp": "lie"}, {"stop": "lies"}):
        faults.faults_path(tmp_path).write_text(json.dumps(wrong))
        with pytest.raises(ValueError, match=r"stopp|lies"):
            faults.load(tmp_path)


@pytest.mark.parametrize("value", ["", "/opt/a;b", "/opt/$x", "/opt/a b\n"])
def test_a_home_that_a_shell_would_interpret_is_refused(monkeypatch, value):
    monkeypatch.delenv("CM_HOME", raising=False)
    monkeypatch.setenv("GAUSSHOME", value)
    with pytest.raises(settings.NoHome):
        settings.home_from_environment()


def test_cm_home_goes_before_gausshome(monkeypatch, tmp_path):
    monkeypatch.setenv("GAUSSHOME", "/other")
    monkeypatch.setenv("CM_HOME", str(tmp_path))
    assert settings.home_from_environment() == tmp_path


def test_every_command_with_options_has_a_module_that_runs_it():
    assert MODULES.keys() == ACCEPTED.keys()
    for name in set(MODULES.values()):
        assert callable(importlib.import_module(f"gausscert_sim.{name}").run)
