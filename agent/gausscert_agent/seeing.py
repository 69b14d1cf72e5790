"""Looking at what may not be there to be seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from gausscert_common.errors import GausscertError

from gausscert_agent.node_findings import node_finding

if TYPE_CHECKING:
    from collections.abc import Callable

    from gausscert_common.findings import Finding

T = TypeVar("T")


class Look:
    """Collects what could not be seen."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []

    def at(self, what: str, see: Callable[[], T], otherwise: T) -> T:
        """What is seen, or `otherwise`, and a finding that says why."""
        try:
            return see()
        except GausscertError as error:
            self._note(what, str(error))
        except OSError as error:
            self._note(what, error.strerror or str(error))
        return otherwise

    def _note(self, what: str, cause: str) -> None:
        self.findings.append(node_finding("NODE_NOT_OBSERVED", f"{what}: {cause}"))
