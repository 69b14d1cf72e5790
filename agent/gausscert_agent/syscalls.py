"""The system calls that Python does not offer: renameat2, fstatfs and name_to_handle_at, through ctypes.

`renameat2` comes from glibc (2.28 and later); where the symbol is missing the kernel is called by
number, which is 316 on x86_64 and 276 on the architectures with the generic table.
"""

from __future__ import annotations

import array
import ctypes
import errno
import fcntl
import functools
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

RENAME_NOREPLACE: Final = 1
RENAME_EXCHANGE: Final = 2

_NUMBERS: Final = {"x86_64": 316, "aarch64": 276, "riscv64": 276}

_STATFS_LONGS: Final = 64
"""More than `struct statfs` has anywhere (120 bytes on 64-bit Linux)."""

_FS_IOC_GETFLAGS: Final = 0x80086601
_FS_IMMUTABLE_FL: Final = 0x10
_FS_APPEND_FL: Final = 0x20

_AT_EMPTY_PATH: Final = 0x1000


def renameat2(old_directory: int, old: str, new_directory: int, new: str, flags: int) -> None:
    """Rename relative to two directory descriptors.

    Raises:
        OSError: As the kernel says; ENOSYS where there is no such call.
    """
    call = _renameat2()
    while call(old_directory, os.fsencode(old), new_directory, os.fsencode(new), flags) != 0:
        code = ctypes.get_errno()
        if code != errno.EINTR:
            raise OSError(code, os.strerror(code), old, None, new)


def exchange(directory: int, one: str, other: str) -> None:
    """Let two entries of one directory swap places at one instant. Raises OSError."""
    renameat2(directory, one, directory, other, RENAME_EXCHANGE)


def move(directory: int, old: str, new: str) -> None:
    """Rename within one directory, never over anything: EEXIST then. Raises OSError.

    File systems that do not know RENAME_NOREPLACE (FUSE and NFS answer EINVAL) are asked beforehand: nobody
    but the agent makes such names.
    """
    try:
        renameat2(directory, old, directory, new, RENAME_NOREPLACE)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS):
            raise
        _move_by_rename(directory, old, new)


def _move_by_rename(directory: int, old: str, new: str) -> None:
    try:
        os.stat(new, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        os.rename(old, new, src_dir_fd=directory, dst_dir_fd=directory)
    else:
        raise OSError(errno.EEXIST, os.strerror(errno.EEXIST), old, None, new)


def file_system_type(descriptor: int) -> int:
    """`f_type` of the file system that an open file lies on (statfs(2)). Raises OSError."""
    buffer = (ctypes.c_long * _STATFS_LONGS)()
    if _libc().fstatfs(ctypes.c_int(descriptor), ctypes.byref(buffer)) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return int(buffer[0])


def is_immutable(descriptor: int) -> bool:
    """Whether an open file or directory has the immutable or the append-only flag (ioctl_iflags(2)); False
    where the file system has no flags."""
    flags = array.array("l", [0])
    try:
        fcntl.ioctl(descriptor, _FS_IOC_GETFLAGS, flags, True)
    except OSError:
        return False
    return bool(flags[0] & (_FS_IMMUTABLE_FL | _FS_APPEND_FL))


def mount_id(descriptor: int) -> int | None:
    """The mount that an open file was reached by, or None where nothing tells; never raises.

    name_to_handle_at(2) tells it even where it has no room for the handle (EOVERFLOW). /proc/self/fdinfo
    comes second: before Linux 5.14 it belongs to root once a process is not dumpable, as the agent is.
    """
    try:
        found = _mount_by_handle(descriptor)
        return _mount_by_proc(descriptor) if found is None else found
    except (OSError, ValueError):
        return None


def _mount_by_handle(descriptor: int) -> int | None:
    call = getattr(_libc(), "name_to_handle_at", None)
    if call is None:
        return None
    handle = (ctypes.c_uint * 2)()  # handle_bytes = 0, handle_type
    found = ctypes.c_int(-1)
    call.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int]
    call.restype = ctypes.c_int
    done = call(descriptor, b"", ctypes.byref(handle), ctypes.byref(found), _AT_EMPTY_PATH)
    # Where a file system has no handles (EOPNOTSUPP) nothing is written.
    told = done == 0 or ctypes.get_errno() == errno.EOVERFLOW
    return found.value if told and found.value >= 0 else None


def _mount_by_proc(descriptor: int) -> int | None:
    with open(f"/proc/self/fdinfo/{descriptor}", encoding="ascii") as lines:
        said = next((line for line in lines if line.startswith("mnt_id:")), "")
    return int(said.partition(":")[2]) if said else None


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


@functools.cache
def _renameat2() -> Callable[[int, bytes, int, bytes, int], int]:
    return _by_symbol() or _by_number()


def _by_symbol() -> Callable[[int, bytes, int, bytes, int], int] | None:
    symbol = getattr(_libc(), "renameat2", None)
    if symbol is None:
        return None
    symbol.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]
    symbol.restype = ctypes.c_int

    def call(old_directory: int, old: bytes, new_directory: int, new: bytes, flags: int) -> int:
        return int(symbol(old_directory, old, new_directory, new, flags))

    return call


def _by_number() -> Callable[[int, bytes, int, bytes, int], int]:
    number = _NUMBERS.get(os.uname().machine)
    if number is None:
        raise OSError(errno.ENOSYS, "renameat2 is not known on this machine")
    syscall = _libc().syscall
    syscall.restype = ctypes.c_long

    def call(old_directory: int, old: bytes, new_directory: int, new: bytes, flags: int) -> int:
        return int(
            syscall(
                ctypes.c_long(number),
                ctypes.c_int(old_directory),
                ctypes.c_char_p(old),
                ctypes.c_int(new_directory),
                ctypes.c_char_p(new),
                ctypes.c_uint(flags),
            )
        )

    return call
