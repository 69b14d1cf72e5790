"""One visit to a cluster: questions first, then perhaps a transaction that the operator can turn back."""

from __future__ import annotations

import asyncio
import signal
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final, Self, TypeVar

from gausscert_coordinator import own_credential
from gausscert_coordinator.cli import tables
from gausscert_coordinator.cli.layout import cell
from gausscert_coordinator.cli.presses import Presses
from gausscert_coordinator.interrupt import Interrupt, answer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

    from gausscert_common.findings import Finding

    from gausscert_coordinator.cli.ports import Cluster
    from gausscert_coordinator.cli.settings import Invocation
    from gausscert_coordinator.report import Progress, Result

T = TypeVar("T")

_IGNORED: Final = (signal.SIGHUP, signal.SIGTSTP, signal.SIGTTOU)
"""While a transaction runs."""


class Session:
    """An open cluster. Its event loop stands still between questions, so the operator can be asked."""

    def __init__(self, invocation: Invocation) -> None:
        self._invocation = invocation
        self._runner = asyncio.Runner()
        self._opened: AbstractAsyncContextManager[Cluster] | None = None
        self._cluster: Cluster | None = None
        self.nodes: tuple[str, ...] = ()
        """Of the inventory."""
        self.warnings: tuple[Finding, ...] = ()
        """About the caller's own credential; told already."""

    def __enter__(self) -> Self:
        self._runner.__enter__()
        try:
            inventory = self._invocation.inventory()
            self.warnings = own_credential.findings(inventory)
            self._warn()
            self.nodes = tuple(node.name for node in inventory.nodes)
            self._opened = self._invocation.open_cluster(inventory)
            self._cluster = self._runner.run(self._opened.__aenter__())
        except BaseException:
            self._runner.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        raised: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if self._opened is not None:
                self._runner.run(_leave(self._opened))
        finally:
            self._runner.close()

    def ask(self, question: Callable[[Cluster], Awaitable[T]]) -> T:
        """Ask the cluster something and wait for the answer."""
        return self._runner.run(self._asked(question))

    def carry_out(
        self,
        transaction: Callable[[Cluster, Callable[[Progress], None], Interrupt], Awaitable[Result]],
        nodes: tuple[str, ...],
    ) -> Result:
        """Carry out a transaction, shown as it goes; Ctrl-C and SIGTERM turn it back."""
        return self._runner.run(self._carried_out(transaction, nodes))

    async def _asked(self, question: Callable[[Cluster], Awaitable[T]]) -> T:
        return await question(self._open())

    async def _carried_out(
        self,
        transaction: Callable[[Cluster, Callable[[Progress], None], Interrupt], Awaitable[Result]],
        nodes: tuple[str, ...],
    ) -> Result:
        interrupt = Interrupt()
        self._invocation.transaction_begun = True
        ask = partial(self._ask_to_stop, interrupt)
        with (
            self._invocation.render.progress(nodes) as watcher,
            _signals_turn_back(interrupt, ask, self._invocation.clock),
        ):
            return await transaction(self._open(), watcher, interrupt)

    def _ask_to_stop(self, interrupt: Interrupt) -> None:
        """The engine answers; before there is one, between two and after the last, nobody else would."""
        if not interrupt.request():
            said = answer(interrupt.count, ended=interrupt.ended)
            self._invocation.render.important(cell(said))

    def _warn(self) -> None:
        if self.warnings:
            render = self._invocation.render
            render.note(tables.findings(self.warnings, render.err_width, about="you"))

    def _open(self) -> Cluster:
        if self._cluster is None:
            raise RuntimeError("the session is not open")
        return self._cluster


async def _leave(opened: AbstractAsyncContextManager[Cluster]) -> None:
    await opened.__aexit__(None, None, None)


@contextmanager
def _signals_turn_back(
    interrupt: Interrupt, ask: Callable[[], None], clock: Callable[[], float]
) -> Iterator[None]:
    """What an interruption does at that moment is the engine's to say; it tells the watcher.

    A closed terminal is no wish to stop: the transaction goes on without anybody to see it. Nor does it stand
    still, perhaps with CM down, for a Ctrl-Z or for `stty tostop` in the background.
    """
    loop = asyncio.get_running_loop()

    def terminate() -> None:
        # Service managers repeat SIGTERM; only a person at the keyboard may insist until abandoned.
        if not interrupt.requested:
            ask()

    loop.add_signal_handler(signal.SIGINT, Presses(ask, clock).pressed)
    loop.add_signal_handler(signal.SIGTERM, terminate)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in _IGNORED}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        loop.remove_signal_handler(signal.SIGTERM)
        loop.remove_signal_handler(signal.SIGINT)
