"""What has to be done on a node, and what speaks against it."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from gausscert_common import denylist
from gausscert_coordinator.rollout import revoked
from gausscert_coordinator.rollout.decide import NodePlan, Step, Wanted, activation, choose, decide
from gausscert_coordinator.rollout.facts import Service
from gausscert_coordinator.rollout.outcome import NodeOutcome
from gausscert_coordinator.rollout.work import Work
from support.rollout_fakes import FORMER, RELEASE, facts, running

UNITS = {"gausscert-agent.service": "[Unit]", "50-gausscert-node.conf": "[Service]"}
WANTED = Wanted("n1", "prod", RELEASE, Service.AUTO, "config", UNITS, credential_good=True)
INSTALLED = {
    "service": "system",
    "service_state": "active",
    "units": UNITS,
    "release": RELEASE,
    "releases": [RELEASE],
    "config": "config",
    "configured_state": "/var/lib/gausscert",
    "configured_cluster": "prod",
    "configured_node": "n1",
    "running": running(),
    "journal": {"phase": "NONE"},
}


REVOKED = denylist.parse("serial aa alice\nsha256 " + "bb" * 32 + " bob\n").entries


def plan(wanted: Wanted = WANTED, **changes) -> NodePlan:
    return decide(facts(**changes), wanted)


def codes(made: NodePlan) -> list[str]:
    return [found.code for found in made.findings]


def test_a_bare_node_gets_everything():
    made = plan(replace(WANTED, credential_good=False))

    assert made.steps == tuple(step for step in Step if step is not Step.TIDY)
    assert made.service is Service.SYSTEM
    assert not made.findings
    assert not made.restarts


def test_where_all_is_there_only_health_is_asked():
    made = plan(**INSTALLED)

    assert made.steps == (Step.HEALTH,)
    assert not made.findings


@pytest.mark.parametrize(
    ("change", "steps"),
    [
        ({"config": "another"}, {Step.CONFIGURE, Step.ACTIVATE, Step.HEALTH}),
        ({"units": {}}, {Step.SERVICE, Step.ACTIVATE, Step.HEALTH}),
        ({"service_enabled": False}, {Step.SERVICE, Step.ACTIVATE, Step.HEALTH}),
        ({"running": running(stale=True)}, {Step.ACTIVATE, Step.HEALTH}),
        ({"running": running(FORMER)}, {Step.ACTIVATE, Step.HEALTH}),
        ({"running": None, "service_state": "failed"}, {Step.ACTIVATE, Step.HEALTH}),
        (
            {"release": FORMER, "releases": [FORMER], "running": running(FORMER)},
            {Step.UPLOAD, Step.INSTALL, Step.ACTIVATE, Step.HEALTH},
        ),
        (
            {"release": FORMER, "releases": ["0.0.1-x", FORMER, RELEASE], "running": running(FORMER)},
            {Step.ACTIVATE, Step.HEALTH, Step.TIDY},
        ),
        ({"releases": [FORMER, RELEASE]}, {Step.HEALTH}),
    ],
)
def test_only_what_differs_is_done(change, steps):
    assert set(plan(**{**INSTALLED, **change}).steps) == steps


FORMER_UNITS = {"gausscert-agent.service": "[Unit] former", "50-gausscert-node.conf": "[Service] former"}
BEFORE = {
    **INSTALLED,
    "release": FORMER,
    "releases": [FORMER],
    "config": "former",
    "units": FORMER_UNITS,
    "running": running(FORMER),
}
"""A node of the former release; an upgrade goes over it, and is cut off."""
HALF_UNITS = {**FORMER_UNITS, "gausscert-agent.service": "[Unit]"}
STALE = running(FORMER, stale=True)
LAID_READY = {Step.CONFIGURE, Step.SERVICE}
STARTED = {Step.ACTIVATE, Step.HEALTH}


CUTS: tuple[tuple[str, dict, set[Step]], ...] = (
    ("before anything", {}, {Step.UPLOAD, Step.INSTALL} | LAID_READY | STARTED),
    # What lies ready is not looked at: it may be of another roll-out, and is laid ready once more.
    ("laid ready", {"releases": [FORMER, RELEASE]}, LAID_READY | STARTED),
    ("unit", {"units": HALF_UNITS, "running": STALE}, LAID_READY | STARTED),
    ("drop-in", {"units": UNITS}, {Step.CONFIGURE} | STARTED),
    ("agent.toml", {"config": "config"}, STARTED),
    ("link", {"release": RELEASE}, STARTED),
    ("ended", {"running": None, "service_state": "failed"}, STARTED),
    ("started", {"running": running(), "service_state": "active"}, {Step.HEALTH}),
)
"""What an upgrade has done last when it is cut off, what that changes, and what its repeat does."""


@pytest.mark.parametrize("last", range(len(CUTS)), ids=[name for name, _, _ in CUTS])
@pytest.mark.parametrize("enabled", [True, False])
def test_whatever_a_cut_has_left_the_repeat_does_what_is_missing(last: int, enabled: bool):
    there = dict(BEFORE, service_enabled=enabled)
    for _, change, _ in CUTS[: last + 1]:
        there |= change
    steps = CUTS[last][2]

    assert set(plan(**there).steps) == (steps if enabled else steps | {Step.SERVICE} | STARTED)


def test_without_a_service_a_configuration_alone_is_put_in_its_place_too():
    by_hand = replace(WANTED, service=Service.NONE, units={})
    there = {**INSTALLED, "service": "none", "service_state": "", "units": {}}

    made = plan(by_hand, **{**there, "config": "another"})

    assert made.steps == (Step.CONFIGURE, Step.ACTIVATE, Step.HEALTH)
    assert not made.restarts
    assert codes(made) == ["ROLLOUT_RESTART"]
    assert plan(by_hand, **there).steps == (Step.HEALTH,)


def test_only_what_was_laid_ready_is_put_in_its_place():
    both = {Step.CONFIGURE, Step.SERVICE, Step.ACTIVATE}

    assert activation({Step.ACTIVATE}, "c", "u", "d", start=True) == {
        "start": True,
        "config": "",
        "unit": "",
        "drop_in": "",
    }
    told = activation(both, "c", "", "d", start=False)
    assert [len(told[part]) for part in ("config", "unit", "drop_in")] == [64, 0, 64]
    assert told["config"] != told["drop_in"]


def test_a_new_credential_needs_no_restart():
    assert plan(replace(WANTED, credential_good=False), **INSTALLED).steps == (Step.CREDENTIAL, Step.HEALTH)


def test_an_operators_place_is_closed_without_the_agents_own_directory_in_it():
    """chown -R would take that one from the agent, which could not read its configuration any more."""
    theirs = {"etc": "/etc/gausscert/agent", "open_place": "/etc/gausscert"}
    (found,) = plan(**theirs).refused

    assert (found.code, found.file) == ("ROLLOUT_OPEN_PLACE", "/etc/gausscert")
    assert found.remedy == "chown root and chmod go-w /etc/gausscert, and nothing that is in it"
    (above,) = plan(open_place="/opt").refused  # CM itself may lie below it
    assert above.remedy == "chown root and chmod go-w /opt, and nothing that is in it"
    (usual,) = plan(**{**theirs, "open_place": "/opt/gausscert"}).refused
    assert "chown -R root" in usual.remedy


@pytest.mark.parametrize(
    ("changes", "wanted", "code"),
    [
        ({}, {"missing": ("grpcio",)}, "ROLLOUT_NO_WHEELS"),
        ({"implementation": "pypy"}, {}, "ROLLOUT_NO_WHEELS"),
        ({"free_bytes": 10**8}, {}, "ROLLOUT_NO_SPACE"),
        ({"open_place": "/opt/gausscert"}, {}, "ROLLOUT_OPEN_PLACE"),
        ({"closed_place": "/etc/gausscert"}, {}, "ROLLOUT_CLOSED_PLACE"),
        ({"account": None}, {}, "ROLLOUT_NO_USER"),
        ({"root": False, "login": "bob"}, {"service": Service.NONE}, "ROLLOUT_OTHER_USER"),
        ({"managers": {"system": False, "user": False, "linger": False}}, {}, "ROLLOUT_NO_SERVICE"),
        ({}, {"service": Service.USER}, "ROLLOUT_NO_SERVICE"),
        (
            {"root": False, "login": "omm", "managers": {"system": False, "user": True, "linger": False}},
            {},
            "ROLLOUT_NO_LINGER",
        ),
        ({}, {"directory": "/srv/agent"}, "ROLLOUT_PLACES_FIXED"),
        ({**INSTALLED}, {"service": Service.NONE}, "ROLLOUT_OTHER_SERVICE"),
        ({**INSTALLED, "configured_state": "/srv/state"}, {}, "ROLLOUT_STATE_MOVED"),
        ({**INSTALLED, "configured_cluster": "test"}, {}, "ROLLOUT_OTHER_AGENT"),
        ({**INSTALLED, "configured_node": "n2"}, {}, "ROLLOUT_OTHER_AGENT"),
        ({"configured_cluster": "prod", "configured_node": "n2"}, {}, "ROLLOUT_OTHER_AGENT"),
        ({**INSTALLED, "service_state": "inactive"}, {}, "ROLLOUT_NOT_OURS"),
        (
            {**INSTALLED, "config": "another", "journal": {"phase": "SWAPPED", "transaction": "t-1"}},
            {},
            "ROLLOUT_IN_FLIGHT",
        ),
        (
            {**INSTALLED, "config": "x", "journal": {"operation": "stop"}},
            {},
            "ROLLOUT_IN_FLIGHT",
        ),
        # Not ROLLOUT_IN_FLIGHT: no end can be waited for, and no recovery mends that.
        ({**INSTALLED, "config": "x", "journal": {"unreadable": "damaged"}}, {}, "ROLLOUT_JOURNAL"),
        ({**INSTALLED, "releases": [], "broken": [RELEASE]}, {}, "ROLLOUT_RUNS_ON"),
    ],
)
def test_what_speaks_against_it_is_an_error_with_its_own_code(changes, wanted, code):
    made = plan(replace(WANTED, **wanted), **changes)

    assert code in [found.code for found in made.refused]
    assert all(found.node == "n1" and found.remedy for found in made.findings)


def test_a_second_agent_for_one_cm_is_refused_whichever_login_the_first_one_has():
    """It began with an empty state, and would have had the port at the next boot."""
    first = {"config": "/home/omm/gausscert/etc/agent.toml", "how": "pid 7", "login": "omm"}
    made = plan(others=[{**first, "state": "/home/omm/gausscert/state"}])

    (found,) = made.refused
    assert (found.code, found.file) == ("ROLLOUT_OTHER_SERVICE", first["config"])
    assert found.cause == "an agent of the same CM is there already (pid 7), installed as omm"
    assert "gausscert agents remove --ssh --node n1" in found.remedy
    assert "/home/omm/gausscert/state, to /var/lib/gausscert" in found.remedy


def test_all_that_is_wrong_is_told_at_once():
    made = plan(replace(WANTED, missing=("grpcio",)), account=None, free_bytes=1)

    assert codes(made) == ["ROLLOUT_NO_WHEELS", "ROLLOUT_NO_SPACE", "ROLLOUT_NO_USER"]


def test_the_agents_own_word_counts_where_the_journal_says_nothing():
    found = replace(facts(**{**INSTALLED, "config": "x"}), agent_says="transaction t-2, phase PREPARED")

    assert "ROLLOUT_IN_FLIGHT" in codes(decide(found, WANTED))


def test_an_agent_that_is_down_in_the_middle_of_a_transaction_is_started_and_nothing_else():
    busy = {**INSTALLED, "running": None, "service_state": "failed"}
    busy["journal"] = {"phase": "SWAPPED", "transaction": "t-1"}

    assert not plan(**busy).refused
    assert plan(**{**busy, "config": "another"}).refused


def test_a_damaged_journal_has_its_own_page_and_what_else_keeps_it_from_being_read_is_to_be_mended():
    def remedy(said: str) -> str:
        (found,) = plan(**{**INSTALLED, "config": "x", "journal": {"unreadable": said}}).refused
        return found.remedy

    assert "`A damaged journal`" in remedy("gausscert-agent: JOURNAL_DAMAGED: slot 1")
    assert "agent.toml" in remedy("gausscert-agent: CONFIG_INVALID: stoped_for_s")


GONE = {
    **INSTALLED,
    "releases": [],
    "broken": [RELEASE],
    "running": None,
    "service_state": "activating",
    "journal": {"unrunnable": "/opt/.../gausscert-agent: No such file or directory"},
}
"""Debian 12 became 13, and Python 3.11 went with it."""


def test_software_that_lost_its_python_is_installed_anew_and_started_whatever_is_in_flight():
    made = plan(**GONE)

    assert made.steps == (Step.UPLOAD, Step.INSTALL, Step.ACTIVATE, Step.HEALTH)
    assert codes(made) == ["ROLLOUT_CANNOT_RUN"]
    assert not made.refused
    assert not made.unread


@pytest.mark.parametrize(
    "change",
    [
        {"release": FORMER, "broken": [FORMER]},
        {"config": "another"},
        {"units": {}},
        {"release": FORMER, "broken": [FORMER], "running": running(FORMER), "service_state": "active"},
    ],
    ids=["another release", "another configuration", "another unit", "it still runs"],
)
def test_where_more_is_done_than_that_the_journal_has_to_be_read_first(change):
    """What was there cannot do it, and the new release can only once it is installed."""
    made = plan(**{**GONE, **change})

    assert codes(made) == ["ROLLOUT_CANNOT_RUN"]
    assert made.unread


def test_one_that_can_be_run_has_read_it_already():
    assert not plan(
        **{**INSTALLED, "release": FORMER, "releases": [FORMER], "running": running(FORMER)}
    ).unread


def test_the_software_of_an_agent_that_runs_is_never_tidied_away():
    """--service none: the third release removed the first one's, whose agent nobody had restarted."""
    by_hand = replace(WANTED, service=Service.NONE, units={})
    there = {"config": "config", "release": FORMER, "releases": ["0.0.1-x", "0.0.2-x", FORMER, RELEASE]}

    made = plan(by_hand, **there, running=running("0.0.2-x"))

    assert Step.TIDY in made.steps
    work = Work(made, NodeOutcome("n1"), None, None, "")
    assert work.request(Step.TIDY)["keep"] == ["0.0.2-x", FORMER, RELEASE]
    there["releases"] = ["0.0.2-x", FORMER, RELEASE]
    assert Step.TIDY not in plan(by_hand, **there, running=running("0.0.2-x")).steps
    assert Step.TIDY in plan(by_hand, **there).steps


def test_what_cannot_be_run_is_tidied_away_too():
    made = plan(**{**BEFORE, "broken": ["0.0.1-x"]})

    assert Step.TIDY in made.steps


def test_an_agent_in_the_middle_of_a_transaction_that_lacks_nothing_is_only_asked_for_its_health():
    made = plan(**{**INSTALLED, "journal": {"phase": "SWAPPED", "transaction": "t-1"}})

    assert (made.steps, made.findings) == ((Step.HEALTH,), ())


def test_without_a_service_manager_the_operator_is_told_what_to_start_and_what_to_restart():
    by_hand = replace(WANTED, service=Service.NONE, units={})
    told = plan(by_hand)

    assert codes(told) == ["ROLLOUT_START"]
    assert told.findings[0].cause.startswith(
        f"as omm: /opt/gausscert/releases/{RELEASE}/bin/gausscert-agent "
    )
    assert Step.SERVICE not in told.steps
    assert Step.HEALTH not in told.steps
    old = {"release": FORMER, "releases": [FORMER], "config": "config", "running": running(FORMER)}
    assert codes(plan(by_hand, **old)) == ["ROLLOUT_RESTART"]
    assert not plan(by_hand, **old).restarts


@pytest.mark.parametrize(
    ("there", "asked", "chosen"),
    [
        ({}, Service.AUTO, Service.SYSTEM),
        ({"managers": {"system": False, "user": True, "linger": True}}, Service.AUTO, Service.USER),
        ({"managers": {"system": False, "user": False, "linger": False}}, Service.AUTO, None),
        ({"service": "user"}, Service.AUTO, Service.USER),
        ({}, Service.USER, None),
        ({}, Service.NONE, Service.NONE),
    ],
)
def test_what_starts_the_agent_is_what_is_there_else_what_could(there, asked, chosen):
    assert choose(facts(**there), asked) is chosen


# ---- who is revoked

HAS = "# by hand\nserial 00AA somebody\nsha256 " + "BB" * 32
DENYING = replace(WANTED, revoked=REVOKED)


def test_an_agent_that_runs_is_told_and_not_restarted():
    made = plan(DENYING, **INSTALLED, denied="serial aa\n")

    assert made.steps == (Step.HEALTH,)
    assert made.lacks == REVOKED[1:]
    assert (made.changes, made.restarts, made.findings) == (True, False, ())


@pytest.mark.parametrize("service", [Service.AUTO, Service.NONE])
def test_an_agent_that_is_down_finds_the_list_when_it_is_started(service):
    down = {**INSTALLED, "running": None, "service_state": "failed"}
    if service is Service.NONE:
        down |= {"service": "none", "service_state": "", "units": {}}

    made = plan(replace(DENYING, service=service), **down)

    assert Step.ACTIVATE in made.steps
    assert set(made.steps) <= {Step.ACTIVATE, Step.HEALTH}
    assert made.lacks == REVOKED


def test_a_node_that_denies_them_all_is_left_alone_however_its_list_is_written():
    for wanted, denied in ((DENYING, HAS), (WANTED, "serial ff\n"), (WANTED, "alice\n")):
        made = plan(wanted, **INSTALLED, denied=denied)
        assert (made.steps, made.lacks, made.changes) == ((Step.HEALTH,), (), False)
        assert not made.findings


@pytest.mark.parametrize("running_now", [running(), None], ids=["runs", "is down"])
def test_a_transaction_is_no_reason_to_let_them_in(running_now):
    in_flight = {"running": running_now, "journal": {"phase": "SWAPPED", "transaction": "tx"}}

    made = plan(DENYING, **{**INSTALLED, **in_flight})

    assert not made.findings
    assert made.lacks == REVOKED


def test_a_list_that_nobody_understands_is_not_added_to():
    spoilt = plan(DENYING, **INSTALLED, denied="alice\n")
    too_long = plan(DENYING, **INSTALLED, denied="#" * (denylist.MAX_BYTES - 10))

    for made in (spoilt, too_long):
        assert (codes(made), made.steps) == (["ROLLOUT_DENY_LIST_UNUSABLE"], (Step.HEALTH,))
        assert made.refused[0].file == "/var/lib/gausscert/deny.list"


GARBLED = b"serial ff M\xfcller\n"


def test_a_list_that_is_no_utf_8_is_told_as_such_and_not_as_changed_each_time():
    """It arrives as text; its lines alone would be understood."""
    seen = {"denied": GARBLED.decode(errors="replace"), "denied_sha256": hashlib.sha256(GARBLED).hexdigest()}

    made = plan(DENYING, **INSTALLED, **seen)

    assert (codes(made), made.lacks) == (["ROLLOUT_DENY_LIST_UNUSABLE"], ())
    assert made.refused[0].cause == "it is no UTF-8"
    assert codes(plan(WANTED, **INSTALLED, **seen)) == []


def test_a_list_may_have_the_mark_of_what_is_not_known_in_it():
    text = "serial ff M\ufffdller\n"

    made = plan(DENYING, **INSTALLED, denied=text)

    assert (codes(made), made.lacks) == ([], REVOKED)


def test_what_is_added_stands_after_what_is_there():
    made = revoked.extended(HAS, REVOKED[:1])

    assert made == HAS + "\nserial aa alice\n"
    assert denylist.parse(revoked.extended("", REVOKED)).entries == REVOKED
    assert revoked.extended("", REVOKED).startswith("# ")


def test_a_node_is_told_all_of_its_list_and_which_one_was_looked_at():
    assert revoked.laid("serial aa\n", ()) == {}
    assert revoked.laid("", REVOKED)["former_deny_list"] == ""
    assert revoked.laid(HAS, REVOKED[:1]) == {
        "deny_list": HAS + "\nserial aa alice\n",
        "former_deny_list": hashlib.sha256(HAS.encode()).hexdigest(),
    }
