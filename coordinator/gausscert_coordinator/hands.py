"""The engine's hands: sends the present stage's command to the nodes and collects what they answer.
Knows how a stage is carried out, never what comes next."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from typing import TYPE_CHECKING, Final, TypeVar

from gausscert_common.errors import GausscertError, Reason, Unreachable
from gausscert_common.protocol.commands import Command, CommitCommand, PurgeCommand
from gausscert_common.protocol.coordinator import TABLE, Stage
from gausscert_common.protocol.words import Fence, Step

from gausscert_coordinator import policy
from gausscert_coordinator.fanout import Answers, ask
from gausscert_coordinator.heartbeat import Wait
from gausscert_coordinator.job import STARTS, waves
from gausscert_coordinator.ports import Preparation, RestartOrders
from gausscert_coordinator.report import Mark
from gausscert_coordinator.watching import WATCHED, Watching

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping
    from contextlib import AbstractAsyncContextManager

    from gausscert_common.model import NodeReport, PreparedSet, ProbeReport

    from gausscert_coordinator.job import Job, Replacement
    from gausscert_coordinator.ports import AgentClient
    from gausscert_coordinator.reporter import Reporter

T = TypeVar("T")

PROBE_TIMEOUT_S: Final = 5.0
"""Longest time for one cm_server; a healthy one answers within milliseconds (facts section 17)."""

QUICK_PROBE_S: Final = 3.0
"""The same where others are to be named within 5 s although one cm_server hangs."""

GLANCE_S: Final = 3.0
"""Longest time for each answer of a look beside a command: whoever is later is left out of that look."""
_GLANCE_PROBE_S: Final = 2.0
"""For one cm_server in such a look, so that a node whose cm_server hangs still answers in time."""
_AT_ONCE_S: Final = 0.001
"""A lease must last for some time."""


class Hands:
    """Calls to the participants of one job."""

    def __init__(self, job: Job, clients: Mapping[str, AgentClient], reporter: Reporter) -> None:
        self._job = job
        self._clients = clients
        self._reporter = reporter
        self.epoch = 0
        """Goes with every command; known once the nodes have been read."""
        self.start_follows = False
        """CM is started when all is decided, so that the leases must last until then."""
        self.done: dict[str, list[Step]] = {}
        """What each node has carried out, as far as it was heard, each once."""
        self.wait: Wait | None = None
        """Whose answers to a command are still to come."""

    async def read(self, *, witnesses: bool = False) -> Answers[NodeReport]:
        """Every participant's report, without preflight.

        Args:
            witnesses: Also those of nodes that only look on.
        """
        names = (*self._job.participants, *(self._job.witnesses if witnesses else ()))
        return await ask(self._of(names), lambda client: client.get_node())

    async def excluded_that_answer(self) -> list[str]:
        """The nodes that are left out because they do not answer, and do; to refuse is to answer."""
        read = await ask(self._of(self._job.excluded), lambda client: client.get_node())
        refused = [node for node, error in read.bad.items() if not isinstance(error, Unreachable)]
        return sorted([*read.good, *refused])

    async def probe(self, *, query: bool, longest_s: float = PROBE_TIMEOUT_S) -> Answers[ProbeReport]:
        """What every participant, and who else is to look, sees of the running cluster.

        Args:
            query: Also what `cm_ctl query` says there.
            longest_s: For one cm_server, and for the query.
        """
        timeout_s = min(longest_s, self._job.timeouts.verify_s)
        return await ask(
            self._of((*self._job.participants, *self._job.witnesses)),
            lambda client: client.probe(query=query, timeout_s=timeout_s),
        )

    async def look(
        self, *, longest_s: float = QUICK_PROBE_S
    ) -> tuple[Answers[NodeReport], Answers[ProbeReport]]:
        """Reports and what is served, side by side: neither waits for the other."""
        return await asyncio.gather(self.read(), self.probe(query=False, longest_s=longest_s))

    async def glance(self, patience_s: float = GLANCE_S) -> tuple[Answers[NodeReport], Answers[ProbeReport]]:
        """As `look`, and nobody waits for one that is late.

        Args:
            patience_s: For each answer; an agent that hangs is given 30 s elsewhere.
        """
        job, timeout_s = self._job, min(_GLANCE_PROBE_S, self._job.timeouts.verify_s)

        async def probe(client: AgentClient) -> ProbeReport:
            return await _in_time(client, client.probe(query=False, timeout_s=timeout_s), patience_s)

        return await asyncio.gather(
            self.glance_at_nodes(patience_s),
            ask(self._of((*job.participants, *job.witnesses)), probe),
        )

    async def glance_at_nodes(self, patience_s: float = GLANCE_S) -> Answers[NodeReport]:
        """The reports alone, as in `glance`."""
        return await ask(
            self._of(self._job.participants),
            lambda client: _in_time(client, client.get_node(), patience_s),
        )

    async def acquire(self) -> Answers[NodeReport]:
        """Take the fence and the lease everywhere.

        The first node is asked alone: of several coordinators that begin at once only one goes on to the
        others, instead of each holding some nodes and none of them all.
        """
        job = self._job
        command = self._command(Stage.ACQUIRE)
        self._reporter.recorder.fenced(self.epoch)

        async def call(client: AgentClient) -> NodeReport:
            return await client.acquire(
                command,
                holder=job.holder,
                lease_s=job.lease_s,
                take_over=job.take_over,
                excluded=job.missing,
            )

        answers = await self._send(job.participants[:1], call)
        if answers.complete:
            others = await self._send(job.participants[1:], call)
            answers = Answers({**answers.good, **others.good}, others.bad)
        self._reporter.recorder.granted(answers.good)
        return answers

    async def give_back(self, names: Iterable[str]) -> list[GausscertError]:
        """Let go of the leases that Acquire has given: repeated with one that runs out at once. No other
        command ends a lease and leaves a transaction as it is. The fence stays."""
        job = self._job
        command = self._command(Stage.ACQUIRE)

        async def call(client: AgentClient) -> NodeReport:
            return await client.acquire(command, holder=job.holder, lease_s=_AT_ONCE_S, take_over=False)

        return list((await ask(self._of(names), call)).bad.values())

    async def prepare(self, replacement: Replacement) -> Answers[PreparedSet]:
        """Have the new set staged everywhere."""
        command = self._command(Stage.PREPARE)

        async def call(client: AgentClient) -> PreparedSet:
            preparation = Preparation(
                participants=self._job.participants,
                expected_live_digest=replacement.old_digests[client.name],
                source=replacement.source,
                ssl_wish=replacement.ssl_wish,
                restart=self._job.restart,
                drop_crls=replacement.drop_crls,
                excluded=self._job.excluded,
                joins=self._job.joins,
            )
            return await client.prepare(command, preparation)

        answers = await self._send(self._job.participants, call, Stage.PREPARE)
        self._reporter.recorder.staged(answers.good)
        return answers

    async def restart(self, stage: Stage) -> list[GausscertError]:
        """Stop or start CM, in the order the scope demands."""
        for wave in waves(stage, self._job.restart, self._job.participants):
            answers = await self._send(wave, self._restart_call(stage), stage)
            if not answers.complete:
                return list(answers.bad.values())
        return []

    async def command(self, stage: Stage, names: Iterable[str]) -> list[GausscertError]:
        """Swap, Commit, Purge, Abort or Clean."""
        command = self._command(stage)

        async def call(client: AgentClient) -> None:
            await _METHODS[stage](client, command)

        answers = await self._send(names, call, stage)
        return list(answers.bad.values())

    def _restart_call(self, stage: Stage) -> Callable[[AgentClient], Awaitable[None]]:
        command = self._command(stage)
        timeouts = self._job.timeouts

        async def call(client: AgentClient) -> None:
            executor = client.name == self._job.executor
            if stage in STARTS:
                await client.start(command, RestartOrders(self._job.restart, executor, timeouts.start_s))
            else:
                await client.stop(command, RestartOrders(self._job.restart, executor, timeouts.stop_s))

        return call

    async def _send(
        self,
        names: Iterable[str],
        call: Callable[[AgentClient], Awaitable[T]],
        stage: Stage = Stage.ACQUIRE,
    ) -> Answers[T]:
        clients = self._of(names)
        self.wait = wait = self._waits_for(clients)

        async def told(client: AgentClient) -> T:
            self._reporter.tell(Mark.STARTED, client.name)
            try:
                async with self._watching(stage, client):
                    answer = await call(client)
            except GausscertError as error:
                self._reporter.failed(client.name, error)
                raise
            finally:
                wait.nodes.discard(client.name)
            self._reporter.tell(Mark.DONE, client.name)
            step, done = TABLE[self._reporter.stage].step, self.done.setdefault(client.name, [])
            if step is not None and step not in done:
                done.append(step)
            return answer

        try:
            return await ask(clients, told)
        finally:
            self.wait = None

    def _waits_for(self, clients: Iterable[AgentClient]) -> Wait:
        step = TABLE[self._reporter.stage].step
        row = policy.TABLE[policy.OF_STEP[step if step is not None else Step.ACQUIRE]]
        names = {client.name for client in clients}
        repeated = row.late is policy.Late.REPEAT
        return Wait(names, self._reporter.elapsed_s, row.deadline_s(self._job.timeouts), repeated)

    def _watching(self, stage: Stage, client: AgentClient) -> AbstractAsyncContextManager[object]:
        if stage not in WATCHED:
            return nullcontext()
        command = self._command(stage)
        return Watching(client, self._reporter, Fence(command.epoch, command.step))

    def _command(self, stage: Stage) -> Command:
        step = TABLE[stage].step
        if step is None:
            raise ValueError(f"{stage} sends no command")
        name, epoch = self._job.transaction_id, self.epoch
        if stage is Stage.COMMIT:
            return CommitCommand(name, epoch, step, self.start_follows)
        if stage is Stage.PURGE:
            return PurgeCommand(name, epoch, step, self._job.settled, self.start_follows)
        return Command(name, epoch, step)

    def _of(self, names: Iterable[str]) -> list[AgentClient]:
        return [self._clients[name] for name in names]


async def _in_time(client: AgentClient, answer: Awaitable[T], patience_s: float) -> T:
    try:
        async with asyncio.timeout(patience_s):
            return await answer
    except TimeoutError as late:
        text = f"no answer within {patience_s:g} s"
        raise Unreachable(Reason.DEADLINE, text, node=client.name) from late


async def _swap(client: AgentClient, command: Command) -> None:
    await client.swap(command)


async def _commit(client: AgentClient, command: Command) -> None:
    await client.commit(command)


async def _purge(client: AgentClient, command: Command) -> None:
    await client.purge(command)


async def _abort(client: AgentClient, command: Command) -> None:
    await client.abort(command)


async def _clean(client: AgentClient, command: Command) -> None:
    await client.clean(command)


_METHODS: Final[dict[Stage, Callable[[AgentClient, Command], Awaitable[None]]]] = {
    Stage.SWAP: _swap,
    Stage.COMMIT: _commit,
    Stage.PURGE: _purge,
    Stage.ABORT: _abort,
    Stage.CLEAN: _clean,
}
