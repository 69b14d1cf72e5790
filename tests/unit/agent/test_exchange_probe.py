"""The probe says beforehand whether a swap will work, and touches nothing."""

from __future__ import annotations

import errno
import os

import pytest
from gausscert_agent import exchange_probe, syscalls
from gausscert_agent.config import CmSettings
from gausscert_agent.files import Disk
from gausscert_agent.store import Store
from support.agent_core import OLD, snapshot, write_set


@pytest.fixture
def sslcert(tmp_path):
    path = tmp_path / "home" / "share" / "sslcert"
    write_set(path / "cm", OLD)
    return path


def probed(tmp_path, disk: Disk | None = None):
    return Store(CmSettings(home=tmp_path / "home"), disk=disk).probe_exchange()


@pytest.fixture
def plain(monkeypatch):
    """As if the temporary directory were on an ordinary file system, which in a container it may not be."""
    monkeypatch.setattr(syscalls, "file_system_type", lambda descriptor: 0xEF53)


def test_an_ordinary_file_system_is_capable_and_left_as_it_was(tmp_path, sslcert, plain):
    before = snapshot(sslcert)
    assert probed(tmp_path) == exchange_probe.ExchangeProbe(capable=True)
    assert snapshot(sslcert) == before


def test_without_a_live_set_the_parent_alone_is_tried(tmp_path):
    sslcert = tmp_path / "home" / "share" / "sslcert"
    sslcert.mkdir(parents=True)
    assert probed(tmp_path).capable
    assert not list(sslcert.iterdir())


def test_leftovers_of_a_probe_that_died_are_no_hindrance(tmp_path, sslcert, plain):
    (sslcert / ".cm.probe.one").mkdir()
    assert probed(tmp_path).capable
    assert [path.name for path in sslcert.iterdir()] == ["cm"]


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EXDEV, errno.EPERM, errno.ENOSYS, errno.EIO])
def test_a_refusal_of_the_kernel_is_reported_with_its_cause(tmp_path, sslcert, plain, number):
    class Refusing(Disk):
        def exchange(self, directory, one, other):
            raise OSError(number, os.strerror(number))

    before = snapshot(sslcert)
    found = probed(tmp_path, Refusing())
    assert not found.capable
    assert found.cause
    assert snapshot(sslcert) == before


@pytest.mark.parametrize("kind", [exchange_probe.OVERLAY, exchange_probe.FUSE, exchange_probe.NFS])
def test_a_file_system_that_cannot_be_trusted_is_named(tmp_path, sslcert, monkeypatch, kind):
    monkeypatch.setattr(syscalls, "file_system_type", lambda descriptor: kind)
    before = snapshot(sslcert)
    found = probed(tmp_path)
    assert not found.capable
    assert any(name in found.cause for name in ("overlayfs", "FUSE", "NFS"))
    assert snapshot(sslcert) == before


def test_a_mount_point_is_reported(tmp_path, sslcert, monkeypatch):
    ids = iter([1, 2])
    monkeypatch.setattr(syscalls, "mount_id", lambda descriptor: next(ids))
    found = probed(tmp_path)
    assert not found.capable
    assert "mount point" in found.cause


def test_a_mount_that_nothing_tells_speaks_against_nothing(tmp_path, sslcert, plain, monkeypatch):
    ids = iter([None, 2])
    monkeypatch.setattr(syscalls, "mount_id", lambda descriptor: next(ids))
    assert probed(tmp_path).capable


def test_the_probe_needs_no_file_of_proc_that_old_kernels_give_to_root(tmp_path, sslcert, plain, monkeypatch):
    """Before Linux 5.14 a process that is not dumpable cannot read its own fdinfo."""

    def refuse(path, *arguments, **keywords):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    monkeypatch.setattr("builtins.open", refuse)
    found = probed(tmp_path)
    monkeypatch.undo()
    assert found == exchange_probe.ExchangeProbe(capable=True)


def test_what_cannot_be_looked_at_is_not_called_unwritable(tmp_path, sslcert, monkeypatch):
    def refuse(descriptor):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(syscalls, "file_system_type", refuse)
    before = snapshot(sslcert)
    found = probed(tmp_path)
    assert not found.capable
    assert "looked at" in found.cause
    assert "write" not in found.cause
    assert snapshot(sslcert) == before


def test_without_sslcert_nothing_is_possible(tmp_path):
    found = probed(tmp_path)
    assert not found.capable
    assert "not there" in found.cause
    assert not list(tmp_path.iterdir())
