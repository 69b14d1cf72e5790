"""Root at work in places that belong to the agent's user, who may have put links there that lead anywhere."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from gausscert_coordinator.rollout.on_node import look, removal
from gausscert_coordinator.rollout.on_node.layout import Account, Layout, acting_as, holder, me
from gausscert_coordinator.rollout.on_node.service import NONE, Service

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be led astray")

OMM = Account("omm-of-the-test", 1500, 1500, "dbgrp", "/nowhere")
CONFIG = '[agent]\nname = "n1"\ncluster = "prod"\nstate_dir = "/s"\n'


@pytest.fixture
def places() -> Iterator[Layout]:
    """Software of root's, configuration and state of the agent's user, where he can come, too."""
    with tempfile.TemporaryDirectory() as root:
        base = Path(root)
        base.chmod(0o711)
        made = Layout(base / "opt", base / "etc", base / "state")
        made.software.mkdir(mode=0o755)
        for path in (made.etc, made.pki, made.state):
            path.mkdir(mode=0o700)
            os.chown(path, OMM.uid, OMM.gid)
        made.config.write_text(CONFIG)
        os.chown(made.config, OMM.uid, OMM.gid)
        (base / "secret").write_text('secret = "of root"\n')
        (base / "secret").chmod(0o600)
        (base / "roots").mkdir(mode=0o700)
        (base / "roots" / "ca.crt").write_text("root's")
        yield made


def looked(places: Layout, monkeypatch: pytest.MonkeyPatch, account: Account | None = OMM) -> dict:
    monkeypatch.setattr(look, "agent_user", lambda name, cm_home: account)
    found = look.look({"node": "n1", "user": "", "cm_home": "/nowhere"}, places)
    assert os.geteuid() == 0
    return found


def test_what_is_told_of_the_agents_files_is_what_its_user_may_read(places: Layout, monkeypatch):
    """It was a bug: what root had read there came back as agent.toml when an upgrade was put back."""
    assert looked(places, monkeypatch)["config"] == CONFIG
    assert looked(places, monkeypatch, None)["configured_node"] == "n1"
    secret = places.etc.parent / "secret"
    places.config.unlink()
    places.config.symlink_to(secret)
    (places.pki / "ca.crt").symlink_to(secret)

    for account in (OMM, None):
        found = looked(places, monkeypatch, account)
        assert found["config"] == found["credential"]["ca"] == ""
    secret.chmod(0o644)
    assert "of root" in looked(places, monkeypatch)["config"]


def test_a_named_pipe_in_the_agents_place_holds_nobody_up(places: Layout, monkeypatch):
    places.config.unlink()
    for path in (places.config, *(places.pki / name for name in ("ca.crt", "node-n1.crt", "node-n1.key"))):
        os.mkfifo(path, 0o666)

    found = looked(places, monkeypatch)

    assert found["config"] == ""
    assert found["credential"] == {"cert": "", "ca": "", "key_fits": False}


def test_a_removal_follows_no_link_of_the_agents_user(places: Layout):
    """It was a bug: root removed a ca.crt wherever such a link led."""
    roots = places.etc.parent / "roots"
    places.pki.rmdir()
    places.pki.symlink_to(roots)

    with pytest.raises(PermissionError):
        removal.remove(places, Service(NONE, me()), None, "n1", with_state=False)

    assert (roots / "ca.crt").read_text() == "root's"
    places.pki.unlink()
    gone = removal.remove(places, Service(NONE, me()), None, "n1", with_state=False)
    assert set(gone) == {str(places.config), str(places.etc), str(places.software)}
    assert os.geteuid() == 0


def test_acting_as_somebody_ends_as_root_whatever_happens(places: Layout):
    before = (os.getegid(), os.getgroups())

    def fails() -> None:
        with acting_as(holder(places)):
            assert (os.geteuid(), os.getegid(), os.getgroups()) == (OMM.uid, OMM.gid, [])
            raise ValueError("for one")

    with pytest.raises(ValueError, match="for one"):
        fails()

    assert (os.geteuid(), os.getegid(), os.getgroups()) == (0, *before)
    with acting_as(None):
        assert os.geteuid() == 0
