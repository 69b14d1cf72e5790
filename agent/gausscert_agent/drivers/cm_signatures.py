"""What lines in CM's logs mean: a table from signatures to cause and remedy (facts sections 12, 17). Pure.

Nothing of a line is passed on but the name of a file of the set: cm_server logs its whole environment (facts
section 17), and whatever else stands in a log is none of ours to show.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gausscert_common import certset
from gausscert_common.findings import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Mapping

SERVER, AGENT, CTL, DCC = "cm_server", "cm_agent", "cm_ctl", "dcc"
"""Whose log; DCC has one of its own, in which the reason of a failed start may be the only one."""

_ALL: Final = frozenset({SERVER, AGENT, CTL, DCC})
_NAMES: Final = frozenset({*certset.NAMES, *certset.CRL_NAMES})
_VERIFY: Final = r"SSL verify certificate failed: result code is "
"""Followed by OpenSSL's X509_V_ERR number (cs_ssl.cpp:1085-1095)."""


@dataclass(frozen=True, slots=True)
class Signature:
    """One row."""

    pattern: str
    """Searched for in a line; a group `file` may name a file of the set."""
    cause: str
    remedy: str
    logs: frozenset[str] = _ALL
    general: bool = False
    """Says that something failed, not why: told only where no other row says more."""


SIGNATURES: Final[dict[str, Signature]] = {
    "CM_LOG_FILE_MODE": Signature(
        r'certificate file "(?:[^"]*/)?(?P<file>[^"/]*)" has execute, group or world access permission',
        "CM refuses the mode of a file of the set; only 0400 passes, plain 0600 does not",
        "chmod 0400 every file of share/sslcert/cm on this node",
    ),
    "CM_LOG_FILE_MISSING": Signature(
        r"Cert file or Key file is not exists|ssl file does not exist",
        "server.key, server.crt or cacert.pem was missing when cm_server started",
        "see that all nine files are in share/sslcert/cm; gausscert replace puts them there",
        frozenset({SERVER}),
    ),
    "CM_LOG_FACTOR_FILES": Signature(
        r"srv verify ssl keypwd failed|Failed to ssl text"
        r'|could not (?:open|read) file(?: "(?:[^"]*/)?(?P<file>\w+\.key\.(?:cipher|rand))"|:)',
        "factor files (.cipher, .rand) are missing, damaged, or of the other build of CM",
        "make both of a pair anew from the key's password: gausscert replace, or cm_ctl encrypt",
    ),
    "CM_LOG_KEY_PASSWORD": Signature(
        r"Unable to get private key",
        "the password in the factor files does not open the key, or the key cannot be read",
        "check the bundle and its passwords with gausscert bundle verify",
    ),
    "CM_LOG_KEY_MISMATCH": Signature(
        r"Private key does not match the certificate public key",
        "a key and its certificate are of different pairs: files of two sets lie side by side",
        "put one whole set into share/sslcert/cm; gausscert replace never mixes two",
    ),
    "CM_LOG_NOT_LOADED": Signature(
        r"Unable to get certificate|Load CA certificate file failed|Load Certificate revocation list failed",
        "a certificate, cacert.pem or a CRL is not what CM can read: empty, DER, or no PEM",
        "check the bundle with gausscert bundle verify",
    ),
    "CM_LOG_CHAIN": Signature(
        _VERIFY + r"(?:2|19|20|21)\b",
        "the certificate of the other side does not lead to a root in this node's cacert.pem",
        "see that all nodes have the same set, and that cacert.pem holds the root and all intermediates",
    ),
    "CM_LOG_CRL": Signature(
        _VERIFY + r"(?:3|8|11|12|23)\b",
        "a server.crl or client.crl refuses the other side: it is left over from another CA, has expired, or"
        " lists the certificate",
        "remove the CRL or replace it with one of the present CA (--drop-crls)",
    ),
    "CM_LOG_PURPOSE": Signature(
        _VERIFY + r"26\b",
        "the extended key usage of a leaf lacks a purpose: CM uses both leaves as TLS server and client",
        "issue both leaves with serverAuth and clientAuth, or without extended key usage",
    ),
    "CM_LOG_SIGNATURE": Signature(
        _VERIFY + r"7\b",
        "a signature does not verify: two CAs of one name lie in cacert.pem, or a certificate is damaged",
        "give the new CA a name of its own, and the leaves an authority key identifier",
    ),
    "CM_LOG_NOT_YET_VALID": Signature(
        _VERIFY + r"9\b",
        "a certificate is not valid yet by this node's clock",
        "compare the clocks of the nodes with the dates of the certificates (gausscert expiry)",
    ),
    "CM_LOG_EXPIRED": Signature(
        _VERIFY + r"10\b|The server certificate is expired|The ca is expired",
        "a certificate has expired: cm_server runs with it, and every handshake fails",
        "replace the set; while the cluster cannot say how it is, with --accept-state",
    ),
    "CM_LOG_THRESHOLD": Signature(
        r"invalid ssl expire alert threshold",
        "ssl_cert_expire_alert_threshold in cm_server.conf is out of its range",
        "set it to a value from 7 to 180",
        frozenset({SERVER}),
    ),
    "CM_LOG_WITHOUT_SSL": Signature(
        r"It will disconnect the connection for msg type",
        "somebody spoke to cm_server without asking for SSL: an agent of an older CM, or another program",
        "see that all nodes run the same version of CM",
        frozenset({SERVER}),
    ),
    "CM_LOG_HOST": Signature(
        r"invalid host\(",
        "somebody spoke to cm_server from an address that is no node's cmAgentIP",
        "compare the addresses in `cm_ctl view` with those of the machines",
        frozenset({SERVER}),
    ),
    "CM_LOG_HEARTBEAT": Signature(
        r"init cma heartbeat conn by mes failed",
        "cm_agent cannot load client.* for the heartbeats of the agents, and ends again and again",
        "check client.crt, client.key, its factor files and cacert.pem; or set enable_ssl alike in all"
        " cm_agent.conf",
        frozenset({AGENT}),
        general=True,
    ),
    "CM_LOG_SSL_INIT": Signature(
        r"\bssl init failed\.",
        "cm_server cannot use its set, and is started again and again",
        "check that set: gausscert bundle verify; modes 0400; ssl_cert_expire_alert_threshold from 7 to 180",
        frozenset({SERVER}),
        general=True,
    ),
    "CM_LOG_DCC": Signature(
        r"Failed to start dcc|failed to init ddb server",
        "the link between the cm_servers (DCC) does not start, so cm_server ends",
        "see $GAUSSLOG/cm/dcc/run/run.log on this node; enable_ssl and the CA must be the same on all nodes",
        frozenset({SERVER}),
        general=True,
    ),
    "CM_LOG_ACCEPT": Signature(
        r"srv ssl accept failed",
        "cm_server's handshakes fail: the client refused its certificate, or showed one that is not valid",
        "see the logs of cm_agent and cm_ctl on the other nodes; compare the sets of all nodes",
        frozenset({SERVER}),
        general=True,
    ),
}
"""Every signature by the code of the finding it becomes."""


def read(texts: Mapping[str, str]) -> tuple[Finding, ...]:
    """What logs say went wrong, each once, in the order of the table.

    Args:
        texts: What was logged, by whose log it is.
    """
    found = [finding for code, row in SIGNATURES.items() if (finding := _seen(code, row, texts)) is not None]
    telling = [finding for finding in found if not SIGNATURES[finding.code].general]
    return tuple(telling or found)


def _seen(code: str, row: Signature, texts: Mapping[str, str]) -> Finding | None:
    pattern = re.compile(row.pattern)
    matches = {log: list(pattern.finditer(text)) for log, text in texts.items() if log in row.logs}
    logs = sorted(log for log, found in matches.items() if found)
    if not logs:
        return None
    named = {match.groupdict().get("file") for log in logs for match in matches[log]}
    files = sorted(name for name in _NAMES if name in named)
    return Finding(
        code, Severity.ERROR, f"{row.cause} (log of {', '.join(logs)})", row.remedy, file=", ".join(files)
    )
