"""Outside of a transaction: factor files made anew, enable_ssl switched; each at most once per id."""

from __future__ import annotations

import os

import pytest
from gausscert_agent.files import Disk
from gausscert_agent.journal import Journal
from gausscert_agent.journal_codec import REQUESTS_KEPT
from gausscert_common import certset, factors
from gausscert_common.errors import InvalidInput, NodeFailure, NodeRefusal, Reason
from gausscert_common.findings import Finding, Severity
from gausscert_common.model import Layout, SslSwitch, SslValue
from gausscert_common.protocol.words import SslWish, Step
from support.agent_core import FORWARD, OLD, Fault, HookedDisk, Node, beside, live_files, snapshot

REQUEST = "request-0001"
PASSWORDS = ("Server-Pass1", "Client-Pass2")


@pytest.fixture(params=list(Layout))
def layout(request):
    return request.param


@pytest.fixture
def node(tmp_path, layout):
    made = Node(tmp_path, layout=layout, live=OLD | {"server.crl": b"crl", "notes.txt": b"notes"})
    made.cm.ctl = True
    made.cm.running = set()
    made.start()
    yield made
    made.stop()


def encrypt(node: Node, request_id: str = REQUEST):
    return node.runner.encrypt_live(request_id, *PASSWORDS)


def refused(node: Node, reason: Reason, call, *arguments) -> None:
    before = node.everything()
    with pytest.raises((NodeRefusal, InvalidInput)) as caught:
        call(*arguments)
    assert caught.value.reason is reason
    assert node.everything() == before


def assert_encrypted(node: Node) -> None:
    files = live_files(node.sslcert)
    for mode, password in zip(("server", "client"), PASSWORDS, strict=True):
        assert factors.read(files[f"{mode}.key.cipher"], files[f"{mode}.key.rand"]) == password
    others = {name: body for name, body in files.items() if name not in certset.FACTOR_NAMES}
    assert others == {name: body for name, body in OLD.items() if name not in certset.FACTOR_NAMES} | {
        "server.crl": b"crl",
        "notes.txt": b"notes",
    }
    assert beside(node.sslcert) == []


def test_the_live_set_gets_new_factor_files_as_a_whole_new_set(node):
    inode = (node.sslcert / "cm" / "server.crt").stat().st_ino
    warning = Finding("SOON", Severity.WARNING, "soon")
    node.judge.findings = (warning,)
    assert encrypt(node) == (warning,)
    assert_encrypted(node)
    assert (node.sslcert / "cm" / "server.crt").stat().st_ino != inode
    assert set(node.store.read_live().modes.values()) == {0o400}


def test_a_repeat_with_the_same_id_does_nothing_more(node):
    encrypt(node)
    before, calls = node.everything(), list(node.cm.calls)
    assert encrypt(node) == ()
    node.restart()
    assert encrypt(node) == ()
    assert node.everything() == before
    assert node.cm.calls == calls


def test_the_last_few_ids_are_remembered(node):
    for number in range(REQUESTS_KEPT + 2):
        node.runner.set_enable_ssl(f"request-{number:04}", SslWish.ON)
    journal = Journal(node.state_dir)
    journal.load()
    assert journal.record.requests[0] == f"request-{REQUESTS_KEPT + 1:04}"
    assert len(journal.record.requests) == REQUESTS_KEPT


def test_no_password_is_journalled(node):
    encrypt(node)
    body = (node.state_dir / "journal.json").read_bytes()
    assert not any(password.encode() in body for password in PASSWORDS)


def test_while_cm_runs_it_is_refused(node):
    node.cm.running = {"cm_server"}
    refused(node, Reason.NOT_STOPPED, encrypt, node)


def test_cm_that_appears_meanwhile_keeps_the_live_set_as_it_is(node):
    before = snapshot(node.sslcert)

    def judge(files, modes, **options):
        node.cm.running = {"cm_server"}
        return ()

    node.core.runner._standalone._builder._examiner._judge = judge
    with pytest.raises(NodeRefusal) as caught:
        encrypt(node)
    assert caught.value.reason is Reason.NOT_STOPPED
    assert snapshot(node.sslcert) == before
    assert Journal(node.state_dir).load() == node.state


@pytest.mark.parametrize("length", [2, 4, 6])
def test_while_a_transaction_is_in_flight_both_are_refused(node, length):
    node.run_all(FORWARD[:length])
    refused(node, Reason.OTHER_TRANSACTION, encrypt, node)
    refused(node, Reason.OTHER_TRANSACTION, node.runner.set_enable_ssl, REQUEST, SslWish.OFF)


def test_while_a_coordinator_holds_the_lease_both_are_refused(node):
    node.run(Step.ACQUIRE)
    refused(node, Reason.LOCKED, encrypt, node)
    refused(node, Reason.LOCKED, node.runner.set_enable_ssl, REQUEST, SslWish.OFF)


def test_without_a_live_set_there_is_nothing_to_encrypt_for(tmp_path):
    node = Node(tmp_path, live=None)
    node.cm.running = set()
    node.start()
    refused(node, Reason.NODE_UNFIT, encrypt, node)
    node.stop()


@pytest.mark.parametrize("request_id", ["", "../../escape", "short", "UPPER-CASE"])
def test_ids_that_are_no_ids_are_refused(node, request_id):
    refused(node, Reason.ARGUMENT_INVALID, encrypt, node, request_id)
    refused(node, Reason.ARGUMENT_INVALID, node.runner.set_enable_ssl, request_id, SslWish.ON)


def test_a_set_found_wrong_is_refused_and_nothing_stays(node):
    before = snapshot(node.sslcert)
    node.judge.findings = (Finding("BAD", Severity.ERROR, "bad"),)
    with pytest.raises(NodeRefusal) as caught:
        encrypt(node)
    assert caught.value.reason is Reason.SET_INVALID
    assert snapshot(node.sslcert) == before
    node.judge.findings = ()
    encrypt(node)
    assert_encrypted(node)


@pytest.mark.parametrize("restart", [False, True], ids=["goes on", "restarts"])
def test_after_a_failure_of_any_change_a_repeat_carries_it_out(tmp_path, restart):
    at = failures = 0
    while True:
        at += 1
        fault = Fault(0)
        node = Node(
            tmp_path / str(at),
            live=OLD | {"server.crl": b"crl", "notes.txt": b"notes"},
            disk=HookedDisk(fault),
        )
        node.cm.running = set()
        node.start()
        fault.at, fault.count = at, 0
        try:
            encrypt(node)
        except NodeFailure:
            failures += 1
            assert len(live_files(node.sslcert)) == len(certset.NAMES) + 2
            if restart:
                node.restart(node.disk)
            encrypt(node)
        assert_encrypted(node)
        done = fault.count < at
        node.stop()
        if done:
            break
    assert failures == at - 1 > 40


class Forgetful(Disk):
    """An exchange that reaches the disk only with a sync; the first sync after it fails."""

    def __init__(self) -> None:
        self.changes: list[str] = []
        self.failing = False

    def exchange(self, directory, one, other):
        super().exchange(directory, one, other)
        if one == "cm":
            self._swapped()

    def replace(self, directory, old, new):
        super().replace(directory, old, new)
        if new == "..data":
            self._swapped()

    def _swapped(self):
        self.failing = "swap" not in self.changes
        self.changes.append("swap")

    def sync(self, descriptor):
        if self.failing:
            self.failing = False
            raise OSError(5, "Input/output error")
        super().sync(descriptor)
        if os.readlink(f"/proc/self/fd/{descriptor}").endswith(("sslcert", "/cm")):
            self.changes.append("sync")

    def unlink(self, directory, name):
        super().unlink(directory, name)
        self.changes.append("unlink")


@pytest.mark.parametrize("restart", [False, True], ids=["goes on", "restarts"])
def test_the_former_set_stays_until_an_exchange_is_known_to_be_durable(node, restart):
    former = live_files(node.sslcert)
    disk = Forgetful()
    node.restart(disk)
    with pytest.raises(NodeFailure):
        encrypt(node)
    assert live_files(node.sslcert) != former
    assert node.store.read_stage(REQUEST).files == former
    if restart:
        node.restart(disk)
    else:
        node.run(Step.ACQUIRE)
        node.core.runner.lease.release()
    after = disk.changes[disk.changes.index("swap") + 1 :]
    assert after[:2] == ["sync", "unlink"]
    assert beside(node.sslcert) == []
    encrypt(node)
    assert_encrypted(node)


@pytest.mark.parametrize("exchanged", [False, True])
def test_a_restarted_agent_removes_what_an_encrypt_left(node, exchanged):
    class Died(BaseException):
        pass

    class Dead(HookedDisk):
        """After its death it changes nothing more, as a process that is gone."""

        dead = False

        def __init__(self):
            super().__init__(self.check)

        def check(self, name):
            if self.dead:
                raise Died

        def exchange(self, directory, one, other):
            self.dead = one == "cm" and not exchanged
            super().exchange(directory, one, other)

        def replace(self, directory, old, new):
            self.dead = new == "..data" and not exchanged
            super().replace(directory, old, new)

        def remove_directory(self, directory, name):
            self.dead = "probe" not in name
            super().remove_directory(directory, name)

    node.cm.ctl = False
    node.restart(Dead())
    with pytest.raises(Died):
        encrypt(node)
    assert (node.shelf / f".cm.{REQUEST}").is_dir()
    node.restart()
    assert beside(node.sslcert) == []
    assert len(live_files(node.sslcert)) == len(certset.NAMES) + 2
    encrypt(node)
    assert_encrypted(node)


# enable_ssl


@pytest.mark.parametrize(("wish", "value"), [(SslWish.ON, SslValue.ON), (SslWish.OFF, SslValue.OFF)])
def test_enable_ssl_is_set_in_both_files_and_read_back(node, wish, value):
    assert node.runner.set_enable_ssl(REQUEST, wish) == SslSwitch(value, value)
    assert node.cm.ssl == {"server": value, "agent": value}


def test_a_repeat_of_a_switch_answers_what_is_now(node):
    node.runner.set_enable_ssl(REQUEST, SslWish.OFF)
    node.cm.ssl["agent"] = SslValue.ON
    answer = node.runner.set_enable_ssl(REQUEST, SslWish.OFF)
    assert answer == SslSwitch(SslValue.OFF, SslValue.ON)


def test_to_keep_what_is_is_no_request(node):
    refused(node, Reason.ARGUMENT_INVALID, node.runner.set_enable_ssl, REQUEST, SslWish.KEEP)


def test_a_switch_without_a_line_is_refused(node):
    node.cm.ssl["server"] = SslValue.COMMENTED
    refused(node, Reason.NODE_UNFIT, node.runner.set_enable_ssl, REQUEST, SslWish.ON)


def test_a_switch_that_failed_may_be_repeated(node):
    node.cm.fail["set_ssl agent False"] = NodeFailure(Reason.CONF_FAILED, "no")
    with pytest.raises(NodeFailure):
        node.runner.set_enable_ssl(REQUEST, SslWish.OFF)
    node.runner.set_enable_ssl(REQUEST, SslWish.OFF)
    assert node.cm.ssl == {"server": SslValue.OFF, "agent": SslValue.OFF}
