"""The runner: every step of the table on a real disk, its repeats, its refusals and its failures."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from gausscert_agent.journal import Journal
from gausscert_agent.node import transaction_report
from gausscert_agent.staging import Material
from gausscert_common import certset
from gausscert_common.bundle import Bundle
from gausscert_common.errors import GausscertError, InvalidInput, NodeFailure, NodeRefusal, Reason
from gausscert_common.findings import Finding, Severity
from gausscert_common.model import Layout, SslValue
from gausscert_common.protocol.state import SslSetting
from gausscert_common.protocol.words import (
    Fence,
    LiveState,
    Outcome,
    Phase,
    RestartScope,
    SslWish,
    Step,
    Tombstone,
)
from support.agent_core import (
    BACKWARD,
    FORWARD,
    HOLDER,
    NEW,
    OLD,
    OTHER_TX,
    TX,
    FakeCm,
    Fault,
    HookedDisk,
    Node,
    beside,
    bundle,
    live_files,
    snapshot,
)

UNTIL_SWAP = FORWARD[:4]
UNTIL_START = FORWARD[:5]


@pytest.fixture(params=list(Layout))
def layout(request):
    return request.param


@pytest.fixture
def node(tmp_path, layout):
    made = Node(tmp_path, layout=layout)
    made.start()
    yield made
    made.stop()


def journalled(node: Node):
    """What is durable, read from the file itself."""
    return Journal(node.state_dir).load()


def refused(node: Node, reason: Reason, call, *arguments, **options) -> GausscertError:
    """A refusal leaves journal, disk and CM exactly as they were."""
    before, calls = node.everything(), list(node.cm.calls)
    with pytest.raises(NodeRefusal) as caught:
        call(*arguments, **options)
    assert caught.value.reason is reason
    assert node.everything() == before
    assert node.cm.calls == calls
    assert journalled(node) == node.state
    return caught.value


# The table


def test_a_transaction_goes_forward_step_by_step(node):
    phases = []
    for step in FORWARD:
        done = node.run(step)
        assert journalled(node) == done.state == node.state
        assert node.state.fence == Fence(1, step)
        phases.append(node.state.phase)
    none, prepared = Phase.NONE, Phase.PREPARED
    assert phases == [none, prepared, prepared, Phase.SWAPPED, Phase.SWAPPED, Phase.COMMITTED, none]
    assert node.state.tombstones == (Tombstone(TX, Outcome.COMMITTED),)
    assert live_files(node.sslcert) == NEW
    assert [kept.contents.files for kept in node.store.retired()] == [OLD]
    assert node.cm.calls == ["read_ssl", "stop node", "start node"]


def test_prepare_leaves_the_live_set_alone_and_tells_what_it_staged(node):
    before = snapshot(node.sslcert)
    node.run_all(FORWARD[:2])
    transaction = node.state.transaction
    own = (f".cm.{TX}", f"cm/.cm.{TX}", "cm/..data.new", "cm/..data.back")
    after = snapshot(node.sslcert)
    assert {path: found for path, found in after.items() if not path.startswith(own)} == before
    assert node.store.read_stage(TX).files == NEW
    assert transaction.old_digest == certset.digest(OLD)
    assert transaction.new_digest == certset.digest(NEW)
    assert transaction.bundle_digest == certset.bundle_digest(NEW)
    assert transaction.participants == ("node1", "node2")
    assert transaction.previous_ssl == SslSetting(server=True, agent=True)
    assert node.rehearsed == [(NEW, OLD)]


def test_swap_exchanges_and_keeps_the_old_set_beside(node):
    node.run_all(UNTIL_SWAP)
    assert live_files(node.sslcert) == NEW
    assert node.store.read_stage(TX).files == OLD


def test_a_transaction_goes_back_from_the_vote(node):
    before = snapshot(node.sslcert)
    node.run_all(UNTIL_START)
    phases = []
    for step in BACKWARD:
        done = node.run(step)
        assert journalled(node) == done.state
        phases.append(node.state.phase)
    assert phases == [Phase.SWAPPED, Phase.ABORTED, Phase.ABORTED, Phase.NONE]
    assert node.state.tombstones == (Tombstone(TX, Outcome.ABORTED),)
    assert snapshot(node.sslcert) == before
    assert node.cm.running == {"cm_agent", "cm_server"}


@pytest.mark.parametrize("length", range(1, 5))
def test_an_abort_from_any_step_before_the_commit_restores_everything(node, length):
    before = snapshot(node.sslcert)
    node.run_all(FORWARD[:length])
    node.run_all(BACKWARD if length == 5 else (Step.ABORT, Step.CLEAN))
    assert snapshot(node.sslcert) == before
    assert node.state.outcome_of(TX) is Outcome.ABORTED
    assert node.state.transaction is None


def test_a_first_set_is_installed_and_taken_back(tmp_path):
    node = Node(tmp_path, live=None)
    node.start()
    node.run_all(UNTIL_START)
    assert live_files(node.sslcert) == NEW
    node.run_all(BACKWARD)
    assert list(node.sslcert.iterdir()) == []
    node.epoch, node.transaction_id = 2, OTHER_TX
    node.run_all(FORWARD)
    assert live_files(node.sslcert) == NEW
    assert node.store.retired() == []
    node.stop()


def test_a_second_transaction_follows_a_first(node):
    node.run_all(FORWARD)
    node.epoch, node.transaction_id = 2, OTHER_TX
    third = {name: b"third " + body for name, body in NEW.items()}
    for step in FORWARD:
        if step is Step.PREPARE:
            node.prepare(material=Material(bundle(third)))
        else:
            node.run(step)
    assert live_files(node.sslcert) == third
    assert [kept.generation for kept in node.store.retired()] == [OTHER_TX, TX]
    assert [stone.transaction_id for stone in node.state.tombstones] == [OTHER_TX, TX]


@pytest.mark.parametrize("keep", [0, 1])
def test_policy_says_how_many_former_sets_are_kept(tmp_path, keep):
    node = Node(tmp_path, retired=keep)
    node.start()
    node.run_all(FORWARD)
    assert len(node.store.retired()) == keep
    assert len(beside(node.sslcert)) == keep
    node.stop()


# Repeats


@pytest.mark.parametrize("path", [FORWARD, UNTIL_START + BACKWARD], ids=["forward", "backward"])
def test_every_step_may_be_repeated_and_does_nothing_more(tmp_path, path):
    node = Node(tmp_path)
    node.start()
    for step in path:
        first = node.run(step)
        before, calls = node.everything(), [call for call in node.cm.calls if call != "read_ssl"]
        expected = certset.digest(OLD) if step is Step.PREPARE else None
        again = node.prepare(expected=expected) if expected else node.run(step)
        assert again == first
        assert node.everything() == before
        assert [call for call in node.cm.calls if call != "read_ssl"] == calls
    node.stop()


def test_a_repeated_prepare_answers_the_warnings_again(node):
    warning = Finding("SOON", Severity.WARNING, "expires soon")
    node.judge.findings = (warning,)
    node.run(Step.ACQUIRE)
    assert node.run(Step.PREPARE).findings == (warning,)
    assert node.run(Step.PREPARE).findings == (warning,)


# Fences


@pytest.mark.parametrize("path", [FORWARD, UNTIL_START + BACKWARD], ids=["forward", "backward"])
def test_no_earlier_step_is_carried_out_after_a_later_one(tmp_path, path):
    node = Node(tmp_path)
    node.start()
    for at, step in enumerate(path):
        node.run(step)
        for earlier in path[:at]:
            refused(node, Reason.FENCED, node.run, earlier)
    node.stop()


@pytest.mark.parametrize("step", FORWARD + BACKWARD)
def test_no_step_of_an_earlier_coordinator_is_carried_out(node, step):
    node.run_all(UNTIL_SWAP)
    node.run(Step.ACQUIRE, epoch=2)
    refused(node, Reason.FENCED, node.run, step, epoch=1)


@pytest.mark.parametrize("step", FORWARD[1:] + BACKWARD)
def test_nothing_is_carried_out_without_acquire(node, step):
    refused(node, Reason.NOT_ACQUIRED, node.run, step)
    node.run(Step.ACQUIRE)
    refused(node, Reason.NOT_ACQUIRED, node.run, step, epoch=2)
    refused(node, Reason.NOT_ACQUIRED, node.run, step, tx=OTHER_TX)


def test_the_fence_survives_a_restart(node):
    node.run_all(UNTIL_SWAP)
    node.run(Step.ACQUIRE, epoch=5)
    node.restart()
    refused(node, Reason.FENCED, node.run, Step.START, epoch=1)
    assert node.state.fence == Fence(5, Step.ACQUIRE)


def test_a_late_prepare_of_an_aborted_transaction_is_refused(node):
    node.run(Step.ACQUIRE)
    node.run_all((Step.ABORT, Step.CLEAN))
    node.run(Step.ACQUIRE, epoch=2)
    refused(node, Reason.TRANSACTION_ENDED, node.run, Step.PREPARE, epoch=2)


# Refusals


@pytest.mark.parametrize(
    ("before", "step", "reason"),
    [
        (FORWARD[:1], Step.SWAP, Reason.WRONG_PHASE),
        (FORWARD[:1], Step.COMMIT, Reason.WRONG_PHASE),
        (FORWARD[:1], Step.PURGE, Reason.WRONG_PHASE),
        (FORWARD[:1], Step.CLEAN, Reason.WRONG_PHASE),
        (FORWARD[:2], Step.SWAP, Reason.NOT_STOPPED),
        (FORWARD[:2], Step.COMMIT, Reason.WRONG_PHASE),
        (FORWARD[:3], Step.COMMIT, Reason.WRONG_PHASE),
        (UNTIL_SWAP, Step.PURGE, Reason.WRONG_PHASE),
        (UNTIL_SWAP, Step.CLEAN, Reason.WRONG_PHASE),
        (UNTIL_START, Step.ABORT, Reason.NOT_STOPPED),
        (FORWARD[:6], Step.ABORT, Reason.WRONG_PHASE),
        (FORWARD[:6], Step.CLEAN, Reason.WRONG_PHASE),
        (FORWARD, Step.ABORT, Reason.TRANSACTION_ENDED),
        (FORWARD, Step.CLEAN, Reason.TRANSACTION_ENDED),
    ],
)
def test_what_does_not_fit_the_phase_is_refused_and_changes_nothing(node, before, step, reason):
    node.run_all(before)
    refused(node, reason, node.run, step)


def test_prepare_is_refused_when_the_live_set_is_not_what_the_coordinator_saw(node):
    node.run(Step.ACQUIRE)
    refused(node, Reason.LIVE_CHANGED, node.prepare, expected=certset.digest(NEW))


@pytest.mark.parametrize("length", [2, 4])
@pytest.mark.parametrize("step", [Step.SWAP, Step.COMMIT, Step.ABORT])
def test_a_foreign_live_set_is_refused_and_not_touched(node, length, step):
    node.run_all(FORWARD[:length])
    node.cm.running = set()
    (node.sslcert / "cm" / "planted").write_text("by somebody")
    reason = Reason.FOREIGN_SET if (length, step) != (2, Step.COMMIT) else Reason.WRONG_PHASE
    refused(node, reason, node.run, step)


def test_another_transaction_is_refused_while_one_is_in_flight(node):
    node.run_all(FORWARD[:2])
    error = refused(node, Reason.OTHER_TRANSACTION, node.run, Step.ACQUIRE, epoch=2, tx=OTHER_TX)
    assert TX in error.message


def test_cm_that_appears_during_the_exchange_withholds_the_vote(tmp_path):
    """Checked before and after: a cm_ctl on another node may start processes here at any instant."""
    cm = FakeCm()

    def appear(name: str) -> None:
        if name == "exchange":
            cm.running = {"cm_server"}

    node = Node(tmp_path, cm=cm, disk=HookedDisk(appear))
    before = snapshot(node.sslcert)
    node.start()
    node.run_all(FORWARD[:3])
    with pytest.raises(NodeRefusal) as caught:
        node.run(Step.SWAP)
    assert caught.value.reason is Reason.NOT_STOPPED
    assert journalled(node).phase is Phase.PREPARED
    assert live_files(node.sslcert) == NEW
    node.disk._hook = lambda name: None
    node.run_all(BACKWARD)
    assert snapshot(node.sslcert) == before
    node.stop()


# A live set that cannot be read


def hide(node: Node) -> None:
    (node.sslcert / "cm").rename(node.sslcert / "moved")
    (node.sslcert / "cm").symlink_to("moved")


@pytest.mark.parametrize("length", range(1, 7))
def test_beside_an_odd_live_set_the_agent_starts_takes_the_fence_and_stops_and_starts_cm(node, length):
    node.run_all(FORWARD[:length])
    hide(node)
    phase = node.state.phase
    node.restart()
    node.run(Step.ACQUIRE, epoch=2)
    for step in (Step.STOP, Step.START, Step.ROLLBACK_STOP, Step.ROLLBACK_START):
        node.run(step, epoch=2)
    assert node.state.phase is phase
    assert node.cm.running == {"cm_agent", "cm_server"}


@pytest.mark.parametrize(
    ("length", "step"),
    [(1, Step.PREPARE), (3, Step.SWAP), (5, Step.COMMIT), (6, Step.PURGE), (3, Step.ABORT), (4, Step.ABORT)],
)
def test_beside_an_odd_live_set_nothing_that_depends_on_it_is_done(node, length, step):
    node.run_all(FORWARD[:length])
    expected = {"expected": certset.digest(OLD)} if step is Step.PREPARE else {}
    hide(node)
    assert "directory of its own" in refused(node, Reason.NODE_UNFIT, node.run, step, **expected).message


def test_a_report_beside_an_odd_live_set_still_tells_the_transaction(node):
    node.run_all(UNTIL_SWAP)
    hide(node)
    report = transaction_report(node.runner, node.store)
    assert (report.transaction_id, report.phase) == (TX, Phase.SWAPPED)
    assert report.live_state is LiveState.FOREIGN


# Staging


ERROR = Finding("CERT_EXPIRED", Severity.ERROR, "expired", file="server.crt")
WARNING = Finding("SOON", Severity.WARNING, "expires soon")


@pytest.mark.parametrize("by", ["judge", "rehearsal"])
def test_a_set_found_wrong_is_refused_with_everything_and_nothing_stays(node, by):
    before = snapshot(node.sslcert)
    node.run(Step.ACQUIRE)
    if by == "judge":
        node.judge.findings = (WARNING, ERROR)
    else:
        node.judge.findings, node.rehearsal = (WARNING,), (ERROR,)
    with pytest.raises(NodeRefusal) as caught:
        node.run(Step.PREPARE)
    assert caught.value.reason is Reason.SET_INVALID
    assert caught.value.findings == (WARNING, ERROR)
    assert snapshot(node.sslcert) == before
    assert journalled(node) == node.state
    assert (node.state.phase, node.state.transaction) == (Phase.NONE, None)
    node.judge.findings = node.rehearsal = ()
    node.run(Step.PREPARE)
    assert node.state.phase is Phase.PREPARED


def test_a_node_that_has_the_set_already_goes_along_and_says_so(node):
    """Repaired by hand before the others: the transaction must be able to reach them."""
    live = live_files(node.sslcert)
    node.run(Step.ACQUIRE)
    done = node.prepare(material=Material(bundle(OLD)))
    assert [finding.code for finding in done.findings] == ["SET_UNCHANGED"]
    node.cm.running, node.cm.manual = set(), True
    for step in (Step.SWAP, Step.COMMIT, Step.PURGE):
        node.run(step)
    assert node.state.outcome_of(node.state.owner) is Outcome.COMMITTED
    assert live_files(node.sslcert) == live


def test_while_the_stage_is_built_the_journal_says_so(node):
    seen = []

    def judge(files, modes, **options):
        seen.append(journalled(node))
        return ()

    node.core.runner._effects._builder._examiner._judge = judge
    node.run_all(FORWARD[:2])
    assert [(state.phase, state.fence) for state in seen] == [(Phase.PREPARING, Fence(1, Step.PREPARE))]


def test_unknown_files_and_crls_are_carried_over_without_anything_for_others(tmp_path):
    more = {"server.crl": b"old crl", "client.crl": b"old crl", "notes.txt": b"notes"}
    node = Node(tmp_path, live=OLD | more)
    (node.sslcert / "cm" / "notes.txt").chmod(0o644)
    node.start()
    node.run(Step.ACQUIRE)
    node.prepare(material=Material(bundle(NEW | {"client.crl": b"new crl"})))
    staged = node.store.read_stage(TX)
    assert staged.files == NEW | more | {"client.crl": b"new crl"}
    assert staged.modes == dict.fromkeys(staged.files, 0o400) | {"notes.txt": 0o600}
    node.stop()


def test_crls_of_the_live_set_are_dropped_on_demand(tmp_path):
    node = Node(tmp_path, live=OLD | {"server.crl": b"old", "client.crl": b"old", "notes.txt": b"n"})
    node.start()
    node.run(Step.ACQUIRE)
    node.prepare(material=Material(bundle(NEW | {"client.crl": b"new"}), drop_crls=True))
    assert node.store.read_stage(TX).files == NEW | {"client.crl": b"new", "notes.txt": b"n"}
    node.stop()


PASSWORDS = {"server_password": "Server-Pass1", "client_password": "Client-Pass2"}


@pytest.mark.parametrize("ctl", [True, False], ids=["cm_ctl", "without cm_ctl"])
def test_factor_files_are_made_on_the_node_and_hold_the_passwords(node, ctl):
    from gausscert_common import factors

    node.cm.ctl = ctl
    pem = {name: NEW[name] for name in certset.PEM_NAMES}
    node.run(Step.ACQUIRE)
    node.prepare(material=Material(Bundle(pem, **PASSWORDS)))
    staged = node.store.read_stage(TX)
    assert set(staged.files) == set(certset.NAMES)
    assert set(staged.modes.values()) == {0o400}
    for mode in ("server", "client"):
        pair = staged.files[f"{mode}.key.cipher"], staged.files[f"{mode}.key.rand"]
        assert factors.read(*pair) == PASSWORDS[f"{mode}_password"]
    assert beside(node.sslcert) == [f".cm.{TX}"]
    expected = ["encrypt server", "encrypt client"] if ctl else []
    assert [call for call in node.cm.calls if call.startswith("encrypt")] == expected


def test_no_password_and_no_key_is_journalled(node):
    node.cm.ctl = True
    pem = {name: NEW[name] for name in certset.PEM_NAMES}
    for step in FORWARD:
        if step is Step.PREPARE:
            node.prepare(material=Material(Bundle(pem, **PASSWORDS)))
        else:
            node.run(step)
        for path in node.state_dir.iterdir():
            body = path.read_bytes()
            assert not any(password.encode() in body for password in PASSWORDS.values())
            assert not any(secret in body for secret in (NEW["server.key"], b"new server", b"old server"))


def test_cm_ctl_that_encrypts_something_else_is_found_out(node):
    class Wrong(FakeCm):
        def encrypt(self, mode, directory, password):
            super().encrypt(mode, directory, "Something-3lse")

    node.core.runner._effects._builder._cm = Wrong(ctl=True)
    before = snapshot(node.sslcert)
    node.run(Step.ACQUIRE)
    with pytest.raises(NodeFailure) as caught:
        node.prepare(material=Material(Bundle({}, **PASSWORDS)))
    assert caught.value.reason is Reason.CM_CTL_FAILED
    assert "Pass1" not in str(caught.value)
    assert snapshot(node.sslcert) == before


@pytest.mark.parametrize(
    "pem", [{"../escape": b"x"}, {"server.key.cipher": b"x"}, {"cacert.pem": b"x" * (256 * 1024 + 1)}]
)
def test_names_and_sizes_that_are_none_of_a_bundle_are_refused(node, pem):
    before = snapshot(node.home)
    node.run(Step.ACQUIRE)
    with pytest.raises(InvalidInput):
        node.prepare(material=Material(replace(bundle(), pem=pem)))
    assert snapshot(node.home) == before
    assert node.state.phase is Phase.NONE


def test_a_bundle_without_password_and_factor_files_is_refused(node):
    node.run(Step.ACQUIRE)
    with pytest.raises(InvalidInput) as caught:
        node.prepare(material=Material(Bundle({}, server_password="Server-Pass1")))
    assert caught.value.file == "client.key"
    assert node.state.phase is Phase.NONE


@pytest.mark.parametrize("mode", [0o777, 0o775])
def test_a_node_unfit_for_staging_still_rolls_back(node, mode):
    before = snapshot(node.sslcert / "cm")
    node.run_all(UNTIL_START)
    node.sslcert.chmod(mode)
    node.run_all(BACKWARD)
    assert snapshot(node.sslcert / "cm") == before
    node.run(Step.ACQUIRE, epoch=2, tx=OTHER_TX)
    with pytest.raises(NodeRefusal) as caught:
        node.prepare(epoch=2, tx=OTHER_TX)
    assert caught.value.reason is Reason.NODE_UNFIT
    assert node.state.phase is Phase.NONE


def test_a_live_set_whose_mode_changed_since_prepare_withholds_the_vote(node):
    node.run_all(FORWARD[:3])
    live = (node.sslcert / "cm" / "server.key").resolve().parent
    live.chmod(0o750)
    before = snapshot(live)
    with pytest.raises(NodeFailure) as caught:
        node.run(Step.SWAP)
    assert caught.value.reason is Reason.STORE_FAILED
    assert journalled(node).phase is Phase.PREPARED
    node.run_all(BACKWARD)
    assert snapshot(live) == before


# enable_ssl


def test_enable_ssl_is_switched_with_the_vote_and_back_with_the_abort(node):
    node.cm.ssl = {"server": SslValue.OFF, "agent": SslValue.ON}
    node.run(Step.ACQUIRE)
    node.prepare(wish=SslWish.ON)
    assert node.cm.ssl == {"server": SslValue.OFF, "agent": SslValue.ON}
    node.run_all((Step.STOP, Step.SWAP))
    assert node.cm.ssl == {"server": SslValue.ON, "agent": SslValue.ON}
    assert journalled(node).transaction.previous_ssl == SslSetting(server=False, agent=True)
    node.run_all((Step.START, *BACKWARD))
    assert node.cm.ssl == {"server": SslValue.OFF, "agent": SslValue.ON}
    changes = [call for call in node.cm.calls if call.startswith(("set_ssl", "restore_conf"))]
    assert changes == ["set_ssl server True", "restore_conf server"]
    assert [path.name for path in node.state_dir.iterdir() if "conf" in path.name] == []


def test_enable_ssl_is_durable_before_the_vote_and_before_the_abort(node):
    node.run(Step.ACQUIRE)
    node.prepare(wish=SslWish.OFF)
    node.run_all((Step.STOP, Step.SWAP))
    assert node.cm.undurable == set()
    node.run(Step.ABORT)
    assert node.cm.undurable == set()
    assert node.cm.ssl == {"server": SslValue.ON, "agent": SslValue.ON}


@pytest.mark.parametrize("repeated", [Step.SWAP, Step.ABORT])
def test_what_says_so_already_is_made_durable_again(node, repeated):
    """Whoever wrote it may have died before it was durable."""
    node.run(Step.ACQUIRE)
    node.prepare(wish=SslWish.OFF)
    node.run_all((Step.STOP, Step.SWAP, repeated))
    node.cm.undurable = {"server", "agent"}
    node.cm.calls.clear()
    node.run(repeated)
    assert node.cm.undurable == set()
    assert not [call for call in node.cm.calls if call.startswith("set_ssl")]


def test_where_nothing_is_wished_enable_ssl_is_not_touched(node):
    node.run(Step.ACQUIRE)
    node.prepare()
    node.cm.ssl["agent"] = SslValue.OFF
    node.run_all((Step.STOP, Step.SWAP, *BACKWARD))
    assert node.cm.ssl["agent"] is SslValue.OFF


def test_a_file_that_is_not_there_is_left_out(node):
    node.cm.ssl = {"server": SslValue.ABSENT, "agent": SslValue.ON}
    node.run(Step.ACQUIRE)
    node.prepare(wish=SslWish.OFF)
    node.run_all((Step.STOP, Step.SWAP))
    assert node.cm.ssl == {"server": SslValue.ABSENT, "agent": SslValue.OFF}


@pytest.mark.parametrize("value", [SslValue.COMMENTED, SslValue.MISSING])
def test_a_switch_that_cannot_be_set_refuses_prepare(node, value):
    node.cm.ssl["agent"] = value
    before = snapshot(node.sslcert)
    node.run(Step.ACQUIRE)
    with pytest.raises(NodeRefusal) as caught:
        node.prepare(wish=SslWish.ON)
    assert (caught.value.reason, caught.value.file) == (Reason.NODE_UNFIT, "cm_agent.conf")
    assert snapshot(node.sslcert) == before
    node.prepare(wish=SslWish.KEEP)


# Failures


def test_after_a_failure_of_any_change_to_the_disk_abort_and_clean_restore_everything(tmp_path, layout):
    """Fails each change of acquire, prepare, stop and swap in turn, once."""
    at = failures = 0
    while True:
        at += 1
        fault = Fault(at)
        node = Node(tmp_path / str(at), layout=layout, disk=HookedDisk(fault))
        before = snapshot(node.sslcert)
        try:
            node.start()
            node.run_all(UNTIL_SWAP)
        except NodeFailure as failure:
            failures += 1
            assert_rolled_back(node, failure, before)
        node.stop()
        if fault.count < at:
            break
    assert failures == at - 1 > 50


def assert_rolled_back(node: Node, failure: NodeFailure, before) -> None:
    assert failure.reason in (Reason.JOURNAL_FAILED, Reason.STORE_FAILED)
    assert failure.file
    assert live_files(node.sslcert) in (OLD, NEW)
    if not node.runner._recovered:
        node.runner.recover()
    if node.state.fence.step < Step.ACQUIRE or node.state.owner != TX:
        node.run(Step.ACQUIRE)
    node.run_all(BACKWARD)
    assert snapshot(node.sslcert) == before
    assert journalled(node) == node.state
    assert node.state.outcome_of(TX) is Outcome.ABORTED


@pytest.mark.parametrize("where", ["rolling back", "purging"])
def test_after_a_failure_of_any_change_while_ending_the_same_step_is_repeated(
    tmp_path, layout, where, caplog
):
    """But for the removal of sets that are given up: it is told, and left to the next purge."""
    path = FORWARD[5:] if where == "purging" else BACKWARD
    at = failures = told = 0
    while True:
        at += 1
        fault = Fault(0)
        node = Node(tmp_path / str(at), layout=layout, disk=HookedDisk(fault), retired=0)
        before = snapshot(node.sslcert)
        node.start()
        node.run_all(UNTIL_START)
        fault.at, fault.count = at, 0
        for step in path:
            try:
                node.run(step)
            except NodeFailure:
                failures += 1
                node.run(step)
        told += any(record.getMessage() == "a former set cannot be removed" for record in caplog.records)
        caplog.clear()
        if where == "purging":
            assert live_files(node.sslcert) == NEW
            assert node.state.phase is Phase.NONE
            node.store.prune(0)
            assert beside(node.sslcert) == []
        else:
            assert snapshot(node.sslcert) == before
        node.stop()
        if fault.count < at:
            break
    assert failures + told == at - 1 > 15
    assert bool(told) is (where == "purging")


FAILED = NodeFailure(Reason.CM_CTL_FAILED, "cm_ctl failed")


@pytest.mark.parametrize(
    ("call", "step"),
    [
        ("read_ssl", Step.PREPARE),
        ("encrypt server", Step.PREPARE),
        ("encrypt client", Step.PREPARE),
        ("stop node", Step.STOP),
        ("set_ssl server False", Step.SWAP),
        ("set_ssl agent False", Step.SWAP),
        ("sync_conf server", Step.SWAP),
        ("start node", Step.START),
    ],
)
def test_after_a_failure_of_cm_abort_and_clean_restore_everything(node, call, step):
    node.cm.ctl = True
    before, ssl = snapshot(node.sslcert), dict(node.cm.ssl)
    material = Material(Bundle({name: NEW[name] for name in certset.PEM_NAMES}, **PASSWORDS))
    node.cm.fail[call] = FAILED
    for each in FORWARD:
        try:
            node.prepare(material=material, wish=SslWish.OFF) if each is Step.PREPARE else node.run(each)
        except NodeFailure:
            assert each is step
            break
    else:
        pytest.fail("nothing failed")
    assert node.state.operation is None
    node.run_all(BACKWARD)
    assert snapshot(node.sslcert) == before
    assert node.cm.ssl == ssl


@pytest.mark.parametrize("call", ["read_ssl", "restore_conf server", "restore_conf agent"])
def test_a_failed_abort_is_repeated(node, call):
    before = snapshot(node.sslcert)
    node.run(Step.ACQUIRE)
    node.prepare(wish=SslWish.OFF)
    node.run_all((Step.STOP, Step.SWAP))
    node.cm.fail[call] = FAILED
    with pytest.raises(NodeFailure):
        node.run(Step.ABORT)
    assert journalled(node).phase is Phase.ABORTED
    node.run_all((Step.ABORT, Step.CLEAN))
    assert snapshot(node.sslcert) == before
    assert node.cm.ssl == {"server": SslValue.ON, "agent": SslValue.ON}


def test_a_node_that_never_swapped_aborts_without_cm_and_leaves_the_configuration_to_its_operator(node):
    before = snapshot(node.sslcert)
    node.run(Step.ACQUIRE)
    node.prepare(wish=SslWish.ON)
    node.cm.ssl = {"server": SslValue.OFF, "agent": SslValue.OFF}
    node.cm.fail["read_ssl"] = FAILED
    node.run_all((Step.ABORT, Step.CLEAN))
    assert snapshot(node.sslcert) == before
    assert node.cm.ssl == {"server": SslValue.OFF, "agent": SslValue.OFF}


@pytest.mark.parametrize("died", ["after the exchange", "after enable_ssl", "in the abort"])
def test_an_abort_restores_enable_ssl_wherever_the_swap_was_cut_short(node, died):
    before = snapshot(node.sslcert)
    node.run(Step.ACQUIRE)
    node.prepare(wish=SslWish.OFF)
    node.run(Step.STOP)
    node.cm.fail["set_ssl server False" if died == "after the exchange" else "set_ssl agent False"] = FAILED
    with pytest.raises(NodeFailure):
        node.run(Step.SWAP)
    assert node.state.phase is Phase.PREPARED
    if died == "in the abort":
        node.cm.fail["read_ssl"] = FAILED
        with pytest.raises(NodeFailure):
            node.run(Step.ABORT)
        assert live_files(node.sslcert) == OLD
    node.run_all((Step.ABORT, Step.CLEAN))
    assert snapshot(node.sslcert) == before
    assert node.cm.ssl == {"server": SslValue.ON, "agent": SslValue.ON}


@pytest.mark.parametrize("value", [SslValue.COMMENTED, SslValue.MISSING])
def test_a_line_that_an_operator_took_away_keeps_no_abort_back(node, value, caplog):
    """cm_ctl cannot set such a line (facts section 6); the one who took it away knows why."""
    node.run(Step.ACQUIRE)
    node.prepare(wish=SslWish.OFF)
    node.run_all((Step.STOP, Step.SWAP))
    node.cm.ssl["server"] = value
    node.cm.fail["set_ssl server True"] = FAILED
    node.run_all((Step.ABORT, Step.CLEAN))
    assert node.state.outcome_of(TX) is Outcome.ABORTED
    assert node.cm.ssl == {"server": value, "agent": SslValue.ON}
    (record,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert (record.file, record.value) == ("cm_server.conf", value)


# Children


@pytest.mark.parametrize(("step", "kind", "pid"), [(Step.STOP, "stop", 4711), (Step.START, "start", 4712)])
def test_a_child_is_journalled_while_it_runs_and_forgotten_afterwards(tmp_path, step, kind, pid):
    seen = []

    class Looking(FakeCm):
        def _called(self, name):
            super()._called(name)
            if name in ("stop node", "start node"):
                seen.append(Journal(tmp_path / "state").load().operation)

    node = Node(tmp_path, cm=Looking())
    node.start()
    node.run_all(FORWARD[: FORWARD.index(step) + 1])
    assert (seen[-1].kind, seen[-1].pid) == (kind, pid)
    assert journalled(node).operation is None
    node.stop()


def test_a_child_that_cannot_be_journalled_is_not_left_running(tmp_path):
    """The port promises that what `on_start` raises ends the child."""
    armed = []

    def fail(name: str) -> None:
        if armed and name == "write_at":
            armed.clear()
            raise OSError(28, "No space left on device")

    node = Node(tmp_path, disk=HookedDisk(fail))
    node.start()
    node.run(Step.ACQUIRE)
    node.run(Step.PREPARE)
    node.run(Step.STOP)
    node.cm.running, node.cm.manual = {"cm_agent"}, False
    armed.append(True)
    with pytest.raises(NodeFailure) as caught:
        node.run(Step.STOP)
    assert caught.value.reason is Reason.JOURNAL_FAILED
    assert node.cm.calls.count("stop node") == 1
    node.run(Step.STOP)
    assert journalled(node) == node.state
    node.stop()


# Lease


def test_a_second_coordinator_is_kept_out_while_the_first_acts(node):
    node.run(Step.ACQUIRE, lease_s=30)
    error = refused(node, Reason.LOCKED, node.run, Step.ACQUIRE, epoch=2, holder="bob@host:2")
    assert HOLDER in error.message
    node.clock.sleep(20)
    node.run(Step.PREPARE)
    node.clock.sleep(20)
    refused(node, Reason.LOCKED, node.run, Step.ACQUIRE, epoch=2, holder="bob@host:2")
    node.clock.sleep(11)
    node.run(Step.ACQUIRE, epoch=2, holder="bob@host:2")
    assert node.runner.lease.holder == "bob@host:2"


def test_a_refused_command_does_not_renew_the_lease(node):
    node.run(Step.ACQUIRE, lease_s=30)
    node.clock.sleep(20)
    refused(node, Reason.WRONG_PHASE, node.run, Step.SWAP)
    node.clock.sleep(11)
    assert node.runner.lease.holder == ""


def test_a_long_command_ends_with_the_whole_lease_left(node):
    node.run_all(FORWARD[:2])
    node.cm.during = lambda: node.clock.sleep(500)
    node.run(Step.STOP)
    assert node.runner.lease.left_s == 30


@pytest.mark.parametrize("path", [FORWARD, FORWARD[:3] + BACKWARD], ids=["purge", "clean"])
def test_the_lease_is_free_after_the_end(node, path):
    node.run_all(path)
    assert node.runner.lease.holder == ""
    assert node.runner.lease.held_since is None


# One at a time


def test_commands_wait_for_the_one_before_and_give_up_after_a_while(node):
    node.run_all(FORWARD[:2])
    inside, leave = threading.Event(), threading.Event()

    def hang():
        inside.set()
        assert leave.wait(30)

    node.cm.during = hang
    worker = threading.Thread(target=lambda: node.run(Step.STOP))
    worker.start()
    assert inside.wait(30)
    assert node.runner.busy
    for step in (Step.ACQUIRE, Step.ABORT):
        with pytest.raises(NodeRefusal) as caught:
            node.run(step, epoch=2, wait_s=0.01)
        assert caught.value.reason is Reason.BUSY
    assert not node.runner.drain(0.01)
    node.runner._draining = False
    waiting = []
    second = threading.Thread(target=lambda: waiting.append(node.run(Step.ACQUIRE, epoch=2, wait_s=30)))
    second.start()
    leave.set()
    worker.join(30)
    second.join(30)
    assert waiting[0].state.fence == Fence(2, Step.ACQUIRE)


def test_a_caller_that_has_gone_gets_nothing_done(node):
    node.run(Step.ACQUIRE)
    refused(node, Reason.BUSY, node.run, Step.PREPARE, is_active=lambda: False)


def test_a_draining_agent_refuses(node):
    node.run(Step.ACQUIRE)
    assert node.runner.drain(1)
    refused(node, Reason.DRAINING, node.run, Step.PREPARE)


def test_nothing_is_served_before_recovery(tmp_path):
    node = Node(tmp_path)
    node.assemble()
    with pytest.raises(RuntimeError):
        node.run(Step.ACQUIRE)
    node.stop()


# Watching


def test_watchers_see_phases_and_activities(node):
    with node.core.hub.subscribe() as watcher:
        node.run_all(UNTIL_SWAP)
        events = []
        while event := watcher.get(0):
            events.append(event)
    assert [event.phase for event in events if not event.activity] == [
        Phase.NONE,
        Phase.PREPARING,
        Phase.PREPARED,
        Phase.PREPARED,
        Phase.PREPARED,
        Phase.SWAPPED,
    ]
    activities = [event.activity for event in events if event.activity]
    assert "staging the new set" in activities
    assert "waiting until CM has stopped" in activities
    assert "making the new set live" in activities
    assert events[-1].transaction_id == TX
    assert events[-1].at.tzinfo is not None


@pytest.mark.parametrize("scope", list(RestartScope))
def test_every_restart_scope_is_carried_out(node, scope):
    node.run_all(FORWARD[:2])
    if scope is RestartScope.NONE:
        node.cm.running = set()
    node.run(Step.STOP, scope=scope, executor=True)
    node.run(Step.SWAP)
    node.run(Step.START, scope=scope, executor=True)
    assert [call for call in node.cm.calls if call != "read_ssl"] == (
        [] if scope is RestartScope.NONE else [f"stop {scope}", f"start {scope}"]
    )
