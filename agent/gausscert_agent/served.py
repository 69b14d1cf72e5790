"""What cm_servers show of their certificates, seen from this node."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from gausscert_common.errors import GausscertError
from gausscert_common.model import ProbeReport, Served, ServedState

from gausscert_agent.drivers.cm_ctl import os_user
from gausscert_agent.looks import NOT_RUNNING, NotNow

if TYPE_CHECKING:
    from collections.abc import Callable

    from gausscert_common.findings import Finding
    from gausscert_common.model import ClusterState, CmTopology, TransactionReport

    from gausscert_agent.cm import LocalCm
    from gausscert_agent.store import Store

    ProbeAll = Callable[[CmTopology, str, bytes, float], tuple[Served, ...]]

PROBE_S: Final = 5.0
"""For the node's own cm_server."""
_CA_FILE: Final = "cacert.pem"


class ServedHere:
    """Looks; changes nothing.

    Args:
        name: The node's.
        store: The sets on disk.
        cm: CM on this node.
        transaction: The durable state, as the runner tells it.
        probe_all: How cm_servers are probed.
    """

    def __init__(
        self,
        name: str,
        store: Store,
        cm: LocalCm,
        transaction: Callable[[], TransactionReport],
        probe_all: ProbeAll,
    ) -> None:
        self._name = name
        self._store = store
        self._cm = cm
        self._transaction = transaction
        self._probe_all = probe_all

    def probe(self, query: bool, timeout_s: float) -> ProbeReport:
        """What each cm_server serves, seen from here.

        Args:
            query: Also run `cm_ctl query`.
            timeout_s: Longest time for each cm_server, and for the query.

        Raises:
            NodeFailure: CM_CTL_FAILED, CM_CTL_TIMEOUT; which cm_servers there are is not known. An
                empty answer would look as if there was nothing left to prove.
        """
        topology = self._cm.topology()
        served = self._probe_all(topology, os_user(), self._live_ca(), timeout_s)
        cluster = self._cm.query(timeout_s) if query else None
        return ProbeReport(served, cluster, self._causes(served, cluster))

    def _causes(self, served: tuple[Served, ...], cluster: ClusterState | None) -> tuple[Finding, ...]:
        """A log of a cluster that is well has lines, too, that would pass for a cause."""
        well = all(_is_well(one) for one in served) and (cluster is None or cluster.cluster_state)
        found = () if well else self._cm.log_findings()
        return tuple(finding.at_node(self._name) for finding in found)

    def served(self) -> Served | None:
        """As `served_now`; None also where that is not to be known at this moment.

        Raises:
            NodeFailure: CM_CTL_FAILED, CM_CTL_TIMEOUT; one runs, but its address is not known.
        """
        try:
            return self.served_now()
        except NotNow:
            return None

    def served_now(self) -> Served | None:
        """What this node's own cm_server shows; None where none belongs. Only it can be compared with this
        disk, and each cm_server has an agent beside it.

        Raises:
            NotNow: Somebody restarts it, or whether one belongs here is not known.
            NodeFailure: CM_CTL_FAILED, CM_CTL_TIMEOUT; one runs, but its address is not known.
        """
        if self._transaction().restarting:
            raise NotNow
        runs = any(process.name == "cm_server" for process in self._cm.processes())
        try:
            topology = self._cm.topology()
        except GausscertError as error:
            if runs:
                raise
            raise NotNow from error  # that cm_ctl does not work, the node's report tells
        local = topology.local
        if local is None or not local.server_address:
            return None
        if not runs:
            target = f"{local.server_address}:{local.server_port}"
            return Served(local.id, target, ServedState.UNREACHABLE, cause=NOT_RUNNING)
        alone = replace(topology, nodes=(local,))
        return next(iter(self._probe_all(alone, os_user(), self._live_ca(), PROBE_S)), None)

    def _live_ca(self) -> bytes:
        """What to verify chains with; b"" has the probe say that there is nothing to do it with."""
        try:
            live = self._store.read_live()
        except GausscertError:
            return b""
        return b"" if live is None else live.files.get(_CA_FILE, b"")


def _is_well(served: Served) -> bool:
    return served.state is ServedState.SSL_OFF or (
        served.state is ServedState.SSL_ON and served.chain_verified
    )
