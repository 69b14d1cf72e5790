"""What the program does on a node, one thing at a time, in a directory of the test's own."""

from __future__ import annotations

import hashlib
import io
import os
import stat
from pathlib import Path

import pytest
from gausscert_coordinator.rollout.on_node import configuration, files, processes, removal, software
from gausscert_coordinator.rollout.on_node.layout import Layout, layout, me
from gausscert_coordinator.rollout.on_node.service import NONE, Service
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


def test_a_wheel_that_arrives_changed_has_no_name(places: Layout):
    told, _ = sent(**{"a.whl": b"abc"})

    with pytest.raises(Trouble):
        software.upload(places, "r", told, io.BytesIO(b"abd"))

    assert list((places.uploads / "r").iterdir()) == []


def test_an_upload_leaves_nothing_of_an_earlier_one(places: Layout):
    software.upload(places, "r", *sent(**{"old.whl": b"x"}))

    software.upload(places, "r", *sent(**{"new.whl": b"y"}))

    assert [path.name for path in (places.uploads / "r").iterdir()] == ["new.whl"]


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


def test_a_configuration_that_the_agent_refuses_leaves_the_one_before(places: Layout):
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
    assert (places.config.read_bytes(), mode(places.config)) == (b"after", 0o600)


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


def test_a_directory_that_is_a_link_is_not_removed_through_it(tmp_path: Path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")

    assert not files.remove_tree(tmp_path / "link")
    assert (tmp_path / "real").is_dir()


def test_where_no_agent_runs_none_is_found(places: Layout):
    assert processes.agent(places) is None
