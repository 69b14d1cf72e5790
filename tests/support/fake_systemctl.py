"""A systemctl for a machine without systemd: does with one unit what the roll-out asks of it, and writes down
what it was asked for. What systemd makes of the unit's text, it does not know.

Copied to where logins find it, with an interpreter before it; $FAKE_SYSTEMD is a directory of its own.
"""

import json
import os
import pwd
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

STATE = Path(os.environ["FAKE_SYSTEMD"])
PID = STATE / "pid"
ENABLED = STATE / "enabled"


def directory() -> Path:
    if USER:
        return Path.home() / ".config/systemd/user"
    return Path("/etc/systemd/system")


def settings(unit: str) -> dict[str, str]:
    """The last word counts, the drop-ins come after the unit."""
    found: dict[str, str] = {}
    for path in (directory() / unit, *sorted((directory() / f"{unit}.d").glob("*.conf"))):
        for line in path.read_text().splitlines():
            key, equals, value = line.partition("=")
            if equals and not line.startswith("#"):
                found[key] = value
    return found


def running() -> int | None:
    try:
        pid = int(PID.read_text())
        os.kill(pid, 0)
    except (OSError, ValueError):
        return None
    if "Z" in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:1]:
        return None
    return pid


def stop() -> None:
    pid = running()
    if pid is not None:
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + 60
        while running() is not None and time.monotonic() < deadline:
            time.sleep(0.05)


def start(unit: str) -> int:
    """Type=notify: until it says READY, or has ended."""
    said = settings(unit)
    who = {}
    if not USER:
        account = pwd.getpwnam(said["User"])
        who = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    notify = f"/tmp/.notify-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, (STATE / "log").open("ab") as log:
        manager.bind("\0" + notify)
        manager.settimeout(30)
        agent = subprocess.Popen(
            shlex.split(said["ExecStart"]),
            env={"PATH": "/usr/bin:/bin", "NOTIFY_SOCKET": "@" + notify},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            start_new_session=True,
            umask=0o077,
            **who,
        )
        PID.write_text(str(agent.pid))
        try:
            return 0 if manager.recv(64) == b"READY=1" else 1
        except TimeoutError:
            sys.stderr.write("Job for the unit failed\n")
            return 1


def main(words: list[str]) -> int:
    with (STATE / "asked").open("a") as asked:
        asked.write(json.dumps(sys.argv[1:]) + "\n")
    match [f"{word}.service" if word == "gausscert-agent" else word for word in words]:
        case ["show-environment"]:
            return 0 if USER else 1
        case ["daemon-reload"] | ["reset-failed", _]:
            return 0
        case ["enable", _]:
            ENABLED.touch()
            return 0
        case ["show", unit]:  # as Ansible asks (systemd_service)
            there = "loaded" if (directory() / unit).exists() else "not-found"
            print(f"LoadState={there}\nActiveState={'active' if running() else 'inactive'}")  # noqa: T201
            return 0
        case ["is-enabled", _] | ["is-enabled", _, "-l"]:
            print("enabled" if ENABLED.exists() else "disabled")  # noqa: T201 - what systemctl does
            return 0 if ENABLED.exists() else 1
        case ["is-active", _]:
            active = running() is not None
            print("active" if active else "inactive")  # noqa: T201 - what systemctl does
            return 0 if active else 3
        case ["start" | "restart" as how, unit]:
            if how == "restart":
                stop()
            return start(unit)
        case ["disable", "--now", _]:
            stop()
            ENABLED.unlink(missing_ok=True)
            return 0
    sys.stderr.write(f"not known here: {words}\n")
    return 2


USER = sys.argv[1:2] == ["--user"]
sys.exit(main(sys.argv[2:] if USER else sys.argv[1:]))
