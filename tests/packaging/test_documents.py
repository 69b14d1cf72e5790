"""Documents say what is true: links lead somewhere, versions agree."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path

import gausscert_common
import pytest
from gausscert_coordinator.cli.verbs import AGENTS, BUNDLE, INVENTORY, PKI, ROOT, SSL

ROOT_DIRECTORY = Path(__file__).parents[2]
DOCUMENTS = sorted(
    [
        *ROOT_DIRECTORY.glob("*.md"),
        *ROOT_DIRECTORY.glob("docs/**/*.md"),
        *ROOT_DIRECTORY.glob("deploy/**/*.md"),
        *ROOT_DIRECTORY.glob("examples/*/*.md"),
    ]
)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT_DIRECTORY)))
def test_links_lead_somewhere(document: Path):
    broken = [link for link in LINK.findall(document.read_text()) if not (document.parent / link).exists()]

    assert broken == []


def test_the_version_is_the_same_everywhere():
    project = tomllib.loads((ROOT_DIRECTORY / "pyproject.toml").read_text())["project"]

    assert project["version"] == gausscert_common.VERSION == metadata.version("gausscert")


def test_the_readme_has_exactly_two_make_commands():
    assert re.findall(r"^    make (\w+)$", (ROOT_DIRECTORY / "README.md").read_text(), re.MULTILINE) == [
        "demo",
        "test",
    ]


def test_the_readme_names_every_verb_once():
    groups = {"bundle": BUNDLE, "ssl": SSL, "agents": AGENTS, "pki": PKI, "inventory": INVENTORY}
    verbs = [
        f"{name} {each}" if each else name for name in ROOT for each in groups.get(name, {"": ROOT[name]})
    ]
    table = (ROOT_DIRECTORY / "README.md").read_text().split("## The verbs")[1].split("\n## ")[0]
    named = [
        verb
        for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
        for verb in re.findall(r"`(.+?)`", row)
    ]

    assert sorted(named) == sorted(verbs)


MARK = re.compile(r"<!-- screen: ([a-z-]+) -->\n(.*?)<!-- end -->", re.DOTALL)
SCREENS = [
    pytest.param(*found.groups(), id=f"{document.relative_to(ROOT_DIRECTORY)}-{found[1]}")
    for document in DOCUMENTS
    for found in MARK.finditer(document.read_text())
]


def test_pages_show_screens():
    assert len(SCREENS) > 10


@pytest.mark.parametrize(("name", "shown"), SCREENS)
def test_a_screen_was_taken_from_a_run_that_ended_as_it_had_to(name: str, shown: str):
    assert re.match(r"```text\n\$ gausscert \w", shown), "make screens"
    assert re.search(r"\n\(exit [0-4]\)\n```\n$", shown)


@pytest.mark.parametrize(("name", "shown"), SCREENS)
def test_a_screen_tells_nothing_of_the_machine_it_was_taken_on(name: str, shown: str):
    assert not re.search(r"/tmp|/work|/root|root@|Traceback", shown)
