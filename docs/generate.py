"""Writes the pages of docs/ that the code decides, or with --check compares them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from gausscert_agent.preflight import NODE_FINDINGS
from gausscert_common.errors import KIND_OF_REASON
from gausscert_common.validate.catalogue import catalogue_markdown
from gausscert_common.wire.errors import CODES
from gausscert_coordinator.exit_codes import BY_KIND, BY_REASON, MEANING
from gausscert_coordinator.history_catalogue import HISTORY
from gausscert_coordinator.plan_catalogue import PLAN

HERE = Path(__file__).parent

STAGED = [
    "REHEARSAL_FAILED",
    "error",
    (
        "**The staged set does not shake hands with itself.** Server and client certificates are tried"
        " against each other in memory, under CM's rules, before anything is stopped."
    ),
    (
        "look at the OpenSSL reason in the cause; most often it is the extended key usage or a missing"
        " intermediate"
    ),
]


def findings_page() -> str:
    """Every finding there is."""
    plan = [
        [rule.code, rule.severity, f"**{rule.title}.** {rule.meaning}", rule.remedy] for rule in PLAN.values()
    ]
    node = [
        [code, row.severity, row.title[0].upper() + row.title[1:] + ".", row.remedy]
        for code, row in NODE_FINDINGS.items()
    ]
    history = [
        [rule.code, rule.severity, f"**{rule.title}.** {rule.meaning}", rule.remedy]
        for rule in HISTORY.values()
    ]
    header = ["code", "severity", "what, why", "what to do"]
    return "\n".join(
        [
            catalogue_markdown(),
            "# Findings about a staged set\n",
            table(header, [STAGED]),
            "# Findings about a node\n",
            table(header, node),
            "# Findings about a plan\n",
            table(header, plan),
            "# Findings about the history\n",
            table(header, history),
        ]
    )


def errors_page() -> str:
    """Every reason an error can have, and every exit code."""
    reasons = [
        [
            reason,
            kind.__name__,
            (kind.__doc__ or "").split("\n")[0],
            CODES[reason].name,
            str(int(BY_REASON.get(reason, BY_KIND[kind]))),
        ]
        for reason, kind in KIND_OF_REASON.items()
    ]
    codes = [[str(int(code)), meaning] for code, meaning in MEANING.items()]
    return "\n".join(
        [
            "# Errors and exit codes\n",
            "This page is generated from `gausscert_common.errors`, `gausscert_common.wire.errors` and",
            "`gausscert_coordinator.exit_codes`.\n",
            "## Exit codes of gausscert\n",
            table(["exit", "meaning"], codes),
            "## Reasons\n",
            "The exit code is that of an error met before anything changed; later it is 1 or 3.\n",
            table(["reason", "kind", "what the kind means", "gRPC code", "exit"], reasons),
        ]
    )


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return (
        "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
        + "\n"
    )


PAGES = {"findings.md": findings_page, "errors.md": errors_page}


def main() -> int:
    """Write or check; 1 when a page differs from what the code makes of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare only")
    check = parser.parse_args().check
    drift = 0
    for name, page in PAGES.items():
        path = HERE / name
        text = page()
        if check and (not path.exists() or path.read_text() != text):
            sys.stderr.write(f"docs/{name}: differs from the code; run make docs\n")
            drift = 1
        elif not check:
            path.write_text(text)
    return drift


if __name__ == "__main__":
    sys.exit(main())
