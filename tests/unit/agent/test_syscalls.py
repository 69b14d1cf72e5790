"""renameat2 by glibc and by number does what the kernel promises."""

from __future__ import annotations

import errno
import os
from types import SimpleNamespace

import pytest
from gausscert_agent import syscalls


@pytest.fixture(params=["symbol", "number"])
def renameat2(request, monkeypatch):
    if request.param == "number":
        if os.uname().machine not in syscalls._NUMBERS:
            pytest.skip("no number is known for this machine")
        monkeypatch.setattr(syscalls, "_by_symbol", lambda: None)
    syscalls._renameat2.cache_clear()
    yield
    syscalls._renameat2.cache_clear()


@pytest.fixture
def directory(tmp_path):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_text(name)
    descriptor = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


def test_an_exchange_lets_two_directories_swap_places(renameat2, directory, tmp_path):
    syscalls.exchange(directory, "one", "other")
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["other"]
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["one"]


@pytest.mark.parametrize(
    ("call", "names", "expected"),
    [
        (syscalls.exchange, ("one", "missing"), FileNotFoundError),
        (syscalls.move, ("one", "other"), FileExistsError),
        (syscalls.move, ("missing", "new"), FileNotFoundError),
    ],
)
def test_refusals_are_typed_and_change_nothing(renameat2, directory, tmp_path, call, names, expected):
    with pytest.raises(expected) as caught:
        call(directory, *names)
    assert (caught.value.filename, caught.value.filename2) == names
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "other"]
    assert (tmp_path / "one" / "one").exists()


def test_a_move_renames(renameat2, directory, tmp_path):
    syscalls.move(directory, "one", "new")
    assert (tmp_path / "new" / "one").read_text() == "one"


def test_the_file_system_is_the_one_that_holds_the_file():
    descriptor = os.open("/proc", os.O_RDONLY)
    try:
        assert syscalls.file_system_type(descriptor) == 0x9FA0  # PROC_SUPER_MAGIC
    finally:
        os.close(descriptor)


def test_a_closed_descriptor_is_an_error():
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        syscalls.file_system_type(-1)


def test_an_unknown_machine_without_the_symbol_is_told(monkeypatch):
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(machine="abacus"))
    with pytest.raises(OSError, match="not known on this machine"):
        syscalls._by_number()


def both_ways(path) -> tuple[int | None, int | None]:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return syscalls.mount_id(descriptor), syscalls._mount_by_proc(descriptor)
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("path", ["/", "/proc", "/dev", "/tmp"])
def test_the_mount_id_is_the_one_that_proc_tells(path):
    ours, procs = both_ways(path)
    assert ours == procs is not None


def test_different_mounts_have_different_ids(tmp_path):
    assert both_ways(tmp_path)[0] != both_ways("/proc")[0]


def test_the_mount_id_comes_from_the_system_call_where_handles_are_known(tmp_path, monkeypatch):
    def unasked(descriptor):
        raise AssertionError("proc was asked")

    descriptor = os.open("/dev/shm", os.O_RDONLY | os.O_DIRECTORY)
    monkeypatch.setattr(syscalls, "_mount_by_proc", unasked)
    try:
        assert syscalls.mount_id(descriptor) is not None
    finally:
        os.close(descriptor)


def test_without_proc_and_handles_no_mount_is_told(directory, monkeypatch):
    def refuse(descriptor):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(syscalls, "_mount_by_handle", lambda descriptor: None)
    monkeypatch.setattr(syscalls, "_mount_by_proc", refuse)
    assert syscalls.mount_id(directory) is None
    assert syscalls.mount_id(-1) is None
