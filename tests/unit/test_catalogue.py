"""The catalogue of findings is complete, and its page shows all of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from gausscert_common import validate
from gausscert_common.findings import Severity
from gausscert_common.validate.catalogue import CATALOGUE, SECTIONS, catalogue_markdown, finding

ROOT = Path(validate.__file__).parents[3]
MAKERS = [
    *Path(validate.__file__).parent.glob("*.py"),
    ROOT / "coordinator/gausscert_coordinator/bundle_files.py",
]


@pytest.mark.parametrize("rule", CATALOGUE.values(), ids=list(CATALOGUE))
def test_every_rule_says_what_why_and_what_to_do(rule):
    assert re.fullmatch(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+", rule.code)
    assert rule.title
    assert not rule.title.endswith(".")
    assert rule.meaning.endswith(".")
    assert rule.remedy
    assert not rule.remedy.endswith(".")


def test_no_code_is_in_two_sections():
    assert len(CATALOGUE) == sum(len(section) for section in SECTIONS.values())


def test_every_code_that_is_used_is_in_the_catalogue_and_every_one_there_is_used():
    text = "".join(path.read_text() for path in MAKERS if not path.name.startswith("rule"))
    used = set(re.findall(r'"([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)"', text))

    assert used - {"DEFAULT_THRESHOLD_DAYS"} == set(CATALOGUE)


def test_a_finding_takes_severity_and_remedy_from_its_rule():
    made = finding("KEYS_SHARED", "the cause", "client.crt")

    assert made.severity is Severity.WARNING
    assert made.remedy == CATALOGUE["KEYS_SHARED"].remedy
    assert (made.cause, made.file, made.node) == ("the cause", "client.crt", "")


def test_an_unknown_code_is_a_bug():
    with pytest.raises(KeyError):
        finding("NO_SUCH_CODE", "")


def test_the_page_has_a_row_for_every_code():
    page = catalogue_markdown()

    for code, rule in CATALOGUE.items():
        assert f"| {code} | {rule.severity} | **{rule.title}.**" in page
    rows = [line for line in page.splitlines() if re.match(r"\| [A-Z]", line)]
    assert len(rows) == len(CATALOGUE)
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 5 for row in rows)
