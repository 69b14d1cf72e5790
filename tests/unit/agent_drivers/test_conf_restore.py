"""enable_ssl is set through cm_ctl and put back to the byte; the files' bytes are at no instant anything but
what was before, or what the edit makes of it."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import pytest
from gausscert_agent.alone import Alone
from gausscert_agent.cm import LocalCm
from gausscert_agent.conf_copies import ConfCopies
from gausscert_agent.config import CmSettings
from gausscert_agent.drivers import conf_file
from gausscert_agent.drivers.conf_edit import Parameter, edited, with_newline
from gausscert_agent.drivers.process import Completed
from gausscert_agent.files import Disk
from gausscert_agent.ssl_switch import SslSwitcher
from gausscert_common.errors import InvalidInput, NodeFailure, NodeRefusal, Reason
from gausscert_common.model import SslSwitch, SslValue
from gausscert_common.protocol.state import SslSetting
from gausscert_common.protocol.words import SslWish
from gausscert_sim import conf as sim_conf
from support.agent_core import HookedDisk
from support.odd_confs import EDITABLE, NOT_EDITABLE

TX = "tx-00000001"
ON = SslSetting(server=True, agent=True)


class SimCmCtl:
    """A cm_ctl that knows `view`, and `set` as the simulated CM edits files."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.sets: list[str] = []
        self.spoils = b""
        """Added to the file by `set`."""

    def run(self, argv, *, env, timeout_s, stdin=b"", on_start=None):
        if argv[1] == "view":
            text = f"node:1\nnode :1\nnodeName:db1\ncmDataPath :{self.data}\ncmServer 1:10.0.0.1\nport :1\n"
            return Completed(0, text, "")
        component = "server" if "--server" in argv else "agent"
        name, _, value = argv[-1].partition("=")
        self.sets.append(f"{component} {argv[-1]}")
        path = conf_of(self.data, component)
        sim_conf.edit(path, name, value)
        if self.spoils:
            path.write_bytes(path.read_bytes() + self.spoils)
        return Completed(0, f"cm_ctl: set cm_{component}.conf success.\n", "")


def conf_of(data: Path, component: str) -> Path:
    return data / f"cm_{component}" / f"cm_{component}.conf"


class Bench:
    def __init__(self, root: Path, body: bytes, disk: Disk | None = None) -> None:
        self.home, self.data, self.state = root / "home", root / "data", root / "state"
        (self.home / "bin").mkdir(parents=True)
        (self.home / "bin" / "cluster_static_config").write_bytes(b"1")
        self.state.mkdir(mode=0o700)
        for component in ("server", "agent"):
            path = conf_of(self.data, component)
            path.parent.mkdir(parents=True)
            path.write_bytes(body)
            path.chmod(0o640)
        self.ctl = SimCmCtl(self.data)
        self.use(disk or Disk())

    def use(self, disk: Disk) -> None:
        """A new agent with this disk."""
        self.cm = LocalCm(CmSettings(self.home), self.ctl, disk=disk)
        alone = Alone(self.cm, monotonic=time.monotonic, sleep=time.sleep, activity=lambda text: None)
        self.switcher = SslSwitcher(self.cm, ConfCopies(self.state, disk), alone)

    def files(self) -> dict[str, tuple[bytes, int]]:
        paths = {name: conf_of(self.data, name) for name in ("server", "agent")}
        return {name: (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) for name, path in paths.items()}

    def copies(self) -> list[str]:
        return sorted(path.name for path in self.state.iterdir())


@pytest.mark.parametrize("body", EDITABLE.values(), ids=EDITABLE.keys())
def test_off_and_back_leaves_every_byte_and_the_mode(tmp_path, body):
    bench = Bench(tmp_path, body)
    before = bench.files()
    bench.switcher.require_settable(SslWish.OFF)
    for _ in range(2):
        bench.switcher.apply(SslWish.OFF, TX)
        assert bench.cm.read_ssl() == SslSwitch(SslValue.OFF, SslValue.OFF)
        assert bench.files()["server"][0] == edited(body, Parameter.ENABLE_SSL, "off")
    assert bench.ctl.sets == ["server enable_ssl=off", "agent enable_ssl=off"]
    for _ in range(2):
        bench.switcher.restore(TX, SslWish.OFF, ON)
        assert bench.files() == before
    assert len(bench.ctl.sets) == 2
    bench.switcher.forget()
    assert bench.copies() == []


@pytest.mark.parametrize(("body", "words"), NOT_EDITABLE.values(), ids=NOT_EDITABLE.keys())
def test_what_cannot_be_set_is_refused_before_anything_is_changed(tmp_path, body, words):
    bench = Bench(tmp_path, body)
    before = bench.files()
    with pytest.raises(NodeRefusal, match=words) as caught:
        bench.switcher.require_settable(SslWish.OFF)
    assert caught.value.reason is Reason.NODE_UNFIT
    with pytest.raises(NodeFailure, match=words):
        bench.cm.set_parameter("server", Parameter.ENABLE_SSL, bench.cm.read_ssl().server != "on")
    assert bench.files() == before
    assert bench.ctl.sets == []
    bench.switcher.require_settable(SslWish.KEEP)


def test_a_link_in_place_of_the_file_is_refused(tmp_path):
    bench = Bench(tmp_path, EDITABLE["plain"])
    path = conf_of(bench.data, "agent")
    path.rename(tmp_path / "elsewhere.conf")
    path.symlink_to(tmp_path / "elsewhere.conf")
    with pytest.raises(NodeFailure) as caught:
        bench.switcher.require_settable(SslWish.OFF)
    assert caught.value.reason is Reason.CONF_FAILED
    assert path.is_symlink()


def test_a_cm_ctl_that_changes_more_than_it_was_told_is_found_out_and_undone(tmp_path, caplog):
    bench = Bench(tmp_path, EDITABLE["plain"])
    before = bench.files()
    bench.ctl.spoils = b"surprise = 1\n"
    with pytest.raises(NodeFailure, match="leave the rest"):
        bench.switcher.apply(SslWish.OFF, TX)
    bench.ctl.spoils = b""
    bench.switcher.restore(TX, SslWish.OFF, ON)
    assert bench.cm.read_ssl() == SslSwitch(SslValue.ON, SslValue.ON)
    assert bench.files()["agent"] == before["agent"]
    assert "somebody has changed the file" in caplog.text


def test_a_file_that_an_operator_changed_meanwhile_keeps_his_change(tmp_path, caplog):
    bench = Bench(tmp_path, EDITABLE["trailing comment"])
    bench.switcher.apply(SslWish.OFF, TX)
    path = conf_of(bench.data, "server")
    path.write_bytes(path.read_bytes() + b"thread_count = 7\n")
    bench.switcher.restore(TX, SslWish.OFF, ON)
    after = path.read_bytes()
    assert b"enable_ssl = on   #" in after
    assert after.endswith(b"thread_count = 7\n")
    (record,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert record.file == "cm_server.conf"


def test_a_damaged_copy_blocks_no_rollback(tmp_path, caplog):
    bench = Bench(tmp_path, EDITABLE["plain"])
    bench.switcher.apply(SslWish.OFF, TX)
    copy = bench.state / f"conf.server.{TX}"
    copy.write_bytes(b"{")
    bench.switcher.restore(TX, SslWish.OFF, ON)
    assert bench.cm.read_ssl() == SslSwitch(SslValue.ON, SslValue.ON)
    assert "damaged" in caplog.text


def spoil(path: Path, how: str) -> None:
    if how == "a second line":
        path.write_bytes(path.read_bytes() + b"enable_ssl = on\n")
    elif how == "a NUL byte":
        path.write_bytes(path.read_bytes() + b"#\0\n")
    elif how == "far too long":
        path.write_bytes(b"enable_ssl = off\n" + b"#" * conf_file.MAX_BYTES)
    else:
        path.rename(path.with_name("elsewhere"))
        path.symlink_to("elsewhere")


@pytest.mark.parametrize("how", ["a second line", "a NUL byte", "far too long", "a link"])
def test_what_somebody_did_to_a_file_meanwhile_blocks_no_rollback(tmp_path, caplog, how):
    bench = Bench(tmp_path, EDITABLE["plain"])
    before = bench.files()
    bench.switcher.apply(SslWish.OFF, TX)
    path = conf_of(bench.data, "server")
    spoil(path, how)
    spoilt = path.read_bytes()
    bench.switcher.restore(TX, SslWish.OFF, ON)
    assert path.read_bytes() == spoilt
    assert bench.files()["agent"] == before["agent"]
    assert "cannot be restored" in caplog.text


def test_copies_are_private_and_outside_of_a_transaction_there_are_none(tmp_path):
    bench = Bench(tmp_path, EDITABLE["plain"])
    bench.switcher.apply(SslWish.OFF)
    assert bench.copies() == []
    bench.switcher.apply(SslWish.ON, TX)
    assert bench.copies() == [f"conf.agent.{TX}", f"conf.server.{TX}"]
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in bench.state.iterdir())


@pytest.mark.parametrize("body", [EDITABLE["plain"], EDITABLE["no final newline"]])
@pytest.mark.parametrize("restarts", [False, True], ids=["goes on", "restarts"])
def test_a_failure_of_any_change_is_mended_by_a_repeat_and_by_the_rollback(tmp_path, body, restarts):
    """Each change of apply and restore in turn; the files are whole at every instant."""
    at = failures = 0
    while True:
        at += 1
        failed, reached = fail_once(tmp_path / str(at), body, at, restarts=restarts)
        failures += failed
        if not reached:
            break
    assert failures == at - 1 > 20


def fail_once(root: Path, body: bytes, at: int, *, restarts: bool) -> tuple[int, bool]:
    """Apply and restore with the n-th change failing; how many failed, and whether there were so many."""
    whole = {body, with_newline(body), edited(body, Parameter.ENABLE_SSL, "off")}
    bench = Bench(root, body)
    before = bench.files()
    changes: list[str] = []

    def hook(name: str) -> None:
        assert {content for content, _ in bench.files().values()} <= whole
        changes.append(name)
        if len(changes) == at:
            raise OSError(5, f"Input/output error at {name}")

    disk = HookedDisk(hook)
    bench.use(disk)
    failed = 0
    for act in ("apply", "restore", "look"):
        for _ in range(2):
            try:
                if act == "apply":
                    bench.switcher.apply(SslWish.OFF, TX)
                if act == "restore":
                    bench.switcher.restore(TX, SslWish.OFF, ON)
                break
            except NodeFailure:
                failed += 1
                if restarts:
                    bench.use(disk)
    assert bench.files() == before
    return failed, len(changes) >= at


def test_swapping_again_after_a_crash_keeps_the_copy_of_the_first_time(tmp_path):
    bench = Bench(tmp_path, EDITABLE["plain"])
    before = bench.files()
    bench.switcher.apply(SslWish.OFF, TX)
    conf_of(bench.data, "server").write_bytes(EDITABLE["plain"].replace(b"= on", b"= yes"))
    bench.switcher.apply(SslWish.OFF, TX)
    bench.switcher.restore(TX, SslWish.OFF, ON)
    assert bench.files()["agent"] == before["agent"]
    assert bench.cm.read_ssl() == SslSwitch(SslValue.ON, SslValue.ON)


@pytest.mark.parametrize(
    ("parameter", "value"), [(Parameter.ALERT_THRESHOLD, 30), (Parameter.CHECK_INTERVAL, 3600)]
)
def test_the_expiry_parameters_are_read_changed_and_put_back_too(tmp_path, parameter, value):
    body = EDITABLE["plain"] + b"ssl_cert_expire_alert_threshold = 90\nssl_cert_expire_check_interval = 86400"
    bench = Bench(tmp_path, body)
    before = bench.cm.read_conf("server")
    bench.cm.set_parameter("server", parameter, value)
    assert bench.files()["server"][0] == edited(body, parameter, str(value))
    conf = bench.cm.conf("server")
    assert value in (conf.alert_threshold_days, conf.check_interval_s)
    with pytest.raises(InvalidInput):
        bench.cm.set_parameter("server", parameter, -1)
    assert bench.ctl.sets == [f"server {parameter}={value}"]
    assert not bench.cm.restore_parameter("server", parameter, before, value + 1)
    assert bench.cm.restore_parameter("server", parameter, before, value)
    assert bench.files()["server"] == bench.files()["agent"]


def test_a_file_that_is_far_too_long_is_a_failure(tmp_path):
    bench = Bench(tmp_path, b"#" * (conf_file.MAX_BYTES + 1))
    with pytest.raises(NodeFailure, match="at most 512 KiB") as caught:
        bench.cm.read_conf("server")
    assert caught.value.file == os.fspath(conf_of(bench.data, "server"))
