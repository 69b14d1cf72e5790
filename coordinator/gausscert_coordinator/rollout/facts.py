"""What there is on a node, as a value: the answer of `on_node.look`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from gausscert_common.errors import NodeFailure, Reason

from gausscert_coordinator.rollout.bundle import Target

if TYPE_CHECKING:
    from collections.abc import Mapping


class Service(StrEnum):
    """What starts the agent."""

    AUTO = "auto"
    """What is there already, else systemd of the system for root, else systemd of the user."""
    SYSTEM = "system"
    USER = "user"
    NONE = "none"
    """Something of the operator's own."""


@dataclass(frozen=True, slots=True)
class Running:
    """The agent's process."""

    pid: int
    release: str
    stale: bool
    """Its configuration or its unit was changed after it was started."""


@dataclass(frozen=True, slots=True)
class Held:
    """The credential that lies there; of the key only whether it fits."""

    cert: str
    ca: str
    key_fits: bool


@dataclass(frozen=True, slots=True)
class Facts:
    """One node before anything is done."""

    login: str
    home: str
    root: bool
    account: str
    """Whom the agent runs as; "" where that is nobody."""
    group: str
    target: Target
    implementation: str
    executable: str
    free_bytes: int
    has_system: bool
    has_user: bool
    lingers: bool
    service: Service
    """Installed already; NONE for none."""
    service_state: str
    service_enabled: bool
    """It starts with the machine."""
    units: Mapping[str, str]
    open_place: str
    """A directory of the software that others than root may change; "" for none, or where it is no matter."""
    closed_place: str
    """A directory of the agent that belongs to somebody else; "" for none."""
    software: str
    etc: str
    state: str
    release: str
    """Installed and current; "" for none."""
    releases: tuple[str, ...]
    config: str
    configured_state: str
    configured_cluster: str
    """Of the agent that is installed, as its node; "" where nobody says."""
    configured_node: str
    running: Running | None
    journal: Mapping[str, str] | None
    """As the agent tells it; None where nobody can."""
    held: Held
    agent_says: str = ""
    """What the agent that runs is in the middle of, by its own word; "" for nothing."""

    def is_another(self, cluster: str, node: str) -> str:
        """Whose the agent is that is installed there, if it is another one than meant; "" else."""
        said = (self.configured_cluster or cluster, self.configured_node or node)
        return "" if said == (cluster, node) else f"node {said[1]} of cluster {said[0]}"

    @property
    def in_flight(self) -> str:
        """What the agent is in the middle of; "" for nothing."""
        if self.agent_says:
            return self.agent_says
        journal = self.journal or {}
        if "unreadable" in journal:
            return f"its journal cannot be read: {journal['unreadable']}"
        if journal.get("phase", "NONE") == "NONE" and not {"transaction", "operation"} & set(journal):
            return ""
        return f"transaction {journal.get('transaction', '(unnamed)')}, phase {journal.get('phase', '?')}"


def of(document: Mapping[str, Any]) -> Facts:
    """From the node's answer.

    Raises:
        NodeFailure: ROLLOUT_FAILED: it makes no sense.
    """
    try:
        return _read(document)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise NodeFailure(
            Reason.ROLLOUT_FAILED,
            f"what it told of itself makes no sense: {type(error).__name__} {error}",
            remedy="find out what answers there",
        ) from error


def _read(document: Mapping[str, Any]) -> Facts:
    account = document["account"] or {"name": "", "group": ""}
    managers = document["managers"]
    libc, version = document["libc"]
    running = document["running"]
    return Facts(
        login=document["login"],
        home=document["home"],
        root=document["root"],
        account=account["name"],
        group=account["group"],
        target=Target(
            (document["python"][0], document["python"][1]),
            document["machine"],
            version if libc == "glibc" else "",
        ),
        implementation=document["implementation"],
        executable=document["executable"],
        free_bytes=document["free_bytes"],
        has_system=managers["system"],
        has_user=managers["user"],
        lingers=managers["linger"],
        service=Service(document["service"]),
        service_state=document["service_state"],
        service_enabled=document["service_enabled"],
        units=document["units"],
        open_place=document["open_place"],
        closed_place=document["closed_place"],
        software=document["software"],
        etc=document["etc"],
        state=document["state"],
        release=document["release"],
        releases=tuple(document["releases"]),
        config=document["config"],
        configured_state=document["configured_state"],
        configured_cluster=document["configured_cluster"],
        configured_node=document["configured_node"],
        running=None if running is None else Running(**running),
        journal=document["journal"],
        held=Held(**document["credential"]),
    )
