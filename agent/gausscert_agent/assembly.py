"""Puts the agent's core together."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gausscert_agent.alone import Alone
from gausscert_agent.candidate import CandidateJudge
from gausscert_agent.conf_copies import ConfCopies
from gausscert_agent.drivers.process_list import boot_mark
from gausscert_agent.effects import Effects
from gausscert_agent.examination import Examiner
from gausscert_agent.files import Disk
from gausscert_agent.journal import Journal
from gausscert_agent.judging import explain_bundle, judge_set
from gausscert_agent.lease import Lease
from gausscert_agent.ledger import Ledger
from gausscert_agent.restart import Restarter
from gausscert_agent.runner import Runner
from gausscert_agent.ssl_switch import SslSwitcher
from gausscert_agent.staging import StageBuilder
from gausscert_agent.standalone import Standalone
from gausscert_agent.store import Store
from gausscert_agent.watch import Hub

if TYPE_CHECKING:
    from collections.abc import Callable

    from gausscert_agent.config import AgentConfig
    from gausscert_agent.judging import Explain, Judge
    from gausscert_agent.ports import Cm, Rehearse

DEFAULT_THRESHOLD_DAYS: Final = 90
"""CM's own default of ssl_cert_expire_alert_threshold (facts section 5)."""


@dataclass(frozen=True, slots=True)
class Times:
    """The node's clocks and its way to wait."""

    clock: Callable[[], float] = time.time
    """Seconds since the epoch."""
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True, slots=True)
class Core:
    """What a server needs."""

    runner: Runner
    store: Store
    hub: Hub
    candidates: CandidateJudge


def assemble(
    config: AgentConfig,
    cm: Cm,
    rehearse: Rehearse,
    *,
    judge: Judge = judge_set,
    explain: Explain = explain_bundle,
    threshold_days: Callable[[], int] | None = None,
    times: Times | None = None,
    disk: Disk | None = None,
    journal: Journal | None = None,
    boot: Callable[[], str] = boot_mark,
) -> Core:
    """The core of one agent; nothing is read or written before `Runner.recover`.

    Args:
        config: The agent's configuration.
        cm: CM on this node.
        rehearse: Holds the handshakes with a staged set.
        judge: The rules about a set.
        explain: The rules about a bundle.
        threshold_days: Days before expiry at which a warning is due; None: the configuration's, else 90.
        times: The node's clocks.
        disk: Makes every change to the disk.
        journal: Where it is locked already.
        boot: Names what pids mean something in.
    """
    times = times or Times()
    disk = disk or Disk()
    hub = Hub()
    store = Store(config.cm, disk=disk, clock=times.clock)
    ledger = Ledger(journal or Journal(config.state_dir, disk=disk), hub, times.clock)
    examiner = Examiner(
        cm,
        rehearse=rehearse,
        judge=judge,
        explain=explain,
        clock=times.clock,
        threshold_days=threshold_days or (lambda: config.alert_threshold_days or DEFAULT_THRESHOLD_DAYS),
    )
    alone = Alone(cm, monotonic=times.monotonic, sleep=times.sleep, activity=ledger.activity)
    builder = StageBuilder(store, cm, examiner, alone)
    restarter = _restarter(config, cm, times, ledger, alone)
    keep = config.retired_generations
    switcher = SslSwitcher(cm, ConfCopies(config.state_dir, disk), alone)
    effects = Effects(store, builder, restarter, switcher, activity=ledger.activity, retired_generations=keep)
    standalone = Standalone(ledger, store, builder, restarter, switcher)
    lease = Lease(times.monotonic, times.clock)
    runner = Runner(ledger, store, cm, effects, standalone, lease, boot)
    return Core(runner, store, hub, CandidateJudge(store, cm, examiner))


def _restarter(config: AgentConfig, cm: Cm, times: Times, ledger: Ledger, alone: Alone) -> Restarter:
    return Restarter(
        cm,
        stopped_for_s=config.cm.stopped_for_s,
        monotonic=times.monotonic,
        sleep=times.sleep,
        activity=ledger.activity,
        alone=alone,
    )
