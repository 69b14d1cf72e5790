"""An agent in a transaction without some node: it keeps both sets until it is told that node is settled."""

from __future__ import annotations

import pytest
from gausscert_agent.effects import Given
from gausscert_agent.staging import Material
from gausscert_common.errors import NodeRefusal, Reason
from gausscert_common.model import Layout
from gausscert_common.protocol.commands import PurgeCommand
from gausscert_common.protocol.words import Outcome, Phase, Step
from support.agent_core import FORWARD, NEW, OLD, OTHER_TX, TX, Node, bundle, live_files

BEFORE_PREPARE, BETWEEN = FORWARD[:1], FORWARD[2:-1]


@pytest.fixture(params=list(Layout))
def node(tmp_path, request):
    made = Node(tmp_path, layout=request.param)
    made.start()
    yield made
    made.stop()


def committed(node: Node, **said: object) -> None:
    node.run_all(BEFORE_PREPARE)
    node.prepare(**said)
    node.run_all(BETWEEN)


def purge(node: Node, *settled: str) -> None:
    command = PurgeCommand(node.transaction_id, node.epoch, Step.PURGE, settled)
    node.runner.execute(command, Given())


def test_purge_is_refused_also_by_a_restarted_agent_and_nothing_is_touched(node):
    committed(node, excluded=("node3", "node4"))
    before = node.everything()

    for settled in ((), ("node3",), ("node1", "node4")):
        with pytest.raises(NodeRefusal) as caught:
            purge(node, *settled)
        assert caught.value.reason is Reason.NODES_EXCLUDED
        node.restart()
        assert node.state.transaction.excluded == ("node3", "node4")

    assert node.everything() == before
    assert live_files(node.sslcert) == NEW
    assert node.store.retired() == []
    assert node.store.read_stage(TX).files == OLD


def test_both_sets_survive_the_tidying_of_a_restart_until_all_are_settled(node):
    committed(node, excluded=("node3",))
    node.restart()

    purge(node, "node3")

    assert node.state.outcome_of(TX) is Outcome.COMMITTED
    assert [(kept.generation, kept.contents.files) for kept in node.store.retired()] == [(TX, OLD)]


def test_its_coordinator_leaves_no_lease_behind(node):
    committed(node, excluded=("node3",))

    assert node.runner.lease.holder == ""
    assert node.state.phase is Phase.COMMITTED


def test_another_transaction_is_refused_meanwhile(node):
    committed(node, excluded=("node3",))
    before = node.everything()

    with pytest.raises(NodeRefusal) as caught:
        node.run(Step.ACQUIRE, epoch=9, tx=OTHER_TX)

    assert caught.value.reason is Reason.OTHER_TRANSACTION
    assert node.everything() == before


def test_a_join_retires_the_old_set_under_the_name_that_it_has_on_the_other_nodes(node):
    committed(node, joins=OTHER_TX)
    purge(node)

    assert node.state.outcome_of(TX) is Outcome.COMMITTED
    assert [(kept.generation, kept.contents.files) for kept in node.store.retired()] == [(OTHER_TX, OLD)]


def test_a_second_join_of_one_transaction_gives_up_no_generation_and_ends(node):
    committed(node, joins=OTHER_TX)
    purge(node)
    node.transaction_id, node.epoch = "tx-00000003", node.epoch + 1
    third = {name: f"third {name}\n".encode() for name in NEW}
    committed(node, material=Material(bundle(third)), joins=OTHER_TX)
    purge(node)
    node.restart()

    assert live_files(node.sslcert) == third
    assert node.state.outcome_of(node.transaction_id) is Outcome.COMMITTED
    kept = {each.generation: each.contents.files for each in node.store.retired()}
    assert kept == {OTHER_TX: OLD, node.transaction_id: NEW}
