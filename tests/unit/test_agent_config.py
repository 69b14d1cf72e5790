from __future__ import annotations

from pathlib import Path

import pytest
from gausscert_agent import config_file
from gausscert_agent.config import AgentConfig, CmSettings, MetricsSettings, TlsFiles
from gausscert_common.errors import InvalidInput, Reason

SAMPLE = Path(__file__).parents[2] / "deploy" / "config" / "agent.toml"

FULL = """
[agent]
name = "n_1"
cluster = "prod"
listen = "[::]:7443"
state_dir = "/var/lib/gausscert"
retired_generations = 0
alert_threshold_days = 30
drain_s = 5
log_level = "DEBUG"
[tls]
ca = "/etc/ca.crt"
cert = "/etc/n1.crt"
key = "/etc/n1.key"
[cm]
home = "/opt/app"
data_path = "/opt/cm"
log_path = "/var/log/cm"
command_timeout_s = 12.5
stopped_for_s = 3
[cm.environment]
PGHOST = "/opt/tmp"
[metrics]
enabled = true
listen = "[::1]:9999"
max_age_s = 5
"""

LEAST = """
[agent]
name = "n1"
cluster = "prod"
listen = "0.0.0.0:7443"
state_dir = "/var/lib/gausscert"
[tls]
ca = "/etc/ca.crt"
cert = "/etc/n1.crt"
key = "/etc/n1.key"
[cm]
home = "/opt/app"
"""


def load(tmp_path, text: str) -> AgentConfig:
    path = tmp_path / "agent.toml"
    path.write_text(text)
    return config_file.load(path)


def problems(tmp_path, text: str) -> list[str]:
    with pytest.raises(InvalidInput) as caught:
        load(tmp_path, text)
    error = caught.value
    assert error.reason is Reason.CONFIG_INVALID
    assert error.file == str(tmp_path / "agent.toml")
    assert all(finding.remedy for finding in error.findings)
    assert all(finding.cause in error.message for finding in error.findings)
    return [finding.cause for finding in error.findings]


def test_every_key_is_taken(tmp_path):
    assert load(tmp_path, FULL) == AgentConfig(
        name="n_1",
        cluster="prod",
        listen="[::]:7443",
        state_dir=Path("/var/lib/gausscert"),
        tls=TlsFiles(Path("/etc/ca.crt"), Path("/etc/n1.crt"), Path("/etc/n1.key")),
        cm=CmSettings(
            home=Path("/opt/app"),
            data_path=Path("/opt/cm"),
            log_path=Path("/var/log/cm"),
            environment={"PGHOST": "/opt/tmp"},
            command_timeout_s=12.5,
            stopped_for_s=3.0,
        ),
        retired_generations=0,
        alert_threshold_days=30,
        drain_s=5.0,
        log_level="DEBUG",
        metrics=MetricsSettings("[::1]:9999", 5.0),
    )


def test_the_endpoint_is_off_until_it_is_turned_on_and_then_on_loopback(tmp_path):
    assert load(tmp_path, LEAST).metrics is None
    assert load(tmp_path, LEAST + "[metrics]\nenabled = false\n").metrics is None
    assert load(tmp_path, LEAST + "[metrics]\nenabled = true\n").metrics == MetricsSettings(
        "127.0.0.1:9747", 30.0
    )


def test_what_is_wrong_with_the_endpoint_is_told_though_it_is_off(tmp_path):
    wrong = LEAST + '[metrics]\nenabled = "yes"\nlisten = "9747"\nmax_age_s = 0\nport = 1\n'
    found = problems(tmp_path, wrong)
    for key in ("enabled", "listen", "max_age_s", "port"):
        assert any(f"metrics.{key}" in each for each in found), key
    assert any("[metrics]" in each for each in problems(tmp_path, "metrics = 3\n" + LEAST))


def test_what_is_left_out_has_the_documented_defaults(tmp_path):
    config = load(tmp_path, LEAST)

    tls, cm = (
        TlsFiles(Path("/etc/ca.crt"), Path("/etc/n1.crt"), Path("/etc/n1.key")),
        CmSettings(Path("/opt/app")),
    )
    expected = AgentConfig("n1", "prod", "0.0.0.0:7443", Path("/var/lib/gausscert"), tls, cm)
    assert config == expected


def test_the_sample_in_deploy_is_a_configuration():
    assert config_file.load(SAMPLE).name == "n1"


def test_everything_wrong_is_told_at_once(tmp_path):
    text = (
        FULL.replace('name = "n_1"', "name = 7")
        .replace("drain_s = 5", "drain = 5")
        .replace('ca = "/etc/ca.crt"', 'ca = "pki/ca.crt"')
        .replace('home = "/opt/app"', "")
        .replace("command_timeout_s = 12.5", 'command_timeout_s = "soon"')
    )

    assert sorted(problems(tmp_path, text)) == [
        "agent.drain: unknown key",
        "agent.name: must be a text",
        "cm.command_timeout_s: 'soon' is no number of seconds above 0",
        "cm.home: missing",
        "tls.ca: 'pki/ca.crt' is a relative path",
    ]


def test_an_unknown_key_is_told_with_what_was_meant(tmp_path):
    with pytest.raises(InvalidInput) as caught:
        load(tmp_path, FULL.replace("retired_generations", "retired_generation"))

    assert "did you mean 'retired_generations'?" in caught.value.remedy


def test_a_missing_section_is_one_problem(tmp_path):
    text = LEAST[: LEAST.index("[tls]")] + LEAST[LEAST.index("[cm]") :]

    assert problems(tmp_path, text) == ["[tls]: missing"]


def test_an_unknown_section_is_refused(tmp_path):
    assert problems(tmp_path, LEAST + "[agnet]\nx = 1\n") == ["agnet: unknown key"]


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('"n_1"', '"n/1"', "agent.name"),
        ('"n_1"', '""', "agent.name"),
        ('"prod"', '"pr od"', "agent.cluster"),
        ('"[::]:7443"', '"7443"', "agent.listen"),
        ('"[::]:7443"', '":7443"', "agent.listen"),
        ('"[::]:7443"', '"::1:7443"', "agent.listen"),
        ('"[::]:7443"', '"host:0"', "agent.listen"),
        ('"[::]:7443"', '"host:65536"', "agent.listen"),
        ('"[::]:7443"', '"host:http"', "agent.listen"),
        ('"/var/lib/gausscert"', '"state"', "agent.state_dir"),
        ("retired_generations = 0", "retired_generations = -1", "agent.retired_generations"),
        ("retired_generations = 0", "retired_generations = true", "agent.retired_generations"),
        ("retired_generations = 0", "retired_generations = 1.5", "agent.retired_generations"),
        ("alert_threshold_days = 30", "alert_threshold_days = 6", "agent.alert_threshold_days"),
        ("alert_threshold_days = 30", "alert_threshold_days = 181", "agent.alert_threshold_days"),
        ("drain_s = 5", "drain_s = 0", "agent.drain_s"),
        ("drain_s = 5", "drain_s = inf", "agent.drain_s"),
        ("drain_s = 5", "drain_s = nan", "agent.drain_s"),
        ("drain_s = 5", "drain_s = true", "agent.drain_s"),
        ('"DEBUG"', '"LOUD"', "agent.log_level"),
        ('"/opt/cm"', '"cm"', "cm.data_path"),
        ('"/var/log/cm"', "3", "cm.log_path"),
        ('PGHOST = "/opt/tmp"', "PGHOST = 1", "cm.environment.PGHOST"),
        ('PGHOST = "/opt/tmp"', 'PGPASSWORD = "x"', "cm.environment.PGPASSWORD"),
        ('[cm.environment]\nPGHOST = "/opt/tmp"', "environment = 1", "cm.environment"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_by_its_key(tmp_path, old, new, key):
    (cause,) = problems(tmp_path, FULL.replace(old, new))

    assert cause.startswith(f"{key}: ")


@pytest.mark.parametrize("text", ["[agent", "\ufeff" + LEAST, "a = 1\na = 2\n"])
def test_what_is_no_toml_is_refused(tmp_path, text):
    assert problems(tmp_path, text) == []


def test_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "agent.toml").write_bytes(b"\xff\xfe")

    with pytest.raises(InvalidInput, match="no TOML"):
        config_file.load(tmp_path / "agent.toml")


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(InvalidInput) as caught:
        config_file.load(tmp_path / "none.toml")

    assert "No such file" in caught.value.message
    assert "--config" in caught.value.remedy
