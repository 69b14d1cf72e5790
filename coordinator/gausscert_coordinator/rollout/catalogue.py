"""Every kind of finding about rolling out agents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gausscert_common.findings import Finding
from gausscert_common.validate.rule import ERROR, WARNING, table
from gausscert_common.validate.rule import Rule as _Rule

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gausscert_common.validate.rule import Rule

ROLLOUT: Final[Mapping[str, Rule]] = table(
    _Rule(
        "ROLLOUT_NO_WHEELS",
        ERROR,
        "The bundle of software has nothing for this node",
        "Wheels are made for one Python and one kind of machine. Nothing is built on a node, and nothing is"
        " fetched from a network.",
        "install a Python that the bundle is made for and name it with python under [ssh], or make a bundle"
        " for this one",
    ),
    _Rule(
        "ROLLOUT_NO_SPACE",
        ERROR,
        "There is too little space for the software",
        "A release that was cut short is removed, but a full file system may harm the database.",
        "make space, or name another place with directory under [agent]",
    ),
    _Rule(
        "ROLLOUT_OPEN_PLACE",
        ERROR,
        "Somebody else than root could exchange what root is going to run",
        "As root the software is installed with programs that lie there.",
        "chown -R root and chmod -R go-w that directory after a look at what is in it, or remove it",
    ),
    _Rule(
        "ROLLOUT_CLOSED_PLACE",
        ERROR,
        "A directory of the agent belongs to somebody else",
        "The agent's user writes configuration, credential and state himself, and nobody else may read"
        " them. What was there before is not given away unasked.",
        "an operator's /etc/gausscert: chown root and chmod 0755 it, and the agent has /etc/gausscert/agent,"
        " beside his files; else move what is not the agent's to another place, then remove the directory, or"
        " chown it to the agent's user and chmod 0700",
    ),
    _Rule(
        "ROLLOUT_NO_USER",
        ERROR,
        "It is not known whom the agent is to run as",
        "cm_ctl refuses root, and a set must belong to the user that runs CM. By default it is the owner of"
        " share/sslcert below cm.home.",
        "name the cluster's OS user with user under [agent], and correct cm.home in the agents' settings",
    ),
    _Rule(
        "ROLLOUT_OTHER_USER",
        ERROR,
        "The agent cannot run as that user",
        "Only root can have somebody else's agent started.",
        "log in as root, or as that user: user under [ssh]; or have who logs in become root there:"
        " sudo = true under [ssh], or --sudo",
    ),
    _Rule(
        "ROLLOUT_NO_SERVICE",
        ERROR,
        "There is no service manager that could start the agent",
        "An agent that nobody starts again is not there when it is needed.",
        "log in as root, with --sudo as one who may become root, or as a user with systemd of his own; or"
        " start the agent by other means:"
        " --service none installs all else and tells the command",
    ),
    _Rule(
        "ROLLOUT_NO_LINGER",
        ERROR,
        "The user's services end with his last session",
        "systemd would end the agent as soon as the roll-out has logged out, and not start it with the"
        " machine.",
        "as root, once: loginctl enable-linger USER",
    ),
    _Rule(
        "ROLLOUT_OTHER_SERVICE",
        ERROR,
        "An agent is installed there in another way",
        "Two services would start the same agent; or two agents would be there for one CM, the second with an"
        " empty state, and whichever is started first would have the port.",
        "leave --service out, or run gausscert agents remove first",
    ),
    _Rule(
        "ROLLOUT_PLACES_FIXED",
        ERROR,
        "The system's unit needs the usual places",
        "It gives the agent rights to /opt/gausscert, /etc/gausscert and /var/lib/gausscert alone.",
        "leave directory out for nodes where root is logged in, or use --service none",
    ),
    _Rule(
        "ROLLOUT_NOT_OURS",
        ERROR,
        "An agent runs that the service has not started",
        "The service's own would find port and state directory taken.",
        "end the one that runs, and what starts it; then run this again",
    ),
    _Rule(
        "ROLLOUT_OTHER_AGENT",
        ERROR,
        "The agent of another node, or of another cluster, is installed there",
        "It would become this one, with the other's state. Most often ssh.host or address leads to another"
        " machine than is meant, or it is the wrong inventory.",
        "correct the inventory; where one agent is really to take the other's place, gausscert agents remove"
        " with the other's inventory first, or give this one a directory of its own under [agent]",
    ),
    _Rule(
        "ROLLOUT_STATE_MOVED",
        ERROR,
        "The agent keeps its state elsewhere",
        "An agent that begins with an empty state has forgotten every transaction.",
        "stop it, move the state directory to where it is going to be, owner and modes unchanged, and correct"
        " state_dir in its agent.toml; then run this again",
    ),
    _Rule(
        "ROLLOUT_IN_FLIGHT",
        ERROR,
        "The agent is in the middle of a transaction",
        "It is not replaced and not restarted before that has ended. An agent that is down and has all it"
        " needs is started, so that it can be recovered.",
        "wait for its end, or run gausscert recover; then run this again",
    ),
    _Rule(
        "ROLLOUT_JOURNAL",
        ERROR,
        "The agent's journal cannot be read",
        "Nobody can tell whether it is in the middle of a transaction; it is neither replaced nor restarted.",
        "mend what the cause names, most often the agent's agent.toml; then run this again",
    ),
    _Rule(
        "ROLLOUT_CANNOT_RUN",
        WARNING,
        "The agent that is installed cannot be run any more",
        "Most often an upgrade of the operating system has taken away the Python that it was installed for."
        " It is installed anew, or the new release beside it; that one reads the journal before anything else"
        " is changed. An agent in the middle of a transaction is only started, as the release that it was.",
        "go on: this is what mends it",
    ),
    _Rule(
        "ROLLOUT_RUNS_ON",
        ERROR,
        "The agent that runs is of a release that has to be installed anew",
        "It would lose its software in the middle of its work. Most often it still runs on a Python that an"
        " upgrade of the operating system has taken away.",
        "end it, or restart the machine, whatever is in flight; then run this again",
    ),
    _Rule(
        "ROLLOUT_RESTART",
        WARNING,
        "The agent that runs has to be restarted by what started it",
        "With --service none its process is not gausscert's to end; until then the former release, or the"
        " former configuration, serves.",
        "restart it",
    ),
    _Rule(
        "ROLLOUT_START",
        WARNING,
        "The agent has to be started",
        "With --service none everything is there but what starts it, now and with the machine.",
        "start it as the user named, under a supervisor that starts it again and kills nothing but the agent"
        " itself",
    ),
    _Rule(
        "ROLLOUT_PUT_BACK",
        WARNING,
        "The agent was put back to what it had",
        "The new release, or its configuration, did not make a healthy agent on this node; release,"
        " agent.toml and unit are those of before, and the agent says that it is healthy with them. Agents"
        " after it were not restarted.",
        "see why the new one was not healthy, mend it, then run this again",
    ),
    _Rule(
        "ROLLOUT_NOT_PUT_BACK",
        ERROR,
        "The agent could not be put back to what it had",
        "The new release did not make a healthy agent, and the way back has failed, too, where the cause"
        " says: the agent of this node may be down.",
        "look at its log on the node (journalctl -u gausscert-agent), then deploy the release that is to run",
    ),
    _Rule(
        "ROLLOUT_DENY_LIST_UNUSABLE",
        ERROR,
        "The agent's deny list cannot be used",
        "It keeps everybody out, because nobody knows whom it denies, or it would with those who are revoked"
        " since.",
        "mend that file on the node: docs/runbook.md, `Somebody has left, or a key is lost`; then run this"
        " again",
    ),
    _Rule(
        "ROLLOUT_NOT_DENIED",
        ERROR,
        "The agent lets in who is revoked",
        "It did not take the credentials that it lacks on its deny list, or was not reached with them.",
        "see the cause, then run this again, or gausscert pki revoke",
    ),
    _Rule(
        "ROLLOUT_REVOKED_UNKNOWN",
        WARNING,
        "Whom the nodes have to deny is not known here",
        "An agent that starts without a deny list lets in everybody whom its CA has issued a credential,"
        " those who are revoked included. Who is revoked stands in deny.list beside the CA.",
        "name the CA's directory with --pki, or copy its deny.list beside the inventory's ca.crt, then run"
        " this again; or run gausscert pki revoke again, where the CA is, for one who is revoked: it sends"
        " all",
    ),
    _Rule(
        "ROLLOUT_CONFIG",
        WARNING,
        "The agent has something to say of its configuration",
        "It works with it all the same.",
        "see the cause",
    ),
)


def finding(code: str, cause: str, node: str, *, file: str = "", remedy: str = "") -> Finding:
    """A finding of this catalogue; without a remedy of its own it has that of its rule."""
    rule = ROLLOUT[code]
    return Finding(code, rule.severity, cause, remedy=remedy or rule.remedy, node=node, file=file)
