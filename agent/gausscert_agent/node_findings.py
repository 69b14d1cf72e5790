"""Everything that a node may find of itself: code, severity, title, remedy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gausscert_common.findings import Finding, Severity


@dataclass(frozen=True, slots=True)
class NodeFinding:
    """One row of the table."""

    severity: Severity
    title: str
    remedy: str


_E, _W = Severity.ERROR, Severity.WARNING
_ROTATE: Final = (
    "see `Rotation of the control plane` in docs/runbook.md; unless unused: then take it out of ca.crt"
)

NODE_FINDINGS: Final[dict[str, NodeFinding]] = {
    "NODE_WRONG_USER": NodeFinding(
        _E,
        "the agent does not run as the owner of the certificate directory",
        "run the agent as the OS user that owns the cluster",
    ),
    "NODE_DIRECTORY_MISSING": NodeFinding(
        _E,
        "there is no share/sslcert below CM's home",
        "correct cm.home in the agent's configuration, or create the directory, mode 0700",
    ),
    "NODE_DIRECTORY_WRITABLE": NodeFinding(
        _E,
        "others may write to the certificate directory",
        "take the right to write from group and others: chmod go-w",
    ),
    "NODE_NO_SPACE": NodeFinding(
        _E,
        "there is too little room on the file system",
        "free some space, inodes included",
    ),
    "NODE_CANNOT_SWAP": NodeFinding(
        _E,
        "the set cannot be swapped in one step here",
        "put share/sslcert as a whole on a local file system, or let the agent write to share/sslcert/cm",
    ),
    "NODE_DATA_LINK": NodeFinding(
        _W,
        "the directory of the set cannot be exchanged here, so its files will be links through cm/..data",
        "nothing: CM reads through links; to have none, put share/sslcert as a whole on a local file system",
    ),
    "NODE_CM_CTL_MISSING": NodeFinding(
        _E, "there is no cm_ctl", "correct cm.home in the agent's configuration"
    ),
    "NODE_CM_CTL_FAILS": NodeFinding(
        _E,
        "cm_ctl does not work for the agent",
        "run `cm_ctl view` as the agent's user until it works; CM refuses root",
    ),
    "NODE_STATIC_CONFIG_MISSING": NodeFinding(
        _E,
        "there is no cluster_static_config",
        "correct cm.home in the agent's configuration, or copy the file from another node",
    ),
    "NODE_CONF_UNREADABLE": NodeFinding(
        _E,
        "CM's configuration files cannot be read",
        "set cm.data_path in the agent's configuration, and run the agent as the owner of the cluster",
    ),
    "NODE_SSL_COMMENTED": NodeFinding(
        _E,
        "enable_ssl stands in a comment only",
        "remove the # before enable_ssl: cm_ctl would edit the comment and report success",
    ),
    "NODE_SSL_MISSING": NodeFinding(
        _E,
        "there is no enable_ssl line",
        "add `enable_ssl = on` or `enable_ssl = off` to the file: cm_ctl adds no line",
    ),
    "NODE_SSL_NOT_SETTABLE": NodeFinding(
        _W,
        "cm_ctl set would not do what it says with enable_ssl",
        "see that the file has one line `enable_ssl = on` or `off`; with --enable-ssl keep nothing is set",
    ),
    "NODE_SSL_UNEQUAL": NodeFinding(
        _W,
        "enable_ssl differs between cm_server.conf and cm_agent.conf",
        "decide for one of them: gausscert ssl on, or gausscert ssl off",
    ),
    "NODE_THRESHOLD_INVALID": NodeFinding(
        _E,
        "ssl_cert_expire_alert_threshold is out of its range",
        "set it to a value from 7 to 180: with SSL on, cm_server does not start otherwise",
    ),
    "NODE_CM_CTL_RUNNING": NodeFinding(
        _E,
        "somebody else's cm_ctl runs",
        "wait for it to end: two of them spoil each other's scratch files",
    ),
    "NODE_UPGRADING": NodeFinding(
        _E,
        "an upgrade is in progress",
        "finish the upgrade, or roll it back, before replacing certificates; or go on all the same with"
        " --accept-state",
    ),
    "NODE_UPGRADE_UNKNOWN": NodeFinding(
        _W,
        "whether an upgrade is in progress could not be checked",
        "set PGHOST in [cm.environment] of the agent's configuration as the cluster's user has it; until then"
        " see for yourself that nobody upgrades the cluster",
    ),
    "NODE_PAUSED": NodeFinding(
        _E, "CM is paused", "end the pause: cm_ctl resume; or go on all the same with --accept-state"
    ),
    "NODE_MANUALLY_STOPPED": NodeFinding(
        _W,
        "CM was stopped on purpose",
        "nothing, if that is so; with --restart none it stays stopped, else the replacement starts it",
    ),
    "NODE_SET_STRAYS": NodeFinding(
        _E,
        "the live set holds what is no part of a set and cannot be carried over",
        "move links, directories and large files out of share/sslcert/cm",
    ),
    "NODE_NO_LIVE_SET": NodeFinding(
        _W,
        "there is no live set: share/sslcert/cm is absent or holds no certificate",
        "nothing, if CM has never had certificates; else look whether the agent's `home` is the cluster's",
    ),
    "NODE_SET_INCOMPLETE": NodeFinding(
        _W, "the live set is not whole", "replacing it mends that; a rollback would bring it back as it is"
    ),
    "NODE_SET_UNREADABLE": NodeFinding(
        _W,
        "a certificate or CRL of the live set cannot be read, so that nobody sees when it expires",
        "replace the set: cm_server does not start with it again",
    ),
    "NODE_SET_MODE": NodeFinding(
        _W,
        "files of the live set have a mode that CM refuses",
        "chmod 0400, or replace the set: cm_server does not start with them again",
    ),
    "NODE_NOT_OBSERVED": NodeFinding(
        _W, "part of the node could not be looked at", "mend what the cause says, then look again"
    ),
    "NODE_ALARM": NodeFinding(
        _W, "the agent raises an alarm about certificates", "see gausscert expiry, and the agent's log"
    ),
    "NODE_NOT_SERVED": NodeFinding(
        _W,
        "the node's cm_server does not serve, although one belongs there",
        "look at the log of cm_server; if CM was stopped on purpose, and gausscert status shows no"
        " transaction: cm_ctl start",
    ),
    "NODE_DRIFT": NodeFinding(
        _W,
        "the running cm_server serves another certificate than lies on the disk",
        "find out who replaced the files, then restart CM, or replace the set: gausscert replace",
    ),
    "NODE_DRIFT_REFUSED": NodeFinding(
        _E,
        "the running cm_server serves another certificate than lies on the disk, and those that connect anew"
        " refuse it",
        "put the former files back, or restart CM on all nodes; cm_ctl and cm_agents fail until then",
    ),
    "NODE_STATE_NOT_WRITABLE": NodeFinding(
        _E,
        "the agent cannot write to its state directory",
        "see to mode, owner, space and health of that file system",
    ),
    "NODE_JOURNAL_DAMAGED": NodeFinding(
        _E,
        "the agent's journal is not sound",
        "see `In doubt` in docs/runbook.md; do not remove the file while a transaction is in doubt",
    ),
    "NODE_ORPHAN": NodeFinding(
        _E,
        "a cm_ctl that the agent has started is still there, and no command runs",
        "see what the process hangs on; a restarted agent ends it before it serves",
    ),
    "NODE_CREDENTIAL_LAST_DAY": NodeFinding(
        _W,
        "the agent's own credential expires within a day",
        "renew it now: gausscert pki renew --node NAME; or issue a new one: gausscert pki issue node NAME",
    ),
    "NODE_CREDENTIAL_EXPIRED": NodeFinding(
        _E,
        "the agent's own credential has expired, and no coordinator can talk to the agent",
        "issue a new one: gausscert pki issue node NAME",
    ),
    "NODE_CREDENTIAL_EXPIRING": NodeFinding(
        _W, "the agent's own credential expires soon", "renew it: gausscert pki renew --node NAME"
    ),
    "NODE_CREDENTIAL_CA_EXPIRING": NodeFinding(
        _W,
        "a CA of the control plane expires soon",
        _ROTATE,
    ),
    "NODE_CREDENTIAL_CA_EXPIRED": NodeFinding(
        _E,
        "a CA of the control plane has expired, and with it every credential that it has issued",
        _ROTATE,
    ),
    "NODE_DENY_LIST_UNUSABLE": NodeFinding(
        _E,
        "the deny list cannot be used, and nobody is let in",
        "mend that file: owner, mode 0600, and each line as docs/runbook.md has it; no restart is needed",
    ),
    "NODE_AUDIT_NOT_WRITTEN": NodeFinding(
        _E,
        "the audit log cannot be written",
        "see to mode, owner, space and health of the agent's state directory; what was asked meanwhile is"
        " in the agent's log only",
    ),
    "NODE_SETPRIV_MISSING": NodeFinding(
        _W,
        "a cm_ctl would outlive an agent that dies: there is no setpriv that knows --pdeathsig",
        "install util-linux 2.33 or newer; an agent that starts again ends a stop or start that is left, but"
        " not an encrypt or set",
    ),
    "NODE_VERSION_UNKNOWN": NodeFinding(
        _W, "the version of CM is unknown", "compare `cm_ctl --version` with the versions in the manual"
    ),
}
"""Every code a node may report or log of itself."""


def node_finding(code: str, detail: str = "", *, file: str = "") -> Finding:
    """A row of the table, said of something."""
    row = NODE_FINDINGS[code]
    cause = f"{row.title}: {detail}" if detail else row.title
    return Finding(code, row.severity, cause, row.remedy, file=file)
