"""What has to be done on a node, from what is there and what is wanted. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from gausscert_common.findings import Finding, errors

from gausscert_coordinator.rollout import journal_findings, revoked
from gausscert_coordinator.rollout.catalogue import finding
from gausscert_coordinator.rollout.facts import Facts, Other, Service

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from gausscert_common.denylist import Denied

SPACE_BYTES: Final = 300 * 1024 * 1024
"""A release is about 110 MB, its wheels 20; two releases are kept."""


class Step(StrEnum):
    """What may have to be done on a node, in this order. Each may be repeated."""

    UPLOAD = "upload"
    INSTALL = "install"
    CREDENTIAL = "credential"
    CONFIGURE = "configure"
    """Lay agent.toml ready."""
    SERVICE = "service"
    """Lay the unit ready."""
    ACTIVATE = "activate"
    """Put in their place what lies ready, and whom an agent that is down has to deny; make the release the
    current one, and start the agent, or start it anew."""
    HEALTH = "health"
    """And tell an agent whom it has to deny, if it still lacks any of them (`telling`)."""
    TIDY = "tidy"


DOING: Final[dict[Step, str]] = {
    Step.UPLOAD: "send the software",
    Step.INSTALL: "install it, by hash and without a network",
    Step.CREDENTIAL: "issue a credential and put it there",
    Step.CONFIGURE: "lay agent.toml ready, once the agent finds it good",
    Step.SERVICE: "lay the unit ready",
    Step.ACTIVATE: "put agent.toml and unit in their place, and start the agent",
    Step.HEALTH: "ask the agent over mTLS how it is",
    Step.TIDY: "remove former releases",
}
"""For people."""

BEFORE_ANY_START: Final = (Step.UPLOAD, Step.INSTALL, Step.CREDENTIAL, Step.CONFIGURE, Step.SERVICE)
"""What no agent takes notice of, but for a new credential: neither one that runs, nor one that starts by
itself or with its machine."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a node is to have."""

    node: str
    cluster: str
    release: str
    service: Service
    """As asked for."""
    config: str
    """All of agent.toml."""
    units: Mapping[str, str]
    """By file name, of the service that `choose` answers."""
    credential_good: bool
    missing: tuple[str, ...] = ()
    """Projects without a wheel for the node."""
    user: str = ""
    """Named in the inventory."""
    directory: str = ""
    revoked: tuple[Denied, ...] = ()
    """Who is to be let in no more, as far as that is known."""


@dataclass(frozen=True, slots=True)
class NodePlan:
    """What will be done on a node."""

    node: str
    facts: Facts
    wanted: Wanted
    service: Service
    steps: tuple[Step, ...]
    findings: tuple[Finding, ...] = field(default=())

    @property
    def refused(self) -> tuple[Finding, ...]:
        """What speaks against it."""
        return errors(self.findings)

    @property
    def lacks(self) -> tuple[Denied, ...]:
        """Whom its agent does not deny yet, and is to."""
        return revoked.lacking(self.facts, self.wanted.revoked)

    @property
    def changes(self) -> bool:
        """Whether anything is done there but to ask."""
        return bool(set(self.steps) - {Step.HEALTH}) or bool(self.lacks)

    @property
    def restarts(self) -> bool:
        """Whether an agent that runs is ended."""
        return Step.ACTIVATE in self.steps and self.facts.running is not None and self.starts

    @property
    def unread(self) -> bool:
        """Whether the journal still has to be read before anything of the agent's is changed, by the release
        that is going to be started: the one that is there cannot be run."""
        return bool(self.facts.unrunnable) and not _only_starts(self.facts, self.wanted, self.steps)

    @property
    def starts(self) -> bool:
        """Whether it is gausscert's to start the agent."""
        return self.service is not Service.NONE


def choose(facts: Facts, asked: Service) -> Service | None:
    """What is to start the agent; None where nothing could."""
    if asked is not Service.AUTO:
        there = {Service.SYSTEM: facts.has_system, Service.USER: facts.has_user, Service.NONE: True}
        return asked if there[asked] else None
    if facts.service is not Service.NONE:
        return facts.service
    if facts.has_system:
        return Service.SYSTEM
    return Service.USER if facts.has_user else None


def decide(facts: Facts, wanted: Wanted) -> NodePlan:
    """All that has to be done on a node, and all that speaks against it."""
    service = choose(facts, wanted.service)
    steps = _steps(facts, wanted, service or Service.NONE)
    beside = (_beside(other, facts, wanted.node) for other in facts.others)
    found = (*_unfit(facts, wanted, service), *beside, *_in_the_way(facts, wanted, service, steps))
    return NodePlan(wanted.node, facts, wanted, service or Service.NONE, steps, found)


def activation(
    steps: Collection[Step], config: str, unit: str, drop_in: str, *, start: bool
) -> dict[str, Any]:
    """What a node is told with ACTIVATE: by SHA-256 what of that which lies ready it puts in its place, and
    whether it starts the agent. What was not to be laid ready stays as it is: "".

    Args:
        steps: What is done beside it.
        config: All of agent.toml.
        unit: The unit.
        drop_in: What the node adds to it.
        start: Whether the agent is started.
    """
    units = Step.SERVICE in steps
    texts = {
        "config": config if Step.CONFIGURE in steps else "",
        "unit": unit if units else "",
        "drop_in": drop_in if units else "",
    }
    return {"start": start, **{name: text and _sha256(text) for name, text in texts.items()}}


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _steps(facts: Facts, wanted: Wanted, service: Service) -> tuple[Step, ...]:
    needed = {
        Step.UPLOAD: wanted.release not in facts.releases,
        Step.INSTALL: wanted.release not in facts.releases,
        Step.CREDENTIAL: not wanted.credential_good,
        Step.CONFIGURE: facts.config != wanted.config,
        Step.SERVICE: service is not Service.NONE
        and (dict(facts.units) != dict(wanted.units) or not facts.service_enabled),
        Step.TIDY: facts.release != wanted.release and bool(_left_over(facts, wanted)),
    }
    needed[Step.ACTIVATE] = (
        facts.release != wanted.release
        or needed[Step.CONFIGURE]
        or (service is not Service.NONE and (needed[Step.SERVICE] or _not_up_to_date(facts, wanted)))
        or (facts.running is None and bool(revoked.lacking(facts, wanted.revoked)))
    )
    needed[Step.HEALTH] = service is not Service.NONE or facts.running is not None
    return tuple(step for step in Step if needed[step])


def _left_over(facts: Facts, wanted: Wanted) -> set[str]:
    """Releases that are given up."""
    return {*facts.releases, *facts.broken} - kept(facts, wanted)


def kept(facts: Facts, wanted: Wanted) -> set[str]:
    """The new release, the one before it, and the one that runs: with --service none that may be an older
    one, for nobody has restarted its agent since."""
    running = facts.running
    return {wanted.release, facts.release, running.release if running is not None else ""} - {""}


def _only_starts(facts: Facts, wanted: Wanted, steps: Collection[Step]) -> bool:
    """Whether an agent that is down is started as it was, and nothing else is done; its software may have to
    be installed anew for that."""
    aside = {Step.HEALTH, Step.TIDY}
    if wanted.release == facts.release and wanted.release in facts.broken:
        aside |= {Step.UPLOAD, Step.INSTALL}
    return set(steps) - aside == {Step.ACTIVATE} and facts.running is None


def _not_up_to_date(facts: Facts, wanted: Wanted) -> bool:
    running = facts.running
    return running is None or running.stale or running.release != wanted.release


def _unfit(facts: Facts, wanted: Wanted, service: Service | None) -> Iterator[Finding]:
    """What the node lacks."""
    node = wanted.node
    if facts.implementation != "cpython" or wanted.missing:
        names = ", ".join(wanted.missing) or "all"
        yield finding("ROLLOUT_NO_WHEELS", f"{facts.target}: nothing fits of {names}", node)
    if facts.free_bytes < SPACE_BYTES and wanted.release not in facts.releases:
        cause = f"{facts.free_bytes >> 20} MB are free, {SPACE_BYTES >> 20} MB are wanted"
        yield finding("ROLLOUT_NO_SPACE", cause, node, file=facts.software)
    if facts.open_place and not wanted.directory:
        cause, place = "others than root may change it", facts.open_place
        yield finding("ROLLOUT_OPEN_PLACE", cause, node, file=place, remedy=facts.closing)
    if facts.closed_place:
        cause = f"it does not belong to {facts.account}"
        yield finding("ROLLOUT_CLOSED_PLACE", cause, node, file=facts.closed_place)
    if not facts.account:
        whom = f"there is no user {wanted.user}" if wanted.user else "nobody owns the cluster's certificates"
        yield finding("ROLLOUT_NO_USER", whom, node)
    elif not facts.root and facts.account != facts.login:
        cause = f"{facts.login} is logged in, and {facts.account} is wanted"
        yield finding("ROLLOUT_OTHER_USER", cause, node)
    if service is None:
        yield finding("ROLLOUT_NO_SERVICE", _no_service(facts, wanted.service), node)
    if service is Service.USER and not facts.lingers:
        remedy = f"as root on the node, once: loginctl enable-linger {facts.login}"
        cause = f"lingering is off for {facts.login}"
        yield finding("ROLLOUT_NO_LINGER", cause, node, remedy=remedy)
    if service is Service.SYSTEM and wanted.directory:
        yield finding("ROLLOUT_PLACES_FIXED", f"the agent is to lie in {wanted.directory}", node)


def _no_service(facts: Facts, asked: Service) -> str:
    if asked is Service.AUTO:
        return f"{facts.login} finds no systemd, neither the system's nor one of his own"
    whose = "the system's, which takes root" if asked is Service.SYSTEM else f"one of {facts.login}'s own"
    return f"there is no systemd such as asked for: {whose}"


def _spoilt(facts: Facts, wanted: Wanted) -> Iterator[Finding]:
    if cause := revoked.unusable(facts, wanted.revoked):
        yield finding("ROLLOUT_DENY_LIST_UNUSABLE", cause, wanted.node, file=f"{facts.state}/deny.list")


def _in_the_way(
    facts: Facts, wanted: Wanted, service: Service | None, steps: tuple[Step, ...]
) -> Iterator[Finding]:
    """What is there already and must not be run over."""
    node = wanted.node
    yield from _spoilt(facts, wanted)
    if facts.service not in (Service.NONE, service) and service is not None:
        yield finding("ROLLOUT_OTHER_SERVICE", f"the agent is started by systemd ({facts.service})", node)
    if another := facts.is_another(wanted.cluster, node):
        yield finding("ROLLOUT_OTHER_AGENT", f"it is {another}", node, file=f"{facts.etc}/agent.toml")
    if facts.configured_state not in ("", facts.state):
        cause = f"in {facts.configured_state}, and not in {facts.state}"
        yield finding("ROLLOUT_STATE_MOVED", cause, node, file=f"{facts.etc}/agent.toml")
    if set(steps) - {Step.HEALTH, Step.TIDY}:
        yield from journal_findings.found(facts, wanted, only_starts=_only_starts(facts, wanted, steps))
    running = facts.running
    if running is None:
        if service is Service.NONE:
            yield finding("ROLLOUT_START", start_command(facts, wanted.release), node)
        return
    if service is Service.NONE:
        if _not_up_to_date(facts, wanted) or Step.CONFIGURE in steps:
            yield finding("ROLLOUT_RESTART", f"pid {running.pid}, release {running.release or '?'}", node)
    elif service is not None and facts.service_state not in ("active", "activating", "reloading"):
        yield finding("ROLLOUT_NOT_OURS", f"pid {running.pid}", node)


def _beside(other: Other, facts: Facts, node: str) -> Finding:
    cause = f"an agent of the same CM is there already ({other.how}), installed as {other.login}"
    theirs = f"gausscert agents remove --ssh --node {node} with the login and the directory of that one"
    if facts.release:  # and so with a state of its own
        remedy = f"there is one of this login, too: {theirs}; where nothing starts it, remove its agent.toml"
    else:
        remedy = (
            f"go on with the login and the directory that it was installed with; or {theirs} (by hand: end"
            " and disable it, and remove its agent.toml), then move its state,"
            f" {other.state or 'its state_dir'}, to {facts.state}, which must not be there yet, owner and"
            " modes unchanged (mv -T)"
        )
    return finding("ROLLOUT_OTHER_SERVICE", cause, node, file=other.config, remedy=remedy)


def start_command(facts: Facts, release: str) -> str:
    """What starts the agent on a node."""
    config = f"{facts.etc}/agent.toml"
    return (
        f"as {facts.account}: {facts.software}/releases/{release}/bin/gausscert-agent serve --config {config}"
    )
