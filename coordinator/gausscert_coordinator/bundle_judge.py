"""The bundle as each node will see it: judged by the node's clock and for the node's build of CM."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gausscert_common.model import Certificate, CertificateKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gausscert_common.bundle import Bundle
    from gausscert_common.findings import Finding
    from gausscert_common.model import NodeReport


def judge(bundle: Bundle, reports: Mapping[str, NodeReport]) -> dict[str, tuple[Finding, ...]]:
    """The bundle's findings for each node. Nodes whose clocks show the same minute and whose CM is of the
    same build share one judgement: opening an RSA key costs tens of milliseconds."""
    from gausscert_common import validate

    known: dict[object, tuple[Finding, ...]] = {}
    found: dict[str, tuple[Finding, ...]] = {}
    for node, report in reports.items():
        minute = report.clock.replace(second=0, microsecond=0)
        build = report.capabilities.factor_build
        if (minute, build) not in known:
            known[minute, build] = validate.bundle(bundle, now=report.clock, build=build)
        found[node] = known[minute, build]
    return found


def server_certificate(bundle: Bundle) -> Certificate | None:
    """The server certificate that CM would serve: the first one of server.crt (cs_ssl.cpp:1117-1152), or
    None if it cannot be read."""
    from gausscert_common.validate.gather import gather

    leaf = gather(bundle.pem).leaf("server")
    if leaf is None:
        return None
    from cryptography.hazmat.primitives import hashes
    from gausscert_common.validate.certificate import shown_name

    return Certificate(
        file=leaf.file,
        index=leaf.index,
        kind=CertificateKind.SERVER,
        subject=shown_name(leaf.x509.subject),
        issuer=shown_name(leaf.x509.issuer),
        serial=f"{leaf.serial:x}",
        fingerprint=leaf.x509.fingerprint(hashes.SHA256()).hex(),
        not_before=leaf.not_before,
        not_after=leaf.not_after,
    )
