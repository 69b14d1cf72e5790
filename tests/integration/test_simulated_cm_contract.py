"""What cm_ctl does, whoever provides it: the same expectations for the simulated CM and for a real one.

To hold a real installation against them, run as its OS user with GAUSSCERT_REAL_CM_HOME set to GAUSSHOME
(PATH, LD_LIBRARY_PATH, GAUSSLOG and the rest as that user has them). Nothing here stops, starts or changes a
running cluster, but for one test that stops and starts CM on this node, and one that pauses the cluster for
a moment: they run there only with GAUSSCERT_REAL_CM_RESTART=1 and GAUSSCERT_REAL_CM_PAUSE=1, too. What would
harm a real cluster is put to the simulated CM alone, in TestHarmful and in test_simulated_cluster.py.
"""

import os
import pty
import re
import stat
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from gausscert_agent.cm import LocalCm
from gausscert_agent.config import CmSettings
from gausscert_agent.drivers.cm_ctl import os_user
from gausscert_agent.drivers.cm_logs import CmLogs
from gausscert_agent.drivers.cm_probe import probe_all
from gausscert_agent.restart import daemons
from gausscert_common.certificates import describe
from gausscert_common.errors import NodeFailure, Reason
from gausscert_common.model import ServedState, SslValue
from gausscert_common.protocol.words import RestartScope
from gausscert_sim import cm_cipher
from gausscert_sim.cluster import SimulatedCluster
from gausscert_sim.faults import Faults, StartFault
from support import sim_certs, sim_run
from support.sim_run import until

REAL_HOME = "GAUSSCERT_REAL_CM_HOME"
REAL_RESTART = "GAUSSCERT_REAL_CM_RESTART"
REAL_PAUSE = "GAUSSCERT_REAL_CM_PAUSE"
PASSWORD = "Gauss#9Test"


@dataclass(frozen=True)
class Installation:
    """A node with cm_ctl, its cluster running and Normal."""

    home: Path
    environment: dict[str, str]
    may_restart: bool = True
    may_pause: bool = True

    @property
    def log_path(self) -> Path | None:
        gausslog = self.environment.get("GAUSSLOG")
        return Path(gausslog) if gausslog else None

    @property
    def agent(self) -> LocalCm:
        """CM as the agent sees it."""
        passed = ("PGHOST", "GPHOME", "MPPDB_ENV_SEPARATE_PATH", "LD_LIBRARY_PATH")
        more = {name: self.environment[name] for name in passed if name in self.environment}
        return LocalCm(CmSettings(self.home, log_path=self.log_path, environment=more))

    def require_restart(self) -> None:
        if not self.may_restart:
            pytest.skip(f"{REAL_RESTART} is not set: this cluster is not stopped")

    def require_pause(self) -> None:
        if not self.may_pause:
            pytest.skip(f"{REAL_PAUSE} is not set: this cluster is not paused")

    def logged(self, program: str) -> str:
        """All that a program of CM has logged here."""
        assert self.log_path is not None
        logs = sorted((self.log_path / "cm" / program).glob(f"{program}*.log"))
        return "".join(log.read_text(errors="replace") for log in logs)

    def run(self, *arguments, stdin="", **more):
        argv = [str(self.home / "bin" / "cm_ctl"), *arguments]
        return sim_run.run(argv, {**self.environment, **more}, stdin)


class ServedContract:
    """What a running cluster shows, with SSL and without: facts sections 1, 5, 7 and 9."""

    def test_query_shows_one_primary_and_the_clusters_state(self, cm):
        done = cm.run("query", "-Cv")
        rows = re.findall(r"^\d+\s+\S+\s+\d+\s+(Primary|Standby|Down)\s*$", done.out, re.MULTILINE)
        assert done.code == 0
        assert rows.count("Primary") == 1
        assert re.search(r"^cluster_state\s*:\s*Normal$", done.out, re.MULTILINE)

    def test_every_cm_server_answers_the_probe_as_enable_ssl_says(self, cm):
        ca = (cm.home / "share" / "sslcert" / "cm" / "cacert.pem").read_bytes()
        on = cm.agent.read_ssl().server is SslValue.ON
        served = probe_all(cm.agent.topology(), os_user(), ca, 10)
        assert {one.state for one in served} == {ServedState.SSL_ON if on else ServedState.SSL_OFF}
        assert all(one.chain_verified and one.fingerprint for one in served if on)
        assert on or not any(one.fingerprint for one in served)

    @pytest.mark.parametrize("component", ["server", "agent"])
    def test_what_ends_within_the_threshold_is_in_the_log_and_only_with_ssl(self, cm, component):
        """cm_server tells of server.crt and every CA; cm_agent's words are not known, only that it tells."""
        ending = ending_soon(cm, component)
        if not ending:
            pytest.skip("no certificate of this set ends within the threshold: nothing to compare")
        logged = cm.logged(f"cm_{component}")
        if getattr(cm.agent.read_ssl(), component) is not SslValue.ON:
            assert "[cm_ssl_check_cert_expire]" not in logged
            return
        for kind in ending if component == "server" else ():
            assert re.search(
                rf"\[cm_ssl_check_cert_expire\] The {kind} (is expired|will expire in \d+ days)", logged
            )
        assert re.search(r"expire", logged)


class CmCtlContract(ServedContract):
    """Expectations taken from the facts on CM; the section stands beside each."""

    @pytest.fixture
    def own_id(self, cm):
        return re.search(r"^node:(\d+)$", cm.run("view").out, re.MULTILINE)[1]

    # encrypt, section 3

    def test_encrypt_writes_a_pair_that_decrypts(self, cm, tmp_path):
        done = cm.run("encrypt", "-M", "server", "-D", str(tmp_path), stdin=f"{PASSWORD}\n{PASSWORD}\n")
        assert (done.code, "cm_ctl: encrypt success." in done.out) == (0, True)
        cipher, rand = (tmp_path / f"server.key.{kind}" for kind in ("cipher", "rand"))
        layout = cm_cipher.layout_for(libpq_off=cipher.stat().st_size != 56)
        assert cm_cipher.decrypt(cipher.read_bytes(), rand.read_bytes(), layout) == PASSWORD.encode()

    def test_encrypt_leaves_0600_which_cm_itself_refuses(self, cm, tmp_path):
        cm.run("encrypt", "-M", "client", "-D", str(tmp_path), stdin=f"{PASSWORD}\n{PASSWORD}\n")
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
        assert modes == {"client.key.cipher": 0o600, "client.key.rand": 0o600}

    def test_encrypt_prompts_on_stderr_without_a_terminal(self, cm, tmp_path):
        done = cm.run("encrypt", "-D", str(tmp_path), stdin=f"{PASSWORD}\n{PASSWORD}\n")
        assert "please enter the password:" in done.err
        assert "please enter the password again:" in done.err
        assert sorted(path.name for path in tmp_path.iterdir()) == ["server.key.cipher", "server.key.rand"]

    def test_encrypt_prefers_the_terminal_to_stdin(self, cm, tmp_path):
        leader, follower = pty.openpty()
        process = subprocess.Popen(
            ["setsid", "--ctty", str(cm.home / "bin" / "cm_ctl"), "encrypt", "-D", str(tmp_path)],
            env=cm.environment,
            stdin=follower,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        os.close(follower)
        seen = b""
        for prompt in (b"please enter the password:", b"please enter the password again:"):
            while prompt not in seen:
                seen += os.read(leader, 1024)
            # The echo is off before the prompt is out, so the password cannot show up.
            os.write(leader, PASSWORD.encode() + b"\n")
            seen = b""
        out, err = process.communicate(timeout=20)
        os.close(leader)
        assert (process.returncode, b"encrypt success." in out, err) == (0, True, b"")

    @pytest.mark.parametrize(
        ("first", "second", "words"),
        [
            ("Ab#4567", "", "must contain at least eight characters"),
            ("Ab#4567890123456", "", "the length exceed 15"),
            ("abcdefgh12", "", "must contain at least three kinds of characters"),
            ("", "", "must contain at least eight characters"),
            (PASSWORD, "Gauss#9Tesd", "two passwords do not match!"),
        ],
    )
    def test_encrypt_refuses_in_these_words(self, cm, tmp_path, first, second, words):
        done = cm.run("encrypt", "-D", str(tmp_path), stdin=f"{first}\n{second}\n")
        assert (done.code, words in done.out) == (1, True)
        assert list(tmp_path.iterdir()) == []

    def test_encrypt_says_the_rule_behind_a_refused_password(self, cm, tmp_path):
        done = cm.run("encrypt", "-D", str(tmp_path), stdin="short\n")
        assert "The input key must be 8~15 bytes and contain at least three kinds" in done.out

    @pytest.mark.parametrize("protected", ["cipher", "rand"])
    def test_encrypt_cannot_replace_a_0400_file_and_may_break_the_pair(self, cm, tmp_path, protected):
        for kind in ("cipher", "rand"):
            (tmp_path / f"server.key.{kind}").write_bytes(b"old")
        (tmp_path / f"server.key.{protected}").chmod(0o400)
        done = cm.run("encrypt", "-D", str(tmp_path), stdin=f"{PASSWORD}\n{PASSWORD}\n")
        assert (done.code, "encrypt fail." in done.out) == (1, True)
        assert "for writing: Permission denied" in done.out
        assert (tmp_path / f"server.key.{protected}").read_bytes() == b"old"
        # .cipher goes first, section 3.4
        replaced = (tmp_path / "server.key.cipher").read_bytes() != b"old"
        assert replaced is (protected == "rand")

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (("-M", "both", "-D", "."), 'mode "both" is not support'),
            (("-M", "-D"), "-M is invalid"),
            ((), "no data directory specified."),
            (("-D", "/nowhere/at/all"), "-D path not exist or permission denied."),
            (("-D", ".", "-n", "1"), "Commands and options do not match"),
        ],
    )
    def test_encrypt_refuses_these_arguments(self, cm, arguments, words):
        done = cm.run("encrypt", *arguments, stdin=f"{PASSWORD}\n{PASSWORD}\n")
        assert (done.code, words in done.out) == (1, True)

    def test_a_percent_sign_ends_it_with_255(self, cm, tmp_path):
        done = cm.run("encrypt", "-D", f"{tmp_path}/%s")
        assert (done.code, "input constains invalid character." in done.out) == (255, True)

    def test_a_home_without_static_config_ends_it_with_255(self, cm, tmp_path):
        done = self.elsewhere(cm, tmp_path)
        assert done.code == 255

    # set and list, section 6

    def test_set_to_the_same_value_says_success_and_the_misleading_hint(self, cm, own_id):
        conf = self.enable_ssl(cm, own_id)
        done = cm.run("set", "--param", "--server", "-n", own_id, "-k", f"enable_ssl={conf}")
        assert (done.code, "cm_ctl: set cm_server.conf success." in done.out) == (0, True)
        assert "'cm_ctl reload --param --server'" in done.out
        assert self.enable_ssl(cm, own_id) == conf

    @pytest.mark.parametrize(
        ("value", "words"),
        [('"on"', "exists illegal character"), ("maybe", "is outside the valid range(on|off|yes|no|")],
    )
    def test_set_refuses_these_values_with_255(self, cm, own_id, value, words):
        before = self.enable_ssl(cm, own_id)
        done = cm.run("set", "--param", "--agent", "-n", own_id, "-k", f"enable_ssl={value}")
        assert (done.code, words in done.out) == (255, True)
        assert "set cm_agent.conf fail." in done.out
        assert self.enable_ssl(cm, own_id) == before

    def test_set_needs_its_switches(self, cm, own_id):
        bare = cm.run("set", "--server", "-n", own_id, "-k", "enable_ssl=on")
        assert (bare.code, 'need add "--param"' in bare.out) == (255, True)
        untyped = cm.run("set", "--param", "-n", own_id, "-k", "enable_ssl=on")
        assert (untyped.code, 'need add "--agent" or "--server"' in untyped.out) == (255, True)

    def test_a_second_equals_sign_is_one_argument_too_many(self, cm, own_id):
        done = cm.run("set", "--param", "--server", "-n", own_id, "-k", "enable_ssl=on=off")
        assert (done.code, "too many command line arguments." in done.out) == (1, True)

    def test_list_names_the_node_and_cuts_values_at_blanks(self, cm, own_id):
        done = cm.run("list", "--param", "--agent", "-n", own_id)
        assert done.out.startswith(f"\n[conf of node({own_id})]\n")
        assert re.search(r"^enable_ssl = (on|off)$", done.out, re.MULTILINE)

    # view and query, section 7

    def test_view_names_the_local_node_and_every_cm_server(self, cm):
        out = cm.run("view").out
        count = int(re.search(r"^nodeCount:(\d+)$", out, re.MULTILINE)[1])
        assert len(re.findall(r"^node :\d+$", out, re.MULTILINE)) == count
        assert len(re.findall(r"^cmAgentIP :\S+$", out, re.MULTILINE)) >= count
        assert re.search(r"^cmDataPath :/\S+$", out, re.MULTILINE)
        assert re.search(r"^cmServer 1:\S+\nport :\d+$", out, re.MULTILINE)

    # What the agent's own hands make of it

    def test_the_agent_reads_who_the_nodes_are(self, cm):
        topology = cm.agent.topology()
        assert topology.local is not None
        assert topology.local.agent_address
        assert any(node.server_address and node.server_port for node in topology.nodes)
        assert cm.agent.version()

    def test_the_agent_reads_the_clusters_state_and_one_primary(self, cm):
        state = cm.agent.query(20)
        assert (state.cluster_state, state.cause) == ("Normal", "")
        roles = list(state.server_roles.values())
        assert roles.count("Primary") == 1
        servers = {node.id for node in cm.agent.topology().nodes if node.server_address}
        assert set(state.server_roles) == servers

    def test_the_process_list_shows_the_daemons_and_no_cm_ctl(self, cm):
        names = {process.name for process in cm.agent.processes()}
        assert {"cm_agent", "cm_server"} <= names
        assert cm.agent.foreign_cm_ctl() == ()
        assert not cm.agent.manually_stopped()

    def test_logs_are_where_the_agent_looks_and_say_nothing_of_a_cluster_that_is_well(self, cm):
        logs = CmLogs(cm.log_path)
        assert {"cm_server", "cm_agent"} <= set(logs.found())
        logs.mark()
        cm.agent.query(20)
        assert logs.causes() == ()

    def test_the_live_factor_files_have_a_known_layout(self, cm):
        assert cm.agent.factor_build() is not None

    # stop and start of the own node, section 8

    def test_the_own_node_is_stopped_and_started_and_other_processes_run_then(self, cm):
        cm.require_restart()
        before = {(one.name, one.pid) for one in cm.agent.processes() if one.name != "om_monitor"}

        cm.agent.stop(RestartScope.NODE, 120, lambda pid, ticks: None)
        until(lambda: not daemons(cm.agent), "the process list shows none", 60)
        manual = cm.agent.manually_stopped()
        until(
            lambda: cm.agent.query(20).cluster_state != "Normal",
            "a cluster without this node is not Normal",
            60,
        )
        cm.agent.start(RestartScope.NODE, 120, lambda pid, ticks: None)

        after = {(one.name, one.pid) for one in cm.agent.processes() if one.name != "om_monitor"}
        assert manual
        assert not cm.agent.manually_stopped()
        assert {name for name, _ in after} >= {"cm_agent", "cm_server"}
        assert not before & after
        until(lambda: cm.agent.query(20).cluster_state == "Normal", "it is Normal again", 120)

    def test_a_start_of_what_runs_exits_with_0(self, cm, own_id):
        """As every start does (section 8.2)."""
        cm.require_restart()
        before = {process.pid for process in daemons(cm.agent)}
        assert cm.run("start", "-n", own_id, "-t", "60").code == 0
        assert {process.pid for process in daemons(cm.agent)} == before

    # pause, sections 13 and 14

    def test_a_pause_shows_in_a_file_and_in_query_and_is_ended_by_resume(self, cm):
        cm.require_pause()
        mark = cm.home / "bin" / "cluster_manual_pause"
        assert not mark.exists()
        paused = cm.run("pause")
        seen = mark.exists(), cm.run("query", "-Cv").out
        resumed = cm.run("resume")
        assert (paused.code, "The cluster has been paused." in paused.out) == (0, True)
        assert seen[0]
        assert re.search(r"^pausing\s*: Yes$", seen[1], re.MULTILINE)
        assert resumed.code == 0
        assert not mark.exists()
        assert "pausing" not in cm.run("query", "-Cv").out

    # check, section 8.2

    def test_check_says_running_with_2(self, cm):
        path = str(cm.home / "bin" / "cm_agent")
        assert cm.run("check", "-B", "cm_agent", "-T", path).code == 2

    def enable_ssl(self, cm, own_id):
        out = cm.run("list", "--param", "--server", "-n", own_id).out
        return re.search(r"^enable_ssl = (\w+)$", out, re.MULTILINE)[1]

    def elsewhere(self, cm, tmp_path):
        raise NotImplementedError


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    with SimulatedCluster.create(tmp_path_factory.mktemp("contract"), nodes=2) as cluster:
        for node in cluster.nodes:
            # One leaf and the CA end within the threshold of 90 days.
            node.install(sim_certs.bent(server_days=(-1, 60), client_days=(-1, 80), authority_days=(-1, 89)))
        cluster.start()
        yield cluster


def ending_soon(cm, component):
    """What CM calls those of the component's certificates that end within its threshold."""
    directory = cm.home / "share" / "sslcert" / "cm"
    names = {f"{component.replace('agent', 'client')}.crt": "server certificate", "cacert.pem": "ca"}
    found = describe({name: (directory / name).read_bytes() for name in names})
    days = cm.agent.conf(component).alert_threshold_days or 90
    latest = datetime.now(UTC) + timedelta(days=days)
    return {names[one.file] for one in found if one.index == 0 and one.not_after < latest}


class TestSimulatedCm(CmCtlContract):
    @pytest.fixture
    def cm(self, simulated):
        node = simulated.nodes[0]
        return Installation(node.home, node.environment())

    def elsewhere(self, cm, tmp_path):
        config = cm.home / "bin" / "cluster_static_config"
        config.rename(tmp_path / "kept")
        try:
            return cm.run("view")
        finally:
            (tmp_path / "kept").rename(config)

    def test_it_says_that_it_is_simulated(self, cm):
        for argument in ("--version", "--help"):
            assert "simulated CM" in cm.run(argument).out
        for name in ("cm_server", "cm_agent", "om_monitor"):
            done = sim_run.run([str(cm.home / "bin" / name), "-V"], cm.environment)
            assert (done.code, "simulated CM" in done.out) == (0, True)

    def test_it_needs_no_more_than_four_variables(self, cm):
        least = {name: cm.environment[name] for name in ("GAUSSHOME", "PATH", "HOME", "USER")}
        done = sim_run.run([str(cm.home / "bin" / "cm_ctl"), "query", "-Cv"], least)
        assert (done.code, "Normal" in done.out) == (0, True)

    def test_it_loads_no_cryptography_and_no_grpc_where_it_needs_none(self, cm):
        program = "import sys; from gausscert_sim import cm_ctl; cm_ctl.main()"
        argv = [sys.executable, "-X", "importtime", "-c", program, "view"]
        done = sim_run.run(argv, cm.environment)
        assert "NodeHeader:" in done.out
        assert not re.search(r"\b(cryptography|grpc|ssl|asyncio)\b", done.err)


@pytest.fixture(scope="module")
def clear(tmp_path_factory):
    with SimulatedCluster.create(tmp_path_factory.mktemp("clear"), nodes=2, enable_ssl=False) as cluster:
        for node in cluster.nodes:
            node.install(sim_certs.bent(server_days=(-1, 60), client_days=(-1, 80)))
        cluster.start()
        yield cluster


class TestSimulatedCmWithoutSsl(ServedContract):
    @pytest.fixture
    def cm(self, clear):
        return Installation(clear.nodes[0].home, clear.nodes[0].environment())


class TestHarmful:
    """A real cluster would be down or degraded by these: they are put to the simulated CM alone."""

    @pytest.fixture
    def cluster(self, tmp_path):
        with SimulatedCluster.create(tmp_path, nodes=3, time_scale=0.02) as cluster:
            for node in cluster.nodes:
                node.install(sim_certs.old_set())
            cluster.start()
            yield cluster

    @pytest.fixture
    def cm(self, cluster):
        node = cluster.nodes[0]
        return Installation(node.home, node.environment())

    @pytest.mark.parametrize(
        ("fails", "says"),
        [
            (Faults(start=StartFault.FAIL), "start node failed in ("),
            (Faults(start=StartFault.SILENT), ""),
            (Faults(start=StartFault.LIE), "start node successfully."),
            # It saw the process, which then ends, again and again (section 17).
            (Faults(server_refuses=True), "start node successfully."),
        ],
    )
    def test_a_start_that_fails_exits_with_0_and_leaves_no_cm_server(self, cluster, cm, fails, says):
        """Sections 8.2 and 17; whatever it says, nothing runs. What the driver does not
        see, the proof does."""
        cm.agent.stop(RestartScope.NODE, 60, lambda pid, ticks: None)
        cluster.nodes[0].faults = fails
        done = cm.run("start", "-n", "1", "-t", "20")
        words = re.findall(r"start node (?:failed in \(|successfully\.)", done.out)
        assert (done.code, words) == (0, [says] if says else [])
        until(lambda: "cm_server" not in {one.name for one in cm.agent.processes()}, "none runs")
        if "successfully" not in says:
            with pytest.raises(NodeFailure) as caught:
                cm.agent.start(RestartScope.NODE, 20, lambda pid, ticks: None)
            assert caught.value.reason is Reason.CM_NOT_STARTED

    def test_states_other_than_normal(self, cluster, cm):
        """Section 7: query exits with 0 all the same, as long as there is a primary."""
        others = [Installation(node.home, node.environment()) for node in cluster.nodes[1:]]
        others[1].agent.stop(RestartScope.NODE, 60, lambda pid, ticks: None)
        until(lambda: cm.agent.query(20).cluster_state == "Degraded", "one node of three is down")
        assert cm.run("query", "-Cv").code == 0
        assert set(cm.agent.query(20).server_roles.values()) == {"Primary", "Standby", "Down"}

        others[0].agent.stop(RestartScope.NODE, 60, lambda pid, ticks: None)
        until(lambda: cm.agent.query(20).cluster_state == "", "there is no majority")
        assert cm.run("query", "-Cv").code == 255
        assert "can't connect to cm_server" in cm.agent.query(20).cause


@pytest.mark.skipif(not os.environ.get(REAL_HOME), reason=f"{REAL_HOME} is not set: no real CM to compare")
class TestRealCm(CmCtlContract):
    @pytest.fixture
    def cm(self):
        home = Path(os.environ[REAL_HOME])
        may = [bool(os.environ.get(name)) for name in (REAL_RESTART, REAL_PAUSE)]
        return Installation(home, {**os.environ, "GAUSSHOME": str(home)}, *may)

    def elsewhere(self, cm, tmp_path):
        (tmp_path / "bin").mkdir()
        return cm.run("view", GAUSSHOME=str(tmp_path), CM_HOME="")
