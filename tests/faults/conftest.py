"""Places for disks that are copied a thousand times."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

MEMORY = Path("/dev/shm")


@pytest.fixture(scope="module")
def quick_place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """In memory where there is such a place: a killed process loses nothing there, either."""
    try:
        place = Path(tempfile.mkdtemp(prefix="gausscert-", dir=MEMORY))
    except OSError:
        yield tmp_path_factory.mktemp("quick")
        return
    yield place
    shutil.rmtree(place)
