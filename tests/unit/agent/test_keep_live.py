"""Only enable_ssl changes: no file of any set is touched, and both files of CM come back on a rollback."""

from __future__ import annotations

import errno
import shutil

import pytest
from gausscert_agent.staging import Material
from gausscert_common import certset
from gausscert_common.errors import NodeFailure, NodeRefusal, Reason
from gausscert_common.findings import Finding, Severity
from gausscert_common.model import Layout, SslValue
from gausscert_common.protocol.words import Outcome, Phase, SslWish, Step
from gausscert_common.source import LiveSet
from support.agent_core import BACKWARD, FORWARD, OLD, TX, FakeCm, HookedDisk, Node, beside, snapshot

KEPT = Material(LiveSet())
MARK = f".cm.{TX}.mark"
ON, OFF = SslValue.ON, SslValue.OFF
BROKEN = Finding("CERTIFICATE_EXPIRED", Severity.ERROR, "it has expired", "issue another", file="server.crt")


@pytest.fixture(params=list(Layout))
def node(request, tmp_path):
    made = Node(tmp_path, layout=request.param)
    made.start()
    yield made
    made.stop()


def switched(node: Node, steps, wish: SslWish = SslWish.OFF, *, restarts: bool = False) -> None:
    for step in steps:
        if step is Step.PREPARE:
            node.prepare(material=KEPT, wish=wish)
        else:
            node.run(step)
        if restarts:
            node.restart()


@pytest.mark.parametrize("restarts", [False, True])
def test_the_switch_changes_and_nothing_of_any_set(node, restarts):
    before = snapshot(node.sslcert)

    switched(node, FORWARD, restarts=restarts)

    assert snapshot(node.sslcert) == before
    assert node.cm.ssl == {"server": OFF, "agent": OFF}
    assert node.cm.undurable == set()
    assert node.store.retired() == []
    assert node.state.outcome_of(TX) is Outcome.COMMITTED
    assert node.state.phase is Phase.NONE


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("far", [2, 3, 4, 5])
def test_a_rollback_from_anywhere_restores_the_switch_and_touches_nothing_else(node, far, restarts):
    before = snapshot(node.sslcert)
    node.cm.ssl = {"server": ON, "agent": OFF}

    switched(node, (*FORWARD[:far], *BACKWARD), SslWish.ON, restarts=restarts)

    assert snapshot(node.sslcert) == before
    assert node.cm.ssl == {"server": ON, "agent": OFF}
    assert node.state.outcome_of(TX) is Outcome.ABORTED


def test_the_set_is_never_staged_and_is_judged_as_if_it_was_new(node):
    switched(node, FORWARD[:2], SslWish.ON)

    assert node.store.read_stage(TX) is None
    assert node.rehearsed == [(OLD, None)]
    told = node.state.transaction
    assert told.new_digest == told.old_digest == certset.digest(OLD)


def test_to_switch_it_on_a_set_that_is_not_fit_is_refused_with_all_findings(node):
    before = snapshot(node.sslcert)
    node.judge.findings = (BROKEN,)
    node.run(Step.ACQUIRE)

    with pytest.raises(NodeRefusal) as caught:
        node.prepare(material=KEPT, wish=SslWish.ON)

    assert caught.value.reason is Reason.SET_INVALID
    assert caught.value.findings == (BROKEN,)
    assert node.state.phase is Phase.NONE
    assert snapshot(node.sslcert) == before
    assert node.cm.ssl == {"server": ON, "agent": ON}


def test_to_switch_it_off_what_is_wrong_with_the_set_is_told_and_refuses_nothing(node):
    node.judge.findings = (BROKEN,)
    node.run(Step.ACQUIRE)

    done = node.prepare(material=KEPT, wish=SslWish.OFF)

    assert node.state.phase is Phase.PREPARED
    assert [(each.code, each.severity) for each in done.findings] == [(BROKEN.code, Severity.WARNING)]


def test_a_repeated_prepare_answers_again(node):
    switched(node, FORWARD[:2])
    node.prepare(material=KEPT, wish=SslWish.OFF)
    assert node.state.phase is Phase.PREPARED


@pytest.mark.parametrize("wish", [SslWish.ON, SslWish.OFF])
def test_without_a_live_set_it_is_refused(tmp_path, wish):
    made = Node(tmp_path, live=None)
    made.start()
    made.run(Step.ACQUIRE)
    with pytest.raises(NodeRefusal) as caught:
        made.prepare(material=KEPT, wish=wish)
    assert caught.value.reason is Reason.NODE_UNFIT
    assert caught.value.remedy
    made.stop()


def test_somebody_who_changes_the_set_meanwhile_is_seen_and_nothing_is_touched(node):
    switched(node, FORWARD[:3])
    (node.sslcert / "cm" / "server.crt").unlink()
    (node.sslcert / "cm" / "server.crt").write_bytes(b"another")

    with pytest.raises(NodeRefusal) as caught:
        node.run(Step.SWAP)

    assert caught.value.reason is Reason.FOREIGN_SET
    assert node.cm.ssl == {"server": ON, "agent": ON}


class MeddledCm(FakeCm):
    """Somebody puts another certificate between the look of Prepare at the live set and its judgement."""

    meanwhile = None

    def read_ssl(self):
        if self.meanwhile is not None:
            path, self.meanwhile = self.meanwhile, None
            path.unlink()
            path.write_bytes(b"another")
        return super().read_ssl()


def test_a_set_that_somebody_changes_while_prepare_judges_it_does_not_pass_for_a_new_one(tmp_path):
    made = Node(tmp_path, cm=MeddledCm())
    made.start()
    made.run(Step.ACQUIRE)
    made.cm.meanwhile = made.sslcert / "cm" / "server.crt"

    with pytest.raises(NodeRefusal) as caught:
        made.prepare(material=KEPT, wish=SslWish.OFF)

    assert caught.value.reason is Reason.LIVE_CHANGED
    assert (made.state.phase, made.state.transaction) == (Phase.NONE, None)
    made.run(Step.ABORT)
    made.run(Step.CLEAN)
    assert made.state.outcome_of(TX) is Outcome.ABORTED
    assert (made.sslcert / "cm" / "server.crt").read_bytes() == b"another"
    made.stop()


def test_a_switch_that_cannot_be_set_is_refused_before_anything(tmp_path):
    made = Node(tmp_path, cm=FakeCm(ssl={"server": SslValue.COMMENTED, "agent": ON}))
    made.start()
    made.run(Step.ACQUIRE)
    with pytest.raises(NodeRefusal) as caught:
        made.prepare(material=KEPT, wish=SslWish.OFF)
    assert (caught.value.reason, caught.value.file) == (Reason.NODE_UNFIT, "cm_server.conf")
    made.stop()


def test_a_lost_journal_is_noticed_by_the_copies_of_the_switched_files(node):
    """Nothing is staged where only enable_ssl changes: the copies are all that shows what was promised."""
    switched(node, FORWARD[:4])
    (node.state_dir / "journal.json").unlink()
    kept = sorted(path.name for path in node.state_dir.glob("conf.*"))
    assert kept
    with pytest.raises(NodeFailure) as caught:
        node.restart()
    assert caught.value.reason is Reason.JOURNAL_DAMAGED
    assert f"transaction {TX} has left copies" in caught.value.message
    assert sorted(path.name for path in node.state_dir.glob("conf.*")) == kept
    assert not (node.state_dir / "journal.json").exists()


@pytest.mark.parametrize("far", [2, 3, 4, 5, 6])
def test_from_prepare_to_the_end_a_mark_is_there_and_nothing_else(node, far):
    switched(node, FORWARD[:1])
    assert beside(node.sslcert) == []
    switched(node, FORWARD[1:far])
    assert beside(node.sslcert) == [MARK]
    assert snapshot(node.shelf)[MARK] == (0o40700, b"")


@pytest.mark.parametrize(
    "steps",
    [*(FORWARD[:far] for far in range(2, 7)), *(FORWARD[:4] + BACKWARD[:far] for far in range(1, 4))],
    ids=lambda steps: steps[-1].name.lower(),
)
def test_a_lost_state_directory_is_noticed_by_the_mark(node, steps):
    """Beside nodes that have aborted it would pass for one that never took part, with another enable_ssl."""
    switched(node, steps)
    before = snapshot(node.sslcert)
    shutil.rmtree(node.state_dir)
    for _ in range(2):  # it is not forgotten by starting once more
        with pytest.raises(NodeFailure) as caught:
            node.restart()
        assert caught.value.reason is Reason.JOURNAL_DAMAGED
        assert f"transaction {TX} has left its mark here" in caught.value.message
    assert snapshot(node.sslcert) == before


def test_a_prepare_that_is_refused_leaves_no_mark(node):
    node.judge.findings = (BROKEN,)
    node.run(Step.ACQUIRE)
    with pytest.raises(NodeRefusal):
        node.prepare(material=KEPT, wish=SslWish.ON)
    assert beside(node.sslcert) == []


def test_where_no_mark_can_be_left_nothing_is_begun(tmp_path):
    def hook(name):
        if name == "make_directory":
            raise PermissionError(errno.EACCES, "Permission denied")

    made = Node(tmp_path, disk=HookedDisk(hook))
    made.start()
    made.run(Step.ACQUIRE)
    with pytest.raises(NodeRefusal) as caught:
        made.prepare(material=KEPT, wish=SslWish.OFF)
    assert caught.value.reason is Reason.NODE_UNFIT
    assert caught.value.file == str(made.sslcert)
    assert "Permission denied" in caught.value.message
    assert caught.value.remedy
    assert (made.state.phase, beside(made.sslcert)) == (Phase.NONE, [])
    made.stop()


def test_a_mark_that_came_back_with_a_power_cut_goes_with_the_next_start(node):
    switched(node, FORWARD)
    (node.sslcert / MARK).mkdir(mode=0o700)
    node.restart()
    assert beside(node.sslcert) == []


def test_the_first_set_on_a_node_leaves_a_mark_too(tmp_path):
    """After the exchange nothing lies beside it."""
    made = Node(tmp_path, live=None)
    made.start()
    made.run_all(FORWARD[:4])
    assert beside(made.sslcert) == [MARK]
    shutil.rmtree(made.state_dir)
    with pytest.raises(NodeFailure) as caught:
        made.restart()
    assert caught.value.reason is Reason.JOURNAL_DAMAGED


def test_the_first_set_is_alone_when_all_is_over(tmp_path):
    made = Node(tmp_path, live=None)
    made.start()
    made.run_all(FORWARD)
    assert beside(made.sslcert) == []
    made.stop()
