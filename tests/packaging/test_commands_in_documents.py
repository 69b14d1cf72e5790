"""What the pages say to type is understood by the command: verbs, options, and how many arguments."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
from gausscert_coordinator.cli.main import cli as root
from gausscert_coordinator.cli.settings import Invocation

TOP = Path(__file__).parents[2]
PAGES = (TOP / "README.md", *sorted((TOP / "docs").glob("*.md")), TOP / "deploy" / "README.md")
BLOCK = re.compile(r"^ {4,7}(?:.*\| )?(gausscert [a-z].*)$")
INLINE = re.compile(r"`(gausscert [a-z][^`]* [^`]*)`")


def commands(page: Path) -> set[str]:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    found = {match[1] for line in text.splitlines() if (match := BLOCK.match(line))}
    return found | set(INLINE.findall(text))


TYPED = [
    pytest.param(line, id=f"{page.relative_to(TOP)}: {line}")
    for page in PAGES
    for line in sorted(commands(page))
]


def words_of(line: str) -> list[str]:
    words = shlex.split(line, comments=True)[1:]
    ends = [at for at, word in enumerate(words) if word in ("|", ">", ">>")]
    return words[: min(ends, default=len(words))]


def test_pages_say_what_to_type():
    assert len(TYPED) > 50


@pytest.mark.parametrize("line", TYPED)
def test_what_a_page_says_to_type_is_understood(line: str):
    words = words_of(line)
    command: click.Command = root
    while isinstance(command, click.Group) and words:
        found = command.get_command(click.Context(command), words[0])
        assert found is not None, words[0]
        command, words = found, words[1:]
    if isinstance(command, click.Group) or "--help" in words:
        return  # a whole group is spoken of, or its help
    with click.Context(root, obj=Invocation()) as outer:
        command.make_context(command.name, list(words), parent=outer)
