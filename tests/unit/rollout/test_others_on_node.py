"""A second agent for one CM: going from one login to another brought one there, with an empty state."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from gausscert_coordinator.rollout.on_node import others as others_of
from gausscert_coordinator.rollout.on_node import processes
from gausscert_coordinator.rollout.on_node.layout import Account, Layout, layout, me
from gausscert_coordinator.rollout.on_node.others import others
from gausscert_coordinator.rollout.on_node.service import USER, Service

SERVES = "import sys; print(flush=True); sys.stdin.read()"


@pytest.fixture
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Account:
    monkeypatch.setattr(others_of, "ETC", tmp_path / "etc" / "gausscert")
    return replace(me(), name="omm", home=str(tmp_path / "home"))


@pytest.fixture
def cm(tmp_path: Path) -> str:
    (tmp_path / "cm").mkdir()
    return str(tmp_path / "cm")


@pytest.fixture
def places(tmp_path: Path) -> Layout:
    return layout(str(tmp_path / "here"))


def configure(config: Path, cm: str) -> Path:
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(f'[agent]\nstate_dir = "{config.parent}/state"\n[cm]\nhome = "{cm}"\n')
    return config


def told(config: Path, how: str, login: str = "omm") -> list[dict[str, str]]:
    return [{"config": str(config), "how": how, "login": login, "state": f"{config.parent}/state"}]


@pytest.fixture
def serving(tmp_path: Path, cm: str) -> Iterator[tuple[int, Path]]:
    config = configure(tmp_path / "odd" / "agent.toml", cm)
    words = ("gausscert-agent", "serve", f"--config={config}")
    argv = [sys.executable, "-c", SERVES, *words]
    child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        child.stdout.readline()
        yield child.pid, config
    finally:
        child.communicate()


def test_one_that_serves_from_another_configuration_is_seen(places, account, cm, serving):
    pid, config = serving

    assert others(places, account, cm) == told(config, f"pid {pid}")
    assert others(replace(places, etc=config.parent), account, cm) == []  # it is this one
    assert others(places, None, cm) == others(places, account, "") == []


def test_one_of_another_user_is_none_of_ours(account, serving):
    assert (serving[0], str(serving[1])) in processes.serving(account.uid)
    assert serving[0] not in dict(processes.serving(account.uid + 4242))


def test_one_for_another_cm_is_none_of_ours(places, account, cm, serving, tmp_path):
    """Several clusters may share a machine and a user, each with a directory of its own."""
    assert others(places, account, str(tmp_path / "another")) == []
    (tmp_path / "link").symlink_to(cm)
    assert len(others(places, account, str(tmp_path / "link"))) == 1


def test_one_whose_configuration_is_gone_or_makes_no_sense_is_none(places, account, cm, serving):
    _, config = serving
    config.write_text("[cm\n")
    assert others(places, account, cm) == []
    config.write_text("cm = 3\n")
    assert others(places, account, cm) == []
    config.unlink()
    assert others(places, account, cm) == []
    os.mkfifo(config)
    assert others(places, account, cm) == []


@pytest.mark.parametrize(
    "line", ["ExecStart=%h/a serve --config {}", 'ExecStart="%h/a" serve "--config={}"', "ExecStart=a '"]
)
def test_one_that_only_a_unit_in_the_users_home_names_is_seen(places, account, cm, line: str):
    unit = Service(USER, account).unit
    unit.parent.mkdir(parents=True)
    unit.write_text("[Service]\nExecStart=/x serve --config /nowhere\n")
    more = unit.with_name(f"{unit.name}.d") / "50.conf"
    more.parent.mkdir()
    config = configure(Path(account.home) / "100%" / "agent.toml", cm)
    more.write_text("ExecStart=\n" + line.format("%h/100%%/agent.toml") + "\n")

    assert others(places, account, cm) == ([] if "'" in line else told(config, str(unit)))


def test_one_in_a_usual_place_is_seen_also_where_nothing_starts_it(places, account, cm, tmp_path):
    his = configure(Path(account.home) / "gausscert" / "etc" / "agent.toml", cm)
    roots = configure(tmp_path / "etc" / "gausscert" / "agent.toml", cm)

    found = others(places, account, cm)

    nobody = "nothing starts it"
    assert found == told(roots, nobody, "root") + told(his, nobody)
    assert others(replace(places, etc=his.parent), account, cm) == told(roots, nobody, "root")


@pytest.mark.skipif(os.geteuid() != 0, reason="a place is the operators' where root has made it")
def test_the_operators_settings_beside_their_inventory_are_no_agents(places, account, cm, tmp_path):
    settings = configure(tmp_path / "etc" / "gausscert" / "agent.toml", cm)
    settings.with_name("gausscert.toml").touch()

    assert others(places, account, cm) == []
