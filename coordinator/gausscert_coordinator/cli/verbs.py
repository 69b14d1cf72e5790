"""The verbs as a table: where each lives and what it says of itself in one line.

`gausscert --help` is answered from here alone, so that it loads none of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Entry:
    """One verb, or one group of verbs."""

    module: str
    """Below `gausscert_coordinator.cli`; its attribute `command` is the verb."""
    short_help: str


ROOT: Final[dict[str, Entry]] = {
    "status": Entry("status", "Show every node: certificates on disk and served, days left, what runs."),
    "expiry": Entry("expiry", "List every certificate on every node, soonest first."),
    "check": Entry("check", "Check the cluster for a monitoring system: a monitoring plugin."),
    "bundle": Entry("bundle", "Make and check bundles."),
    "plan": Entry("plan", "Show what a replacement would do, and all that speaks against it."),
    "replace": Entry("replace", "Replace the certificates of the whole cluster: every node, or none."),
    "rollback": Entry("rollback", "Make the former sets of all nodes live again: every node, or none."),
    "ssl": Entry("ssl", "Switch SSL on or off in the whole cluster: every node, or none."),
    "recover": Entry("recover", "Finish or roll back a transaction that is in doubt."),
    "history": Entry("history", "Show what was done, by whom, and the evidence."),
    "inventory": Entry("inventory", "Write and check gausscert.toml: the nodes, and how they are reached."),
    "agents": Entry("agents", "Bring the agents onto the nodes over ssh, upgrade and remove them."),
    "pki": Entry("pki", "Make the identities with which gausscert and its agents know each other."),
    "demo": Entry("demo", "Show it all on a simulated cluster on this machine."),
    "schema": Entry("schema", "Print the JSON Schema of a document that --output json writes."),
    "completion": Entry("completion", "Print the completion script of a shell."),
    "version": Entry("version", "Print the version."),
}
"""In the order of the help text."""

BUNDLE: Final[dict[str, Entry]] = {
    "new": Entry("bundle_new", "Make a self-signed bundle: a new CA, server and client certificates."),
    "verify": Entry("bundle_verify", "Check a bundle offline and report everything wrong with it."),
}

SSL: Final[dict[str, Entry]] = {
    "on": Entry("ssl_on", "Switch enable_ssl on, restart CM, and prove what is served."),
    "off": Entry("ssl_off", "Switch enable_ssl off, restart CM, and prove that SSL is off."),
}

AGENTS: Final[dict[str, Entry]] = {
    "deploy": Entry("agents_deploy", "Install an agent on every node, start it, and see that it is healthy."),
    "upgrade": Entry("agents_upgrade", "Replace the agents' software, one running agent after the other."),
    "status": Entry("agents_status", "Show what is installed on the nodes and what starts it."),
    "remove": Entry("agents_remove", "Remove the agents from the nodes; the cluster's sets stay."),
}

PKI: Final[dict[str, Entry]] = {
    "init": Entry("pki_init", "Make the control plane's own CA."),
    "issue": Entry("pki_issue", "Issue the credential of an agent or a person."),
    "renew": Entry("pki_renew", "Issue an identity anew; agents are renewed over the wire."),
    "revoke": Entry("pki_revoke", "Have every agent refuse a person's credentials from now on."),
    "list": Entry("pki_list", "List every identity: role, name, serial, days left, revoked or not."),
}

INVENTORY: Final[dict[str, Entry]] = {
    "import": Entry("inventory_import", "Write gausscert.toml from cluster_config.xml or `cm_ctl view`."),
    "check": Entry("inventory_check", "Check that every node is there, is who it should be, and fit."),
}
