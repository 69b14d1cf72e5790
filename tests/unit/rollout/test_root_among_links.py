"""Root at work in places that belong to the agent's user, who may have put links there that lead anywhere."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from gausscert_common.identity import Role
from gausscert_coordinator import pki
from gausscert_coordinator.rollout.on_node import files, look, main, removal
from gausscert_coordinator.rollout.on_node.layout import Account, Layout, acting_as, holder, me
from gausscert_coordinator.rollout.on_node.running import run
from gausscert_coordinator.rollout.on_node.service import NONE, Service
from gausscert_coordinator.rollout.on_node.trouble import Trouble

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


@cache
def _pair() -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as root:
        pki.init(Path(root) / "pki", "prod", None)
        made = pki.sign(Path(root) / "pki", Role.NODE, "n1")
    return {"node-n1.crt": made.cert_pem, "node-n1.key": made.key_pem}


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


def test_what_the_agents_user_cannot_remove_is_told_with_what_to_do(places: Layout, monkeypatch):
    """Root has made it there by hand, say: the repeat would meet it again."""
    os.chown(places.pki, 0, 0)
    (places.pki / "ca.crt").write_text("root's")
    monkeypatch.setattr(main, "_last_account", lambda *_: None)

    with pytest.raises(Trouble, match="remove") as caught:
        main.ACTIONS["remove"]({"node": "n1", "service": NONE, "with_state": False}, places, io.BytesIO())

    assert caught.value.file == str(places.pki)
    assert "by hand" in caught.value.remedy


def test_what_is_told_is_what_the_user_may_read_that_the_agent_is_to_run_as(places: Layout, monkeypatch):
    """And not what the one of before may, who owns the place."""
    other = replace(OMM, uid=OMM.uid + 1, gid=OMM.gid + 1)

    assert looked(places, monkeypatch, other)["config"] == ""


@pytest.mark.parametrize("which", ["node-n1.crt", "node-n1.key"])
def test_one_named_pipe_beside_good_files_holds_nobody_up(places: Layout, monkeypatch, which: str):
    for name in ("node-n1.crt", "node-n1.key"):
        (places.pki / name).write_bytes(_pair()[name])
        (places.pki / name).chmod(0o400)
        os.chown(places.pki / name, OMM.uid, OMM.gid)
    assert looked(places, monkeypatch)["credential"]["key_fits"]
    (places.pki / "node-n1.key").chmod(0o440)
    assert not looked(places, monkeypatch)["credential"]["key_fits"]
    (places.pki / which).unlink()
    os.mkfifo(places.pki / which, 0o600)
    os.chown(places.pki / which, OMM.uid, OMM.gid)

    assert not looked(places, monkeypatch)["credential"]["key_fits"]


def test_a_device_in_the_agents_place_is_no_text(places: Layout, monkeypatch):
    places.config.unlink()
    places.config.symlink_to("/dev/zero")

    assert looked(places, monkeypatch)["config"] == ""


def test_a_place_of_its_own_has_the_holder_of_the_directory(places: Layout):
    """Its etc may not be there yet, or not any more."""
    own = Layout(places.etc, places.etc / "etc", places.etc / "state")

    assert holder(own).uid == OMM.uid
    assert holder(Layout(places.software, places.etc, places.state)).uid == OMM.uid
    assert holder(Layout(places.software, places.etc / "missing", places.state)) == me()


def test_what_runs_as_that_user_never_gets_the_lock_that_root_has_taken(places: Layout, monkeypatch):
    """He could keep it for good: check-config runs as himself, once root has become him."""
    lock, shown = places.software / files.LOCK, ["ls", "-l", "/proc/self/fd"]

    with files.alone(places.software):
        assert str(lock) in run(shown).stdout
        assert str(lock) not in run(shown, as_user=OMM).stdout
        with monkeypatch.context() as become:
            become.setattr(os, "geteuid", lambda: OMM.uid)
            assert str(lock) not in run(shown).stdout


def test_he_acts_with_the_groups_of_that_user(places: Layout, monkeypatch):
    monkeypatch.setattr(os, "getgrouplist", lambda name, group: [group, 1777])

    with acting_as(OMM):
        assert sorted(os.getgroups()) == [OMM.gid, 1777]


@pytest.mark.parametrize(("me_now", "whom"), [(0, 0), (4242, OMM.uid)])
def test_root_for_root_and_whoever_is_not_root_stay_who_they_are(monkeypatch, me_now: int, whom: int):
    asked: list[str] = []
    for name in ("setgroups", "setegid", "seteuid"):
        monkeypatch.setattr(os, name, lambda *_, name=name: asked.append(name))
    monkeypatch.setattr(os, "geteuid", lambda: me_now)

    with acting_as(replace(OMM, uid=whom)):
        pass

    assert not asked


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
