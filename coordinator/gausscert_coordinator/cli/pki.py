"""`gausscert pki`: the group."""

from __future__ import annotations

from gausscert_coordinator.cli.group import VerbGroup
from gausscert_coordinator.cli.verbs import PKI, ROOT

command = VerbGroup(
    name="pki",
    table=PKI,
    help=(
        "Make the identities with which gausscert and its agents know each other. They are apart from the"
        " cluster's certificates, so that gausscert works even when all of those have expired."
    ),
    short_help=ROOT["pki"].short_help,
    examples=(
        ("Make the CA:", "gausscert pki init --dir pki --cluster production"),
        ("Issue the credential of a node's agent:", "gausscert pki issue node n1 --dir pki --out issued"),
        ("Issue the credential of an operator:", "gausscert pki issue operator alice --dir pki --out issued"),
        ("Renew those of all agents:", "gausscert pki renew --all-nodes --dir pki"),
        ("Somebody has left:", "gausscert pki revoke alice --dir pki"),
        ("Who there is, and until when:", "gausscert pki list --dir pki"),
    ),
)
