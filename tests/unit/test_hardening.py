"""What a hardened process does not give away; each test shows on one that is not that it can fail."""

from __future__ import annotations

import os
import resource
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from gausscert_common import hardening
from gausscert_common.identity import Role
from gausscert_coordinator import pki

CODE = """
import os, sys
def wait():
    print(*sorted(os.environ), flush=True)
    sys.stdin.read()
    os.abort()
if sys.argv[1] == "agent":
    from gausscert_agent import cli, serving
    serving.as_order = lambda _: wait()
    sys.argv = ["gausscert-agent", "serve"]
    cli.main()
elif sys.argv[1] == "coordinator":
    from gausscert_coordinator.cli import main
    main.run = lambda _: wait()
    main.main()
else:
    wait()
"""
"""A process that has begun as the named command does, says what its environment is, waits, and crashes."""

PEEK = """
import sys
for name in ("mem", "maps", "environ", "auxv", "stack", "syscall"):
    try:
        with open(f"/proc/{sys.argv[1]}/{name}", "rb") as opened:
            opened.read(0 if name == "mem" else 1)
    except PermissionError:
        continue
    except OSError:
        pass
    print(name)
"""
"""Another process of the same user, and what it may open."""


@pytest.fixture(autouse=True)
def this_process_is_not_hardened():
    """What is shown to be given away would not be, by children of one that is."""
    assert hardening.TLS12_CIPHERS[0] not in os.environ


def as_nobody() -> list[str]:
    """Root may look into everything. setuid in the process itself would make any process undumpable."""
    if os.geteuid() != 0:
        return []
    return ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--"]


class Process:
    """See CODE."""

    def __init__(self, which: str, place: Path, core: int) -> None:
        self.child = subprocess.Popen(
            ["prlimit", f"--core={core}", "--", *as_nobody(), sys.executable, "-c", CODE, which],
            cwd=place,
            env=os.environ | dict.fromkeys(hardening.TELLTALES, "all"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.child.stdout is not None
        self.environment = self.child.stdout.readline().split()

    def seen_by_its_user(self) -> set[str]:
        argv = [*as_nobody(), sys.executable, "-I", "-S", "-c", PEEK, str(self.child.pid)]
        return set(subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split())

    def crash(self) -> int:
        self.child.communicate()
        return self.child.returncode


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """Where anybody may write a core."""
    found = Path("/tmp") / f"gausscert-core-{os.getpid()}-{os.urandom(4).hex()}"
    found.mkdir()
    found.chmod(0o777)
    yield found
    shutil.rmtree(found)


needs_prlimit = pytest.mark.skipif(
    not (shutil.which("prlimit") and shutil.which("setpriv")), reason="prlimit or setpriv is not installed"
)


@needs_prlimit
@pytest.mark.parametrize("which", ["agent", "coordinator"])
def test_nobody_of_the_same_user_can_look_into_it(which: str, place: Path):
    hardened, plain = Process(which, place, 0), Process("plain", place, 0)
    try:
        assert plain.seen_by_its_user() >= {"mem", "maps", "environ"}
        assert hardened.seen_by_its_user() == set()
    finally:
        hardened.crash()
        plain.crash()


def cores(place: Path) -> list[str]:
    return os.listdir(place)


@needs_prlimit
@pytest.mark.parametrize("which", ["agent", "coordinator"])
def test_a_crash_leaves_no_core_whatever_the_limit_was(which: str, place: Path):
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    if hard == 0 and os.geteuid() != 0:
        pytest.skip("no core may be written here at all")
    size = 1 << 30

    assert Process("plain", place, size).crash() == -6
    if Path("/proc/sys/kernel/core_pattern").read_text().startswith("core"):
        assert cores(place), "a plain process leaves none either: this test would see nothing"
    for core in cores(place):
        (place / core).unlink()
    assert Process(which, place, size).crash() == -6
    assert cores(place) == []


LIMITED = """
import resource, subprocess, sys
from gausscert_common import hardening
if sys.argv[1] == "hardened":
    hardening.harden()
done = subprocess.run(["sh", "-c", "ulimit -Sc; ulimit -Hc"], capture_output=True, text=True)
print(resource.getrlimit(resource.RLIMIT_CORE)[0], *done.stdout.split())
"""


@needs_prlimit
@pytest.mark.parametrize(("which", "limits"), [("hardened", ["0", "0", "0"]), ("plain", None)])
def test_what_it_runs_leaves_no_core_either(which: str, limits: list[str] | None):
    """cm_ctl is told passwords; a program that is run is dumpable again, but keeps the limit."""
    if resource.getrlimit(resource.RLIMIT_CORE)[1] == 0 and os.geteuid() != 0:
        pytest.skip("no core may be written here at all")
    argv = ["prlimit", f"--core={1 << 30}", "--", sys.executable, "-c", LIMITED, which]

    found = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()

    assert (found == limits) if limits else "0" not in found


@needs_prlimit
@pytest.mark.parametrize("which", ["agent", "coordinator"])
def test_variables_that_make_libraries_talk_are_taken_away(which: str, place: Path):
    hardened, plain = Process(which, place, 0), Process("plain", place, 0)
    hardened.crash()
    plain.crash()

    assert set(hardening.TELLTALES) <= set(plain.environment)
    assert not set(hardening.TELLTALES) & set(hardened.environment)


LOCKED = """
import resource, sys
from gausscert_common import hardening
resource.getrlimit = lambda _: (int(sys.argv[1]), resource.RLIM_INFINITY)
hardening.harden()
held = bytearray(1 << 20)
(line,) = [each for each in open("/proc/self/status") if each.startswith("VmLck")]
print(line.split()[1])
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="not everybody may lock memory")
@pytest.mark.parametrize(("limit", "locked"), [(resource.RLIM_INFINITY, True), (8 << 20, False)])
def test_memory_is_locked_where_there_is_no_limit_to_that(limit: int, locked: bool):
    done = subprocess.run(
        [sys.executable, "-c", LOCKED, str(limit)], capture_output=True, text=True, check=True
    )

    assert (int(done.stdout) > 1024) is locked


SERVER = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
if sys.argv[2] == "hardened":
    from gausscert_common import hardening
    hardening.harden()
import grpc
ca, cert, key = (Path(sys.argv[1], name).read_bytes() for name in ("ca.crt", "node-n1.crt", "node-n1.key"))
configuration = grpc.ssl_server_certificate_configuration([(key, cert)], root_certificates=ca)
tls = grpc.dynamic_ssl_server_credentials(configuration, lambda: None, require_client_authentication=True)
server = grpc.server(ThreadPoolExecutor(1))
print(server.add_secure_port("127.0.0.1:0", tls), flush=True)
server.start()
sys.stdin.read()
"""


def version_agreed(files: Path, port: int, newest: ssl.TLSVersion) -> str:
    """What a client that knows no newer one gets; "" if it is refused."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(files / "ca.crt")
    context.load_cert_chain(files / "operator-alice.crt", files / "operator-alice.key")
    context.set_alpn_protocols(["h2"])
    context.maximum_version = newest
    try:
        with (
            socket.create_connection(("127.0.0.1", port), 10) as raw,
            context.wrap_socket(raw) as connection,
        ):
            return (connection.version() or "") if connection.recv(1) else ""
    except (ssl.SSLError, ConnectionError):
        return ""


@pytest.mark.parametrize(("which", "older"), [("hardened", ""), ("plain", "TLSv1.2")])
def test_nothing_older_than_tls_13_is_spoken(which: str, older: str, tmp_path: Path):
    files = tmp_path / "issued"
    pki.init(tmp_path / "pki", "prod", None)
    pki.issue(tmp_path / "pki", Role.NODE, "n1", out=files)
    pki.issue(tmp_path / "pki", Role.OPERATOR, "alice", out=files)
    argv = [sys.executable, "-c", SERVER, str(files), which]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as child:
        assert child.stdout is not None
        port = int(child.stdout.readline())
        agreed = [
            version_agreed(files, port, each) for each in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
        ]
        child.communicate()

    assert agreed == [older, "TLSv1.3"]
