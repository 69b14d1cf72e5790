"""A retired set becomes the next one: what is staged, what is refused, and that asking changes nothing."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from gausscert_agent.drivers.overlap import hold
from gausscert_agent.files import Disk
from gausscert_agent.judging import judge_set
from gausscert_agent.staging import Material
from gausscert_common import certset, factors
from gausscert_common.errors import NodeRefusal, Reason
from gausscert_common.findings import Severity
from gausscert_common.model import CertificateSet, Layout, SetState
from gausscert_common.protocol.words import Fence, Outcome, Phase, Step
from gausscert_common.source import Generation
from support import pki
from support.agent_core import (
    BACKWARD,
    FORWARD,
    NEW,
    OLD,
    OTHER_TX,
    TX,
    HookedDisk,
    Node,
    beside,
    bundle,
    live_files,
    snapshot,
    write_set,
)

FORMER = Material(Generation(TX))
"""What TX retired."""


def replaced(node: Node, new: Material | None = None) -> None:
    """TX, from the set that the node has."""
    node.start()
    for step in FORWARD:
        node.prepare(material=new) if step is Step.PREPARE and new is not None else node.run(step)
    node.transaction_id, node.epoch = OTHER_TX, 2


def rolled_back(node: Node, to: Material = FORMER, steps=FORWARD) -> None:
    for step in steps:
        node.prepare(material=to) if step is Step.PREPARE else node.run(step)


@pytest.fixture(params=list(Layout))
def node(request, tmp_path):
    made = Node(tmp_path, layout=request.param)
    replaced(made)
    yield made
    made.stop()


def refusal(call, *arguments, **options) -> NodeRefusal:
    with pytest.raises(NodeRefusal) as caught:
        call(*arguments, **options)
    return caught.value


def test_the_former_set_is_live_again_byte_for_byte_and_the_other_becomes_a_generation(node):
    rolled_back(node)

    assert live_files(node.sslcert) == OLD
    assert node.state.outcome_of(OTHER_TX) is Outcome.COMMITTED
    assert [(kept.generation, kept.contents.files) for kept in node.store.retired()] == [
        (OTHER_TX, NEW),
        (TX, OLD),
    ]
    assert beside(node.sslcert) == [f".cm.retired.{TX}", f".cm.retired.{OTHER_TX}"]


def test_a_rollback_is_rolled_back(node):
    rolled_back(node)
    node.transaction_id, node.epoch = "tx-00000003", 3

    rolled_back(node, Material(Generation(OTHER_TX)))

    assert live_files(node.sslcert) == NEW
    assert [kept.generation for kept in node.store.retired()] == ["tx-00000003", OTHER_TX]


def test_the_stage_is_a_copy_and_its_source_stays_until_the_transaction_is_over(tmp_path):
    node = Node(tmp_path, retired=1)
    replaced(node)
    source = node.shelf / f".cm.retired.{TX}"
    kept = snapshot(source)
    for step in FORWARD:
        node.prepare(material=FORMER) if step is Step.PREPARE else node.run(step)
        if step is not Step.PURGE:
            assert snapshot(source) == kept, step
            node.restart()  # what a starting agent tidies is not the source, either
            assert snapshot(source) == kept, step
    assert not source.exists()  # one generation is kept here, and that is what was live
    assert live_files(node.sslcert) == OLD
    node.stop()


def test_an_abort_leaves_everything_as_it_was(node):
    before = snapshot(node.sslcert)

    rolled_back(node, steps=(*FORWARD[:5], *BACKWARD))

    assert snapshot(node.sslcert) == before


def test_while_it_is_staged_the_journal_says_so_and_a_torn_stage_is_forgotten(tmp_path):
    """Stopped at each change of Prepare: what was live stays so, and nothing is left of the stage."""
    node = Node(tmp_path / "template")
    replaced(node)
    node.run(Step.ACQUIRE)
    node.stop()
    at = 0
    while True:
        at += 1
        root = tmp_path / str(at)
        shutil.copytree(tmp_path / "template", root, symlinks=True)
        torn = Node(root, fresh=False, disk=HookedDisk(lambda _: None))
        torn.transaction_id, torn.epoch = OTHER_TX, 2
        torn.start()
        before = snapshot(torn.sslcert)
        left = at
        failed = True

        def die(_: str) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                raise KeyboardInterrupt

        torn.disk._hook = die
        try:
            torn.prepare(material=FORMER)
            failed = False
        except KeyboardInterrupt:
            torn.restart()
            assert torn.state.phase in (Phase.NONE, Phase.PREPARED)
            if torn.state.phase is Phase.NONE:
                assert snapshot(torn.sslcert) == before
            assert live_files(torn.sslcert) == NEW
            torn.prepare(material=FORMER)
        assert torn.state.phase is Phase.PREPARED
        assert torn.store.read_stage(OTHER_TX).files == OLD
        torn.stop()
        if not failed:
            break
    assert at > len(certset.NAMES) * 3


def test_a_repeated_prepare_stages_nothing_anew(node):
    node.run(Step.ACQUIRE)
    first = node.prepare(material=FORMER)
    before = snapshot(node.sslcert)

    again = node.prepare(material=FORMER)

    assert again.state == first.state
    assert again.overlap == first.overlap
    assert snapshot(node.sslcert) == before


def test_an_unknown_generation_is_refused_and_leaves_nothing_but_the_fence(node):
    node.run(Step.ACQUIRE)
    before = snapshot(node.sslcert)

    error = refusal(node.prepare, material=Material(Generation("tx-99999999")))

    assert error.reason is Reason.GENERATION_UNKNOWN
    assert "gausscert status" in error.remedy
    assert snapshot(node.sslcert) == before
    assert (node.state.phase, node.state.fence) == (Phase.NONE, Fence(2, Step.PREPARE))


def plant_link(path: Path, elsewhere: Path) -> None:
    path.symlink_to(elsewhere)


def plant_file(path: Path, _: Path) -> None:
    path.write_text("no directory")


@pytest.mark.parametrize("plant", [plant_link, plant_file])
def test_what_only_has_the_name_of_a_generation_is_none(node, tmp_path, plant):
    write_set(tmp_path / "elsewhere", OLD)
    plant(node.shelf / ".cm.retired.tx-77777777", tmp_path / "elsewhere")
    node.run(Step.ACQUIRE)

    assert refusal(node.store.read_retired, "tx-77777777").reason is Reason.GENERATION_UNKNOWN
    refusal(node.prepare, material=Material(Generation("tx-77777777")))
    assert node.core.candidates.judge(Generation("tx-77777777"), drop_crls=False).set == CertificateSet()


def test_neither_a_stage_nor_what_is_being_removed_is_a_generation(node):
    for name in (".cm.tx-55555555", ".cm.tx-66666666.gone"):
        write_set(node.shelf / name, OLD)
    for name in ("tx-55555555", "tx-66666666"):
        assert refusal(node.store.read_retired, name).reason is Reason.GENERATION_UNKNOWN


def test_a_generation_that_others_may_write_to_is_refused(node):
    (node.shelf / f".cm.retired.{TX}").chmod(0o770)
    node.run(Step.ACQUIRE)

    error = refusal(node.prepare, material=FORMER)

    assert error.reason is Reason.NODE_UNFIT
    assert "others may write to it" in error.message
    (found,) = node.core.candidates.judge(Generation(TX), drop_crls=False).findings
    assert (found.code, found.severity) == ("NODE_UNFIT", Severity.ERROR)


def test_a_set_comes_back_with_its_own_crls_and_without_those_of_the_other(tmp_path):
    crls = {"server.crl": b"old crl"}
    node = Node(tmp_path, live=OLD | crls | {"notes.txt": b"then"})
    replaced(node, Material(bundle(NEW | {"client.crl": b"new crl"}), drop_crls=True))
    (node.sslcert / "cm" / "notes.txt").unlink()
    (node.sslcert / "cm" / "more.txt").write_bytes(b"now")
    (node.sslcert / "cm" / "more.txt").chmod(0o644)

    rolled_back(node, steps=FORWARD[:2])

    staged = node.store.read_stage(OTHER_TX)
    assert staged.files == OLD | crls | {"more.txt": b"now"}
    assert staged.modes == dict.fromkeys(staged.files, 0o400) | {"more.txt": 0o600}
    node.run_all((Step.ABORT, Step.CLEAN))
    node.transaction_id, node.epoch = "tx-00000003", 3
    rolled_back(node, Material(Generation(TX), drop_crls=True), FORWARD[:2])
    assert node.store.read_stage("tx-00000003").files == OLD | {"more.txt": b"now"}
    node.stop()


class NoExchange(Disk):
    """A file system that has lost the exchange since the set was retired."""

    def exchange(self, directory: int, one: str, other: str) -> None:
        raise OSError(22, os.strerror(22))


def test_a_set_retired_in_the_other_layout_can_still_be_staged(tmp_path):
    """Prepare makes links of the live set's files, and from then on the shelf is another one."""
    node = Node(tmp_path)
    replaced(node)
    node.restart(NoExchange())

    rolled_back(node)

    assert (node.sslcert / "cm" / "..data").is_symlink()
    assert live_files(node.sslcert) == OLD
    node.stop()


# What is judged, with the real rules


def of_bundle(made, **changes) -> dict[str, bytes]:
    files = dict(made.pem)
    for role, password in (("server", made.server_password), ("client", made.client_password)):
        files |= dict(zip((f"{role}.key.cipher", f"{role}.key.rand"), factors.write(password), strict=True))
    return files | changes


@pytest.fixture
def real(tmp_path):
    """A node that goes from one real set to another; the first one's server certificate lasts 30 days."""
    short = pki.leaf(pki.good_ca(), "server", end=pki.NOW + timedelta(30))
    made = Node(tmp_path, live=of_bundle(pki.bundle(server=short)))
    made.judge, made._rehearse = judge_set, hold
    made.clock.now = datetime.now(UTC).timestamp()
    replaced(made, Material(pki.of_ca(pki.good_ca())))
    yield made
    made.stop()


def judged(node: Node, name: str = TX, *, drop_crls: bool = False):
    return node.core.candidates.judge(Generation(name), drop_crls=drop_crls)


def test_what_a_node_says_of_a_generation_is_what_it_stages_and_asking_changes_nothing(real):
    before = real.everything()

    said = judged(real)

    assert real.everything() == before
    assert said.set.state is SetState.WHOLE
    assert {each.code for each in said.findings} == {"CERTIFICATE_EXPIRING"}
    assert {file.mode for file in said.set.files} == {0o400}
    rolled_back(real, steps=FORWARD[:2])
    assert real.state.transaction.new_digest == said.set.digest
    assert real.state.transaction.bundle_digest == said.set.bundle_digest
    real.run_all(FORWARD[2:])
    assert certset.digest(live_files(real.sslcert)) == said.set.digest


def test_a_set_that_has_expired_since_is_refused_when_asked_about_and_when_prepared(real):
    real.clock.now += 40 * 86_400
    before = snapshot(real.sslcert)

    said = judged(real)
    real.run(Step.ACQUIRE)
    error = refusal(real.prepare, material=FORMER)

    assert "CERTIFICATE_EXPIRED" in {each.code for each in said.findings}
    assert error.reason is Reason.SET_INVALID
    assert error.findings == said.findings
    assert snapshot(real.sslcert) == before
    assert real.state.phase is Phase.NONE


def test_the_passwords_come_from_the_sets_own_factor_files_which_must_open_its_keys(real):
    path = real.shelf / f".cm.retired.{TX}" / "server.key.cipher"
    path.chmod(0o600)
    path.write_bytes(factors.write("Another-Pass9")[0])
    path.chmod(0o400)

    errors = {each.code for each in judged(real).findings if each.severity is Severity.ERROR}

    assert errors == {"FACTOR_FILES_UNREADABLE"}


def test_a_missing_file_is_said_by_its_name(real):
    (real.shelf / f".cm.retired.{TX}" / "client.crt").unlink()

    said = judged(real)

    assert ("FILE_MISSING", "client.crt") in {(each.code, each.file) for each in said.findings}
    assert said.set.state is SetState.INCOMPLETE
    real.run(Step.ACQUIRE)
    assert refusal(real.prepare, material=FORMER).reason is Reason.SET_INVALID


def test_a_mode_that_somebody_changed_is_a_warning_for_the_copy_gets_the_right_one(real):
    (real.shelf / f".cm.retired.{TX}" / "server.crt").chmod(0o644)

    found = {(each.code, each.severity, each.file) for each in judged(real).findings}

    assert ("FILE_MODE", Severity.WARNING, "server.crt") in found
    rolled_back(real)
    assert {path.stat().st_mode & 0o777 for path in (real.sslcert / "cm").iterdir()} == {0o400}


def test_a_generation_that_is_not_there_is_absent_and_no_finding(real):
    said = judged(real, "tx-99999999")

    assert (said.set.state, said.findings) == (SetState.ABSENT, ())


def test_while_one_is_judged_another_question_is_not_kept_waiting(real):
    rehearse, second = real.core.candidates._examiner._rehearse, []

    def ask_again(new, former):
        second.append(refusal(judged, real))
        return rehearse(new, former)

    real.core.candidates._examiner._rehearse = ask_again
    first = judged(real)

    assert [error.reason for error in second] == [Reason.BUSY]
    assert first.set.state is SetState.WHOLE
    real.core.candidates._examiner._rehearse = rehearse
    assert judged(real) == first


def test_no_key_or_password_is_in_what_a_node_says_of_a_generation(real):
    said = repr(judged(real))

    assert pki.SERVER_PASSWORD not in said
    assert "PRIVATE KEY" not in said
