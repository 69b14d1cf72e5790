"""A node whose journal is damaged refuses everything that would need it, and says what and where."""

from __future__ import annotations

import inspect

import pytest
from gausscert_agent.node import Node
from gausscert_agent.sealed import SealedNode
from gausscert_common.errors import NodeFailure, Reason

DAMAGE = NodeFailure(Reason.JOURNAL_DAMAGED, "is damaged", file="/state/journal.json", remedy="look there")
LOOKS = {"expiry": {}, "probe": {"query": True, "timeout_s": 1.0}}
KEPT = {"in_transaction", "drain", *LOOKS}


class Observer:
    def expiry(self):
        return "expiry"

    def probe(self, query, timeout_s):
        return "probe", query, timeout_s


def calls():
    return [name for name in vars(Node) if not name.startswith("_") and name not in KEPT]


@pytest.mark.parametrize("name", calls())
def test_what_needs_the_journal_is_refused(name):
    node = SealedNode(Observer(), DAMAGE)
    method = getattr(node, name)
    given = dict.fromkeys(inspect.signature(method).parameters)
    with pytest.raises(NodeFailure) as caught:
        method(**given)
    error = caught.value
    assert error is not DAMAGE  # each caller gets one of his own
    assert (error.reason, error.message, error.file, error.remedy) == (
        Reason.JOURNAL_DAMAGED,
        "is damaged",
        "/state/journal.json",
        "look there",
    )


def test_there_is_much_to_refuse():
    assert {"report", "acquire", "move", "end", "restart", "prepare", "set_enable_ssl"} <= set(calls())


def test_what_needs_no_journal_is_answered():
    node = SealedNode(Observer(), DAMAGE)
    assert node.expiry() == "expiry"
    assert node.probe(query=True, timeout_s=1.0) == ("probe", True, 1.0)
    assert node.drain(1.0)
    assert node.in_transaction  # so that a recoverer is told of the journal, not that he may not
