"""Unit and agent.toml come into their place on a node with its restart, and not before: whatever becomes of
another node, a reboot starts what ran. The program on the nodes is the real one."""

from __future__ import annotations

import asyncio
import io
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from gausscert_common import denylist
from gausscert_common.errors import NodeFailure, Reason
from gausscert_coordinator.inventory import AgentInstall, InventoryNode
from gausscert_coordinator.rollout.decide import NodePlan, Step, decide
from gausscert_coordinator.rollout.deploying import AGAIN_S, TRIES, Rollout
from gausscert_coordinator.rollout.on_node import files, main
from gausscert_coordinator.rollout.outcome import NodeOutcome, State
from support.rollout_fakes import FORMER, RELEASE, FakeDoctor, software
from support.rollout_nodes import Node, Nodes, make_release

NAMES = ("n1", "n2", "n3")
ILL = NodeFailure(Reason.ROLLOUT_FAILED, "the agent answers, but is not healthy")
WHOLE = ["upload", "install", "configure", "service"]


class Crew:
    """Three nodes with agents of the former release, and whoever upgrades them."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.nodes, self.doctor = Nodes(root, monkeypatch, NAMES), FakeDoctor()
        self.paused: list[float] = []
        self.told: list[str] = []
        self._software = replace(software(root / "software"), release=RELEASE)

    def upgrade(self, plans: Sequence[NodePlan] | None = None) -> list[NodeOutcome]:
        inventory = [InventoryNode(name, f"{name}:7443", install=AgentInstall()) for name in NAMES]
        rollout = Rollout(
            inventory,
            self.nodes,
            self.doctor,
            lambda _: "/opt/cm",
            lambda told: self.told.append(told.text),
            pause=self._pause,
        )
        made = [self.nodes.plan(name) for name in NAMES] if plans is None else plans
        return list(asyncio.run(rollout.carry_out(made, self._software, _no_credential)))

    async def _pause(self, seconds: float) -> None:
        self.paused.append(seconds)

    def disks(self) -> dict[str, dict[str, bytes | str]]:
        return {name: self.nodes[name].disk() for name in NAMES}


def _no_credential(name):
    raise AssertionError(name)


@pytest.fixture
def crew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Crew:
    made = Crew(tmp_path, monkeypatch)
    for name in NAMES:
        made.nodes[name].has(FORMER)
    return made


def test_stopped_after_node_1_the_others_have_what_they_had_byte_for_byte(crew: Crew):
    before = crew.disks()
    crew.doctor.ill_once["n1"] = ILL

    outcomes = crew.upgrade()

    assert [each.state for each in outcomes] == [State.FAILED, State.UNTOUCHED, State.UNTOUCHED]
    assert outcomes[0].put_back
    assert crew.disks() == before
    assert [crew.nodes.actions(name) for name in NAMES[1:]] == [WHOLE, WHOLE]
    for name in NAMES:  # what started the release that had failed elsewhere
        crew.nodes[name].boot()
    assert [crew.nodes[name].restarts[-1] for name in NAMES] == [FORMER] * 3
    assert crew.nodes["n2"].restarts == [FORMER, FORMER]  # its own boot, and no restart


def test_what_was_laid_ready_on_the_others_is_used_by_nobody_and_the_repeat_finishes(crew: Crew):
    crew.doctor.ill_once["n1"] = ILL
    crew.upgrade()

    outcomes = crew.upgrade()

    assert {each.state for each in outcomes} == {State.DEPLOYED}
    assert {name: crew.nodes[name].restarts[-1] for name in NAMES} == dict.fromkeys(NAMES, RELEASE)
    assert [crew.nodes.plan(name).steps for name in NAMES] == [(Step.HEALTH,)] * 3
    assert not list(crew.nodes["n1"].root.rglob("*.new"))


def test_a_configuration_that_is_refused_anywhere_changes_nothing_anywhere(crew: Crew):
    before = crew.disks()
    plans = [crew.nodes.plan(name) for name in NAMES]

    def refuse(action: str) -> None:
        if action == "configure":
            agent = crew.nodes["n3"].layout.agent(RELEASE)
            agent.write_text("#!/bin/sh\necho agent.toml: bad >&2\nexit 2\n")

    crew.nodes["n3"].before_step = refuse

    outcomes = crew.upgrade(plans)

    assert [each.state for each in outcomes] == [State.UNTOUCHED, State.UNTOUCHED, State.FAILED]
    assert crew.disks() == before
    assert all(crew.nodes[name].restarts == [FORMER] for name in NAMES)


def test_what_cannot_be_tidied_away_costs_no_healthy_agent_its_release(crew: Crew):
    node = crew.nodes["n1"]
    make_release(node.layout.releases / "older")
    (node.layout.releases / "older" / ".complete").touch()

    def spoil(action: str) -> None:
        if action == "tidy":
            shutil.rmtree(node.layout.releases)

    node.before_step = spoil

    one, *others = crew.upgrade()

    assert (one.failed_at, one.put_back, one.findings) == (Step.TIDY, None, [])
    assert (node.running.release, node.restarts) == (RELEASE, [FORMER, RELEASE])
    assert {each.state for each in others} == {State.UNTOUCHED}


def test_an_agent_that_never_says_ready_gets_back_what_it_had(crew: Crew):
    before = crew.disks()
    crew.nodes["n1"].never_starts.add(RELEASE)

    one, *others = crew.upgrade()

    assert (one.failed_at, one.put_back) == (Step.ACTIVATE, True)
    assert {each.state for each in others} == {State.UNTOUCHED}
    assert crew.disks() == before
    assert crew.nodes["n1"].restarts == [FORMER, RELEASE, FORMER]


@pytest.mark.parametrize("part", ["agent.toml", "gausscert-agent.service", "50-gausscert-node.conf"])
def test_where_one_part_is_not_ready_any_more_none_is_put_in_its_place(crew: Crew, part: str):
    """Another roll-out has laid its own there, say."""
    before, node = crew.disks(), crew.nodes["n1"]
    pid = node.running.pid

    def lose(action: str) -> None:
        if action == "activate":
            for each in node.root.rglob(f"{part}.new"):
                each.write_text("another's")

    node.before_step = lose

    one, *others = crew.upgrade()

    assert (one.failed_at, one.put_back, one.findings) == (Step.ACTIVATE, None, [])
    assert f"{part}.new" in one.error.message
    assert crew.disks() == before
    assert (node.running.pid, node.restarts) == (pid, [FORMER])
    assert {each.state for each in others} == {State.UNTOUCHED}


def test_what_was_put_in_its_place_is_taken_back_where_the_agent_was_never_ended(crew: Crew):
    """ACTIVATE fails between the last file and the restart."""
    before, node = crew.disks(), crew.nodes["n1"]
    pid = node.running.pid
    node.fails_once = "daemon-reload"

    (failed,) = crew.upgrade([crew.nodes.plan("n1")])

    assert (failed.failed_at, failed.put_back) == (Step.ACTIVATE, True)
    assert [each.code for each in failed.findings] == ["ROLLOUT_PUT_BACK"]
    assert "was never ended" in failed.findings[0].cause
    assert node.disk() == before["n1"]
    assert (node.running.pid, node.restarts) == (pid, [FORMER])


def test_a_bare_node_has_a_unit_only_once_all_nodes_are_ready(tmp_path: Path, monkeypatch):
    crew = Crew(tmp_path, monkeypatch)
    plans = [crew.nodes.plan(name) for name in NAMES]
    masked = crew.nodes["n3"]
    masked.masked = True

    outcomes = crew.upgrade(plans)

    assert outcomes[2].failed_at is Step.SERVICE
    assert "masked" in outcomes[2].error.message
    assert crew.disks() == {name: {"current": ""} for name in NAMES}
    masked.masked = False

    repeated = crew.upgrade()

    assert {each.state for each in repeated} == {State.DEPLOYED}
    assert [crew.nodes[name].restarts for name in NAMES] == [[RELEASE]] * 3


def test_a_first_agent_that_does_not_start_is_not_left_to_be_started_at_each_boot(
    tmp_path: Path, monkeypatch
):
    """Beside one of another login its unit stayed enabled, and a boot might have given it that one's port."""
    crew = Crew(tmp_path, monkeypatch)
    node = crew.nodes["n1"]
    node.never_starts.add(RELEASE)

    (failed,) = crew.upgrade([crew.nodes.plan("n1")])

    assert failed.failed_at is Step.ACTIVATE
    assert "its unit is disabled again" in failed.error.message
    assert not node.enabled
    node.boot()
    assert node.restarts == [RELEASE]  # that one attempt
    node.never_starts.clear()

    (repeated,) = crew.upgrade([crew.nodes.plan("n1")])

    assert repeated.state is State.DEPLOYED
    assert node.enabled


def test_where_it_cannot_be_disabled_both_are_told(tmp_path: Path, monkeypatch):
    crew = Crew(tmp_path, monkeypatch)
    node = crew.nodes["n1"]
    node.never_starts.add(RELEASE)
    node.fails_once = "disable"

    (failed,) = crew.upgrade([crew.nodes.plan("n1")])

    assert "systemctl --user restart gausscert-agent.service" in failed.error.message
    assert "could not be disabled again: systemctl --user disable --now" in failed.error.message


def test_one_that_was_down_and_does_not_start_is_still_its_boots_to_start(crew: Crew):
    """It may be needed to recover, and it is nobody's second one."""
    node = crew.nodes["n1"]
    node.running = None
    node.never_starts |= {FORMER, RELEASE}

    (failed,) = crew.upgrade([crew.nodes.plan("n1")])

    assert failed.failed_at is Step.ACTIVATE
    assert "disabled" not in failed.error.message
    assert node.enabled


CHANGES = 8
"""In an ACTIVATE: unit, drop-in, agent.toml, the link; then systemctl daemon-reload, enable, daemon-reload
and restart. It may be cut off before each."""


def test_an_activation_has_so_many_changes(crew: Crew):
    crew.nodes.cut_at = ("n1", 10**6)

    crew.upgrade()

    assert crew.nodes.changes == CHANGES


@pytest.mark.parametrize("point", range(1, CHANGES + 1))
@pytest.mark.parametrize("power", [True, False], ids=["power", "killed"])
def test_cut_off_at_any_point_each_file_is_whole_a_boot_starts_an_agent_and_the_repeat_finishes(
    crew: Crew, tmp_path: Path, monkeypatch, point: int, power: bool
):
    before = crew.disks()
    undisturbed = Crew(tmp_path / "undisturbed", monkeypatch)
    for name in NAMES:
        undisturbed.nodes[name].has(FORMER)
    undisturbed.upgrade()
    after = _elsewhere(undisturbed.disks(), tmp_path / "undisturbed", tmp_path)
    crew.nodes.cut_at, crew.nodes.power = ("n1", point), power

    one, *others = crew.upgrade()

    assert one.failed_at is Step.ACTIVATE
    assert one.put_back is (False if power else (True if point > 1 else None))
    assert {each.state for each in others} == {State.UNTOUCHED}
    left = crew.disks()
    assert {name: left[name] for name in NAMES[1:]} == {name: before[name] for name in NAMES[1:]}
    assert all(left["n1"][part] in (before["n1"][part], after["n1"][part]) for part in left["n1"])
    if power:
        crew.nodes["n1"].boot()
    assert crew.nodes["n1"].running is not None
    crew.nodes.cut_at = None

    repeated = crew.upgrade()

    assert {each.error for each in repeated} == {None}
    assert crew.disks() == after
    assert {crew.nodes[name].running.release for name in NAMES} == {RELEASE}
    assert [crew.nodes.plan(name).steps for name in NAMES] == [(Step.HEALTH,)] * 3


def _elsewhere(disks, of: Path, to: Path):
    """The same files, on machines below another directory."""
    return {
        name: {
            part: text if isinstance(text, str) else text.replace(bytes(of), bytes(to))
            for part, text in disk.items()
        }
        for name, disk in disks.items()
    }


def test_an_agent_that_was_started_before_the_operators_machine_died_stops_the_repeat_where_it_is_ill(
    crew: Crew,
):
    """Whoever died between a restart and its health has restarted one agent; the repeat restarts no other."""
    crew.upgrade([crew.nodes.plan("n1")])
    before = crew.disks()
    crew.doctor.ill["n1"] = ILL

    one, *others = crew.upgrade()

    assert (one.failed_at, one.put_back, one.done) == (Step.HEALTH, None, [])
    assert {each.state for each in others} == {State.UNTOUCHED}
    assert crew.disks() == before
    assert [crew.nodes[name].restarts for name in NAMES[1:]] == [[FORMER], [FORMER]]


def test_a_restart_that_is_still_under_way_when_ssh_breaks_is_waited_for(crew: Crew):
    """A look at once saw the agent of before, and took it for one that was never ended."""
    before, node, at_work = crew.disks(), crew.nodes["n1"], ExitStack()

    def ends(_: object) -> None:
        main.ACTIONS["activate"](crew.nodes.unheard[0], node.layout, io.BytesIO())
        at_work.close()

    crew.nodes.breaks, crew.nodes.waits = {"n1"}, ends
    node.on_break = lambda: at_work.enter_context(files.alone(node.layout.software))

    one, *others = crew.upgrade()

    assert (one.failed_at, one.put_back, one.error.reason) == (Step.ACTIVATE, True, Reason.UNREACHABLE)
    assert node.restarts == [FORMER, RELEASE, FORMER]
    assert crew.disks() == before
    assert {each.state for each in others} == {State.UNTOUCHED}
    assert [each for each in crew.told if "ssh broke off" in each] == [
        "ssh broke off; what was begun there is waited for"
    ]


def test_an_activation_that_comes_after_it_was_given_up_changes_nothing(crew: Crew):
    """ssh broke, and the node got the last of what was sent only later."""
    before, pid = crew.disks(), crew.nodes["n1"].running.pid
    crew.nodes.breaks = {"n1"}

    one, *_ = crew.upgrade()
    said = crew.nodes.deliver(crew.nodes.unheard[0])

    assert (one.failed_at, one.put_back, one.findings) == (Step.ACTIVATE, None, [])
    assert "given up" in said
    assert crew.disks() == before
    assert (crew.nodes["n1"].running.pid, crew.nodes["n1"].restarts) == (pid, [FORMER])
    assert {each.state for each in crew.upgrade()} == {State.DEPLOYED}


@pytest.mark.parametrize("down_for", [TRIES - 1, TRIES])
def test_ssh_that_comes_back_soon_is_waited_for(crew: Crew, down_for: int):
    crew.nodes.breaks, crew.nodes.down_for = {"n1"}, down_for

    one, *_ = crew.upgrade()

    assert crew.paused == [AGAIN_S] * (TRIES - 1)
    assert one.put_back is (None if down_for < TRIES else False)
    assert [each.code for each in one.findings] == ([] if down_for < TRIES else ["ROLLOUT_NOT_PUT_BACK"])


def test_a_node_that_is_still_at_work_after_all_that_time_is_not_waited_for_once_more(crew: Crew):
    node = crew.nodes["n1"]

    def never_ends(action: str) -> None:
        if action == "settle":
            raise TimeoutError

    crew.nodes.breaks, node.before_step = {"n1"}, never_ends

    one, *_ = crew.upgrade()

    assert (one.put_back, crew.paused) == (False, [])
    assert [each.code for each in one.findings] == ["ROLLOUT_NOT_PUT_BACK"]
    assert crew.nodes.actions("n1").count("settle") == 1


def test_a_release_whose_agent_was_started_since_the_look_is_kept(crew: Crew):
    node = crew.nodes["n1"]
    older = node.layout.releases / "older"
    make_release(older)
    (older / ".complete").touch()
    plan = crew.nodes.plan("n1")

    def somebody(action: str) -> None:
        if action == "tidy":
            node.running = node.running._replace(release="older")

    node.before_step = somebody

    (done,) = crew.upgrade([plan])

    assert Step.TIDY in done.done
    assert older.exists()


def lose_python(node: Node) -> None:
    """An upgrade of the operating system takes away the Python of the agent, which is down."""
    release = node.layout.release()
    node.running = None
    node.layout.agent(release).write_text("#!/nowhere/python3.11\n")
    node.journal = lambda place, account, reader="", config=None: (
        {"phase": "NONE"} if reader not in ("", release) else {"unrunnable": "No such file or directory"}
    )


@pytest.fixture
def lost(crew: Crew) -> Crew:
    """On n1."""
    lose_python(crew.nodes["n1"])
    return crew


def test_an_agent_that_lost_its_python_gets_a_release_that_can_be_run(lost: Crew):
    (done,) = lost.upgrade([lost.nodes.plan("n1")])

    assert (done.state, done.error) == (State.DEPLOYED, None)
    assert lost.nodes["n1"].running.release == RELEASE


@pytest.mark.parametrize(
    "journal", [{"phase": "SWAPPED", "transaction": "t-1"}, {"unreadable": "JOURNAL_DAMAGED"}]
)
def test_but_not_before_that_one_has_read_that_nothing_is_in_flight(lost: Crew, journal: dict[str, str]):
    node, asked = lost.nodes["n1"], []
    before = node.disk()
    cannot = node.journal

    def read(place, account, release="", config=None):
        asked.append((release, config.read_text() if config else ""))
        return journal if release == RELEASE else cannot(place, account)

    node.journal = read

    (failed,) = lost.upgrade([lost.nodes.plan("n1")])

    assert failed.failed_at is Step.ACTIVATE
    assert asked == [("", ""), (RELEASE, "new")]  # from the configuration that it has found good
    assert node.disk() == before
    assert node.running is None
    if "transaction" in journal:
        assert "t-1" in failed.error.message
        assert "deploy the bundle that the agent had" in failed.error.remedy


def test_in_the_middle_of_a_transaction_it_is_installed_anew_as_it_was_and_started(crew: Crew):
    node = crew.nodes["n1"]
    crew.upgrade([crew.nodes.plan("n1")])
    lose_python(node)
    plan = crew.nodes.plan("n1")

    (done,) = crew.upgrade([plan])

    assert [found.code for found in plan.findings] == ["ROLLOUT_CANNOT_RUN"]
    assert done.done == [Step.UPLOAD, Step.INSTALL, Step.ACTIVATE, Step.HEALTH]
    assert node.running.release == RELEASE


def test_where_no_agent_ran_there_is_nothing_to_wait_for(tmp_path: Path, monkeypatch):
    crew = Crew(tmp_path, monkeypatch)
    crew.nodes.breaks = {"n1"}

    one, *_ = crew.upgrade()

    assert (one.failed_at, one.put_back, one.findings) == (Step.ACTIVATE, None, [])
    assert "settle" not in crew.nodes.actions("n1")
    assert {each.state for each in crew.upgrade()} <= {State.DEPLOYED, State.UNCHANGED}


# ---- who is revoked

ALICE = denylist.parse("serial aa alice\n").entries


def down(node: Node, crew: Crew) -> NodePlan:
    """One that is down when it is looked at."""
    node.running = None
    made = crew.nodes.plan(node.name)
    return replace(made, wanted=replace(made.wanted, revoked=ALICE))


def test_an_agent_that_is_down_finds_its_list_when_it_starts(crew: Crew):
    node = crew.nodes["n1"]

    (done,) = crew.upgrade([down(node, crew)])

    assert (done.state, done.denied, done.findings) == (State.DEPLOYED, True, [])
    assert denylist.read(node.layout.deny_list.read_bytes()).entries == ALICE
    assert crew.doctor.denied == {}


def test_one_that_crashes_again_and_again_is_mended_whenever_it_runs_and_told_then(crew: Crew):
    node = crew.nodes["n1"]
    plan = down(node, crew)
    node.before_step = lambda action: node.start() if action == "activate" else None

    (done,) = crew.upgrade([plan])

    assert (done.state, done.error, done.findings) == (State.DEPLOYED, None, [])
    assert node.restarts == [FORMER, FORMER, RELEASE]
    assert not node.layout.deny_list.exists()
    assert (done.denied, set(crew.doctor.denied)) == (True, {"n1"})


def test_and_where_that_does_not_make_it_healthy_it_is_told_that_it_denies_nobody(crew: Crew):
    node = crew.nodes["n1"]
    plan = down(node, crew)
    node.before_step = lambda action: node.start() if action == "activate" else None
    crew.doctor.ill["n1"] = ILL

    (done,) = crew.upgrade([plan])

    assert (done.failed_at, done.denied, crew.doctor.denied) == (Step.HEALTH, False, {})
    (found,) = done.findings
    assert (found.code, "started meanwhile" in found.cause) == ("ROLLOUT_NOT_DENIED", True)


def test_a_list_that_is_no_utf_8_refuses_the_node_before_anything_is_done(crew: Crew):
    """Each ACTIVATE said that it was changed since it was looked at."""
    node = crew.nodes["n1"]
    node.layout.deny_list.write_bytes(b"serial ff M\xfcller\n")

    plan = down(node, crew)
    seen = decide(plan.facts, plan.wanted)

    assert [found.code for found in seen.refused] == ["ROLLOUT_DENY_LIST_UNUSABLE"]
    assert seen.refused[0].cause == "it is no UTF-8"
    node.layout.deny_list.write_text("serial ff Müller\n")
    mended = decide(crew.nodes.look("n1"), plan.wanted)
    assert (mended.refused, mended.lacks) == ((), ALICE)
    (done,) = crew.upgrade([mended])
    assert (done.state, done.denied) == (State.DEPLOYED, True)
    assert node.layout.deny_list.read_text() == "serial ff Müller\nserial aa alice\n"
