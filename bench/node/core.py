"""The agent's real core in this process, on a real disk, over a CM that does nothing."""

from __future__ import annotations

import errno
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from gausscert_agent.assembly import assemble
from gausscert_agent.config import AgentConfig, CmSettings, TlsFiles
from gausscert_agent.drivers.overlap import hold
from gausscert_agent.effects import Given
from gausscert_agent.files import Disk
from gausscert_agent.restart import RestartOrders
from gausscert_agent.staging import Material as Staged
from gausscert_common.model import CmProcess, FactorBuild, Layout, SslSwitch, SslValue
from gausscert_common.protocol.commands import AcquireCommand, Command, PrepareCommand
from gausscert_common.protocol.words import RestartScope, SslWish, Step

from bench.node import material

if TYPE_CHECKING:
    from collections.abc import Callable

    from gausscert_agent.drivers.conf_file import ConfFile
    from gausscert_agent.ports import OnStart

    from bench.node.material import Material

NAME = "n1"
STEPS = (Step.ACQUIRE, Step.PREPARE, Step.STOP, Step.SWAP, Step.START, Step.COMMIT, Step.PURGE)


class IdleCm:
    """`ports.Cm` that costs nothing: what cm_ctl needs is no figure of ours."""

    def __init__(self) -> None:
        self._running = True

    def encrypt(self, mode: Literal["server", "client"], directory: Path, password: str) -> None:
        """Never called: the bundles bring their factor files."""
        raise NotImplementedError

    def has_cm_ctl(self) -> bool:
        """There is none."""
        return False

    def read_ssl(self) -> SslSwitch:
        """On."""
        return SslSwitch(SslValue.ON, SslValue.ON)

    def read_conf(self, component: Literal["server", "agent"]) -> ConfFile | None:
        """Never called: nothing is wished."""
        raise NotImplementedError

    def ssl_obstacle(self, component: Literal["server", "agent"]) -> str:
        """Never called: nothing is wished."""
        raise NotImplementedError

    def restore_conf(self, component: Literal["server", "agent"], before: ConfFile, value: bool) -> bool:
        """Never called: nothing is wished."""
        raise NotImplementedError

    def learn_factor_build(self, directory: Path) -> FactorBuild | None:
        """Never called: it is known."""
        raise NotImplementedError

    def set_ssl(self, component: Literal["server", "agent"], value: bool) -> None:
        """Never called: nothing is wished."""
        raise NotImplementedError

    def sync_conf(self, component: Literal["server", "agent"]) -> None:
        """Never called: nothing is wished."""
        raise NotImplementedError

    def stop(self, scope: RestartScope, timeout_s: float, on_start: OnStart) -> None:
        """At once, and as journalled as a real one."""
        del scope, timeout_s
        on_start(1, 1)
        self._running = False

    def start(self, scope: RestartScope, timeout_s: float, on_start: OnStart) -> None:
        """At once."""
        del scope, timeout_s
        on_start(1, 1)
        self._running = True

    def processes(self) -> tuple[CmProcess, ...]:
        """What runs."""
        at = datetime(2026, 1, 1, tzinfo=UTC)
        return (CmProcess("cm_agent", 1, at),) if self._running else ()

    def foreign_cm_ctl(self) -> tuple[CmProcess, ...]:
        """None: nobody else is on this node."""
        return ()

    def mark_logs(self) -> None:
        """There are no logs."""

    def manually_stopped(self) -> bool:
        """While it is stopped."""
        return not self._running

    def sync_mark(self) -> None:
        """There is no file behind it."""

    def factor_build(self) -> FactorBuild | None:
        """That of the material."""
        return FactorBuild.RELEASED

    def end_orphan(self, pid: int, start_ticks: int) -> None:
        """Never called: no agent dies here."""
        raise NotImplementedError


class NoExchange(Disk):
    """A file system that cannot exchange directories, as FUSE and NFS answer."""

    def exchange(self, directory: int, one: str, other: str) -> None:
        """EINVAL."""
        del directory
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), one, None, other)


class CoreNode:
    """One node.

    Args:
        root: An empty directory.
        pair: Two sets; the first one is live to begin with.
        layout: How sets are swapped here.
    """

    def __init__(self, root: Path, pair: tuple[Material, Material], layout: Layout) -> None:
        self.home = root / "home"
        self.pair = pair
        self.layout = layout
        self._next = 1
        self._number = 0
        material.install(self.home / "share" / "sslcert" / "cm", pair[0])
        none = root / "none"
        config = AgentConfig(
            name=NAME,
            cluster="bench",
            listen="127.0.0.1:0",
            state_dir=root / "state",
            tls=TlsFiles(none, none, none),
            cm=CmSettings(home=self.home, stopped_for_s=0.0),
        )
        disk = Disk() if layout is Layout.EXCHANGE else NoExchange()
        self.core = assemble(config, IdleCm(), hold, disk=disk)
        self.core.runner.recover()

    def close(self) -> None:
        """Give the state directory back."""
        self.core.runner.close()

    def transaction(self, around: Callable[[Step, Callable[[], object]], None]) -> None:
        """One replacement from Acquire to Purge.

        Args:
            around: Called with each step and what carries it out.
        """
        self._number += 1
        for step in STEPS:
            around(step, self._doing(step))
        self._next = 1 - self._next
        live = self.core.store.read_live()
        assert live is not None
        assert live.files == self.pair[1 - self._next].files, "the transaction did not replace the set"

    def _doing(self, step: Step) -> Callable[[], object]:
        transaction_id = f"tx-{self._number:08}"
        if step is Step.ACQUIRE:
            acquire = AcquireCommand(transaction_id, self._number, step, holder="bench@here:1")
            return lambda: self.core.runner.execute(acquire, Given(lease_s=30.0))
        if step is Step.PREPARE:
            return self._preparing(transaction_id)
        orders = RestartOrders(RestartScope.NODE, executor=False, timeout_s=60.0)
        command = Command(transaction_id, self._number, step)
        return lambda: self.core.runner.execute(command, Given(orders=orders))

    def _preparing(self, transaction_id: str) -> Callable[[], object]:
        command = PrepareCommand(
            transaction_id,
            self._number,
            Step.PREPARE,
            participants=(NAME, "n2", "n3"),
            expected_live_digest=self.core.store.live_digest(),
            ssl_wish=SslWish.KEEP,
            restart=RestartScope.NODE,
            begun_at=0.0,
        )
        given = Given(material=Staged(self.pair[self._next].bundle))
        return lambda: self.core.runner.execute(command, given)
