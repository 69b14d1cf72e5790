"""The stage, judged by the real rules and rehearsed with real handshakes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from gausscert_agent.drivers.overlap import hold
from gausscert_agent.judging import explain_bundle, judge_set
from gausscert_agent.staging import Material
from gausscert_common.errors import NodeRefusal, Reason
from gausscert_common.protocol.words import Phase, Step
from support import pki
from support.agent_core import FORWARD, Node, live_files, snapshot


@pytest.fixture
def node(tmp_path):
    made = Node(tmp_path)
    made.judge, made.explain = judge_set, explain_bundle
    made._rehearse = hold
    made.clock.now = datetime.now(UTC).timestamp()
    made.cm.ctl = True
    made.start()
    yield made
    made.stop()


def good():
    return pki.of_ca(pki.good_ca())


def test_a_good_bundle_is_staged_and_made_live(node):
    bundle = good()
    for step in FORWARD:
        if step is Step.PREPARE:
            done = node.prepare(material=Material(bundle))
            assert done.state.phase is Phase.PREPARED
        else:
            node.run(step)
    live = live_files(node.sslcert)
    assert {name: live[name] for name in bundle.pem} == dict(bundle.pem)


def test_a_wrong_password_is_refused_and_nothing_stays(node):
    before = snapshot(node.sslcert)
    node.run(Step.ACQUIRE)
    with pytest.raises(NodeRefusal) as caught:
        node.prepare(material=Material(replace(good(), server_password="Another-Pass9")))
    assert caught.value.reason is Reason.SET_INVALID
    assert caught.value.findings
    assert "Another-Pass9" not in str(caught.value.findings)
    assert snapshot(node.sslcert) == before


def test_the_nodes_own_clock_judges(node):
    node.run(Step.ACQUIRE)
    node.clock.now += 100 * 365 * 86_400
    with pytest.raises(NodeRefusal) as caught:
        node.prepare(material=Material(good()))
    assert any("EXPIRED" in finding.code for finding in caught.value.findings)


def test_a_serial_number_that_the_live_leaf_has_already_is_told(node):
    first = pki.of_ca(pki.good_ca(), serial=4711)
    for step in FORWARD:
        node.prepare(material=Material(first)) if step is Step.PREPARE else node.run(step)
    node.transaction_id, node.epoch = "tx-00000002", 2
    node.run(Step.ACQUIRE)
    again = pki.of_ca(pki.good_ca(), serial=4711, end=pki.NOW + timedelta(300))
    done = node.prepare(material=Material(again))
    assert any("of the live" in finding.cause for finding in done.findings)
