from __future__ import annotations

import pytest
from gausscert_agent.drivers import cm_packets
from gausscert_agent.drivers.cm_packets import Caller
from gausscert_common.errors import NodeFailure, Reason

CALLER = Caller("omm", "db2", 2, "10.0.0.2")


def test_the_startup_packet_byte_for_byte():
    assert cm_packets.startup(CALLER) == (
        b"A\x00\x00\x00\x80"
        + b"omm".ljust(32, b"\0")
        + b"db2".ljust(64, b"\0")
        + b"10.0.0.2".ljust(16, b"\0")
        + b"\x02\x00\x00\x00"
        + b"\x08\x00\x00\x00"
        + b"\x01\x00\x00\x00"
    )


def test_names_too_long_are_cut_so_that_they_end():
    packet = cm_packets.startup(Caller("u" * 40, "n" * 70, 1, "fe80::1234:5678:9abc:def0"))
    assert len(packet) == 5 + 124
    assert packet[5 : 5 + 32] == b"u" * 31 + b"\0"
    assert packet[5 + 32 : 5 + 96] == b"n" * 63 + b"\0"
    assert packet[5 + 111] == 0


def test_the_ssl_request_byte_for_byte():
    assert cm_packets.ssl_request(0x0102) == b"C\x00\x00\x00\x0c\x96\x00\x00\x00\x02\x01\x00\x00"


def test_a_header_is_a_type_and_the_length_behind_it():
    assert cm_packets.header(b"R\x00\x00\x00\x08") == (b"R", 4)


@pytest.mark.parametrize("raw", [b"HTTP/", b"R\x00\x00\x00\x03", b"R\xff\xff\xff\xff"])
def test_what_is_no_frame_is_refused(raw):
    with pytest.raises(NodeFailure, match="no frame of CM"):
        cm_packets.header(raw)


def test_authentication_is_accepted():
    cm_packets.require_authenticated(b"R", b"\0\0\0\0")


@pytest.mark.parametrize(
    ("kind", "body", "words"),
    [
        (b"E", b"invalid host".ljust(128, b"\0"), "cm_server refuses: invalid host"),
        (b"E", b"invalid connection\0", "cm_server refuses: invalid connection"),
        (b"R", b"\x01\0\0\0", "Kerberos"),
        (b"R", b"", "type b'R'"),
        (b"Q", b"\0\0\0\0", "type b'Q'"),
    ],
)
def test_whatever_else_answers_the_startup_is_refused(kind, body, words):
    with pytest.raises(NodeFailure) as caught:
        cm_packets.require_authenticated(kind, body)
    assert caught.value.reason is Reason.NOT_PROVEN
    assert words in caught.value.message


def test_the_acknowledgement_tells_on_and_off():
    assert cm_packets.ssl_is_on(b"S", b"\x97\0\0\0\x01\0\0\0")
    assert not cm_packets.ssl_is_on(b"S", b"\x97\0\0\0\x02\0\0\0")


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (b"S", b"\x97\0\0\0\x03\0\0\0"),
        (b"S", b"\x96\0\0\0\x01\0\0\0"),
        (b"S", b"\x97\0\0\0"),
        (b"E", b"no\0"),
        (b"R", b"\x97\0\0\0\x01\0\0\0"),
    ],
)
def test_whatever_else_answers_the_ssl_request_is_refused(kind, body):
    with pytest.raises(NodeFailure):
        cm_packets.ssl_is_on(kind, body)
