"""The order of things: everybody is looked at, then what disturbs nobody, then one agent after another."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from gausscert_common import denylist
from gausscert_common.denylist import Denied
from gausscert_common.errors import NodeFailure, Reason, Unreachable
from gausscert_common.findings import errors
from gausscert_common.identity import Identity, Role
from gausscert_coordinator.inventory import AgentInstall, InventoryNode
from gausscert_coordinator.pki import Signed
from gausscert_coordinator.rollout.decide import NodePlan, Step, Wanted, decide
from gausscert_coordinator.rollout.deploying import Rollout
from gausscert_coordinator.rollout.facts import Service
from gausscert_coordinator.rollout.outcome import NodeOutcome, State
from gausscert_coordinator.rollout.ssh import Ended
from support.rollout_fakes import (
    FORMER,
    RELEASE,
    FakeDoctor,
    FakeSsh,
    facts,
    look,
    ok,
    running,
    software,
    trouble,
)

NAMES = ("n1", "n2", "n3")
INSTALLED = {
    "service": "system",
    "service_state": "active",
    "release": FORMER,
    "releases": [FORMER],
    "running": running(FORMER),
    "journal": {"phase": "NONE"},
}


def signed(name: str) -> Signed:
    at = datetime(2027, 1, 1, tzinfo=UTC)
    return Signed(Identity("prod", Role.NODE, name), b"cert", b"key", b"ca", at, "ff")


class Crew:
    """Three nodes and one roll-out."""

    def __init__(self, root: Path) -> None:
        self.ssh = FakeSsh()
        self.doctor = FakeDoctor()
        self.software = software(root)
        self.told: list[str] = []
        self.revoked: tuple[Denied, ...] = ()
        nodes = [InventoryNode(name, f"{name}:7443", install=AgentInstall()) for name in NAMES]
        self.rollout = Rollout(
            nodes, self.ssh, self.doctor, lambda _: "/opt/cm", lambda told: self.told.append(told.node)
        )

    def plan(self, name: str, **changes) -> NodePlan:
        wanted = Wanted(
            name,
            "prod",
            RELEASE,
            Service.AUTO,
            "config",
            {"unit": "u", "more": "d"},
            credential_good=False,
            revoked=self.revoked,
        )
        return decide(facts(**changes), wanted)

    def carry_out(self, **changes) -> dict[str, NodeOutcome]:
        plans = [self.plan(name, **changes) for name in NAMES]
        done = asyncio.run(self.rollout.carry_out(plans, self.software, signed))
        return {outcome.node: outcome for outcome in done}


@pytest.fixture
def crew(tmp_path: Path) -> Crew:
    return Crew(tmp_path)


def test_bare_nodes_get_every_step_in_order(crew: Crew):
    outcomes = crew.carry_out()

    assert {outcome.state for outcome in outcomes.values()} == {State.DEPLOYED}
    assert crew.ssh.actions("n2") == ["upload", "install", "credential", "configure", "service", "activate"]
    assert outcomes["n1"].done[-1] is Step.HEALTH
    assert sorted(crew.doctor.asked) == list(NAMES)


def test_no_agent_is_started_while_any_node_has_failed_before_that(crew: Crew):
    crew.ssh.answers["n2"] = {"install": trouble("no space left")}

    outcomes = crew.carry_out()

    assert {name: outcome.state for name, outcome in outcomes.items()} == {
        "n1": State.UNTOUCHED,
        "n2": State.FAILED,
        "n3": State.UNTOUCHED,
    }
    assert outcomes["n2"].failed_at is Step.INSTALL
    assert outcomes["n2"].error is not None
    assert outcomes["n2"].error.node == "n2"
    assert not any(action == "activate" for _, action in crew.ssh.asked)


def test_agents_that_run_are_restarted_one_after_the_other_up_to_the_first_that_is_not_healthy(crew: Crew):
    crew.doctor.ill["n2"] = NodeFailure(Reason.ROLLOUT_FAILED, "not healthy")

    outcomes = crew.carry_out(**INSTALLED)

    # n2 twice: the way back to what it had is tried, and makes no healthy agent, either.
    assert [host for host, action in crew.ssh.asked if action == "activate"] == ["n1", "n2", "n2"]
    assert crew.doctor.asked == ["n1", "n2", "n2"]
    assert [outcomes[name].state for name in NAMES] == [State.DEPLOYED, State.FAILED, State.UNTOUCHED]
    assert outcomes["n3"].done == [Step.UPLOAD, Step.INSTALL, Step.CREDENTIAL, Step.CONFIGURE, Step.SERVICE]


def test_a_bug_at_one_node_does_not_hide_what_became_of_the_others(crew: Crew):
    crew.ssh.answers["n1"] = {"upload": RuntimeError("boom")}

    outcomes = crew.carry_out()

    assert outcomes["n1"].error is not None
    assert outcomes["n1"].error.reason is Reason.INTERNAL
    assert Step.SERVICE in outcomes["n2"].done


def test_what_a_node_is_told_names_the_user_that_was_found_there(crew: Crew):
    crew.carry_out()

    assert {request["user"] for request in crew.ssh.requests} == {"omm"}
    service = next(request for request in crew.ssh.requests if request["action"] == "service")
    assert (service["unit"], service["drop_in"], service["service"]) == ("u", "d", "system")


def test_a_look_asks_an_agent_that_runs_and_tells_of_all_nodes(crew: Crew):
    crew.doctor.busy["n1"] = "transaction t-1, phase PREPARED"
    crew.ssh.answers["n1"] = {"look": look(**INSTALLED)}
    crew.ssh.answers["n2"] = {"look": look()}
    crew.ssh.answers["n3"] = {"look": Ended(255, "", "Connection refused")}

    seen = asyncio.run(crew.rollout.look())

    assert seen.facts["n1"].in_flight == "transaction t-1, phase PREPARED"
    assert seen.facts["n2"].in_flight == ""
    assert [error.reason for error in seen.errors.values()] == [Reason.UNREACHABLE]


def test_a_step_that_does_not_end_in_time_is_told_as_such(crew: Crew):
    crew.ssh.answers["n1"] = {"look": TimeoutError()}
    crew.ssh.answers["n2"] = {"look": FileNotFoundError(2, "No such file or directory")}
    crew.ssh.answers["n3"] = {"look": look()}

    seen = asyncio.run(crew.rollout.look())

    assert {name: error.reason for name, error in seen.errors.items()} == {
        "n1": Reason.DEADLINE,
        "n2": Reason.CONFIG_INVALID,
    }


def test_a_removal_tells_what_was_removed_and_what_was_not(crew: Crew):
    for name in NAMES:
        crew.ssh.answers[name] = {"look": look(**INSTALLED), "remove": ["/opt/gausscert"]}
    crew.ssh.answers["n3"]["remove"] = trouble("a transaction is in flight")
    seen = asyncio.run(crew.rollout.look())

    removed, failed = asyncio.run(crew.rollout.remove(seen, with_state=False))

    assert removed == {"n1": ["/opt/gausscert"], "n2": ["/opt/gausscert"]}
    assert [error.node for error in failed] == ["n3"]
    asked = next(request for request in crew.ssh.requests if request["action"] == "remove")
    assert (asked["service"], asked["user"], asked["with_state"]) == ("system", "omm", False)


def test_a_node_that_answers_nonsense_does_not_hide_what_the_others_are(crew: Crew):
    crew.ssh.answers["n1"] = {"look": ok({"login": 7})}
    crew.ssh.answers["n2"] = {"look": look(), "remove": RuntimeError("boom")}
    crew.ssh.answers["n3"] = {"look": look(), "remove": ["/opt/gausscert"]}

    seen = asyncio.run(crew.rollout.look())
    removed, failed = asyncio.run(crew.rollout.remove(seen, with_state=False))

    assert set(seen.facts) == {"n2", "n3"}
    assert {error.node: error.reason for error in seen.errors.values()} == {"n1": Reason.ROLLOUT_FAILED}
    assert removed == {"n3": ["/opt/gausscert"]}
    assert [(error.node, error.reason) for error in failed] == [("n2", Reason.INTERNAL)]


# ---- who is revoked

ALICE = denylist.parse("serial aa alice\n").entries


def test_whom_a_new_agent_has_to_deny_goes_along_with_its_start(crew: Crew):
    crew.revoked = ALICE

    outcomes = crew.carry_out(denied="# by hand\n")

    (request,) = [r for r in crew.ssh.requests if (r["action"], r["node"]) == ("activate", "n2")]
    assert request["deny_list"] == "# by hand\nserial aa alice\n"
    assert request["former_deny_list"] == hashlib.sha256(b"# by hand\n").hexdigest()
    assert crew.doctor.denied == {}
    assert outcomes["n2"].state is State.DEPLOYED


def test_an_agent_that_runs_is_told_by_itself_before_anything_else_is_done(crew: Crew):
    crew.revoked = ALICE
    crew.doctor.before_denying = lambda: order.append(len(crew.ssh.asked))
    order: list[int] = []

    outcomes = crew.carry_out(**INSTALLED)

    assert order == [0, 0, 0]
    assert crew.doctor.denied == dict.fromkeys(NAMES, b"serial aa alice\n")
    assert not any("deny_list" in request for request in crew.ssh.requests)
    assert outcomes["n1"].state is State.DEPLOYED
    assert [outcome.denied for outcome in outcomes.values()] == [True] * 3


def test_one_that_needs_nothing_else_is_told_and_counts_as_changed(crew: Crew):
    crew.revoked = ALICE
    plans = [
        decide(
            facts(**{**INSTALLED, "release": RELEASE, "releases": [RELEASE], "running": running()}),
            Wanted(name, "prod", RELEASE, Service.AUTO, "", {}, credential_good=True, revoked=ALICE),
        )
        for name in NAMES
    ]

    done = asyncio.run(crew.rollout.carry_out(plans, crew.software, signed))

    assert [(each.done, each.state) for each in done] == [([Step.HEALTH], State.DEPLOYED)] * 3
    assert crew.ssh.asked == []
    assert len(crew.doctor.denied) == 3


def test_an_agent_that_does_not_take_it_is_told_of_and_not_put_back(crew: Crew):
    crew.revoked = ALICE
    crew.doctor.deaf["n1"] = Unreachable(Reason.UNREACHABLE, "no answer")

    outcomes = crew.carry_out(**INSTALLED)

    assert [(found.code, found.node) for found in outcomes["n1"].findings] == [("ROLLOUT_NOT_DENIED", "n1")]
    assert errors(outcomes["n1"].findings)
    assert (outcomes["n1"].error, outcomes["n1"].put_back) == (None, None)
    assert (outcomes["n1"].denied, outcomes["n1"].findings[0].cause) == (False, "no answer")
    assert set(crew.doctor.denied) == {"n2", "n3"}


def test_one_that_takes_it_only_once_it_is_healthy_again_is_none_of_them(crew: Crew):
    crew.revoked = ALICE
    crew.doctor.deaf_once["n1"] = Unreachable(Reason.UNREACHABLE, "no answer")

    outcomes = crew.carry_out(**INSTALLED)

    assert crew.doctor.denied == dict.fromkeys(NAMES, b"serial aa alice\n")
    assert outcomes["n1"].findings == []


def test_all_that_run_are_told_whatever_becomes_of_the_upgrade_of_one(crew: Crew):
    """It was: an agent that is not healthy is told nothing. That was asked after its upgrade, and let in who
    is revoked at every other node, too, and for good where nobody mended the one."""
    crew.revoked = ALICE
    crew.doctor.ill["n1"] = NodeFailure(Reason.ROLLOUT_FAILED, "not healthy")

    outcomes = crew.carry_out(**INSTALLED)

    assert crew.doctor.denied == dict.fromkeys(NAMES, b"serial aa alice\n")
    assert [outcomes[name].state for name in NAMES] == [State.FAILED, State.UNTOUCHED, State.UNTOUCHED]
    assert not any(
        found.code == "ROLLOUT_NOT_DENIED" for each in outcomes.values() for found in each.findings
    )


def test_one_that_is_deaf_and_then_not_healthy_is_not_asked_again_and_told_of_once(crew: Crew):
    crew.revoked = ALICE
    crew.doctor.ill["n1"] = NodeFailure(Reason.ROLLOUT_FAILED, "not healthy")
    crew.doctor.deaf_once["n1"] = Unreachable(Reason.UNREACHABLE, "no answer")

    outcomes = crew.carry_out(**INSTALLED)

    assert set(crew.doctor.denied) == {"n2", "n3"}
    told = [found.cause for found in outcomes["n1"].findings if found.code == "ROLLOUT_NOT_DENIED"]
    assert told == ["no answer"]


def test_one_that_was_deaf_is_told_once_it_has_what_it_had_before(crew: Crew):
    crew.revoked = ALICE
    crew.doctor.ill_once["n1"] = NodeFailure(Reason.ROLLOUT_FAILED, "not healthy")
    crew.doctor.deaf_once["n1"] = Unreachable(Reason.UNREACHABLE, "no answer")

    outcomes = crew.carry_out(**INSTALLED)

    assert outcomes["n1"].put_back
    assert set(crew.doctor.denied) == set(NAMES)
    assert [found.code for found in outcomes["n1"].findings] == ["ROLLOUT_PUT_BACK"]


def test_a_bug_in_the_telling_is_of_that_node_alone(crew: Crew):
    crew.revoked = ALICE
    crew.doctor.deaf["n1"] = RuntimeError("boom")

    outcomes = crew.carry_out(**INSTALLED)

    assert [found.code for found in outcomes["n1"].findings] == ["ROLLOUT_NOT_DENIED"]
    assert "boom" in outcomes["n1"].findings[0].cause
    assert [outcome.state for outcome in outcomes.values()] == [State.DEPLOYED] * 3


def test_an_agent_that_is_down_and_was_not_reached_is_told_of(crew: Crew):
    crew.revoked = ALICE
    crew.ssh.answers["n2"] = {"install": trouble("no space left")}

    outcomes = crew.carry_out(**{**INSTALLED, "running": None})

    for name in ("n1", "n3"):
        (found,) = outcomes[name].findings
        assert (found.code, found.node) == ("ROLLOUT_NOT_DENIED", name)
        assert "not reached in this run" in found.cause
    assert not any(outcome.denied for outcome in outcomes.values())


def test_one_whose_start_fails_is_told_of_as_unknown(crew: Crew):
    crew.revoked = ALICE
    crew.ssh.answers["n2"] = {"activate": trouble("it does not start")}

    outcomes = crew.carry_out(**{**INSTALLED, "running": None})

    (found,) = outcomes["n2"].findings
    assert (found.code, "not known" in found.cause) == ("ROLLOUT_NOT_DENIED", True)
    assert (outcomes["n1"].denied, outcomes["n1"].findings) == (True, [])


def test_a_bare_node_that_was_not_reached_lets_nobody_in(crew: Crew):
    crew.revoked = ALICE
    crew.ssh.answers["n2"] = {"install": trouble("no space left")}

    assert [outcome.findings for outcome in crew.carry_out().values()] == [[], [], []]
