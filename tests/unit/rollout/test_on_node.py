"""What the program does on a node, one thing at a time, in a directory of the test's own."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import io
import os
import shutil
import stat
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from gausscert_coordinator.rollout.on_node import (
    configuration,
    files,
    look,
    main,
    processes,
    ready,
    removal,
    running,
    service,
    software,
)
from gausscert_coordinator.rollout.on_node import layout as layout_of
from gausscert_coordinator.rollout.on_node.layout import Account, Layout, acting_as, etc_of, layout, me
from gausscert_coordinator.rollout.on_node.service import NONE, USER, Service
from gausscert_coordinator.rollout.on_node.trouble import Trouble


@pytest.fixture
def places(tmp_path: Path) -> Layout:
    (tmp_path / "g").mkdir()
    made = layout(str(tmp_path / "g"))
    configuration.make_places(made, me())
    return made


def sent(**bodies: bytes) -> tuple[list[dict], io.BytesIO]:
    told = [
        {"name": name, "size": len(body), "sha256": hashlib.sha256(body).hexdigest()}
        for name, body in bodies.items()
    ]
    return told, io.BytesIO(b"".join(bodies.values()))


def executable(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def open_umask():
    before = os.umask(0)
    yield
    os.umask(before)


def test_a_credential_is_for_its_owner_alone_whatever_the_umask(places: Layout, open_umask):
    told, stream = sent(**{"ca.crt": b"CA", "node-n1.key": b"KEY", "node-n1.crt": b"CRT"})

    configuration.credential(places.pki, told, stream)

    assert {path.name: mode(path) for path in places.pki.iterdir()} == dict.fromkeys(
        ("ca.crt", "node-n1.key", "node-n1.crt"), 0o400
    )
    assert mode(places.pki) == mode(places.etc) == mode(places.state) == 0o700
    assert (places.pki / "node-n1.key").read_bytes() == b"KEY"


def test_a_credential_is_replaced_whole_and_a_link_in_its_place_is_not_followed(
    places: Layout, tmp_path: Path
):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    places.pki.mkdir()
    (places.pki / "node-n1.key.new").symlink_to(victim)
    (places.pki / "node-n1.key").symlink_to(victim)
    told, stream = sent(**{"node-n1.key": b"KEY"})

    configuration.credential(places.pki, told, stream)

    assert victim.read_text() == "mine"
    assert not (places.pki / "node-n1.key").is_symlink()


def test_a_credential_that_arrives_cut_short_changes_nothing(places: Layout):
    configuration.credential(places.pki, *sent(**{"node-n1.key": b"OLD"}))
    told, stream = sent(**{"node-n1.key": b"NEWER"})

    with pytest.raises(Trouble):
        configuration.credential(places.pki, told, io.BytesIO(stream.read()[:2]))

    assert (places.pki / "node-n1.key").read_bytes() == b"OLD"


def test_a_deny_list_is_for_the_agent_alone_and_replaces_the_one_that_was_looked_at(
    places: Layout, open_umask
):
    configuration.deny(places.deny_list, "", b"serial aa\n")
    configuration.deny(places.deny_list, digest(b"serial aa\n"), b"serial aa\nserial bb\n")

    assert places.deny_list.read_bytes() == b"serial aa\nserial bb\n"
    assert mode(places.deny_list) == 0o600
    assert [path.name for path in places.state.iterdir()] == ["deny.list"]


def test_an_empty_deny_list_is_as_good_as_none(places: Layout):
    places.deny_list.touch()

    configuration.deny(places.deny_list, "", b"serial aa\n")

    assert places.deny_list.read_bytes() == b"serial aa\n"


@pytest.mark.parametrize("former", ["", "00" * 32])
def test_a_deny_list_that_was_changed_meanwhile_is_not_lost(places: Layout, former: str):
    places.deny_list.write_bytes(b"serial cc\n")

    with pytest.raises(Trouble, match="changed since"):
        configuration.deny(places.deny_list, former, b"serial aa\n")

    assert places.deny_list.read_bytes() == b"serial cc\n"


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: path.symlink_to("nowhere")])
def test_what_is_no_file_is_no_deny_list_and_stays(places: Layout, make):
    make(places.deny_list)

    with pytest.raises(Trouble, match="no regular file"):
        configuration.deny(places.deny_list, "", b"serial aa\n")

    assert os.path.lexists(places.deny_list)


def test_a_deny_list_is_laid_down_only_where_no_agent_runs(places: Layout, monkeypatch):
    """It was a failure of the step where one runs by now. So one that crashed and was started by systemd
    over and over could be refused the release that mends it."""
    request = {"former_deny_list": "", "deny_list": "serial aa\n"}
    monkeypatch.setattr(processes, "agent", lambda _: processes.Running(4711, "1.0", 0, "boot 1"))

    assert main._deny({}, places, me())
    assert not main._deny(request, places, me())
    assert not places.deny_list.exists()
    monkeypatch.setattr(processes, "agent", lambda _: None)
    assert main._deny(request, places, me())
    assert places.deny_list.read_text() == "serial aa\n"


def test_a_deny_list_is_laid_down_also_where_the_state_was_lost(places: Layout):
    places.state.rmdir()

    main._deny({"former_deny_list": "", "deny_list": "serial aa\n"}, places, me())

    assert (mode(places.state), mode(places.deny_list)) == (0o700, 0o600)


def test_a_wheel_that_arrives_changed_has_no_name(places: Layout):
    told, _ = sent(**{"a.whl": b"abc"})

    with pytest.raises(Trouble):
        software.upload(places, "r", told, io.BytesIO(b"abd"))

    assert list((places.uploads / "r").iterdir()) == []


def test_an_upload_leaves_nothing_of_an_earlier_one(places: Layout):
    software.upload(places, "r", *sent(**{"old.whl": b"x"}))

    software.upload(places, "r", *sent(**{"new.whl": b"y"}))

    assert [path.name for path in (places.uploads / "r").iterdir()] == ["new.whl"]


def test_a_program_that_is_run_has_none_of_the_libraries_that_the_login_names(monkeypatch):
    for name in ("PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "SAID_AT_LOGIN"):
        monkeypatch.setenv(name, "/of/om")

    done = running.run(["env"], environment={"MORE": "1"})

    assert {line for line in done.stdout.splitlines() if "/of/om" in line} == {"SAID_AT_LOGIN=/of/om"}
    assert "MORE=1" in done.stdout.splitlines()


def test_a_release_that_cannot_be_installed_leaves_nothing(places: Layout):
    software.upload(places, "r", *sent(**{"pip-1-py3-none-any.whl": b"no zip", "requirements.txt": b""}))

    with pytest.raises(Trouble, match="cannot install the wheels"):
        software.install(places, "r")

    assert list(places.releases.iterdir()) == []


def test_switching_is_one_step_and_tidying_keeps_what_it_is_told(places: Layout):
    for name in ("a", "b", "c"):
        (places.releases / name).mkdir(parents=True)

    software.switch(places, "a")
    software.switch(places, "c")
    gone = software.tidy(places, ["c", "b"])

    assert (places.release(), gone) == ("c", ["a"])


def test_a_configuration_that_the_agent_refuses_is_not_laid_ready(places: Layout):
    agent = places.agent("r")
    agent.parent.mkdir(parents=True)
    agent.write_text('#!/bin/sh\necho "agent.toml: bad" >&2\nexit 2\n')
    agent.chmod(0o755)
    places.config.write_bytes(b"before")

    with pytest.raises(Trouble, match="bad"):
        configuration.configure(places, "r", b"after")

    assert places.config.read_bytes() == b"before"
    assert [path.name for path in places.etc.iterdir()] == ["agent.toml"]
    agent.write_text("#!/bin/sh\necho warning: odd >&2\nexit 0\n")
    assert configuration.configure(places, "r", b"after") == "odd"
    fresh = ready.beside(places.config)
    assert (places.config.read_bytes(), fresh.read_bytes(), mode(fresh)) == (b"before", b"after", 0o600)


def digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def test_what_lies_ready_is_put_in_its_place_once_and_may_be_again(places: Layout):
    """Whoever repeats it after a cut finds it there already, or laid ready once more."""
    places.config.write_bytes(b"before")
    files.write_beside(places.config, b"after", 0o600)

    ready.put(places.config, digest(b"after"))
    ready.put(places.config, digest(b"after"))
    files.write_beside(places.config, b"after", 0o600)
    ready.put(places.config, digest(b"after"))
    ready.put(places.config, "")

    assert places.config.read_bytes() == b"after"
    assert [path.name for path in places.etc.iterdir()] == ["agent.toml"]


def test_what_stays_as_it_is_is_not_asked_for(places: Layout):
    for path in (places.config, ready.beside(places.config)):
        path.write_bytes(b"another's")

    ready.require({places.config: ""})
    ready.put(places.config, "")

    assert ready.beside(places.config).exists()


def test_what_another_roll_out_has_laid_ready_is_not_put_in_its_place(places: Layout):
    places.config.write_bytes(b"before")
    files.write_beside(places.config, b"another", 0o600)

    with pytest.raises(Trouble, match="not there any more") as caught:
        ready.put(places.config, digest(b"after"))

    assert (caught.value.file, places.config.read_bytes()) == (str(places.config), b"before")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user for a while")
@pytest.mark.parametrize("endless", ["pipe", "device"])
def test_what_has_no_end_in_the_place_of_what_was_laid_ready_holds_nobody_up(places: Layout, endless: str):
    """The agent's user can put it there, and the lock would be held until it ends."""
    if endless == "pipe":
        os.mkfifo(ready.beside(places.config))
    else:
        ready.beside(places.config).symlink_to("/dev/zero")

    with pytest.raises(Trouble, match="laid ready"):
        ready.put(places.config, digest(b"mine"))

    ready.beside(places.config).unlink()
    with ready.beside(places.config).open("wb") as large:
        large.truncate(files._MOST + 1)
    assert files.digest_of(ready.beside(places.config)) == ""


def test_whoever_is_another_user_for_a_while_writes_as_that_user_and_is_himself_again(tmp_path: Path):
    before = (os.geteuid(), os.getegid(), os.getgroups())
    other = Account("nobody", 65534, 65534, "nogroup", "/nonexistent")
    tmp_path.chmod(0o700)

    with pytest.raises(PermissionError), acting_as(other):
        (tmp_path / "mine").touch()
    open_to_all = tmp_path / "open"
    open_to_all.mkdir()
    os.chown(open_to_all, 65534, 65534)

    assert (os.geteuid(), os.getegid(), os.getgroups()) == before


@pytest.mark.parametrize(
    "journal",
    [
        {"phase": "PREPARED", "transaction": "t-1"},
        {"phase": "NONE", "operation": "cm_ctl stop, pid 4"},
        {"unreadable": "the journal is damaged"},
    ],
)
def test_an_agent_in_the_middle_of_something_is_not_ended(journal):
    with pytest.raises(Trouble):
        removal.require_idle(journal)


@pytest.mark.parametrize("journal", [None, {}, {"phase": "NONE"}])
def test_an_idle_one_may_be(journal):
    removal.require_idle(journal)


class Removed:
    """An agent that is removed, and whose journal says in turn what a test says."""

    def __init__(self, places: Layout, kind: str, journals: list, monkeypatch) -> None:
        self._places, self._kind, self._journals = places, kind, iter(journals)
        self.running: processes.Running | None = processes.Running(1, "r", 0.0, "boot 1")
        places.config.write_text("config")
        monkeypatch.setattr(look, "journal", lambda *_: next(self._journals))
        monkeypatch.setattr(processes, "agent", lambda _: self.running)
        monkeypatch.setattr(removal, "_end", lambda _: None)

    def go(self, account: Account, *, with_state: bool = True) -> list[str]:
        made = Service(self._kind, account)
        return removal.remove(self._places, made, account, "n1", with_state=with_state)


IDLE = {"phase": "NONE", "fence": "epoch 4, step CLEAN"}
BUSY = {"phase": "PREPARED", "transaction": "t-1", "fence": "epoch 5, step PREPARE"}


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (BUSY, "t-1"),
        ({"phase": "NONE", "operation": "cm_ctl stop", "fence": "epoch 5, step STOP"}, "cm_ctl"),
        ({"phase": "NONE", "fence": "epoch 5, step ACQUIRE"}, "a coordinator has begun"),
        ({"unreadable": "no slot is whole"}, "no slot is whole"),
    ],
    ids=["prepared", "operation", "acquired", "unreadable"],
)
@pytest.mark.parametrize("before", [{}, IDLE], ids=["first", "idle"])
def test_what_has_begun_while_the_agent_was_ended_keeps_its_participant(
    places: Layout, account, systemctl, monkeypatch, before, after, said
):
    """It was not looked again: the transaction lost a node, with --with-state its journal as well."""
    install(Service(USER, account), b"[Service]\n", drop_in(places))
    systemctl.asked.clear()
    systemctl.enabled = True

    with pytest.raises(Trouble, match=said) as raised:
        Removed(places, USER, [before, after], monkeypatch).go(account)

    assert "while the agent was being ended" in raised.value.cause
    unit = "gausscert-agent.service"
    changes = [each for each in systemctl.asked if not each.startswith(("is-", "daemon-reload", "reset-"))]
    assert changes == [f"disable --now {unit}", f"enable {unit}", f"restart {unit}"]
    assert places.config.exists()
    assert places.state.is_dir()
    assert Service(USER, account).unit.exists()


def test_one_that_was_down_is_not_started_by_a_removal_that_is_refused(
    places: Layout, account, systemctl, monkeypatch
):
    install(Service(USER, account), b"[Service]\n", drop_in(places))
    systemctl.asked.clear()
    removed = Removed(places, USER, [IDLE, {"unreadable": "x"}], monkeypatch)
    removed.running = None

    with pytest.raises(Trouble, match="nothing was removed"):
        removed.go(account)

    assert not any(each.startswith(("enable", "restart")) for each in systemctl.asked)


def test_where_it_does_not_start_again_both_are_told(places: Layout, account, systemctl, monkeypatch):
    install(Service(USER, account), b"[Service]\n", drop_in(places))
    systemctl.fails = "restart"

    with pytest.raises(
        Trouble, match=r"in flight: t-1; and it does not start again: systemctl --user"
    ) as raised:
        Removed(places, USER, [IDLE, BUSY], monkeypatch).go(account)

    assert "gausscert-agent serve --config" in raised.value.remedy


def test_one_that_somebody_else_starts_is_his_to_start_again(places: Layout, monkeypatch):
    with pytest.raises(Trouble, match="in flight: t-1") as raised:
        Removed(places, NONE, [IDLE, BUSY], monkeypatch).go(me())

    assert raised.value.remedy.startswith("start the agent again now")
    assert places.config.exists()


def test_a_removal_that_nobody_disturbs_goes_on(places: Layout, monkeypatch):
    assert str(places.state) in Removed(places, NONE, [IDLE, dict(IDLE)], monkeypatch).go(me())


def test_a_removal_leaves_what_is_an_operators_and_the_state(places: Layout):
    configuration.credential(places.pki, *sent(**{"ca.crt": b"1", "node-n1.key": b"2", "node-n1.crt": b"3"}))
    (places.pki / "operator-alice.key").write_text("hers")
    (places.etc / "gausscert.toml").write_text("hers")
    (places.releases / "r").mkdir(parents=True)
    software.switch(places, "r")

    gone = removal.remove(places, Service(NONE, me()), me(), "n1", with_state=False)

    left = {str(path.relative_to(places.software)) for path in places.software.rglob("*") if path.is_file()}
    assert left == {"etc/pki/ca.crt", "etc/pki/operator-alice.key", "etc/gausscert.toml"}
    assert places.state.is_dir()
    assert str(places.current) in gone
    assert removal.remove(places, Service(NONE, me()), me(), "n1", with_state=True) == [str(places.state)]


@pytest.mark.parametrize("name", ["node-n1.key", "node-n1.crt", "ca.crt"])
def test_a_removal_leaves_no_half_of_a_credential(places: Layout, name: str):
    """A roll-out died before the file had its name: the key is in it all the same."""
    configuration.credential(places.pki, *sent(**{"ca.crt": b"1", "node-n1.key": b"2", "node-n1.crt": b"3"}))
    files.write_beside(places.pki / name, b"key", 0o400)
    files.write_beside(places.config, b"config", 0o600)

    removal.remove(places, Service(NONE, me()), me(), "n1", with_state=True)

    assert not places.software.exists()


def test_a_removal_leaves_nothing_that_was_cut_off_in_the_making(places: Layout):
    """It was enough to keep the directory, and whatever else was in it would have seemed an operator's."""
    (places.software / ".given-up.new").touch()
    (places.software / ".current.new").symlink_to("releases/r")
    for name in ("releases", "uploads", "etc", "state"):
        (places.software / f".{name}.new").mkdir()
    (places.etc / ".pki.new").mkdir()
    places.state.rmdir()

    removal.remove(places, Service(NONE, me()), me(), "n1", with_state=False)

    assert not places.software.exists()


def test_a_directory_that_is_a_link_is_not_removed_through_it(tmp_path: Path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")

    assert not files.remove_tree(tmp_path / "link")
    assert (tmp_path / "real").is_dir()


def test_a_link_to_an_empty_directory_stays_and_stops_no_removal(places: Layout, tmp_path: Path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    places.pki.symlink_to(elsewhere)

    gone = removal.remove(places, Service(NONE, me()), None, "n1", with_state=False)

    assert places.pki.is_symlink()
    assert str(places.pki) not in gone


def test_where_no_agent_runs_none_is_found(places: Layout):
    assert processes.agent(places) is None


def test_a_directory_that_was_left_half_made_is_made_anew(places: Layout, tmp_path: Path, monkeypatch):
    """The machine stops after mkdir: one that stayed root's could not be mended by running it again."""
    target = tmp_path / "etc"

    def stops(path: Path, *owner: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "chown", stops)
    with pytest.raises(KeyboardInterrupt):
        files.make_directory(target, 0o700, (os.geteuid() + 1, os.getegid()))
    assert not target.exists()
    given = []
    monkeypatch.setattr(os, "chown", lambda path, *owner: given.append(owner))

    files.make_directory(target, 0o700, (os.geteuid() + 1, os.getegid()))

    assert given == [(os.geteuid() + 1, os.getegid())]
    assert target.is_dir()
    assert [path.name for path in tmp_path.iterdir()].count("etc") == 1
    assert not list(tmp_path.glob(".etc*"))


def test_two_installations_at_once_are_one_after_the_other(places: Layout, monkeypatch):
    """A step goes on when its operator has gone (SIGHUP): the one he repeats it with waits for it."""
    at_work: list[str] = []
    most: list[int] = []

    def make(target: Path, source: Path) -> None:
        at_work.append("one")
        most.append(len(at_work))
        (target / "bin").mkdir(parents=True)
        time.sleep(0.3)
        executable(target / "bin" / "gausscert-agent", "#!/bin/sh\n")
        at_work.pop()

    monkeypatch.setattr(software, "_make", make)
    request = {
        "action": "install",
        "release": "r",
        "directory": str(places.software),
        "user": me().name,
        "cm_home": "",
    }
    threads = [
        threading.Thread(target=main._carried_out, args=(request, places, io.BytesIO())) for _ in range(2)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()

    assert most == [1]
    assert software.is_complete(places.releases / "r")


def test_a_roll_out_that_does_not_end_is_told_to_the_next_one(places: Layout):
    with (
        files.alone(places.software),
        pytest.raises(Trouble, match="another roll-out is at work"),
        files.alone(places.software, patience_s=0.1),
    ):
        pass


def test_a_file_system_without_locks_says_what_to_do(places: Layout, monkeypatch):
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(files.fcntl, "flock", refuse)
    with (
        pytest.raises(Trouble, match="no file can be locked there: No locks available") as caught,
        files.alone(places.software),
    ):
        pass

    assert "directory under [agent]" in caught.value.remedy
    assert caught.value.file == str(places.software)


def test_whoever_has_waited_for_a_removal_still_keeps_others_out(places: Layout):
    """The removal takes the lock's file with it: a third one would find none, and make one of its own."""
    removing = ExitStack()
    removing.enter_context(files.alone(places.software))
    waited = []

    def ends(seconds: float) -> None:
        waited.append(seconds)
        shutil.rmtree(places.software)
        removing.close()

    with files.alone(places.software, make=lambda: software.make_place(places), pause=ends):
        assert places.software.is_dir()
        with (
            pytest.raises(Trouble, match="another roll-out is at work"),
            files.alone(places.software, patience_s=0.0),
        ):
            pass
    assert len(waited) == 1


def test_what_waits_for_a_removal_and_needs_no_place_goes_on(places: Layout):
    removing = ExitStack()
    removing.enter_context(files.alone(places.software))

    def ends(_: float) -> None:
        shutil.rmtree(places.software)
        removing.close()

    with files.alone(places.software, pause=ends):
        assert not places.software.exists()


def test_a_release_is_durable_before_it_says_that_it_is_complete(places: Layout, monkeypatch):
    """A power cut must not leave a mark of completeness beside empty files."""
    synced: list[tuple[str, bool, bool]] = []
    really = files.sync_file_system

    def make(target: Path, source: Path) -> None:
        (target / "lib").mkdir(parents=True)
        (target / "lib" / "module.py").write_text("pass")

    def sync(path: Path) -> None:
        synced.append((path.name, (path / "lib" / "module.py").exists(), software.is_complete(path)))
        really(path)

    monkeypatch.setattr(software, "_make", make)
    monkeypatch.setattr(files, "sync_file_system", sync)
    software.install(places, "r")

    assert synced == [("r", True, False)]
    assert software.is_complete(places.releases / "r")


GONE = {
    "no interpreter": "#!/nowhere/python3.11\n",
    "another version": "#!/bin/sh\necho 'ModuleNotFoundError: gausscert_agent' >&2\nexit 1\n",
    "a damaged one": "",
}
"""What an upgrade of the operating system may leave of an agent's command."""


@pytest.mark.parametrize("text", GONE.values(), ids=GONE)
def test_a_release_that_cannot_be_run_any_more_is_installed_anew(places: Layout, monkeypatch, text: str):
    def make(target: Path, source: Path) -> None:
        executable(target / "bin" / "gausscert-agent", "#!/bin/sh\n")

    monkeypatch.setattr(software, "_make", make)
    software.install(places, "r", me())
    before = places.agent("r").stat().st_ino
    software.install(places, "r", me())
    assert places.agent("r").stat().st_ino == before
    executable(places.agent("r"), text)

    software.install(places, "r", me())

    assert places.agent("r").read_text() == "#!/bin/sh\n"
    assert software.is_complete(places.releases / "r")


@pytest.mark.parametrize("code", [2, 5, 124])
def test_one_that_can_be_run_and_says_no_is_none_of_these(places: Layout, code: int):
    agent = executable(places.agent("r"), f"#!/bin/sh\nexit {code}\n")

    assert software.runs(agent, me())


def test_what_cannot_be_run_at_this_moment_is_not_given_up(places: Layout, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(running.subprocess, "run", refuse)

    assert running.run(["true"]).returncode == 125
    assert software.runs(places.agent("r"), me())


def test_a_release_of_which_an_agent_still_runs_is_not_removed_under_it(places: Layout, monkeypatch):
    agent = executable(places.agent("r"), GONE["no interpreter"])
    (places.releases / "r" / ".complete").touch()
    monkeypatch.setattr(processes, "agent", lambda _: processes.Running(4711, "r", 0.0, "boot 1"))

    with pytest.raises(Trouble, match="pid 4711"):
        software.install(places, "r", me())

    assert agent.exists()


@pytest.mark.parametrize("text", GONE.values(), ids=GONE)
def test_a_look_tells_an_agent_that_cannot_be_run_from_a_journal_that_cannot_be_read(
    places: Layout, text: str
):
    """Both passed for an agent in the middle of a transaction."""
    places.config.write_text("")
    for name, said in (("gone", text), ("good", "#!/bin/sh\n"), ("no", "#!/bin/sh\nexit 2\n")):
        executable(places.agent(name), said)
        (places.releases / name / ".complete").touch()
    request = {"node": "n1", "user": me().name, "cm_home": ""}
    software.switch(places, "gone")

    seen = look.look(request, places)

    assert (seen["releases"], seen["broken"]) == (["good", "no"], ["gone"])
    assert set(seen["journal"]) == {"unrunnable"}
    assert look.journal(places, me(), "good") == {}
    assert set(look.journal(places, me(), "no")) == {"unreadable"}
    with pytest.raises(Trouble) as caught:
        removal.require_idle(seen["journal"])
    assert "installs it anew" in caught.value.remedy
    with pytest.raises(Trouble) as caught:
        removal.require_idle(look.journal(places, me(), "no"))
    assert "`A damaged journal`" in caught.value.remedy


def test_what_cannot_be_made_durable_is_no_release(places: Layout):
    with pytest.raises(OSError, match="No such file"):
        files.sync_file_system(places.releases / "none")


class Systemctl:
    """What a manager would be asked; it obeys, but for what it is told to fail at."""

    def __init__(self, monkeypatch) -> None:
        self.asked: list[str] = []
        self.fails = ""
        self.enabled = False
        monkeypatch.setattr(service, "run", self.run)

    def run(self, argv, **_) -> subprocess.CompletedProcess[str]:
        words = " ".join(word for word in argv[1:] if word != "--user")
        self.asked.append(words)
        enabled = self.enabled or any(each.startswith("enable ") for each in self.asked[:-1])
        said = {"is-enabled": "enabled\n" if enabled else "disabled\n"}.get(words.split()[0], "")
        return subprocess.CompletedProcess(
            argv, int(bool(self.fails) and self.fails in words), said, "cut off"
        )


@pytest.fixture
def systemctl(monkeypatch) -> Systemctl:
    return Systemctl(monkeypatch)


@pytest.fixture
def account(tmp_path: Path):
    return dataclasses.replace(me(), home=str(tmp_path / "home"))


def drop_in(places: Layout) -> bytes:
    return f'ExecStart="/x/gausscert-agent" serve --config "{places.config}"\n'.encode()


def install(made: Service, unit: bytes, more: bytes) -> None:
    made.lay_ready(unit, more)
    made.install(digest(unit), digest(more))
    made.enable()


def test_a_unit_without_a_release_is_the_services_too_and_goes_with_the_agent(places, account, systemctl):
    """A deployment that was given up before any agent was started: its unit would fail at each boot."""
    made = Service(USER, account)
    install(made, b"[Service]\n", drop_in(places))
    assert service.kept(places, account) == USER

    gone = removal.remove(
        places, Service(service.kept(places, account), account), None, "n1", with_state=True
    )

    assert {str(made.unit), str(made.drop_in)} <= set(gone)
    assert "disable --now gausscert-agent.service" in systemctl.asked


@pytest.mark.parametrize("fails", ["", "stop"], ids=["systemd knows it", "it does not"])
def test_an_agent_whose_unit_is_gone_is_ended_all_the_same(
    places: Layout, account: Account, systemctl: Systemctl, monkeypatch: pytest.MonkeyPatch, fails: str
):
    """Its drop-in was still there: the software was removed under the agent that ran."""
    made = Service(USER, account)
    install(made, b"[Service]\n", drop_in(places))
    made.unit.unlink()
    systemctl.fails = fails
    runs = [processes.Running(4711, "r", 0.0, "boot 1")]
    ended: list[int] = []

    def agent(_: Layout) -> processes.Running | None:
        if not fails and "stop gausscert-agent.service" in systemctl.asked:
            runs.clear()
        return runs[0] if runs else None

    def kill(pid: int, _: int) -> None:
        ended.append(pid)
        runs.clear()

    monkeypatch.setattr(processes, "agent", agent)
    monkeypatch.setattr(removal.os, "kill", kill)

    gone = removal.remove(places, made, None, "n1", with_state=True)

    assert "stop gausscert-agent.service" in systemctl.asked
    assert ended == ([4711] if fails else [])
    assert str(made.drop_in) in gone


def test_the_unit_of_an_agent_elsewhere_is_not_taken_for_this_ones(places, account, systemctl, tmp_path):
    """Two agents of one user: removing the one must not end the other."""
    other = layout(str(tmp_path / "other"))
    install(Service(USER, account), b"[Service]\n", drop_in(other))
    (places.releases / "r").mkdir(parents=True)
    software.switch(places, "r")

    assert service.kept(places, account) == NONE
    assert service.kept(other, account) == USER


@pytest.mark.parametrize("home", ["with blanks", 'a "b" \\c', "100%"])
def test_a_unit_is_known_however_its_path_is_written_there(account, systemctl, tmp_path, home):
    from gausscert_coordinator.rollout.units import _quoted

    places = layout(str(tmp_path / home))
    text = f"ExecStart=/x serve --config {_quoted(str(places.config))}\n"
    install(Service(USER, account), b"", text.encode())

    assert service.kept(places, account) == USER


def test_what_is_added_to_the_unit_can_be_read_by_all_whatever_the_umask(places, account, systemctl):
    """systemctl cat, as whoever looks after the machine."""
    before = os.umask(0o077)
    install(Service(USER, account), b"[Service]\n", drop_in(places))
    os.umask(before)

    made = Service(USER, account)
    assert [mode(path) for path in (made.drop_in.parent, made.drop_in, made.unit)] == [0o755, 0o644, 0o644]


def test_a_unit_that_names_it_without_quotes_is_known_too(places, account, systemctl):
    """As people write it."""
    install(Service(USER, account), b"", f"ExecStart=/x serve --config {places.config}\n".encode())

    assert service.kept(places, account) == USER
    assert service.kept(layout(str(places.software / "other")), account) == NONE


def test_what_an_operator_adds_to_the_unit_stays_where_the_agent_goes(places, account, systemctl):
    made = Service(USER, account)
    assert made.uninstall() == []
    install(made, b"[Service]\n", drop_in(places))
    own = made.drop_in.with_name("90-mine.conf")
    own.touch()

    assert made.uninstall() == [str(made.unit), str(made.drop_in)]
    assert own.exists()


def test_a_unit_that_was_written_but_not_enabled_is_seen(places, account, systemctl):
    systemctl.fails = "enable "
    made = Service(USER, account)
    with pytest.raises(Trouble):
        install(made, b"[Service]\n", drop_in(places))
    assert made.unit.exists()
    systemctl.asked.clear()

    assert not made.enabled()
    systemctl.fails = ""
    install(made, b"[Service]\n", drop_in(places))
    assert made.enabled()


def test_a_unit_that_lies_ready_is_no_unit_and_goes_with_the_agent_that_it_was_for(
    places, account, systemctl, tmp_path, monkeypatch
):
    """A roll-out that stopped before any start: the next removal leaves nothing of it."""
    monkeypatch.setattr(os, "geteuid", lambda: 4242)  # of a user's own manager
    made, other = Service(USER, account), layout(str(tmp_path / "other"))
    made.lay_ready(b"[Service]\n", drop_in(places))

    assert service.kept(places, account) == NONE
    made.clear(other)
    assert ready.beside(made.drop_in).exists()
    removal.remove(places, Service(NONE, account), None, "n1", with_state=False)

    assert list(made.unit.parent.rglob("*")) == []
    assert systemctl.asked == ["is-enabled gausscert-agent.service"]


@pytest.mark.parametrize("point", [1, 2])
def test_a_unit_of_which_one_file_is_in_its_place_goes_with_the_agent(
    places, account, systemctl, monkeypatch, point
):
    """The first roll-out was cut off there in ACTIVATE; a unit alone is nobody's, and stayed for good."""
    monkeypatch.setattr(os, "geteuid", lambda: 4242)  # of a user's own manager
    made, really, begun = Service(USER, account), os.replace, []
    made.lay_ready(b"[Service]\n", drop_in(places))

    def cut(source, target):
        begun.append(target)
        if len(begun) == point:
            raise OSError(errno.EIO, "cut off")
        really(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", cut)
        with pytest.raises(OSError, match="cut off"):
            made.install(digest(b"[Service]\n"), digest(drop_in(places)))
    kept = Service(service.kept(places, account), account)
    other = layout(str(places.software / "other"))
    made.clear(other)
    assert ready.beside(made.unit).exists()

    removal.remove(places, kept, None, "n1", with_state=False)

    assert list(made.unit.parent.rglob("*")) == []


def test_a_masked_unit_is_refused_while_nothing_is_changed_yet(account, systemctl, monkeypatch):
    masked = subprocess.CompletedProcess([], 1, "masked-runtime\n", "")
    monkeypatch.setattr(service, "run", lambda *_, **__: masked)

    with pytest.raises(Trouble, match="masked") as caught:
        Service(USER, account).lay_ready(b"u", b"d")

    assert "unmask" in caught.value.remedy
    assert not Service(USER, account).unit.parent.exists()


def test_the_manager_reads_the_unit_again_before_it_starts_the_agent(account, systemctl):
    """Whoever wrote it may have been cut off before daemon-reload: systemd would start the former release."""
    Service(USER, account).start()

    assert [words.split()[0] for words in systemctl.asked] == ["daemon-reload", "reset-failed", "restart"]


def test_a_directory_of_somebody_else_is_seen_before_anything_is_begun(places: Layout):
    mine, other = me(), dataclasses.replace(me(), uid=os.geteuid() + 1)

    assert look._closed_place(places, mine) == ""
    assert look._closed_place(places, other) == str(places.etc)
    assert look._closed_place(places, None) == ""


def test_the_agents_place_is_the_usual_one_unless_that_is_an_operators(tmp_path: Path, monkeypatch):
    """Root's is for operators, who look for gausscert.toml there; one with an agent stays where it is."""
    place = tmp_path / "gausscert"
    monkeypatch.setattr(layout_of, "_ROOT", os.geteuid())
    assert etc_of(place) == place
    place.mkdir()
    assert etc_of(place) == place / "agent"
    (place / "agent.toml").touch()
    assert etc_of(place) == place
    for theirs in ("gausscert.toml", "agent"):  # beside these it is what operators say of all agents
        (place / theirs).touch()
        assert etc_of(place) == place / "agent"
        (place / theirs).unlink()
    (place / "agent.toml").unlink()
    monkeypatch.setattr(layout_of, "_ROOT", os.geteuid() + 1)
    assert etc_of(place) == place


def test_it_matters_only_where_the_place_is_an_operators_and_somebody_is_to_come_to_it(
    places: Layout, tmp_path: Path
):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    stranger = dataclasses.replace(me(), name="nobody", uid=65534, gid=65534)

    assert look._closed_place(dataclasses.replace(places, etc=closed / "agent"), None) == ""
    usual = Layout(places.software, closed / "usual", closed / "state")
    assert look._closed_place(usual, stranger) == ""
    assert look._closed_place(dataclasses.replace(usual, etc=closed / "agent"), stranger) == str(closed)


@pytest.mark.parametrize(("uid", "kind"), [(0, "system"), (4242, "user")])
def test_a_removal_looks_for_what_lies_ready_where_its_login_would_lay_it(
    places: Layout, monkeypatch, uid: int, kind: str
):
    asked, of_login = list[str](), Service(NONE, me())
    monkeypatch.setattr(Service, "clear", lambda self, _: asked.append(self.kind))
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    monkeypatch.setattr(removal, "holder", lambda _: None)

    removal.remove(places, of_login, None, "n1", with_state=False)

    assert asked == [kind]


def test_an_operators_place_that_lets_nobody_through_or_others_change_it_is_seen(
    places: Layout, tmp_path: Path, monkeypatch
):
    theirs = tmp_path / "gausscert"
    theirs.mkdir()
    theirs.chmod(0o755)  # whatever the umask is
    inside = dataclasses.replace(places, etc=theirs / "agent")
    stranger = dataclasses.replace(me(), uid=4343, gid=4343, name="nobody-of-here")

    assert look._closed_place(inside, stranger) == str(places.state)
    theirs.chmod(0o750)
    assert look._closed_place(inside, stranger) == str(theirs)
    assert look._closed_place(inside, me()) == ""  # of the group
    if os.geteuid() == 0:
        assert look._open_place(inside) == ""
        theirs.chmod(0o775)
        assert look._open_place(inside) == str(theirs)


@pytest.mark.skipif(os.geteuid() != 0, reason="it matters only where root is logged in")
@pytest.mark.parametrize(
    ("mode", "owner", "is_open"),
    [(0o755, 0, False), (0o775, 0, True), (0o1777, 0, False), (0o755, 4242, True)],
    ids=["root's", "of a group", "sticky", "a user's"],
)
def test_a_place_above_in_which_others_may_put_another_directory_is_open_too(
    tmp_path: Path, mode: int, owner: int, is_open: bool
):
    """/opt itself, where the cluster's user has it: he could rename root's /opt/gausscert away."""
    above = tmp_path / "opt"
    inside = Layout(above / "deeper" / "gausscert", tmp_path / "etc", tmp_path / "state")
    inside.software.mkdir(parents=True)
    for each in (inside.software, inside.software.parent, above):
        each.chmod(0o755)
    above.chmod(mode)
    os.chown(above, owner, -1)

    assert look._open_place(inside) == (str(above) if is_open else "")


def test_an_agent_can_be_removed_where_cm_and_its_user_have_gone(places: Layout, monkeypatch):
    """A node that leaves the cluster: the certificates, whose owner the agent ran as, are there no more."""
    monkeypatch.setattr(main, "agent_user", lambda name, cm_home: None)
    (places.releases / "r").mkdir(parents=True)
    software.switch(places, "r")
    request = {"service": NONE, "user": "", "cm_home": "/gone", "node": "n1", "with_state": False}
    request |= {"directory": ""}

    gone = main._remove(request, places, io.BytesIO())

    assert str(places.current) in gone


@pytest.mark.parametrize("uid", [4242, 0], ids=["a user's", "root's"])
def test_so_can_one_that_has_a_directory_of_its_own_as_whoever_owns_that(places: Layout, monkeypatch, uid):
    """Never as root, whom the owner of a place above could lead elsewhere."""
    became = []
    owner = Account("omm", uid, uid, "dbgrp", "/home/omm")
    monkeypatch.setattr(main, "agent_user", lambda name, cm_home: None)
    monkeypatch.setattr(main, "owner_of", lambda path, follow=True: owner if not follow else None)
    monkeypatch.setattr(main, "become", became.append)
    (places.releases / "r").mkdir(parents=True)
    request = {"service": NONE, "user": "", "cm_home": "/gone", "node": "n1", "with_state": True}
    where = {"action": "remove", "directory": str(places.software)}

    if uid:
        gone = main._carried_out(request | where, places, io.BytesIO())
        assert str(places.software) in gone
        assert became == [owner]
    else:
        with pytest.raises(Trouble, match="OS user is gone"):
            main._carried_out(request | where, places, io.BytesIO())
    assert places.software.exists() is not bool(uid)


@pytest.mark.parametrize("spelt", ["--config {}", "--config={}"])
def test_an_agent_is_found_however_its_configuration_was_named(places: Layout, spelt: str):
    words = ["gausscert-agent", "serve", *spelt.format(places.config).split()]
    script = "import sys; print(flush=True); sys.stdin.read()"
    child = subprocess.Popen(
        [sys.executable, "-c", script, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert child.stdout is not None
        child.stdout.readline()
        found = processes.agent(places)
    finally:
        child.communicate()

    assert found is not None
    assert found.pid == child.pid


def test_a_look_tells_whose_agent_is_installed(places: Layout):
    assert set(look._configured(places.config).values()) == {""}
    places.config.write_text('[agent]\nname = "n1"\ncluster = "prod"\nstate_dir = "/s"\n')

    assert look._configured(places.config) == {
        "configured_state": "/s",
        "configured_cluster": "prod",
        "configured_node": "n1",
    }
