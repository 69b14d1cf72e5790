from __future__ import annotations

import os

import pytest
from gausscert_agent.drivers import cm_conf
from gausscert_agent.drivers.cm_conf import Conf
from gausscert_common.errors import NodeFailure, Reason
from gausscert_common.model import SslValue


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("enable_ssl = on", SslValue.ON),
        ("enable_ssl = on   # enable cma to cma ssl", SslValue.ON),
        ("enable_ssl=off", SslValue.OFF),
        ("  enable_ssl\t=\tTRUE", SslValue.ON),
        ("enable_ssl = yes\r", SslValue.ON),
        ("enable_ssl = 1", SslValue.ON),
        ("enable_ssl = t", SslValue.ON),
        ("enable_ssl = 0", SslValue.OFF),
        ("enable_ssl = 'on'", SslValue.OFF),
        ("enable_ssl = ", SslValue.OFF),
        ("enable_ssl = off\nenable_ssl = on", SslValue.OFF),
        ("#enable_ssl = off\nenable_ssl = on", SslValue.ON),
        ("# enable_ssl = on", SslValue.COMMENTED),
        ("  ## enable_ssl=on", SslValue.COMMENTED),
        ("# see enable_ssl = on in the manual", SslValue.MISSING),
        ("enable_ssl_other = on", SslValue.MISSING),
        ("not_enable_ssl = on", SslValue.MISSING),
        ("enable_ssl", SslValue.MISSING),
        ("", SslValue.MISSING),
    ],
)
def test_enable_ssl_is_read_as_cm_reads_it(line, value):
    assert cm_conf.parse(f"log_dir = /x\n{line}\nport = 1").enable_ssl is value


def test_a_file_that_is_not_there_is_told_from_one_without_the_line():
    assert cm_conf.parse(None) == Conf(SslValue.ABSENT)


@pytest.mark.parametrize(
    ("text", "days"), [("90", 90), ("7 # days", 7), ("abc", 0), ("12x", 12), ("-3", -3), ("", 0)]
)
def test_numbers_are_read_as_cm_reads_them(text, days):
    assert cm_conf.parse(f"ssl_cert_expire_alert_threshold = {text}").alert_threshold_days == days


def test_numbers_that_are_not_set_are_none():
    assert cm_conf.parse("#ssl_cert_expire_check_interval = 5") == Conf(SslValue.MISSING, None, None)


def test_the_file_is_read(tmp_path):
    path = tmp_path / "cm_server.conf"
    path.write_bytes(b"enable_ssl = on\nssl_cert_expire_check_interval = 600\ncomment = \xff\xfe\n")
    assert cm_conf.read(path) == Conf(SslValue.ON, None, 600)
    assert cm_conf.read(tmp_path / "other.conf") == Conf(SslValue.ABSENT)


def test_a_file_that_cannot_be_read_is_a_failure(tmp_path):
    with pytest.raises(NodeFailure) as caught:
        cm_conf.read(tmp_path)
    assert caught.value.reason is Reason.CONF_FAILED
    assert caught.value.file == os.fspath(tmp_path)
