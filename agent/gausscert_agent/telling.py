"""How the agent's command tells a person what is wrong."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from gausscert_common.errors import GausscertError
    from gausscert_common.findings import Finding

REFUSED: Final = 2
"""The configuration, a credential or the node is not fit; nothing was served. Or an audit log was altered, as
`gausscert history --verify` tells it, too."""
FAILED: Final = 5


def tell(error: GausscertError) -> None:
    """Each thing once: a message that only joins what the findings say is left to them."""
    joined = len(error.findings) > 1 and all(each.cause in error.message for each in error.findings)
    if joined:
        where = f"{error.file}: " if error.file else ""
        _say(f"gausscert-agent: {error.reason}: {where}{len(error.findings)} things are wrong")
    elif len(error.findings) == 1 and error.findings[0].cause in error.message:
        _say(f"gausscert-agent: {error.reason}: {line(error.findings[0])}")
        return
    else:
        _say(f"gausscert-agent: {error.reason}: {error}")
    for finding in error.findings:
        named = joined and finding.file == error.file
        _say(f"  {line(replace(finding, file='') if named else finding)}")


def line(finding: Finding) -> str:
    """One finding in one line."""
    where = f"{finding.file}: " if finding.file else ""
    return f"{where}{finding.cause} ({finding.remedy})"


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
