"""Every kind of finding about a bundle or a set: code, severity, meaning, remedy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gausscert_common.validate import rules_chain, rules_files

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gausscert_common.findings import Finding
    from gausscert_common.validate.rule import Rule

SECTIONS: Final = {
    "Files": rules_files.FILES,
    "Keys": rules_files.KEYS,
    "Passwords": rules_files.PASSWORDS,
    "Factor files": rules_files.FACTORS,
    "Certificates": rules_chain.CERTIFICATES,
    "Chains": rules_chain.CHAINS,
    "Revocation lists": rules_chain.CRLS,
    "The live set": rules_chain.LIVE,
}

CATALOGUE: Final[Mapping[str, Rule]] = {
    code: rule for section in SECTIONS.values() for code, rule in section.items()
}
"""All rules by code."""


def finding(code: str, cause: str, file: str = "") -> Finding:
    """A finding of a known kind; `cause` says what exactly is wrong here.

    Raises:
        KeyError: There is no such code: a bug.
    """
    return CATALOGUE[code].finding(cause, file)


def catalogue_markdown() -> str:
    """The catalogue as a page of documentation."""
    parts = ["# Findings about a bundle or a set", "", _INTRODUCTION]
    for title, section in SECTIONS.items():
        parts += ["", f"## {title}", "", "| code | severity | what, why | what to do |", "|---|---|---|---|"]
        parts += [_row(rule) for rule in section.values()]
    return "\n".join(parts) + "\n"


_INTRODUCTION: Final = (
    "Errors refuse a replacement, or a rollback to a former set, before anything changes; warnings refuse"
    " nothing. "
    "Neither ever keeps a transaction from being turned back.\n"
    "This page is generated from `gausscert_common.validate.catalogue`."
)


def _row(rule: Rule) -> str:
    what = f"**{rule.title}.** {rule.meaning}"
    return f"| {rule.code} | {rule.severity} | {_cell(what)} | {_cell(rule.remedy)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
