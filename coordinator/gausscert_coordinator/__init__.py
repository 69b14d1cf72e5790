"""The cluster: a library first, a CLI second.

    async with Coordinator(inventory_file.load(path)) as cluster:
        plan = await cluster.plan(bundle, ReplaceOptions())
        if plan.feasible:
            result = await cluster.replace(plan, bundle, watch=print, interrupt=Interrupt())
        raise SystemExit(exit_code(result))

Names are loaded when they are first used: `gausscert --help` must not pay for cryptography and grpc.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

from gausscert_common import hardening

if TYPE_CHECKING:
    from gausscert_common.bundle import Bundle, FactorFiles
    from gausscert_common.errors import (
        Denied,
        GausscertError,
        InDoubt,
        InternalError,
        InvalidInput,
        NodeFailure,
        NodeRefusal,
        Reason,
        Unreachable,
    )
    from gausscert_common.findings import Finding, Severity
    from gausscert_common.protocol.coordinator import Stage, Verdict
    from gausscert_common.protocol.recovery import Choice
    from gausscert_common.protocol.words import RestartScope, SslWish

    from gausscert_coordinator.coordinator import Coordinator
    from gausscert_coordinator.exit_codes import ExitCode, exit_code
    from gausscert_coordinator.interrupt import Interrupt
    from gausscert_coordinator.inventory import Credentials, Inventory, InventoryNode, Timeouts
    from gausscert_coordinator.report import (
        ClusterStatus,
        Mark,
        NodeExpiry,
        NodeStatus,
        Plan,
        PlannedNode,
        Progress,
        Proof,
        ReplaceOptions,
        Result,
    )

__all__ = [
    # the cluster
    "Coordinator",
    "Inventory",
    "InventoryNode",
    "Credentials",
    "Timeouts",
    # what is handed in
    "Bundle",
    "FactorFiles",
    "ReplaceOptions",
    "RestartScope",
    "SslWish",
    "Choice",
    "Interrupt",
    # what comes out
    "Plan",
    "PlannedNode",
    "Result",
    "Verdict",
    "Proof",
    "Progress",
    "Mark",
    "Stage",
    "ClusterStatus",
    "NodeStatus",
    "NodeExpiry",
    "Finding",
    "Severity",
    "ExitCode",
    "exit_code",
    # errors
    "GausscertError",
    "Reason",
    "InvalidInput",
    "NodeRefusal",
    "NodeFailure",
    "Denied",
    "Unreachable",
    "InDoubt",
    "InternalError",
]

# Here, because every way to what imports grpc leads through here: a library writes on no terminal.
hardening.hush()

_HOMES: Final = {
    "gausscert_common.bundle": ("Bundle", "FactorFiles"),
    "gausscert_common.errors": (
        "Denied",
        "GausscertError",
        "InDoubt",
        "InternalError",
        "InvalidInput",
        "NodeFailure",
        "NodeRefusal",
        "Reason",
        "Unreachable",
    ),
    "gausscert_common.findings": ("Finding", "Severity"),
    "gausscert_common.protocol.coordinator": ("Stage", "Verdict"),
    "gausscert_common.protocol.recovery": ("Choice",),
    "gausscert_common.protocol.words": ("RestartScope", "SslWish"),
    "gausscert_coordinator.coordinator": ("Coordinator",),
    "gausscert_coordinator.exit_codes": ("ExitCode", "exit_code"),
    "gausscert_coordinator.interrupt": ("Interrupt",),
    "gausscert_coordinator.inventory": ("Credentials", "Inventory", "InventoryNode", "Timeouts"),
    "gausscert_coordinator.report": (
        "ClusterStatus",
        "Mark",
        "NodeExpiry",
        "NodeStatus",
        "Plan",
        "PlannedNode",
        "Progress",
        "Proof",
        "ReplaceOptions",
        "Result",
    ),
}
_HOME_OF: Final = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
