"""No cm_ctl is run beside one that somebody else has started: what Prepare, Swap and Abort do about that.
Stop and Start are in test_restart."""

from __future__ import annotations

import pytest
from gausscert_agent.alone import OTHERS_LONG_S, OTHERS_S, Alone
from gausscert_agent.staging import Material
from gausscert_common import certset
from gausscert_common.bundle import Bundle
from gausscert_common.errors import NodeFailure, NodeRefusal, Reason
from gausscert_common.model import SslValue
from gausscert_common.protocol.words import Phase, SslWish, Step
from support.agent_core import NEW, Clock, FakeCm, Node

BEFORE_SWAP = (Step.ACQUIRE, Step.PREPARE, Step.STOP)


@pytest.fixture
def node(tmp_path):
    made = Node(tmp_path)
    made.cm.ctl = True
    made.cm.ssl = {"server": SslValue.OFF, "agent": SslValue.OFF}
    made.start()
    yield made
    made.stop()


def run(node, steps):
    pem = {name: body for name, body in NEW.items() if name in certset.BUNDLE_NAMES}
    material = Material(Bundle(pem, server_password="Aa1!Aa1!", client_password="Bb2?Bb2?"))
    for step in steps:
        node.run(step, **({"wish": SslWish.ON, "material": material} if step is Step.PREPARE else {}))


def away_after(node, monkeypatch, seconds: float) -> None:
    """The other one ends after so many seconds."""
    real, since = node.clock.sleep, node.clock.now

    def sleep(s: float) -> None:
        real(s)
        if node.clock.now - since >= seconds:
            node.cm.foreign = set()

    node.stop()
    monkeypatch.setattr(node.clock, "sleep", sleep)
    node.start()


def test_prepare_waits_before_it_encrypts(node, monkeypatch):
    away_after(node, monkeypatch, 3.0)
    node.cm.foreign = {815}
    began = node.clock.now
    run(node, (Step.ACQUIRE, Step.PREPARE))
    assert node.clock.now - began >= 3.0
    assert [call for call in node.cm.calls if call.startswith("encrypt")]
    assert node.state.phase is Phase.PREPARED


def test_prepare_refuses_where_it_stays_and_leaves_nothing_behind(node):
    run(node, (Step.ACQUIRE,))
    node.cm.foreign = {815}
    began = node.clock.now
    with pytest.raises(NodeRefusal) as caught:
        run(node, (Step.PREPARE,))
    assert caught.value.reason is Reason.NODE_UNFIT
    assert "cm_ctl (pid 815)" in caught.value.message
    assert node.clock.now - began == pytest.approx(OTHERS_S, abs=1.0)
    assert not [call for call in node.cm.calls if call.startswith("encrypt")]
    assert node.state.phase is Phase.NONE
    assert [path.name for path in node.sslcert.iterdir()] == ["cm"]


def test_swap_waits_before_it_sets_enable_ssl(node, monkeypatch):
    run(node, BEFORE_SWAP)
    node.cm.foreign = {815}
    away_after(node, monkeypatch, 3.0)
    began = node.clock.now
    run(node, (Step.SWAP,))
    assert node.clock.now - began >= 3.0
    assert set(node.cm.ssl.values()) == {SslValue.ON}
    assert node.state.phase is Phase.SWAPPED


def test_swap_fails_where_it_stays_and_the_way_back_waits_longer_and_then_goes_on(node, caplog):
    run(node, BEFORE_SWAP)
    node.cm.foreign = {815}
    began = node.clock.now
    with pytest.raises(NodeFailure) as caught:
        run(node, (Step.SWAP,))
    assert caught.value.reason is Reason.CM_CTL_TIMEOUT
    assert caught.value.message == ("enable_ssl was not set: somebody else's cm_ctl runs: cm_ctl (pid 815)")
    assert caught.value.remedy
    assert node.clock.now - began == pytest.approx(OTHERS_S, abs=1.0)
    assert not [call for call in node.cm.calls if call.startswith("set_ssl")]
    run(node, (Step.ROLLBACK_STOP, Step.ABORT))
    assert node.state.phase is Phase.ABORTED


def test_on_the_way_back_one_that_was_waited_for_in_vain_is_not_waited_for_again(caplog):
    clock, cm = Clock(), FakeCm()
    cm.foreign = {815}
    alone = Alone(cm, monotonic=clock.read, sleep=clock.sleep, activity=lambda text: None)
    began = clock.now
    for _ in range(3):
        alone.back()
    assert clock.now - began == pytest.approx(OTHERS_LONG_S, abs=1.0)
    assert caplog.text.count("beside somebody else's cm_ctl") == 3
    cm.foreign = {815, 816}
    alone.back()
    assert clock.now - began == pytest.approx(2 * OTHERS_LONG_S, abs=1.0)
