"""The probe says beforehand how a swap will be done, and changes nothing of what is seen."""

from __future__ import annotations

import errno
import os

import pytest
from gausscert_agent import layout_probe, syscalls
from gausscert_agent.config import CmSettings
from gausscert_agent.files import Disk
from gausscert_agent.store import Store
from gausscert_common.errors import NodeFailure
from gausscert_common.model import Layout
from support.agent_core import OLD, TX, snapshot, write_set


@pytest.fixture
def sslcert(tmp_path):
    path = tmp_path / "home" / "share" / "sslcert"
    write_set(path / "cm", OLD)
    return path


def probed(tmp_path, disk: Disk | None = None):
    return Store(CmSettings(home=tmp_path / "home"), disk=disk).probe_layout()


@pytest.fixture
def plain(monkeypatch):
    """As if the temporary directory were on an ordinary file system, which in a container it may not be."""
    monkeypatch.setattr(syscalls, "file_system_type", lambda descriptor: 0xEF53)


def test_an_ordinary_file_system_is_capable_and_left_as_it_was(tmp_path, sslcert, plain):
    before = snapshot(sslcert)
    assert probed(tmp_path) == layout_probe.EXCHANGE
    assert snapshot(sslcert) == before


def test_without_a_live_set_the_parent_alone_is_tried(tmp_path):
    sslcert = tmp_path / "home" / "share" / "sslcert"
    sslcert.mkdir(parents=True)
    assert probed(tmp_path) == layout_probe.EXCHANGE
    assert not list(sslcert.iterdir())


def test_leftovers_of_a_probe_that_died_are_no_hindrance(tmp_path, sslcert, plain):
    (sslcert / ".cm.probe.one").mkdir()
    assert probed(tmp_path) == layout_probe.EXCHANGE
    assert [path.name for path in sslcert.iterdir()] == ["cm"]


class Refusing(Disk):
    """A file system without some operations; as a number, how the kernel refuses."""

    def __init__(self, number: int, *operations: str) -> None:
        for operation in operations:
            setattr(self, operation, self._refuse)
        self.number = number

    def _refuse(self, *arguments):
        raise OSError(self.number, os.strerror(self.number))


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EXDEV, errno.EPERM, errno.ENOSYS])
def test_where_the_kernel_refuses_the_exchange_links_are_used_and_the_cause_is_told(
    tmp_path, sslcert, plain, number
):
    before = snapshot(sslcert)
    found = probed(tmp_path, Refusing(number, "exchange"))
    assert found.layout is Layout.DATA_LINK
    assert found.cause
    assert snapshot(sslcert) == before


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_a_disk_that_fails_is_no_reason_for_links(tmp_path, sslcert, plain, number):
    before = snapshot(sslcert)
    disk = Refusing(number, "exchange")
    found = probed(tmp_path, disk)
    assert found.layout is None
    assert os.strerror(number) in found.cause
    with pytest.raises(NodeFailure):
        Store(CmSettings(home=tmp_path / "home"), disk=disk).make_room(TX)
    assert snapshot(sslcert) == before


@pytest.mark.parametrize("operation", ["link", "replace", "make_directory"])
def test_where_links_do_not_work_either_both_causes_are_told(tmp_path, sslcert, plain, operation):
    before = snapshot(sslcert)
    found = probed(tmp_path, Refusing(errno.EROFS, "exchange", operation))
    assert found.layout is None
    assert "nor can there be links" in found.cause
    assert os.strerror(errno.EROFS) in found.cause
    assert snapshot(sslcert) == before


def test_links_need_a_directory_to_be_in(tmp_path, plain):
    (tmp_path / "home" / "share" / "sslcert").mkdir(parents=True)
    found = probed(tmp_path, Refusing(errno.EINVAL, "exchange"))
    assert found.layout is None
    assert "make it" in found.cause


@pytest.mark.parametrize("kind", [layout_probe.OVERLAY, layout_probe.FUSE, layout_probe.NFS])
def test_a_file_system_that_cannot_be_trusted_is_named(tmp_path, sslcert, monkeypatch, kind):
    monkeypatch.setattr(syscalls, "file_system_type", lambda descriptor: kind)
    before = snapshot(sslcert)
    found = probed(tmp_path)
    assert found.layout is Layout.DATA_LINK
    assert any(name in found.cause for name in ("overlayfs", "FUSE", "NFS"))
    assert snapshot(sslcert) == before


def test_a_mount_point_is_reported(tmp_path, sslcert, monkeypatch):
    ids = iter([1, 2])
    monkeypatch.setattr(syscalls, "mount_id", lambda descriptor: next(ids))
    found = probed(tmp_path)
    assert found.layout is Layout.DATA_LINK
    assert "mount point" in found.cause


def test_links_that_are_there_are_kept_wherever_an_exchange_would_work(tmp_path, sslcert, plain):
    store = Store(CmSettings(home=tmp_path / "home"), disk=Refusing(errno.EINVAL, "exchange"))
    store.make_room(TX)
    before = snapshot(sslcert)
    found = probed(tmp_path)
    assert found.layout is Layout.DATA_LINK
    assert "links already" in found.cause
    assert snapshot(sslcert) == before


def test_a_mount_that_nothing_tells_speaks_against_nothing(tmp_path, sslcert, plain, monkeypatch):
    ids = iter([None, 2])
    monkeypatch.setattr(syscalls, "mount_id", lambda descriptor: next(ids))
    assert probed(tmp_path) == layout_probe.EXCHANGE


def test_the_probe_needs_no_file_of_proc_that_old_kernels_give_to_root(tmp_path, sslcert, plain, monkeypatch):
    """Before Linux 5.14 a process that is not dumpable cannot read its own fdinfo."""

    def refuse(path, *arguments, **keywords):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    monkeypatch.setattr("builtins.open", refuse)
    found = probed(tmp_path)
    monkeypatch.undo()
    assert found == layout_probe.EXCHANGE


def test_what_cannot_be_looked_at_is_not_called_unwritable(tmp_path, sslcert, monkeypatch):
    def refuse(descriptor):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(syscalls, "file_system_type", refuse)
    before = snapshot(sslcert)
    found = probed(tmp_path)
    assert found.layout is None
    assert "looked at" in found.cause
    assert "write" not in found.cause
    assert snapshot(sslcert) == before


def test_without_sslcert_nothing_is_possible(tmp_path):
    found = probed(tmp_path)
    assert found.layout is None
    assert "not there" in found.cause
    assert not list(tmp_path.iterdir())
