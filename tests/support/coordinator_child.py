"""The operator's command, with a coordinator that does something at one exact boundary of one RPC.

    python coordinator_child.py ORDER replace ...

ORDER is JSON:

    {"boundaries": [{"rpc": "SWAP", "node": "n2", "moment": "after send", "act": "die"}],
     "journals": {"n1": "its state directory", ...}}

`rpc` is the step for commands of a transaction (ACQUIRE, PREPARE, ... CLEAN), GET_NODE or PROBE otherwise;
`nth` counts calls of that kind to that node, from 1. Calls of such a kind go to one node after the other, so
that it is known what the other nodes have heard. "after send" is: the node has taken the command up, durably,
and no answer was seen; for that the child reads the node's journal.

Acts: "die" by SIGKILL; "turn back", a Ctrl-C to itself; "pause", SIGSTOP until somebody wakes it. Before it
acts it writes a line "boundary RPC NODE MOMENT" to standard error. It exits with MISSED if the answer was
there before that, or the command is not taken up.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from gausscert_agent.journal import Journal
from gausscert_common.protocol.commands import Command
from gausscert_coordinator import agents, history
from gausscert_coordinator.cli.main import run
from gausscert_coordinator.cli.settings import Invocation
from gausscert_coordinator.coordinator import Coordinator

MISSED = 97
_TAKEN_UP_S = 10.0
_READING_S = 0.01
_PASSES = 20
"""Rounds of the event loop within which gRPC has the request, which it sends with threads of its own."""


class Moment(StrEnum):
    """Of one call."""

    BEFORE_SEND = "before send"
    AFTER_SEND = "after send"
    AFTER_REPLY = "after reply"


ACTS = {"die": signal.SIGKILL, "turn back": signal.SIGINT, "pause": signal.SIGSTOP}


@dataclass(frozen=True)
class Boundary:
    """Where, and what happens there."""

    rpc: str
    node: str
    moment: Moment
    act: str
    nth: int = 1

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Boundary:
        return cls(**{**values, "moment": Moment(values["moment"])})

    def reach(self) -> None:
        sys.stderr.write(f"boundary {self.rpc} {self.node} {self.moment}\n")
        sys.stderr.flush()
        os.kill(os.getpid(), ACTS[self.act])


class Fate:
    """All boundaries of one coordinator."""

    def __init__(self, boundaries: list[Boundary], journals: Mapping[str, str]) -> None:
        self._boundaries = boundaries
        self._journals = {node: Journal(Path(place)) for node, place in journals.items()}
        self._calls: Counter[tuple[str, str]] = Counter()
        self._one_by_one = asyncio.Lock()

    async def meet(self, node: str, method: str, call: Callable[[], Awaitable[Any]], *given: Any) -> Any:
        """Make a call, and do at its boundaries what is to be done there."""
        command = next((each for each in given if isinstance(each, Command)), None)
        rpc = command.step.name if command is not None else method.upper()
        if not any(each.rpc == rpc for each in self._boundaries):
            return await call()
        async with self._one_by_one:
            self._calls[rpc, node] += 1
            here = [
                each
                for each in self._boundaries
                if (each.rpc, each.node, each.nth) == (rpc, node, self._calls[rpc, node])
            ]
            try:
                return await self._through(node, call, command, {each.moment: each for each in here})
            except asyncio.CancelledError:  # a look beside Start that its end cuts short: the next one counts
                self._calls[rpc, node] -= 1
                raise

    async def _through(
        self,
        node: str,
        call: Callable[[], Awaitable[Any]],
        command: Command | None,
        here: Mapping[Moment, Boundary],
    ) -> Any:
        if Moment.BEFORE_SEND in here:
            here[Moment.BEFORE_SEND].reach()
        answer = asyncio.ensure_future(call())
        if Moment.AFTER_SEND in here:
            for _ in range(_PASSES):
                await asyncio.sleep(0)
            if answer.done() or not self._is_taken_up(node, command):
                os._exit(MISSED)
            here[Moment.AFTER_SEND].reach()
        found = await answer
        if Moment.AFTER_REPLY in here:
            here[Moment.AFTER_REPLY].reach()
        return found

    def _is_taken_up(self, node: str, command: Command | None) -> bool:
        """Blocks the event loop on purpose: no answer can be seen meanwhile."""
        if command is None:
            time.sleep(_READING_S)
            return True
        deadline = time.monotonic() + _TAKEN_UP_S
        while time.monotonic() < deadline:
            state = self._journals[node].load()
            if state.owner == command.transaction_id and state.fence >= command.fence:
                return True
            time.sleep(0.0005)
        return False


class FatefulAgent:
    """A real `ports.AgentClient` with boundaries."""

    def __init__(self, agent: agents.GrpcAgent, fate: Fate) -> None:
        self._agent = agent
        self._fate = fate

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._agent, name)
        if name in ("name", "close", "watch"):
            return found

        async def call(*given: Any, **options: Any) -> Any:
            async def send() -> Any:
                return await found(*given, **options)

            return await self._fate.meet(self._agent.name, name, send, *given)

        return call


def main() -> None:
    """See the module."""
    order = json.loads(sys.argv[1])
    boundaries = [Boundary.parse(each) for each in order["boundaries"]]

    def connect(inventory: Any, on_retry: Any) -> dict[str, FatefulAgent]:
        fate = Fate(boundaries, order["journals"])
        real = agents.connect(inventory, on_retry)
        return {name: FatefulAgent(agent, fate) for name, agent in real.items()}

    def open_cluster(inventory: Any) -> Coordinator:
        return Coordinator(inventory, connect=connect, recorder=history.of(inventory))

    sys.exit(run(sys.argv[2:], Invocation(open_cluster=open_cluster)))


if __name__ == "__main__":
    main()
