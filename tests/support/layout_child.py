"""The agent's core on whatever file system lies at ROOT, through one transaction and one rollback.

    python layout_child.py ROOT

Prints the layout that the node chose by itself. An assertion that fails is its exit code.
"""

from __future__ import annotations

import sys
from pathlib import Path

from gausscert_common.protocol.words import Outcome, Step
from support.agent_core import BACKWARD, FORWARD, NEW, OLD, TX, Node, beside, live_files

SECOND = "tx-00000002"


def main() -> None:
    """See the module."""
    node = Node(Path(sys.argv[1]), fresh=False)
    node.start()
    node.run_all(FORWARD)
    assert live_files(node.sslcert) == NEW
    assert node.state.outcome_of(TX) is Outcome.COMMITTED
    assert beside(node.sslcert) == [f".cm.retired.{TX}"]
    node.transaction_id, node.epoch = SECOND, 2
    node.run(Step.ACQUIRE)
    node.prepare()
    node.run_all(FORWARD[2:5])
    node.run_all(BACKWARD)
    assert live_files(node.sslcert) == NEW
    assert node.state.outcome_of(SECOND) is Outcome.ABORTED
    assert [kept.contents.files for kept in node.store.retired()] == [OLD]
    sys.stdout.write(str(node.store.probe_layout().layout))


if __name__ == "__main__":
    main()
