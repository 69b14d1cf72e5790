"""Every input that the fuzzer has kept, and every one that once crashed something, crashes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzz import targets

FILES = sorted(path for path in targets.CORPUS.rglob("*") if path.is_file())


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_was_kept_crashes_nothing(path: Path):
    targets.TARGETS[path.parent.name](path.read_bytes())


def test_every_target_has_something_to_begin_with():
    assert {path.parent.name for path in FILES} == set(targets.TARGETS)
