"""A node's agent.toml and its unit: what the operator wrote, and what is this node's own."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from gausscert_agent import config_file
from gausscert_common.errors import InvalidInput, Reason
from gausscert_coordinator.rollout import agent_toml, units
from gausscert_coordinator.rollout.facts import Service
from support.rollout_fakes import RELEASE, facts

SAMPLE = Path(__file__).parents[3] / "deploy/config/agent.toml"
OWN = {"name": "n2", "cluster": "prod", "listen": "0.0.0.0:7443", "etc": "/etc/g", "state": "/var/lib/g"}


def test_the_sample_becomes_a_configuration_that_the_agent_reads():
    settings = agent_toml.load(SAMPLE)

    config = config_file.parse(tomllib.loads(agent_toml.render(settings, **OWN)), Path("x"))

    assert (config.name, config.cluster, config.state_dir) == ("n2", "prod", Path("/var/lib/g"))
    assert config.tls.key == Path("/etc/g/pki/node-n2.key")
    sample = config_file.load(SAMPLE)
    assert (config.cm, config.drain_s) == (sample.cm, sample.drain_s)


@pytest.mark.parametrize(
    "document",
    [
        {"a": 1, "b": 1.5, "c": True, "d": 'x"y\\z\n\té\x7f', "e": ["a", 1]},
        {"t": {"u": {"key with blanks": "v"}, "k": 2}, "empty": {}},
    ],
)
def test_what_is_written_is_read_back_as_it_was(document):
    assert tomllib.loads(agent_toml.dumps(document)) == document


@pytest.mark.parametrize("text", ["[cm", "[cm]\nhome = 1\n", "", "cm = 3\n"])
def test_settings_that_cannot_be_used_are_refused(tmp_path: Path, text: str):
    path = tmp_path / "agent.toml"
    path.write_text(text)

    with pytest.raises(InvalidInput) as raised:
        agent_toml.load(path)

    assert raised.value.file == str(path)


def test_all_that_is_wrong_with_one_file_is_told_at_once(tmp_path: Path):
    path = tmp_path / "agent.toml"
    path.write_text('agent = 3\n[cm]\nhome = ""\ndata_path = 1\nlog_path = true\nenvironment = []\n')

    with pytest.raises(InvalidInput) as raised:
        agent_toml.load(path)

    error = raised.value
    assert [each.cause.partition(":")[0] for each in error.findings] == [
        *("agent", "cm.home", "cm.data_path", "cm.log_path", "cm.environment")
    ]
    assert {each.file for each in error.findings} == {error.file} == {str(path)}
    assert error.message.count(str(path)) == 0


def test_all_that_is_wrong_with_all_files_is_told_at_once(tmp_path: Path):
    good, bad, gone = (tmp_path / f"{name}.toml" for name in ("good", "bad", "gone"))
    good.write_text('[cm]\nhome = "/opt/cm"\n')
    bad.write_text('[cm]\nhome = ""\nlog_path = 1\n')

    with pytest.raises(InvalidInput) as raised:
        agent_toml.load_all([good, bad, gone, bad])

    error = raised.value
    assert [each.file for each in error.findings] == [str(bad), str(bad), str(gone)]
    assert all(each.remedy for each in error.findings)
    assert all(f"{each.file}: {each.cause}" in error.message for each in error.findings)
    assert error.reason is Reason.CONFIG_INVALID
    assert agent_toml.load_all([good, good]) == {good: {"cm": {"home": "/opt/cm"}}}


def test_settings_that_are_missing_say_what_to_copy(tmp_path: Path):
    with pytest.raises(InvalidInput, match="copy deploy/config"):
        agent_toml.load(tmp_path / "agent.toml")


def drop_in(service: Service, *paths: str) -> str:
    bundle = {"gausscert-agent.service": "unit", "user/gausscert-agent.service": "user's"}
    return units.units(bundle, service, facts(), RELEASE, paths)["50-gausscert-node.conf"]


def test_the_systems_unit_is_told_user_release_and_where_cm_ctl_writes():
    lines = drop_in(Service.SYSTEM, "/opt/gauss app/100%").splitlines()

    assert "User=omm" in lines
    assert "Group=dbgrp" in lines
    assert 'ReadWritePaths="-/opt/gauss app/100%%"' in lines
    agent = f"/opt/gausscert/releases/{RELEASE}/bin/gausscert-agent"
    start = f'ExecStart="{agent}" serve --config "/etc/gausscert/agent.toml"'
    assert lines[lines.index("ExecStart=") + 1] == start


@pytest.mark.parametrize(
    ("environment", "more"),
    [({}, ()), ({"PGHOST": "/home/omm/tmp"}, ("/home/omm/tmp",))],
    ids=["none", "PGHOST"],
)
def test_cm_ctl_writes_below_its_home_its_data_its_logs_and_its_sockets(environment, more):
    cm = {"home": "/app", "data_path": "/data", "log_path": "/log", "environment": environment}

    assert agent_toml.write_paths({"cm": cm}) == ("/app", "/data", "/log", *more)


def test_a_users_unit_is_told_no_user():
    assert "User=" not in drop_in(Service.USER, "/opt/app")


@pytest.mark.parametrize("path", ["relative", "/with\nline", "/dollar$x"])
def test_a_path_that_would_be_something_else_in_a_unit_is_refused(path: str):
    with pytest.raises(InvalidInput):
        drop_in(Service.SYSTEM, path)


def test_all_paths_that_cannot_stand_in_a_unit_are_told_at_once():
    with pytest.raises(InvalidInput) as raised:
        drop_in(Service.SYSTEM, "relative", "/good", "/dollar$x")

    assert [each.cause.partition(" cannot")[0] for each in raised.value.findings] == [
        "'relative'",
        "'/dollar$x'",
    ]


def test_without_a_service_manager_there_is_no_unit():
    assert units.units({}, Service.NONE, facts(), RELEASE, ()) == {}


def test_settings_without_an_end_are_refused():
    """They would take all memory there is."""
    with pytest.raises(InvalidInput, match="it has more than"):
        agent_toml.load(Path("/dev/zero"))
