"""An agent that is not healthy after an upgrade gets back what it had."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

import pytest
from gausscert_common.errors import NodeFailure, Reason
from gausscert_common.findings import Severity
from gausscert_coordinator.inventory import AgentInstall, InventoryNode
from gausscert_coordinator.rollout import putting_back
from gausscert_coordinator.rollout.decide import BEFORE_ANY_START, NodePlan, Step, Wanted, decide
from gausscert_coordinator.rollout.deploying import Rollout, Told
from gausscert_coordinator.rollout.facts import Service
from gausscert_coordinator.rollout.outcome import NodeOutcome, State
from support.rollout_fakes import (
    FORMER,
    RELEASE,
    FakeDoctor,
    FakeSsh,
    facts,
    look,
    running,
    software,
    trouble,
)

NAMES = ("n1", "n2")
UNITS = {"gausscert-agent.service": "former unit", "50-gausscert-node.conf": "former drop-in"}
INSTALLED = {
    "service": "system",
    "service_state": "active",
    "release": FORMER,
    "releases": [FORMER],
    "running": running(FORMER),
    "journal": {"phase": "NONE"},
    "config": "former config",
    "units": UNITS,
}
ILL = NodeFailure(Reason.ROLLOUT_FAILED, "the agent answers, but is not healthy")


class Crew:
    """Two nodes with agents of the former release."""

    def __init__(self, root: Path) -> None:
        self.ssh, self.doctor, self.told = FakeSsh(), FakeDoctor(), list[Told]()
        self.software = software(root)
        nodes = [InventoryNode(name, f"{name}:7443", install=AgentInstall()) for name in NAMES]
        self.rollout = Rollout(nodes, self.ssh, self.doctor, lambda _: "/opt/cm", self.told.append)

    def plan(self, name: str, release: str = RELEASE, **changes) -> NodePlan:
        units = {"gausscert-agent.service": "new unit", "50-gausscert-node.conf": "new drop-in"}
        wanted = Wanted(name, "prod", release, Service.AUTO, "new config", units, credential_good=True)
        return decide(facts(**{**INSTALLED, **changes}), wanted)

    def upgrade(self, release: str = RELEASE, **changes) -> list[NodeOutcome]:
        plans = [self.plan(name, release, **changes) for name in NAMES]
        return list(asyncio.run(self.rollout.carry_out(plans, self.software, _no_credential)))

    def asked(self, name: str, after: int) -> list[dict]:
        """What a node was told to do beside waiting and looking, from the so-manyth on."""
        quiet = ("look", "settle")
        sent = zip(self.ssh.asked, self.ssh.requests, strict=True)
        return [request for (host, _), request in sent if host == name and request["action"] not in quiet][
            after:
        ]


def _no_credential(name):
    raise AssertionError(name)


@pytest.fixture
def crew(tmp_path: Path) -> Crew:
    return Crew(tmp_path)


def test_after_a_health_that_failed_the_node_has_what_it_had_and_says_so(crew: Crew):
    crew.doctor.ill_once["n1"] = ILL

    one, other = crew.upgrade()

    assert [each["action"] for each in crew.asked("n1", 4)] == [
        "activate",
        "configure",
        "service",
        "activate",
    ]
    back = crew.asked("n1", 5)
    assert {each["release"] for each in back} == {FORMER}
    assert back[0]["config"] == "former config"
    assert (back[1]["unit"], back[1]["drop_in"]) == ("former unit", "former drop-in")
    assert (back[2]["start"], back[2]["service"], back[2]["user"]) == (True, "system", "omm")
    assert crew.doctor.asked == ["n1", "n1"]
    assert (one.state, one.put_back, one.failed_at, one.error) == (State.FAILED, True, Step.HEALTH, ILL)
    (found,) = one.findings
    assert (found.code, found.node, found.severity) == ("ROLLOUT_PUT_BACK", "n1", Severity.WARNING)
    assert FORMER in found.cause
    assert RELEASE in found.cause
    assert other.state is State.UNTOUCHED
    assert [each.text for each in crew.told if "back to" in each.text] == [f"back to {FORMER}"] * 4


def test_where_the_former_one_is_not_healthy_either_both_are_told(crew: Crew):
    crew.doctor.ill["n1"] = ILL

    one, _ = crew.upgrade()

    assert (one.state, one.put_back, one.failed_at) == (State.FAILED, False, Step.HEALTH)
    (found,) = one.findings
    assert (found.code, found.severity) == ("ROLLOUT_NOT_PUT_BACK", Severity.ERROR)
    assert ILL.message in found.cause
    assert found.remedy


def test_a_new_agent_that_does_not_start_is_put_back_too(crew: Crew):
    crew.ssh.answers["n1"] = {"look": look(**{**INSTALLED, "running": None}), "activate": trouble("no READY")}

    one, _ = crew.upgrade()

    assert one.failed_at is Step.ACTIVATE
    (found,) = one.findings  # the fake refuses the way back, too
    assert (found.code, found.file) == ("ROLLOUT_NOT_PUT_BACK", "/x")


def test_an_agent_that_was_never_ended_is_left_as_it_is(crew: Crew):
    """A transaction began after the look: starting the new one was refused."""
    crew.ssh.answers["n1"] = {"look": look(**INSTALLED), "activate": trouble("a transaction is in flight")}

    one, _ = crew.upgrade()

    assert (one.state, one.put_back, one.failed_at, one.findings) == (State.FAILED, None, Step.ACTIVATE, [])
    assert [each["action"] for each in crew.asked("n1", 4)] == ["activate"]


@pytest.mark.parametrize(
    "changes",
    [
        {"running": None, "service_state": "inactive"},
        {"release": "", "releases": [], "running": None, "service": "none", "units": {}, "config": ""},
    ],
    ids=["an agent that was down", "a bare node"],
)
def test_where_none_ran_there_is_nothing_to_go_back_to(crew: Crew, changes):
    crew.doctor.ill = dict.fromkeys(NAMES, ILL)

    one, _ = crew.upgrade(**changes)

    assert (one.state, one.put_back, one.failed_at, one.findings) == (State.FAILED, None, Step.HEALTH, [])
    assert [each["action"] for each in crew.asked("n1", 0)].count("activate") == 1


def test_only_what_was_changed_is_changed_back(crew: Crew):
    crew.doctor.ill_once["n1"] = ILL

    one, _ = crew.upgrade(release=FORMER, units={**dict(crew.plan("n1").wanted.units)})

    assert [each["action"] for each in crew.asked("n1", 0)] == [
        "configure",
        "activate",
        "configure",
        "activate",
    ]
    assert one.put_back


NAMING = (
    'ExecStart="/opt/gausscert/releases/{}/bin/gausscert-agent" serve --config "/etc/gausscert/agent.toml"\n'
)
STOPPED = {
    "units": {"gausscert-agent.service": "new unit", "50-gausscert-node.conf": NAMING.format(RELEASE)},
    "releases": [FORMER, RELEASE],
    "config": "new config",
    "running": running(FORMER, stale=True),
}
"""What a roll-out leaves that died in ACTIVATE, or one of an earlier release that stopped at another node:
its unit and agent.toml are there already, and the agent of before still runs."""


def _repeated(crew: Crew, **now) -> NodeOutcome:
    wanted = dataclasses.replace(crew.plan("n1").wanted, units=STOPPED["units"])
    plan = decide(facts(**{**INSTALLED, **STOPPED, **now}), wanted)
    (outcome,) = asyncio.run(crew.rollout.carry_out([plan], crew.software, _no_credential))
    return outcome


def test_after_a_roll_out_that_stopped_elsewhere_the_unit_starts_the_release_that_ran(crew: Crew):
    """It named the new one already: to switch the link back started that once more."""
    crew.doctor.ill_once["n1"] = ILL

    one = _repeated(crew, release=FORMER)

    activated, *back = crew.asked("n1", 0)
    assert activated["release"] == RELEASE
    assert [(each["action"], each["release"]) for each in back] == [("service", FORMER), ("activate", FORMER)]
    assert back[0]["drop_in"] == NAMING.format(FORMER)
    assert one.put_back
    (found,) = one.findings
    assert "agent.toml is the one that was found there" in found.cause


def test_it_is_the_release_that_ran_and_not_the_one_that_the_link_names(crew: Crew):
    """A roll-out died between the link and the restart."""
    crew.doctor.ill_once["n1"] = ILL

    one = _repeated(crew, release=RELEASE)

    assert [(each["action"], each["release"]) for each in crew.asked("n1", 0)] == [
        ("activate", RELEASE),
        ("service", FORMER),
        ("activate", FORMER),
    ]
    assert one.put_back


def test_where_nothing_of_before_is_there_nothing_is_put_back(crew: Crew):
    """The same release, configuration and unit, started anew: a second restart would be the same."""
    crew.doctor.ill["n1"] = ILL
    same = {"config": "new config", "units": dict(crew.plan("n1").wanted.units)}

    one, _ = crew.upgrade(release=FORMER, running=running(FORMER, stale=True), **same)

    assert (one.put_back, one.findings) == (None, [])
    assert [each["action"] for each in crew.asked("n1", 0)] == ["activate"]


NEW = {"gausscert-agent.service": "new unit", "50-gausscert-node.conf": "new drop-in"}
HALF = {**UNITS, "gausscert-agent.service": "new unit"}
ALL = (Step.CONFIGURE, Step.SERVICE, Step.ACTIVATE, Step.HEALTH)
STARTED_ANEW = {**running(RELEASE), "pid": 4712, "started": "boot 2"}
ANOTHER = {**running(FORMER), "started": "boot 2"}


@pytest.mark.parametrize(
    ("now", "steps", "starts"),
    [
        ({}, (), False),
        ({"units": HALF}, (Step.SERVICE, Step.ACTIVATE, Step.HEALTH), False),
        ({"units": NEW}, (Step.SERVICE, Step.ACTIVATE, Step.HEALTH), False),
        ({"units": NEW, "config": "new config"}, ALL, False),
        ({"units": NEW, "config": "new config", "release": RELEASE}, ALL, False),
        ({"release": RELEASE}, (Step.ACTIVATE, Step.HEALTH), False),
        ({"running": None}, ALL, True),
        ({"running": STARTED_ANEW, "units": NEW, "config": "new config", "release": RELEASE}, ALL, True),
        ({"running": {**running(FORMER), "pid": 4712}}, ALL, True),
        ({"running": ANOTHER}, ALL, True),
    ],
    ids=[
        *("nothing was put anywhere", "the unit was", "the drop-in, too", "agent.toml, too", "the link, too"),
        *("the link alone", "the agent was ended", "the new one was started", "another pid"),
        "the same pid after a reboot",
    ],
)
def test_from_wherever_an_activation_has_stopped_the_way_back_is_what_it_has_changed(
    crew: Crew, now, steps, starts
):
    there = {**INSTALLED, "running": running(FORMER)}

    back = putting_back.way(crew.plan("n1"), list(BEFORE_ANY_START), facts(**{**there, **now}))

    assert back == putting_back.WayBack(steps, starts=starts)
    told = putting_back.request(crew.plan("n1"), Step.ACTIVATE, back)
    assert (told["release"], told["start"]) == (FORMER, starts)
    assert bool(told["config"]) is (Step.CONFIGURE in steps)
    assert bool(told["unit"]) is bool(told["drop_in"]) is (Step.SERVICE in steps)


def test_what_somebody_else_has_changed_meanwhile_is_not_undone(crew: Crew):
    """The roll-out had nothing to lay ready; its agent was never ended."""
    same = {"units": {"gausscert-agent.service": "new unit", "50-gausscert-node.conf": "new drop-in"}}
    plan = crew.plan("n1", **same, config="new config")
    assert not {Step.CONFIGURE, Step.SERVICE} & set(plan.steps)
    there = {**INSTALLED, **same, "config": "new config", "running": running(FORMER)}
    done = [Step.UPLOAD, Step.INSTALL]

    for changed in ({"config": "another's"}, {"units": UNITS}):
        assert putting_back.way(plan, done, facts(**{**there, **changed})) == putting_back.NOTHING


def test_a_bug_on_the_way_back_does_not_hide_what_became_of_the_others(crew: Crew):
    crew.doctor.ill_once["n1"] = ILL
    crew.doctor.ill["n1"] = RuntimeError("a bug")

    one, other = crew.upgrade()

    assert (one.state, one.put_back, one.failed_at, one.error) == (State.FAILED, False, Step.HEALTH, ILL)
    (found,) = one.findings
    assert (found.code, found.node) == ("ROLLOUT_NOT_PUT_BACK", "n1")
    assert "RuntimeError" in found.cause
    assert other.state is State.UNTOUCHED


def test_wheels_that_have_gone_meanwhile_do_not_hide_what_became_of_the_others(crew: Crew):
    """A bundle on a medium that was taken out."""
    for wheel in crew.software.wheels:
        wheel.path.unlink()

    outcomes = crew.upgrade()

    assert [(each.state, each.failed_at) for each in outcomes] == [(State.FAILED, Step.UPLOAD)] * 2
    assert all("FileNotFoundError" in str(each.error) for each in outcomes)


def test_nobody_goes_back_to_a_release_that_is_gone(crew: Crew):
    plan = crew.plan("n1", running=running("removed-by-hand"))

    assert plan.restarts
    assert putting_back.way(plan, tuple(Step)) == putting_back.NOTHING
