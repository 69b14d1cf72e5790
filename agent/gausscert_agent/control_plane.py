"""What an agent has of the control plane: its own credential, and the list of those it lets in no more."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from gausscert_common.denylist import DenyList
from gausscert_common.errors import InvalidInput, Reason

from gausscert_agent.audit import AuditLog
from gausscert_agent.deny_list import DenyListFile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gausscert_common.denylist import Denied
    from gausscert_common.findings import Finding
    from gausscert_common.model import Certificate

    from gausscert_agent.config import AgentConfig
    from gausscert_agent.credential_source import CredentialSource
    from gausscert_agent.peer import Numbers
    from gausscert_agent.renewal import Asked, Renewal


class ControlPlane:
    """See the module; may be called from any thread.

    Args:
        config: The agent's.
        source: The agent's own credential.

    Attributes:
        source: The same.
        denied: Who is let in no more.
        audit: Who asked for what.
    """

    def __init__(self, config: AgentConfig, source: CredentialSource) -> None:
        self.denied = DenyListFile(config.state_dir)
        self.audit = AuditLog(config.state_dir)
        self.source = source
        self._config = config
        self._making = threading.Lock()
        self._renewal: Renewal | None = None

    def findings(self) -> tuple[Finding, ...]:
        """What keeps the agent from letting people in, or from writing down what they ask for."""
        return (*self.denied.findings(), *self.audit.findings())

    def begin_renewal(self, request_id: str) -> Asked:
        """See `renewal.Renewal.begin`."""
        return self._renewing().begin(request_id)

    def finish_renewal(self, request_id: str, certificate_pem: bytes) -> Certificate:
        """See `renewal.Renewal.finish`."""
        return self._renewing().finish(request_id, certificate_pem)

    def deny(self, entries: Sequence[Denied], caller: Numbers) -> tuple[int, int]:
        """Put certificates on the deny list, but never the caller's own: nobody could mend that from afar.

        Returns:
            How many were added, and how many there are.

        Raises:
            InvalidInput: ARGUMENT_INVALID, DENY_LIST_INVALID.
            NodeFailure: STORE_FAILED.
        """
        if DenyList(tuple(entries)).holds(caller.serial, caller.fingerprint):
            raise InvalidInput(
                Reason.ARGUMENT_INVALID,
                "the list has the credential that it was sent with",
                remedy="send it with the credential of another operator",
            )
        return self.denied.add(entries)

    def _renewing(self) -> Renewal:
        with self._making:
            if self._renewal is None:
                from gausscert_agent.renewal import Renewal  # with `cryptography`, for once in two years

                self._renewal = Renewal(self._config, self.source)
            return self._renewal
