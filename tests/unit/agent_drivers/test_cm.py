from __future__ import annotations

import errno
import os
import subprocess
import time
from pathlib import Path

import pytest
from gausscert_agent.cm import LocalCm
from gausscert_agent.config import CmSettings
from gausscert_agent.drivers.process import Completed
from gausscert_agent.drivers.process_list import read_stat, start_ticks
from gausscert_agent.files import Disk
from gausscert_common.errors import NodeFailure, Reason
from gausscert_common.model import FactorBuild, SslSwitch, SslValue
from gausscert_common.protocol.words import RestartScope


class FakeCmCtl:
    """A cm_ctl of node 1 of a cluster: knows `view` and `set`, and remembers what it was asked.

    `set_does` is what `set` makes of a configuration file; None leaves it as it is.
    """

    def __init__(self, data: Path, set_does=None) -> None:
        self.data = data
        self.set_does = set_does
        self.asked: list[list[str]] = []
        self.view = f"node:1\nnode :1\nnodeName:db1\ncmDataPath :{data}\ncmServer 1:10.0.0.1\nport :5000\n"

    def run(self, argv, *, env, timeout_s, stdin=b"", on_start=None):
        self.asked.append(list(argv[1:]))
        if argv[1] == "view":
            return Completed(0, self.view, "")
        if argv[1] == "--version":
            return Completed(0, "cm_ctl 7.0.0\n", "")
        if argv[1] == "set":
            return self._set("server" if "--server" in argv else "agent", argv[-1].partition("=")[2])
        return Completed(0, f"cm_ctl: {argv[1]} node successfully.", "")

    def _set(self, component: str, value: str) -> Completed:
        path = self.data / f"cm_{component}" / f"cm_{component}.conf"
        if self.set_does is not None:
            path.write_text(self.set_does(path.read_text(), value))
        return Completed(0, f"cm_ctl: set cm_{component}.conf success.\n", "")


def edited(text: str, value: str) -> str:
    return "\n".join(f"enable_ssl = {value}" if "enable_ssl" in line else line for line in text.split("\n"))


@pytest.fixture
def home(tmp_path):
    home = tmp_path / "home"
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "cluster_static_config").write_bytes(b"1")
    (home / "share" / "sslcert" / "cm").mkdir(parents=True)
    return home


@pytest.fixture
def data(tmp_path):
    data = tmp_path / "data"
    for component in ("server", "agent"):
        (data / f"cm_{component}").mkdir(parents=True)
        (data / f"cm_{component}" / f"cm_{component}.conf").write_text("a = 1\nenable_ssl = on\nb = 2\n")
    return data


def write_conf(data: Path, component: str, text: str) -> Path:
    path = data / f"cm_{component}" / f"cm_{component}.conf"
    path.write_text(text)
    return path


def test_the_data_path_comes_from_view_and_the_values_from_the_files(home, data):
    write_conf(data, "agent", "enable_ssl = off\n")
    cm = LocalCm(CmSettings(home), FakeCmCtl(data))
    assert cm.read_ssl() == SslSwitch(SslValue.ON, SslValue.OFF)


def test_a_configured_data_path_needs_no_cm_ctl(home, data):
    ctl = FakeCmCtl(Path("/elsewhere"))
    assert LocalCm(CmSettings(home, data_path=data), ctl).read_ssl().server is SslValue.ON
    assert ctl.asked == []


def test_view_is_asked_again_only_when_the_static_config_was_replaced(home, data):
    ctl = FakeCmCtl(data)
    cm = LocalCm(CmSettings(home), ctl)
    cm.topology()
    cm.topology()
    assert ctl.asked == [["view"]]
    (home / "bin" / "cluster_static_config").write_bytes(b"22")
    cm.topology()
    assert ctl.asked == [["view"], ["view"]]


def test_a_command_asks_view_again_although_it_failed_a_moment_ago(home, data):
    ctl = FakeCmCtl(data)
    good, ctl.view = ctl.view, "nothing"
    cm = LocalCm(CmSettings(home), ctl)
    for look in (cm.topology, cm.look_at_ssl, cm.look_at_ssl):
        with pytest.raises(NodeFailure):
            look()
    assert ctl.asked == [["view"]]
    ctl.view = good
    assert cm.read_ssl() == SslSwitch(SslValue.ON, SslValue.ON)
    cm.stop(RestartScope.NODE, 20, lambda pid, ticks: None)
    assert [asked[0] for asked in ctl.asked] == ["view", "view", "stop"]


def test_a_node_without_cm_server_uses_the_data_path_that_all_others_have(home, data):
    ctl = FakeCmCtl(data)
    ctl.view = f"node:2\nnode :1\ncmDataPath :{data}\nnode :2\nnodeName:db2\n"
    assert LocalCm(CmSettings(home), ctl).conf_path("agent") == data / "cm_agent" / "cm_agent.conf"


@pytest.mark.parametrize("others", ["/nowhere", ""])
def test_a_data_path_that_nothing_tells_is_a_failure_that_names_the_setting(home, data, others):
    ctl = FakeCmCtl(data)
    ctl.view = f"node:2\nnode :1\ncmDataPath :{others}\nnode :2\nnodeName:db2\n"
    with pytest.raises(NodeFailure) as caught:
        LocalCm(CmSettings(home), ctl).read_ssl()
    assert caught.value.reason is Reason.CONF_FAILED
    assert "cm.data_path" in caught.value.remedy


def test_set_ssl_has_cm_ctl_change_the_file_on_this_node(home, data):
    ctl = FakeCmCtl(data, edited)
    cm = LocalCm(CmSettings(home), ctl)
    cm.set_ssl("server", False)
    assert ctl.asked[-1] == ["set", "--param", "--server", "-n", "1", "-k", "enable_ssl=off"]
    assert cm.read_ssl() == SslSwitch(SslValue.OFF, SslValue.ON)


def test_set_ssl_runs_nothing_where_the_file_says_so_already(home, data):
    ctl = FakeCmCtl(data, edited)
    LocalCm(CmSettings(home), ctl).set_ssl("agent", True)
    assert ctl.asked == [["view"]]


def test_a_success_text_without_a_change_in_the_file_is_a_failure(home, data):
    cm = LocalCm(CmSettings(home), FakeCmCtl(data, None))
    with pytest.raises(NodeFailure) as caught:
        cm.set_ssl("server", False)
    assert caught.value.reason is Reason.CONF_FAILED
    assert "did not set enable_ssl to off" in caught.value.message
    assert caught.value.file.endswith("cm_server.conf")


@pytest.mark.parametrize(
    ("text", "words"), [("# enable_ssl = on\n", "in a comment only"), ("a = 1\n", "no enable_ssl line")]
)
def test_a_line_that_cm_ctl_cannot_set_is_refused_before_it_is_tried(home, data, text, words):
    path = write_conf(data, "agent", text)
    ctl = FakeCmCtl(data, edited)
    with pytest.raises(NodeFailure, match=words) as caught:
        LocalCm(CmSettings(home), ctl).set_ssl("agent", True)
    assert caught.value.reason is Reason.CONF_FAILED
    assert path.read_text() == text
    assert ctl.asked == [["view"]]


def test_a_file_that_is_not_there_is_refused(home, data):
    (data / "cm_server" / "cm_server.conf").unlink()
    with pytest.raises(NodeFailure, match="no such file"):
        LocalCm(CmSettings(home), FakeCmCtl(data, edited)).set_ssl("server", True)


def test_a_configuration_file_becomes_durable_with_its_directory(home, data, monkeypatch):
    synced = []
    real = os.fsync

    def fsync(descriptor):
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    LocalCm(CmSettings(home), FakeCmCtl(data)).sync_conf("agent")
    assert synced == [str(data / "cm_agent" / "cm_agent.conf"), str(data / "cm_agent")]


def test_a_configuration_file_that_cannot_be_made_durable_is_a_failure_that_names_it(home, data, monkeypatch):
    def fsync(descriptor):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(NodeFailure, match="durable") as caught:
        LocalCm(CmSettings(home), FakeCmCtl(data)).sync_conf("server")
    assert caught.value.reason is Reason.CONF_FAILED
    assert caught.value.file == str(data / "cm_server" / "cm_server.conf")


def test_stop_and_start_name_the_own_node(home, data):
    ctl = FakeCmCtl(data)
    cm = LocalCm(CmSettings(home), ctl)
    cm.stop(RestartScope.NODE, 20, lambda pid, ticks: None)
    cm.start(RestartScope.NODE, 20, lambda pid, ticks: None)
    assert [asked[:3] for asked in ctl.asked[1:]] == [["stop", "-n", "1"], ["start", "-n", "1"]]


def test_a_view_that_does_not_tell_the_own_node_stops_nothing(home, data):
    ctl = FakeCmCtl(data)
    ctl.view = "nodeCount:1\nnode:0\nnode :0\n"
    with pytest.raises(NodeFailure):
        LocalCm(CmSettings(home), ctl).stop(RestartScope.NODE, 20, lambda pid, ticks: None)
    assert ctl.asked == [["view"]]


def test_manually_stopped_is_the_presence_of_a_file(home, data):
    cm = LocalCm(CmSettings(home), FakeCmCtl(data))
    assert not cm.manually_stopped()
    (home / "bin" / "cluster_manual_start").touch()
    assert cm.manually_stopped()


@pytest.mark.parametrize(
    ("cipher", "rand", "build"),
    [(56, 24, FactorBuild.RELEASED), (104, 40, FactorBuild.LIBPQ_OFF), (56, 40, None), (0, 0, None)],
)
def test_the_factor_build_is_told_by_the_live_files(home, data, cipher, rand, build):
    folder = home / "share" / "sslcert" / "cm"
    (folder / "client.key.cipher").write_bytes(bytes(cipher))
    (folder / "client.key.rand").write_bytes(bytes(rand))
    assert LocalCm(CmSettings(home), FakeCmCtl(data)).factor_build() is build


def test_without_factor_files_no_build_is_told(home, data):
    assert LocalCm(CmSettings(home), FakeCmCtl(data)).factor_build() is None


def script(home: Path, name: str) -> Path:
    path = home / "bin" / name
    path.write_text("#!/bin/sh\necho started\nread wait\n")
    path.chmod(0o700)
    return path


def started(argv) -> subprocess.Popen[bytes]:
    child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
    assert child.stdout.readline() == b"started\n"
    return child


def test_somebody_elses_cm_ctl_is_told_from_ours(home, data):
    cm = LocalCm(CmSettings(home), FakeCmCtl(data))
    path = script(home, "cm_ctl")
    # A child of a child is somebody else's as far as this process can tell.
    with started([path]) as ours, started(["/bin/sh", "-c", f"{path}; true"]) as shell:
        assert {process.name for process in cm.processes()} == {"cm_ctl"}
        assert len(cm.processes()) == 2
        (foreign,) = cm.foreign_cm_ctl()
        assert foreign.pid not in (ours.pid, shell.pid)
        for child in (ours, shell):
            child.stdin.close()
    assert cm.processes() == ()


def test_an_orphan_is_ended(home, data):
    cm = LocalCm(CmSettings(home), FakeCmCtl(data))
    with started([script(home, "cm_ctl")]) as orphan:
        cm.end_orphan(orphan.pid, start_ticks(orphan.pid))
        stat = read_stat(orphan.pid)
        assert stat is None or not stat.runs


def test_a_process_with_other_start_ticks_is_no_orphan_of_ours(home, data):
    with started([script(home, "cm_ctl")]) as other:
        LocalCm(CmSettings(home), FakeCmCtl(data)).end_orphan(other.pid, start_ticks(other.pid) - 1)
        time.sleep(0.05)
        assert read_stat(other.pid).runs
        other.stdin.close()


def test_a_pid_that_is_gone_is_no_orphan(home, data):
    LocalCm(CmSettings(home), FakeCmCtl(data)).end_orphan(2**22 + 1, 5)


class Synced(Disk):
    """Remembers what was synced."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def sync(self, descriptor: int) -> None:
        self.names.append(os.readlink(f"/proc/self/fd/{descriptor}").rpartition("/")[2])
        super().sync(descriptor)


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("linked", [True, False])
def test_the_mark_of_a_stop_or_its_absence_is_made_durable_with_its_directory(home, there, linked):
    if linked:
        (home / "bin").rename(home / "bin-7.0")
        (home / "bin").symlink_to("bin-7.0")
    if there:
        (home / "bin" / "cluster_manual_start").write_text("1")
    disk = Synced()
    LocalCm(CmSettings(home=home), disk=disk).sync_mark()
    assert disk.names == [*(["cluster_manual_start"] if there else []), "bin-7.0" if linked else "bin"]


def test_a_mark_that_cannot_be_made_durable_is_a_failure_that_names_it(home):
    (home / "bin" / "cluster_manual_start").symlink_to("elsewhere")
    with pytest.raises(NodeFailure, match="cluster_manual_start") as caught:
        LocalCm(CmSettings(home=home), disk=Synced()).sync_mark()
    assert caught.value.reason is Reason.STORE_FAILED
