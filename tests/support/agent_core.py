"""One node for tests of the agent's core: a real disk below a temporary directory, a CM that is a
small class, clocks that move only when somebody sleeps.

    node = Node(tmp_path)
    node.start()                        # what a starting agent does: recover, then serve
    node.run(Step.ACQUIRE)
    node.prepare()
    ...
    node.restart()                      # the process dies and a new one recovers

`Disk` of the agent is handed in, so that a test can count, fail or stop at any change.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from gausscert_agent.assembly import Core, Times, assemble
from gausscert_agent.config import AgentConfig, CmSettings, TlsFiles
from gausscert_agent.drivers.conf_file import ConfFile
from gausscert_agent.effects import Given
from gausscert_agent.files import Disk
from gausscert_agent.journal import Journal
from gausscert_agent.journal_codec import Record
from gausscert_agent.ports import Rehearsal
from gausscert_agent.restart import RestartOrders
from gausscert_agent.runner import Done
from gausscert_agent.staging import Material
from gausscert_common import certset
from gausscert_common.bundle import Bundle, FactorFiles
from gausscert_common.errors import NodeFailure
from gausscert_common.findings import Finding
from gausscert_common.model import (
    CmProcess,
    FactorBuild,
    Layout,
    Overlap,
    OverlapRefusal,
    Side,
    SslSwitch,
    SslValue,
)
from gausscert_common.protocol.commands import AcquireCommand, Command, PrepareCommand
from gausscert_common.protocol.state import NodeState
from gausscert_common.protocol.words import RestartScope, SslWish, Step

TX = "tx-00000001"
OTHER_TX = "tx-00000002"
HOLDER = "alice@host:1"

OLD = {name: f"old {name}\n".encode() for name in certset.NAMES}
NEW = {name: f"new {name}\n".encode() for name in certset.NAMES}

OVERLAP = Overlap((OverlapRefusal(Side.NEW, Side.FORMER, "unknown CA"),), unknown="")

FORWARD = (Step.ACQUIRE, Step.PREPARE, Step.STOP, Step.SWAP, Step.START, Step.COMMIT, Step.PURGE)
BACKWARD = (Step.ROLLBACK_STOP, Step.ABORT, Step.ROLLBACK_START, Step.CLEAN)


def bundle(files: dict[str, bytes] | None = None) -> Bundle:
    """A bundle with ready factor files."""
    files = files or NEW
    return Bundle(
        {name: files[name] for name in files if name in certset.BUNDLE_NAMES},
        factor_files=FactorFiles(*(files[name] for name in certset.FACTOR_NAMES)),
    )


@dataclass
class FakeCm:
    """A CM of one node. `fail` names methods that raise once; `calls` has what was asked of it."""

    running: set[str] = field(default_factory=lambda: {"cm_agent", "cm_server"})
    manual: bool = False
    ssl: dict[str, SslValue] = field(default_factory=lambda: {"server": SslValue.ON, "agent": SslValue.ON})
    ctl: bool = False
    build: FactorBuild | None = FactorBuild.RELEASED
    learns: FactorBuild | None = FactorBuild.RELEASED
    """What trying cm_ctl would tell, where `build` is None."""
    calls: list[str] = field(default_factory=list)
    fail: dict[str, Exception] = field(default_factory=dict)
    stop_leaves: set[str] = field(default_factory=set)
    """Processes that survive `cm_ctl stop`."""
    orphans_ended: list[tuple[int, int]] = field(default_factory=list)
    marked_logs: int = 0
    mark_durable: bool = False
    """Whether a power cut would leave `cluster_manual_start` there."""
    undurable: set[str] = field(default_factory=set)
    """Configuration files that a power cut would set back."""
    foreign: set[int] = field(default_factory=set)
    """Pids of cm_ctl processes of somebody else."""
    during: object = None
    """Called with the state of things while a cm_ctl child runs."""

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if name in self.fail:
            raise self.fail.pop(name)

    def has_cm_ctl(self) -> bool:
        return self.ctl

    def encrypt(self, mode, directory: Path, password: str) -> None:
        from gausscert_common import factors

        self._called(f"encrypt {mode}")
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        assert not list(directory.iterdir())
        for kind, body in zip(("cipher", "rand"), factors.write(password), strict=True):
            path = directory / f"{mode}.key.{kind}"
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)  # as cm_ctl leaves them
            os.write(descriptor, body)
            os.close(descriptor)

    def read_ssl(self) -> SslSwitch:
        self._called("read_ssl")
        return SslSwitch(self.ssl["server"], self.ssl["agent"])

    def read_conf(self, component) -> ConfFile | None:
        if self.ssl[component] is SslValue.ABSENT:
            return None
        return ConfFile(f"enable_ssl = {self.ssl[component]}\n".encode(), 0o600, 0, 0)

    def ssl_obstacle(self, component) -> str:
        return ""

    def restore_conf(self, component, before: ConfFile, value: bool) -> bool:
        self._called(f"restore_conf {component}")
        was = SslValue(before.body.split()[-1].decode())
        if self.ssl[component] not in (was, SslValue.ON if value else SslValue.OFF):
            return False
        self.ssl[component] = was
        self.undurable.discard(component)
        return True

    def set_ssl(self, component, value: bool) -> None:
        self._called(f"set_ssl {component} {value}")
        self.ssl[component] = SslValue.ON if value else SslValue.OFF
        self.undurable.add(component)

    def sync_conf(self, component) -> None:
        self._called(f"sync_conf {component}")
        self.undurable.discard(component)

    def stop(self, scope, timeout_s: float, on_start) -> None:
        on_start(4711, 99)
        if callable(self.during):
            self.during()
        self._called(f"stop {scope}")
        self.running = set(self.stop_leaves)
        self.manual = True

    def start(self, scope, timeout_s: float, on_start) -> None:
        on_start(4712, 100)
        self._called(f"start {scope}")
        self.running = {"cm_agent", "cm_server"}
        self.manual = False

    def processes(self) -> tuple[CmProcess, ...]:
        at = datetime(2026, 1, 1, tzinfo=UTC)
        return tuple(CmProcess(name, 100 + number, at) for number, name in enumerate(sorted(self.running)))

    def foreign_cm_ctl(self) -> tuple[CmProcess, ...]:
        at = datetime(2026, 1, 1, tzinfo=UTC)
        return tuple(CmProcess("cm_ctl", pid, at) for pid in sorted(self.foreign))

    def mark_logs(self) -> None:
        self.marked_logs += 1

    def manually_stopped(self) -> bool:
        return self.manual

    def sync_mark(self) -> None:
        if "sync_mark" in self.fail:
            raise self.fail.pop("sync_mark")
        self.mark_durable = self.manual

    def factor_build(self) -> FactorBuild | None:
        return self.build

    def learn_factor_build(self, directory: Path) -> FactorBuild | None:
        self._called("learn_factor_build")
        assert not list(directory.iterdir())
        self.build = self.learns
        return self.build

    def end_orphan(self, pid: int, start_ticks: int) -> None:
        self.orphans_ended.append((pid, start_ticks))


@dataclass
class Clock:
    """Time that passes only while somebody sleeps."""

    now: float = 1_000.0

    def read(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class Judge:
    """Finds what it was told to find."""

    findings: tuple[Finding, ...] = ()

    def __call__(self, files, modes, *, now, threshold_days=90, live=None, build=None) -> tuple[Finding, ...]:
        assert now.tzinfo is not None
        return self.findings


def write_set(directory: Path, files: dict[str, bytes], mode: int = 0o400) -> None:
    """A set as CM's installer leaves it."""
    directory.mkdir(mode=0o700, parents=True)
    directory.chmod(0o700)
    for name, body in files.items():
        path = directory / name
        path.write_bytes(body)
        path.chmod(mode)


def write_linked_set(directory: Path, files: dict[str, bytes]) -> None:
    """A set in the data link layout, as an earlier transaction has left it."""
    directory.mkdir(mode=0o700, parents=True)
    target = f".cm.former.{certset.digest(files)[:32]}"
    write_set(directory / target, files)
    (directory / "..data").symlink_to(target)
    for name in files:
        (directory / name).symlink_to(f"..data/{name}")


def beside(sslcert: Path) -> list[str]:
    """What is kept beside the live set and its links, in either layout. The links that a swap and its way
    back have ready go with the transaction, and are not counted while a stage is there."""
    live = sslcert / "cm"
    target = os.readlink(live / "..data") if (live / "..data").is_symlink() else "..data"
    inside = {path.name for path in live.iterdir() if not path.is_file()} if live.exists() else set()
    found = {path.name for path in sslcert.iterdir()} - {"cm"} | inside - {"..data", target}
    in_flight = any(re.fullmatch(r"\.cm\.[a-z0-9-]+", name) for name in found)
    return sorted(found - {"..data.new", "..data.back"} if in_flight else found)


def below(directory: str | Path) -> Iterator[os.DirEntry[str]]:
    """Everything below a directory, links not followed. Without pathlib, which is not quick."""
    with os.scandir(directory) as found:
        for entry in found:
            yield entry
            if entry.is_dir(follow_symlinks=False):
                yield from below(entry.path)


def snapshot(root: Path) -> dict[str, tuple[int, bytes]]:
    """Every entry below a directory with mode and content; directories and links, too."""
    beginning = len(os.fspath(root)) + 1
    found = {".": (root.lstat().st_mode, b"")}
    for entry in below(root):
        mode = entry.stat(follow_symlinks=False).st_mode
        body = b""
        if stat.S_ISLNK(mode):
            body = os.readlink(entry.path).encode()
        elif stat.S_ISREG(mode):
            body = read(entry.path)
        found[entry.path[beginning:]] = (mode, body)
    return dict(sorted(found.items()))


def live_files(sslcert: Path) -> dict[str, bytes]:
    """The live set by name, as CM sees it: through links where there are any."""
    with os.scandir(sslcert / "cm") as found:
        return {entry.name: read(entry.path) for entry in found if _is_seen(entry)}


def _is_seen(entry: os.DirEntry[str]) -> bool:
    """CM opens fixed names, none of which begins with a dot."""
    return not entry.name.startswith(".") and entry.is_file()


def read(path: str) -> bytes:
    """A whole file."""
    with open(path, "rb", buffering=0) as opened:
        return opened.readall()


class Node:
    """See the module."""

    def __init__(
        self,
        root: Path,
        *,
        live: dict[str, bytes] | None = OLD,
        layout: Layout = Layout.EXCHANGE,
        disk: Disk | None = None,
        cm: FakeCm | None = None,
        retired: int = 2,
        fresh: bool = True,
    ) -> None:
        self.root = root
        self.home = root / "home"
        self.sslcert = self.home / "share" / "sslcert"
        self.state_dir = root / "state"
        if fresh:
            self.sslcert.mkdir(parents=True, mode=0o755)
            self.sslcert.chmod(0o755)
            if live is not None:
                write = write_set if layout is Layout.EXCHANGE else write_linked_set
                write(self.sslcert / "cm", live)
        self.disk = disk
        self.cm = cm or FakeCm()
        self.clock = Clock()
        self.judge = Judge()
        self.rehearsed: list[tuple[dict[str, bytes], dict[str, bytes] | None]] = []
        self.explanation: tuple[Finding, ...] = ()
        """What the rules about the bundle find, where something is wrong with the set."""
        self.rehearsal: tuple[Finding, ...] = ()
        none = root / "none"
        self.config = AgentConfig(
            name="node1",
            cluster="c",
            listen="127.0.0.1:0",
            state_dir=self.state_dir,
            tls=TlsFiles(none, none, none),
            cm=CmSettings(home=self.home, stopped_for_s=2.0),
            retired_generations=retired,
        )
        self.boot = "boot-1 pid:[1] 7"
        self.core: Core | None = None
        self.epoch = 1
        self.transaction_id = TX

    @property
    def runner(self):
        assert self.core is not None
        return self.core.runner

    @property
    def store(self):
        assert self.core is not None
        return self.core.store

    @property
    def shelf(self) -> Path:
        """Where stages and retired sets are."""
        return self.sslcert / "cm" if (self.sslcert / "cm" / "..data").is_symlink() else self.sslcert

    @property
    def state(self) -> NodeState:
        return self.runner.state

    def explain(self, bundle, *, now, carried_crls, build) -> tuple[Finding, ...]:
        return self.explanation

    def _rehearse(self, new, former) -> Rehearsal:
        self.rehearsed.append((new, former))
        return Rehearsal(self.rehearsal, OVERLAP)

    def assemble(self) -> None:
        self.core = assemble(
            self.config,
            self.cm,
            self._rehearse,
            judge=self.judge,
            explain=self.explain,
            times=Times(self.clock.read, self.clock.read, self.clock.sleep),
            disk=self.disk,
            boot=lambda: self.boot,
        )

    def start(self) -> None:
        self.assemble()
        self.runner.recover()

    def stop(self) -> None:
        if self.core is not None:
            self.core.runner.close()
            self.core = None

    def restart(self, disk: Disk | None = None) -> None:
        """The agent ends without a word, and a new one starts."""
        self.stop()
        self.disk = disk
        self.start()

    def run(self, step: Step, *, epoch: int | None = None, tx: str | None = None, **options) -> Done:
        """Any command, with what usually comes with it."""
        tx, epoch = tx or self.transaction_id, epoch or self.epoch
        if step is Step.ACQUIRE:
            command: Command = AcquireCommand(tx, epoch, step, holder=options.pop("holder", HOLDER))
            return self.runner.execute(command, Given(lease_s=options.pop("lease_s", 30.0)), **options)
        if step is Step.PREPARE:
            return self.prepare(tx=tx, epoch=epoch, **options)
        orders = RestartOrders(options.pop("scope", RestartScope.NODE), options.pop("executor", False), 60.0)
        given = Given(orders=orders)
        return self.runner.execute(Command(tx, epoch, step), given, **options)

    def prepare(
        self,
        *,
        tx: str | None = None,
        epoch: int | None = None,
        material: Material | None = None,
        wish: SslWish = SslWish.KEEP,
        expected: str | None = None,
        excluded: tuple[str, ...] = (),
        joins: str = "",
        **options,
    ) -> Done:
        command = PrepareCommand(
            tx or self.transaction_id,
            epoch or self.epoch,
            Step.PREPARE,
            participants=("node1", "node2"),
            expected_live_digest=self.store.live_digest() if expected is None else expected,
            ssl_wish=wish,
            restart=RestartScope.NODE,
            begun_at=self.clock.now,
            excluded=excluded,
            joins=joins,
        )
        return self.runner.execute(command, Given(material=material or Material(bundle())), **options)

    def run_all(self, steps, **options) -> None:
        for step in steps:
            self.run(step, **options)

    def everything(self) -> dict[str, object]:
        """Disk and journal; the lock file left out, for it holds a pid. Of the journal it is the record that
        counts: a starting agent makes the file anew."""
        found: dict[str, object] = dict(snapshot(self.root))
        found.pop("state/lock", None)
        if "state/journal.json" in found:
            found["state/journal.json"] = self.journalled()
        return found

    def journalled(self) -> Record | bytes:
        """What the journal's file says; its bytes if it says nothing."""
        journal = Journal(self.state_dir)
        try:
            journal.load()
        except NodeFailure:
            return (self.state_dir / "journal.json").read_bytes()
        return journal.record


class HookedDisk(Disk):
    """Calls `hook(name of the change)` before every change. Syncs are counted but not carried out:
    processes die in these tests, the machine does not."""

    def __init__(self, hook) -> None:
        self._hook = hook


class NoExchange(Disk):
    """A file system that cannot exchange directories."""

    def exchange(self, directory: int, one: str, other: str) -> None:
        raise OSError(errno.EINVAL, "Invalid argument", one)


SYNCS = ("sync", "sync_data")


def _hooked(name: str):
    real = getattr(Disk, name)

    def change(self, *arguments):
        self._hook(name)
        return None if name in SYNCS else real(self, *arguments)

    return change


CHANGES = tuple(name for name in vars(Disk) if not name.startswith(("_", "read_")))
for _name in CHANGES:
    setattr(HookedDisk, _name, _hooked(_name))


class Fault:
    """A hook that fails with OSError at the n-th change, once; `count` tells how many there were."""

    def __init__(self, at: int = 0) -> None:
        self.at = at
        self.count = 0

    def __call__(self, name: str) -> None:
        self.count += 1
        if self.count == self.at:
            raise OSError(5, f"Input/output error at {name}")
