"""renameat2 by glibc and by number does what the kernel promises."""

from __future__ import annotations

import errno
import os
import platform

import pytest
from gausscert_agent import syscalls


@pytest.fixture(params=["symbol", "number"])
def renameat2(request, monkeypatch):
    if request.param == "number":
        if platform.machine() not in syscalls._NUMBERS:
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
    monkeypatch.setattr(platform, "machine", lambda: "abacus")
    with pytest.raises(OSError, match="not known on this machine"):
        syscalls._by_number()
