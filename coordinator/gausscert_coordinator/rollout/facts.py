"""What there is on a node, as a value: the answer of `on_node.look`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from gausscert_common.errors import NodeFailure, Reason

from gausscert_coordinator.rollout.bundle import Target
from gausscert_coordinator.rollout.on_node.layout import OWN_ETC

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
    started: str
    """Boot and ticks: the same pid may be another process later."""
    stale: bool
    """Its configuration or its unit was changed after it was started."""


@dataclass(frozen=True, slots=True)
class Held:
    """The credential that the agent serves with, or would; of the key only whether it fits."""

    cert: str
    ca: str
    key_fits: bool


@dataclass(frozen=True, slots=True)
class Other:
    """Another agent of the same CM on the node."""

    config: str
    how: str
    """Its process, or what starts it."""
    login: str
    """It was installed with."""
    state: str
    """Where it keeps it; "" where nobody says."""


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
    broken: tuple[str, ...]
    """Releases that are there and cannot be run."""
    config: str
    configured_state: str
    configured_cluster: str
    """Of the agent that is installed, as its node; "" where nobody says."""
    configured_node: str
    running: Running | None
    journal: Mapping[str, str] | None
    """As the agent tells it; None where nobody can."""
    denied: str
    """The agent's deny list, as text; "" for none."""
    denied_sha256: str
    """Of its bytes, hex; "" where it could not be read, or is too long."""
    held: Held
    others: tuple[Other, ...] = ()
    agent_says: str = ""
    """What the agent that runs is in the middle of, by its own word; "" for nothing."""

    def is_another(self, cluster: str, node: str) -> str:
        """Whose the agent is that is installed there, if it is another one than meant; "" else."""
        said = (self.configured_cluster or cluster, self.configured_node or node)
        return "" if said == (cluster, node) else f"node {said[1]} of cluster {said[0]}"

    @property
    def closing(self) -> str:
        """What to do about `open_place` where that is the operators', and the agent's own directory is in it,
        or where the software's is, beside what may be anybody's. "" where the usual will do."""
        shared = self.open_place and (
            self.etc == f"{self.open_place}/{OWN_ETC}"
            or self.software.startswith(f"{self.open_place.rstrip('/')}/")
        )
        return f"chown root and chmod go-w {self.open_place}, and nothing that is in it" if shared else ""

    @property
    def in_flight(self) -> str:
        """What the agent is in the middle of; "" for nothing, and where nobody can tell (`untold`)."""
        if self.agent_says:
            return self.agent_says
        journal = self.journal or {}
        if self.untold:
            return ""
        if journal.get("phase", "NONE") == "NONE" and not {"transaction", "operation"} & set(journal):
            return ""
        return f"transaction {journal.get('transaction', '(unnamed)')}, phase {journal.get('phase', '?')}"

    @property
    def unreadable(self) -> str:
        """Why an agent that can be run cannot read its journal; "" where it can."""
        return (self.journal or {}).get("unreadable", "")

    @property
    def unrunnable(self) -> str:
        """Why the agent that is there cannot even be run; "" where it can."""
        return (self.journal or {}).get("unrunnable", "")

    @property
    def untold(self) -> str:
        """Why nobody can tell what the agent is in the middle of; "" where somebody can."""
        if self.unrunnable:
            return f"its software cannot be run: {self.unrunnable}"
        return self.unreadable and f"its journal cannot be read: {self.unreadable}"


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
    told = _Told(document)
    account = told.part("account") if document["account"] is not None else _Told({"name": "", "group": ""})
    managers, running, credential = told.part("managers"), document["running"], told.part("credential")
    python, libc = (told.listed(key) for key in ("python", "libc"))
    return Facts(
        login=told.text("login"),
        home=told.text("home"),
        root=told.flag("root"),
        account=account.text("name"),
        group=account.text("group"),
        target=Target(
            (_whole(python[0]), _whole(python[1])),
            told.text("machine"),
            _text(libc[1]) if libc[0] == "glibc" else "",
        ),
        implementation=told.text("implementation"),
        executable=told.text("executable"),
        free_bytes=_whole(document["free_bytes"]),
        has_system=managers.flag("system"),
        has_user=managers.flag("user"),
        lingers=managers.flag("linger"),
        service=Service(document["service"]),
        service_state=told.text("service_state"),
        service_enabled=told.flag("service_enabled"),
        units=told.part("units").texts(),
        open_place=told.text("open_place"),
        closed_place=told.text("closed_place"),
        software=told.text("software"),
        etc=told.text("etc"),
        state=told.text("state"),
        release=told.text("release"),
        releases=tuple(_text(each) for each in told.listed("releases")),
        broken=tuple(_text(each) for each in told.listed("broken")),
        config=told.text("config"),
        configured_state=told.text("configured_state"),
        configured_cluster=told.text("configured_cluster"),
        configured_node=told.text("configured_node"),
        denied=told.text("denied"),
        denied_sha256=told.text("denied_sha256"),
        running=None if running is None else _running(told.part("running")),
        journal=None if document["journal"] is None else told.part("journal").texts(),
        held=Held(credential.text("cert"), credential.text("ca"), credential.flag("key_fits")),
        others=tuple(_other(_Told(_of_kind(each, dict))) for each in told.listed("others")),
    )


def _running(told: _Told) -> Running:
    return Running(_whole(told.raw["pid"]), told.text("release"), told.text("started"), told.flag("stale"))


def _other(told: _Told) -> Other:
    return Other(told.text("config"), told.text("how"), told.text("login"), told.text("state"))


class _Told:
    """An object of the answer. A value of another kind than is expected would be found out only where it is
    used, as if that were a bug of ours; raises KeyError, TypeError or ValueError."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self.raw = raw

    def text(self, key: str) -> str:
        return _text(self.raw[key])

    def flag(self, key: str) -> bool:
        return bool(_of_kind(self.raw[key], bool))

    def listed(self, key: str) -> list[Any]:
        return list(_of_kind(self.raw[key], list))

    def part(self, key: str) -> _Told:
        return _Told(_of_kind(self.raw[key], dict))

    def texts(self) -> dict[str, str]:
        return {key: _text(value) for key, value in self.raw.items()}


def _text(value: object) -> str:
    text = str(_of_kind(value, str))
    text.encode()  # half a character of UTF-16 can be written in JSON, and nowhere else
    return text


def _whole(value: object) -> int:
    if isinstance(value, bool):
        raise TypeError("a number is expected")
    return int(_of_kind(value, int))


def _of_kind(value: Any, kind: type) -> Any:  # noqa: ANN401 - JSON
    if not isinstance(value, kind):
        raise TypeError(f"{kind.__name__} is expected, and not {type(value).__name__}")
    return value
