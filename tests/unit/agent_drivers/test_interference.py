"""A pause and an upgrade are seen by files alone: they can be looked for right before CM is stopped."""

from __future__ import annotations

from pathlib import Path

import pytest
from gausscert_agent.cm import LocalCm
from gausscert_agent.config import CmSettings
from gausscert_agent.preflight_look import interference


@pytest.mark.parametrize("paused", [False, True])
@pytest.mark.parametrize("upgrading", [False, True])
def test_a_pause_and_an_upgrade_are_told_apart(tmp_path: Path, paused: bool, upgrading: bool):
    home, pghost = tmp_path / "home", tmp_path / "pghost"
    (home / "bin").mkdir(parents=True)
    pghost.mkdir()
    if paused:
        (home / "bin" / "cluster_manual_pause").touch()
    if upgrading:
        (pghost / "binary_upgrade").mkdir()
    settings = CmSettings(home, environment={"PGHOST": str(pghost)})

    assert interference(LocalCm(settings)) == (paused, upgrading)
