"""A local cluster of which everything is witnessed: what agents and commands are told, write, log and leave.

with WatchedCluster.started(tmp_path) as cluster:
    cluster.new_bundle("fresh")
    cluster.replace()
assert cluster.leaks() == set()        # after it has ended
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gausscert_coordinator.cli import demo_cluster
from support.canaries import Canaries
from support.local_cluster import Act, Done, LocalCluster, Run
from support.witness import Witness

# What `python -m gausscert_coordinator.cli.entry` does, with everything logged that anybody logs.
_VERBOSE_COMMAND = """
import logging, sys
logging.basicConfig(level=logging.DEBUG)
from gausscert_coordinator.cli.main import main
main()
"""


class WatchedCluster(LocalCluster):
    """See the module."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.canaries = Canaries()
        self.witness = Witness(self.root / "witness")
        self.temporary = self.root / "tmp"
        self.temporary.mkdir(mode=0o700)
        self.said: list[tuple[str, bytes]] = []
        """What else is to be searched, by name."""
        self.homes = {self.root / "pki"}
        """Directories in which keys may lie."""
        self._over = threading.Event()
        self._seen: set[tuple[str, bytes]] = set()
        self._sampler = threading.Thread(target=self._sample)
        self.canaries.plant("server password", self.server_password)
        self.canaries.plant("client password", self.client_password)

    def start(self) -> None:
        """As always, with somebody who looks at all processes."""
        self._sampler.start()
        super().start()

    def stop(self) -> None:
        """As always."""
        super().stop()
        self._over.set()
        self._sampler.join()

    def _environment(self) -> dict[str, str]:
        path = f"{self.root / 'bin'}:{os.environ['PATH']}"
        traced = {"GRPC_VERBOSITY": "DEBUG", "GRPC_TRACE": "all"}
        return os.environ | traced | {"TMPDIR": str(self.temporary), "PATH": path}

    def launch_agent(self, config: Path, log: int) -> subprocess.Popen[bytes]:
        """An agent that logs at DEBUG."""
        text = config.read_text()
        if "log_level" not in text:
            config.write_text(text.replace("[agent]\n", '[agent]\nlog_level = "DEBUG"\n', 1))
        command = [*self.witness.before("agent"), *demo_cluster.AGENT, "serve", "--config", str(config)]
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=self._environment(),
        )

    def launch(self, *arguments: str, on: Mapping[str, Act] | None = None, stdin: str = "") -> Run:
        """A command that logs at DEBUG."""
        who = "rollout" if arguments[:1] == ("agents",) else "command"
        process = subprocess.Popen(
            [*self.witness.before(who), sys.executable, "-c", _VERBOSE_COMMAND, *arguments],
            cwd=self.root,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=self._environment(),
        )
        assert process.stdin is not None
        with process.stdin:
            process.stdin.write(stdin)
        return Run(process, on or {})

    def run(self, *arguments: str, on: Mapping[str, Act] | None = None, stdin: str = "") -> Done:
        """As always; what it says is remembered."""
        done = super().run(*arguments, on=on, stdin=stdin)
        name = " ".join(arguments[:2])
        self.said += [(f"output of {name}", done.out.encode()), (f"errors of {name}", done.err.encode())]
        return done

    def plant_bundle(self, name: str) -> None:
        """Look for its keys from now on."""
        for role, password in (("server", self.server_password), ("client", self.client_password)):
            self.canaries.plant_key(
                f"{role}.key of {name}", (self.root / name / f"{role}.key").read_bytes(), password
            )

    def plant_control_plane(self) -> None:
        """Look for the keys of agents, operator and their CA."""
        for key in (self.root / "pki").glob("*.key"):
            self.canaries.plant_key(f"pki/{key.name}", key.read_bytes(), None)

    def leaks(self) -> set[str]:
        """Where something was found, and what. All must have ended."""
        self.witness.settle()
        found = set()
        for where, body in self._places():
            found |= {f"{where}: {name}" for name in self.canaries.hits(body)}
        return found

    def _places(self) -> list[tuple[str, bytes]]:
        places = [*self.said, *self._seen]
        places += {("a program's arguments or environment", each) for each in self.witness.executions()}
        places += {
            (f"{write.who} wrote to {write.path}", write.body)
            for write in self.witness.writes()
            if not self._may_be_written(write.who, write.path)
        }
        places += [(f"the file {path}", path.read_bytes()) for path in self.files()]
        return places

    def found_in(self, path: Path) -> set[str]:
        """What a file holds that it must not."""
        return self.canaries.hits(path.read_bytes())

    def files(self) -> set[Path]:
        """All that is left below the root, or was written anywhere, but where secrets are at home."""
        below = {Path(directory) / name for directory, _, names in os.walk(self.root) for name in names}
        elsewhere = {path for path in self.witness.created() if not path.is_relative_to("/dev")}
        witnessed = self.root / "witness"
        return {
            path
            for path in below | elsewhere
            if path.is_file() and not path.is_relative_to(witnessed) and not self.is_home_of_secrets(path)
        }

    def is_home_of_secrets(self, path: Path) -> bool:
        """Keys where keys belong, and the password files that the operator made. Not factor files: they hold
        passwords in no form that would be found."""
        if path.parent == self.root and path.suffix == ".pw":
            return True
        sets = [node.set_directory.parent for node in self.nodes]
        home = path.parent in self.homes or any(path.is_relative_to(each) for each in sets)
        name = path.name.removesuffix(".new")  # complete before it has its name
        renewed = path.parent in {self.root / f"agent-{node.name}" for node in self.nodes}
        return (home and name.endswith(".key")) or (renewed and name == "credential.pem")

    def _may_be_written(self, who: str, path: str) -> bool:
        """Keys to where they belong; an agent tells cm_ctl passwords through a pipe, and OpenSSL keys through
        memory that has no name; a roll-out tells ssh a node's key."""
        told = path.startswith("pipe:") or path == "/memfd:gausscert"
        sent = who == "rollout" and path.startswith(("pipe:", "socket:"))
        return self.is_home_of_secrets(Path(path)) or (who == "agent" and told) or sent

    def _sample(self) -> None:
        """Arguments and environment of all other processes that live long enough to be seen, CM's own too."""
        while not self._over.wait(0.05):
            for entry in filter(str.isdigit, os.listdir("/proc")):
                for name in ("cmdline", "environ"):
                    try:
                        body = Path(f"/proc/{entry}/{name}").read_bytes()
                    except OSError:
                        continue
                    self._seen.add((f"{name} of a process", body))
