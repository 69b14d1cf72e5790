"""The two system calls that Python does not offer: renameat2 and fstatfs, through ctypes.

`renameat2` comes from glibc (2.28 and later); where the symbol is missing the kernel is called by
number, which is 316 on x86_64 and 276 on the architectures with the generic table.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import platform
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

RENAME_NOREPLACE: Final = 1
RENAME_EXCHANGE: Final = 2

_NUMBERS: Final = {"x86_64": 316, "aarch64": 276, "riscv64": 276}

_STATFS_LONGS: Final = 64
"""More than `struct statfs` has anywhere (120 bytes on 64-bit Linux)."""


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
    """Rename within one directory, never over anything: EEXIST then. Raises OSError."""
    renameat2(directory, old, directory, new, RENAME_NOREPLACE)


def file_system_type(descriptor: int) -> int:
    """`f_type` of the file system that an open file lies on (statfs(2)). Raises OSError."""
    buffer = (ctypes.c_long * _STATFS_LONGS)()
    if _libc().fstatfs(ctypes.c_int(descriptor), ctypes.byref(buffer)) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return int(buffer[0])


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
    number = _NUMBERS.get(platform.machine())
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
