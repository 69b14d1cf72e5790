from __future__ import annotations

import threading
from pathlib import Path

import pytest
from gausscert_agent.config import CmSettings
from gausscert_agent.drivers.cm_ctl import CmCtl, environment, own_timeout_s
from gausscert_agent.drivers.process import Completed
from gausscert_common.errors import NodeFailure, Reason
from gausscert_common.protocol.words import RestartScope

PASSWORD = "Gauss#9Test"


class FakeRunner:
    """Answers every command with one text and remembers how it was asked."""

    def __init__(self, text: str = "", code: int = 0) -> None:
        self.completed = Completed(code, text, "")
        self.argv: list[str] = []
        self.env: dict[str, str] = {}
        self.timeout_s = 0.0
        self.stdin = b""

    def run(self, argv, *, env, timeout_s, stdin=b"", on_start=None):
        self.argv, self.env, self.timeout_s, self.stdin = list(argv), dict(env), timeout_s, stdin
        if on_start is not None:
            on_start(4711, 99)
        return self.completed


class FailingRunner:
    """Never gets anything to run to its end."""

    def run(self, argv, **_):
        raise NodeFailure(Reason.CM_CTL_TIMEOUT, "did not end")


def ctl(runner, **settings) -> CmCtl:
    return CmCtl(CmSettings(home=Path("/app"), **settings), runner)


def nothing(pid: int, ticks: int) -> None:
    pass


def test_encrypt_types_the_password_twice_and_shows_it_nowhere_else():
    runner = FakeRunner("cm_ctl: encrypt success.\n")
    ctl(runner).encrypt("server", "/stage", PASSWORD)
    assert runner.argv == ["/app/bin/cm_ctl", "encrypt", "-M", "server", "-D", "/stage"]
    assert runner.stdin == f"{PASSWORD}\n{PASSWORD}\n".encode()
    assert PASSWORD not in str(runner.env)


@pytest.mark.parametrize("text", ["cm_ctl: encrypt fail.", "", "cm_ctl: two passwords do not match!"])
def test_encrypt_without_its_success_text_is_a_failure_even_with_exit_code_0(text):
    with pytest.raises(NodeFailure) as caught:
        ctl(FakeRunner(text)).encrypt("client", "/stage", PASSWORD)
    assert caught.value.reason is Reason.CM_CTL_FAILED
    assert PASSWORD not in str(caught.value)
    assert "encrypt -M client" in caught.value.message


def test_the_environment_is_small_and_what_was_configured_wins(monkeypatch):
    monkeypatch.setenv("SECRET", "x")
    settings = CmSettings(
        Path("/app"), log_path=Path("/log"), environment={"PGHOST": "/run/pg", "LANG": "en_US.UTF-8"}
    )
    variables = environment(settings)
    assert variables["GAUSSHOME"] == "/app"
    assert variables["GAUSSLOG"] == "/log"
    assert variables["PATH"].startswith("/app/bin:")
    assert variables["LD_LIBRARY_PATH"] == "/app/lib"
    assert variables["PGHOST"] == "/run/pg"
    assert variables["LANG"] == "en_US.UTF-8"
    assert set(variables) == {
        *("GAUSSHOME", "GAUSSLOG", "PATH", "LD_LIBRARY_PATH", "HOME", "USER", "LOGNAME", "LANG", "PGHOST")
    }


def test_without_a_log_path_gausslog_is_left_out():
    assert "GAUSSLOG" not in environment(CmSettings(Path("/app")))


def test_set_names_its_own_node_and_quotes_nothing():
    runner = FakeRunner("cm_ctl: set cm_agent.conf success.\n")
    ctl(runner).set_parameter("agent", 3, "enable_ssl", "on")
    assert runner.argv[1:] == ["set", "--param", "--agent", "-n", "3", "-k", "enable_ssl=on"]


def test_a_success_text_of_the_other_file_does_not_count():
    said = FakeRunner("cm_ctl: set cm_agent.conf success.\n")
    with pytest.raises(NodeFailure):
        ctl(said).set_parameter("server", 3, "enable_ssl", "off")


def test_stop_of_the_cluster_names_no_node_and_a_timeout_below_ours():
    runner = FakeRunner("cm_ctl: stop cluster successfully.\n")
    started = []
    ctl(runner).stop(RestartScope.CLUSTER, 3, 300.0, lambda pid, ticks: started.append((pid, ticks)))
    assert runner.argv[1:] == ["stop", "-t", "295"]
    assert runner.timeout_s == 300.0
    assert started == [(4711, 99)]


def test_start_of_a_node_names_it():
    runner = FakeRunner("cm_ctl: start node successfully.\n")
    ctl(runner).start(RestartScope.NODE, 3, 20.0, nothing)
    assert runner.argv[1:] == ["start", "-n", "3", "-t", "16"]


@pytest.mark.parametrize(("timeout_s", "own"), [(1200, 1195), (10, 8), (1, 1), (0.1, 1)])
def test_the_timeout_given_to_cm_ctl_is_whole_seconds_and_at_least_one(timeout_s, own):
    assert own_timeout_s(timeout_s) == own


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("cm_ctl: stop cluster partly successfully.", "only partly"),
        ("cm_ctl: stop cluster failed in (30)s!", "failed"),
        ("", "without saying whether"),
    ],
)
def test_a_stop_that_is_no_plain_success_is_a_failure_even_with_exit_code_0(text, meaning):
    with pytest.raises(NodeFailure) as caught:
        ctl(FakeRunner(text)).stop(RestartScope.CLUSTER, 1, 30, nothing)
    assert caught.value.reason is Reason.CM_CTL_FAILED
    assert meaning in caught.value.message


@pytest.mark.parametrize("text", ["cm_ctl: start node failed in (30)s!", "...", ""])
def test_a_start_that_is_no_plain_success_is_a_failure_even_with_exit_code_0(text):
    with pytest.raises(NodeFailure) as caught:
        ctl(FakeRunner(text)).start(RestartScope.NODE, 1, 30, nothing)
    assert caught.value.reason is Reason.CM_NOT_STARTED


def test_a_success_text_counts_whatever_the_exit_code_is():
    ctl(FakeRunner("cm_ctl: stop node successfully.", code=255)).stop(RestartScope.NODE, 1, 30, nothing)


def test_query_believes_the_text_and_not_the_exit_code():
    assert ctl(FakeRunner("cluster_state   : Degraded\n", code=255)).query().cluster_state == "Degraded"


def test_query_never_raises():
    state = ctl(FailingRunner()).query(1.0)
    assert (state.cluster_state, state.cause) == ("", "did not end")


def test_query_is_bounded_by_what_was_asked_else_by_the_settings():
    runner = FakeRunner()
    ctl(runner).query(2.5)
    assert runner.timeout_s == 2.5
    ctl(runner, command_timeout_s=44.0).query()
    assert runner.timeout_s == 44.0


def test_version_is_the_first_line():
    assert ctl(FakeRunner("cm_ctl (openGauss CM 7.0.0)\nmore\n")).version() == "cm_ctl (openGauss CM 7.0.0)"


@pytest.mark.parametrize("runner", [FakeRunner(""), FakeRunner("current user is the root user", 1)])
def test_a_version_that_does_not_come_is_a_failure(runner):
    with pytest.raises(NodeFailure) as caught:
        ctl(runner).version()
    assert caught.value.reason is Reason.CM_CTL_FAILED


def test_a_view_without_nodes_is_a_failure_that_says_what_was_said():
    with pytest.raises(NodeFailure, match="no such file"):
        ctl(FakeRunner("cm_ctl: cluster_static_config: no such file", 255)).view()


def test_a_view_is_read():
    assert ctl(FakeRunner("NodeHeader:\nnode:1\nnode :1\nnodeName:db1\n")).view().topology.local.name == "db1"


def test_whether_there_is_a_cm_ctl(tmp_path):
    settings = CmSettings(tmp_path)
    assert not CmCtl(settings, FakeRunner()).exists
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "cm_ctl").write_text("#!/bin/sh\n")
    (tmp_path / "bin" / "cm_ctl").chmod(0o700)
    assert CmCtl(settings, FakeRunner()).exists


def test_two_of_the_agents_own_never_run_at_once():
    begun, go_on, seen = threading.Event(), threading.Event(), []

    class Blocking(FakeRunner):
        def run(self, argv, **given):
            seen.append(argv[1])
            if argv[1] == "start":
                begun.set()
                go_on.wait(20)
            return super().run(argv, **given)

    one = ctl(Blocking("cm_ctl: start node successfully. cluster_state : Normal"))
    starting = threading.Thread(target=one.start, args=(RestartScope.NODE, 1, 20.0, nothing))
    starting.start()
    assert begun.wait(20)

    state = one.query(0.05)

    assert seen == ["start"]
    assert state.cluster_state == ""
    assert "`cm_ctl query -Cv` was not run" in state.cause
    go_on.set()
    starting.join()
    assert one.query(20.0).cluster_state == "Normal"
    assert seen == ["start", "query"]
