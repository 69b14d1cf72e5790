"""Temporary directories lie in memory where there is such a place.

Most of what is written here is written with fsync, for which a disk takes milliseconds: many tests would wait
more than they compute. A killed process loses nothing in memory, either; power cuts are made of recorded
system calls (`support/power_cut.py`). GAUSSCERT_TESTS_ON_DISK=1, or --basetemp=DIR, has them on a disk.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

MEMORY = Path("/dev/shm")
ENOUGH = 2 << 30
"""Bytes: some tests install the software a few times."""
_PYTESTS_OWN = "PYTEST_DEBUG_TEMPROOT"


def pytest_configure(config: pytest.Config) -> None:
    """Of the process that starts the workers; they are told."""
    if not os.environ.get("GAUSSCERT_TESTS_ON_DISK") and _is_fit(MEMORY):
        os.environ.setdefault(_PYTESTS_OWN, str(MEMORY))


def _is_fit(place: Path) -> bool:
    """Containers may have a small one, or one from which no program may be started."""
    try:
        return (
            os.access(place, os.R_OK | os.W_OK | os.X_OK)
            and shutil.disk_usage(place).free >= ENOUGH
            and not os.statvfs(place).f_flag & os.ST_NOEXEC
        )
    except OSError:
        return False
