"""What an agent has of the control plane: its own credential, which can be renewed over the wire."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gausscert_common.model import Certificate

    from gausscert_agent.config import AgentConfig
    from gausscert_agent.credential_source import CredentialSource
    from gausscert_agent.renewal import Asked, Renewal


class ControlPlane:
    """See the module; may be called from any thread.

    Args:
        config: The agent's.
        source: The agent's own credential.
    """

    def __init__(self, config: AgentConfig, source: CredentialSource) -> None:
        self._config = config
        self._source = source
        self._making = threading.Lock()
        self._renewal: Renewal | None = None

    def begin_renewal(self, request_id: str) -> Asked:
        """See `renewal.Renewal.begin`."""
        return self._renewing().begin(request_id)

    def finish_renewal(self, request_id: str, certificate_pem: bytes) -> Certificate:
        """See `renewal.Renewal.finish`."""
        return self._renewing().finish(request_id, certificate_pem)

    def _renewing(self) -> Renewal:
        with self._making:
            if self._renewal is None:
                from gausscert_agent.renewal import Renewal  # with `cryptography`, for once in two years

                self._renewal = Renewal(self._config, self._source)
            return self._renewal
