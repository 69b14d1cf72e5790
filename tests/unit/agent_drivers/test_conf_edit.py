"""What `cm_ctl set` makes of a file, told before it is run."""

from __future__ import annotations

import pytest
from gausscert_agent.drivers import cm_conf, conf_edit
from gausscert_agent.drivers.conf_edit import Parameter, edited, obstacle, spelled, with_newline
from gausscert_common.errors import InvalidInput, Reason
from gausscert_sim import conf as sim_conf
from support.odd_confs import EDITABLE, NOT_EDITABLE

SSL = Parameter.ENABLE_SSL


@pytest.mark.parametrize("body", EDITABLE.values(), ids=EDITABLE.keys())
def test_only_the_value_changes(body):
    after = edited(body, SSL, "off")
    assert cm_conf.says(body, SSL, True)
    assert cm_conf.says(after, SSL, False)
    assert obstacle(body, SSL) == ""
    before_lines, after_lines = with_newline(body).split(b"\n"), after.split(b"\n")
    changed = [pair for pair in zip(before_lines, after_lines, strict=True) if pair[0] != pair[1]]
    assert len(changed) == 1
    assert b"enable_ssl" in changed[0][0]


@pytest.mark.parametrize("value", ["on", "off"])
@pytest.mark.parametrize("body", EDITABLE.values(), ids=EDITABLE.keys())
def test_the_simulated_cm_ctl_leaves_the_same(tmp_path, body, value):
    path = tmp_path / "cm_server.conf"
    path.write_bytes(with_newline(body))
    sim_conf.edit(path, SSL, value)
    assert path.read_bytes() == edited(body, SSL, value)


@pytest.mark.parametrize(
    ("body", "words"), [each for each in NOT_EDITABLE.values() if each[1] != "read alike"]
)
def test_what_cm_ctl_would_spoil_or_not_change_is_an_obstacle(body, words):
    assert words in obstacle(body, SSL)


def test_of_two_lines_cm_ctl_changes_the_one_that_cm_does_not_read(tmp_path):
    """Why two of them are an obstacle."""
    path = tmp_path / "cm_server.conf"
    path.write_bytes(NOT_EDITABLE["twice"][0])
    sim_conf.edit(path, SSL, "off")
    assert sim_conf.value(path.read_text(), SSL) == "on"
    assert cm_conf.says(path.read_bytes(), SSL, True)


def test_a_last_line_without_its_newline_would_be_lost(tmp_path):
    path = tmp_path / "cm_server.conf"
    path.write_bytes(EDITABLE["no final newline"])
    sim_conf.edit(path, SSL, "off")
    assert b"thread_count" not in path.read_bytes()


def test_a_file_without_the_line_stays_as_it_is():
    assert edited(b"#enable_ssl = on\n", SSL, "off") == b"#enable_ssl = on\n"
    assert edited(b"", SSL, "off") == b""


@pytest.mark.parametrize(
    ("parameter", "value", "text"),
    [
        (SSL, True, "on"),
        (SSL, False, "off"),
        (Parameter.ALERT_THRESHOLD, 7, "7"),
        (Parameter.ALERT_THRESHOLD, 180, "180"),
        (Parameter.CHECK_INTERVAL, 0, "0"),
        (Parameter.CHECK_INTERVAL, 2**31 - 1, "2147483647"),
    ],
)
def test_values_are_spelled_as_cm_takes_them(parameter, value, text):
    assert spelled(parameter, value) == text
    sim_conf.check(parameter, text)


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        (SSL, 1),
        (SSL, 0),
        (Parameter.ALERT_THRESHOLD, 6),
        (Parameter.ALERT_THRESHOLD, 181),
        (Parameter.ALERT_THRESHOLD, True),
        (Parameter.CHECK_INTERVAL, -1),
        (Parameter.CHECK_INTERVAL, 2**31),
    ],
)
def test_values_that_cm_would_refuse_are_refused(parameter, value):
    with pytest.raises(InvalidInput) as caught:
        spelled(parameter, value)
    assert caught.value.reason is Reason.ARGUMENT_INVALID


def test_the_ranges_are_those_of_cm():
    assert {sim_conf.INT_RANGES[name] for name in conf_edit.RANGES} == set(conf_edit.RANGES.values())
