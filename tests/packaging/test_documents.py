"""Documents say what is true: links lead somewhere, versions agree."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path

import gausscert_common
import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("deploy/**/*.md"),
        *ROOT.glob("examples/*/*.md"),
    ]
)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path):
    broken = [link for link in LINK.findall(document.read_text()) if not (document.parent / link).exists()]

    assert broken == []


def test_the_version_is_the_same_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert project["version"] == gausscert_common.VERSION == metadata.version("gausscert")


def test_the_readme_has_exactly_two_make_commands():
    assert re.findall(r"^    make (\w+)$", (ROOT / "README.md").read_text(), re.MULTILINE) == ["demo", "test"]
