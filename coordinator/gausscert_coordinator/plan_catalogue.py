"""Every kind of finding that a plan, or a result, adds to those about the bundle and about single nodes."""

from __future__ import annotations

from typing import Final

from gausscert_common.validate.rule import ERROR, WARNING, table
from gausscert_common.validate.rule import Rule as _Rule

PLAN: Final = table(
    _Rule(
        "CLOCK_SKEW",
        ERROR,
        "A node's clock is off",
        "Certificates are judged by each node's own clock: one node refuses what another accepts. A"
        " warning from 60 s, an error from 300 s.",
        "set the clock right, for example with chrony, then plan again",
    ),
    _Rule(
        "SSL_UNEQUAL",
        ERROR,
        "enable_ssl is not the same on all nodes",
        "cm_servers (DCC) and cm_agents (MES) talk to each other with it on or off on both sides, or not at"
        " all. Only a warning when the replacement sets it anyway.",
        "set it with --enable-ssl on or off",
    ),
    _Rule(
        "NODE_MISNAMED",
        ERROR,
        "Another node answers at the address",
        "The set would go to a machine that is not the one meant.",
        "correct the address in the inventory, or name in the agent's configuration",
    ),
    _Rule(
        "CLUSTER_MISNAMED",
        ERROR,
        "The node belongs to another cluster",
        "The agent's configuration names another cluster than the inventory.",
        "use the inventory of that cluster, or correct cluster in the agent's configuration",
    ),
    _Rule(
        "NODE_NOT_IN_INVENTORY",
        ERROR,
        "CM lists a node that the inventory does not have",
        "A set must go to all nodes of the cluster: a node with the old CA cannot talk to the others.",
        "install an agent there and add the node to the inventory",
    ),
    _Rule(
        "NODE_NOT_IN_CLUSTER",
        ERROR,
        "The inventory has a node that CM does not list",
        "The inventory is out of date, or names a machine of another cluster.",
        "remove the node from the inventory, or add it to the cluster first",
    ),
    _Rule(
        "NODE_TWICE",
        ERROR,
        "Two nodes of the inventory are one node of CM",
        "Two agents would exchange the set of one node.",
        "keep one of them in the inventory",
    ),
    _Rule(
        "TOPOLOGY_UNKNOWN",
        WARNING,
        "No node could tell which nodes the cluster has",
        "Whether the inventory is complete was not checked.",
        "compare the inventory with `cm_ctl view` yourself",
    ),
    _Rule(
        "CLUSTER_NOT_NORMAL",
        ERROR,
        "The cluster is not Normal",
        "Afterwards nobody could tell what the replacement broke; and a cluster that cannot start with the"
        " old set cannot be rolled back to it.",
        "bring the cluster to Normal; where that cannot be, for example because its certificates have"
        " expired, accept it as it is: --accept-state",
    ),
    _Rule(
        "CLUSTER_STATE_UNKNOWN",
        WARNING,
        "A node cannot ask for the cluster's state",
        "`cm_ctl query` fails there while it works elsewhere; the proof will not count on this node's word.",
        "see the cause; a client certificate that the cm_servers refuse is the usual one",
    ),
    _Rule(
        "MANUALLY_STOPPED",
        ERROR,
        "CM was stopped on purpose on a node",
        "The replacement would start it again, and could not prove that node before that.",
        "start it with `cm_ctl start`, or stop all and use --restart none; to have it started by the"
        " replacement: --accept-state",
    ),
    _Rule(
        "CM_RUNS",
        ERROR,
        "CM runs, and is not to be stopped",
        "With --restart none the set is exchanged only where the operator has stopped CM.",
        "stop the cluster first, or choose --restart cluster or node",
    ),
    _Rule(
        "SET_UNCHANGED",
        ERROR,
        "Every node has this set already",
        "Replacing it would cost a restart and change nothing. Only a warning when enable_ssl changes.",
        "nothing to do; check whether this is the right directory, or the right generation",
    ),
    _Rule(
        "SETS_DIFFER",
        WARNING,
        "The nodes do not have the same set now",
        "They may run with certificates of different CAs; a rollback gives each node its own set back.",
        "nothing; after the replacement all nodes have the same",
    ),
    _Rule(
        "NODE_EXCLUDED",
        WARNING,
        "The node is left out",
        "All others get the new set; this one keeps its old one. Until it has joined, or is out of the"
        " cluster, the others keep both sets, nothing is retired, and no other replacement begins.",
        "see to it that CM does not start there before `gausscert recover --bundle DIR` has brought it over;"
        " keep the bundle until then",
    ),
    _Rule(
        "EXCLUDED_UNKNOWN",
        ERROR,
        "The inventory has no such node",
        "--exclude names something else than a node of the inventory.",
        "use the names of the inventory",
    ),
    _Rule(
        "EXCLUDED_ANSWERS",
        ERROR,
        "A node to be left out answers",
        "It would run with the old set beside nodes that run with the new one.",
        "leave --exclude out for it, and mend what keeps it from taking part",
    ),
    _Rule(
        "EXCLUDED_RUNS",
        ERROR,
        "CM runs on a node whose agent does not answer",
        "Only the agent is away: the node would run with the old set beside nodes that run with the new one.",
        "start its agent and replace on all nodes; or stop CM there first",
    ),
    _Rule(
        "EXCLUDED_ALL",
        ERROR,
        "No node would be left",
        "A replacement that leaves out every node changes nothing.",
        "leave out only what does not answer",
    ),
    _Rule(
        "EXCLUDED_RESTART",
        ERROR,
        "CM cannot be restarted as one cluster without all nodes",
        "`cm_ctl stop` and `start` for all reach for the nodes that are left out, too, and wait for them.",
        "use --restart node (the default with --exclude), or none",
    ),
    _Rule(
        "EXCLUDED_QUORUM",
        WARNING,
        "The cm_servers that are left are no majority",
        "They elect no primary: CM does not arbitrate, and `cm_ctl query` fails, until enough of the others"
        " are back. The proof cannot count on it.",
        "bring a node back first if you can; otherwise stop CM and use --restart none",
    ),
    _Rule(
        "JOIN_RUNS_OLD",
        WARNING,
        "CM runs with another set on a node that is to join",
        "om_monitor starts CM when a machine comes back, with the set that lies there. It is stopped before"
        " the sets are exchanged, and starts with the new one.",
        "nothing; next time keep CM stopped there until it has joined",
    ),
    _Rule(
        "ROLES_MOVED",
        WARNING,
        "After the restart cm_servers have other roles than before",
        "The cm_servers elect their primary anew when they start. It is told in the result, and decides"
        " nothing.",
        "nothing; if the former primary is wanted, see cm_ctl switchover",
    ),
    _Rule(
        "PLAN_DRIFTED",
        ERROR,
        "The world is no longer as the plan on file says",
        "Somebody looked at that plan and agreed to it; what would be done now, or to what, is something else"
        " (bundle, live sets, enable_ssl, nodes, roles, state, warnings), or the plan is too old.",
        "see whether the change is meant, then plan again: gausscert plan DIR --out FILE",
    ),
    _Rule(
        "SSL_GOES_OFF",
        WARNING,
        "SSL is switched off",
        "CM's traffic is then in the clear, and no certificate is served or proven.",
        "use --enable-ssl keep unless this is meant",
    ),
    _Rule(
        "SSL_UNCHANGED",
        ERROR,
        "enable_ssl is so already, in all files and in all cm_servers",
        "A restart would change nothing.",
        "nothing to do",
    ),
    _Rule(
        "GENERATION_NONE",
        ERROR,
        "No generation is on all nodes",
        "A rollback gives every node its own former set; some node has none that the others have, too: it was"
        " added or set up anew since, or keeps none (`retired_generations`).",
        "replace the certificates with the former bundle instead: gausscert replace",
    ),
    _Rule(
        "GENERATION_UNKNOWN",
        ERROR,
        "The generation is not on every node",
        "It never was there, or was given up: each node keeps the newest ones only (`retired_generations`).",
        "choose one that all nodes have; gausscert status shows them",
    ),
    _Rule(
        "GENERATION_NOT_NEWEST",
        WARNING,
        "Some node has a newer generation",
        "Without --to the newest one is taken that all nodes have. A newer one on some nodes only has been"
        " removed from the others by somebody.",
        "see whether it is the one you mean; name another one with --to",
    ),
    _Rule(
        "GENERATION_UNEQUAL",
        ERROR,
        "The nodes' sets of the generation are not of one bundle",
        "A transaction makes the same set live on all nodes; with certificates of different CAs they could"
        " not talk to each other. The nodes differed then, too (SETS_DIFFER).",
        "choose another generation, or replace the certificates with one bundle: gausscert replace",
    ),
)
