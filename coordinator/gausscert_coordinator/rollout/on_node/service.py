"""What starts the agent on this node: systemd for all, systemd for one user, or nobody."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gausscert_coordinator.rollout.on_node import files, ready
from gausscert_coordinator.rollout.on_node.layout import UNIT, Account, Layout
from gausscert_coordinator.rollout.on_node.running import last_words, run
from gausscert_coordinator.rollout.on_node.trouble import Trouble

if TYPE_CHECKING:
    import subprocess

SYSTEM: Final = "system"
USER: Final = "user"
NONE: Final = "none"
DROP_IN: Final = "50-gausscert-node.conf"
_LINGER: Final = Path("/var/lib/systemd/linger")
START_S: Final = 420.0
"""Longer than a restart may take: TimeoutStopSec and TimeoutStartSec of the unit, one after the other."""


class Service:
    """The agent's unit under one manager.

    Args:
        kind: SYSTEM, USER or NONE.
        account: Whoever is logged in.
    """

    def __init__(self, kind: str, account: Account) -> None:
        self.kind = kind
        self._account = account

    def of_kind(self, kind: str) -> Service:
        """The same user's, under another manager."""
        return Service(kind, self._account)

    @property
    def unit(self) -> Path:
        """The unit's file."""
        if self.kind == SYSTEM:
            return Path("/etc/systemd/system") / UNIT
        return Path(self._account.home) / ".config" / "systemd" / "user" / UNIT

    @property
    def drop_in(self) -> Path:
        """What this node adds to it."""
        return self.unit.with_name(UNIT + ".d") / DROP_IN

    @property
    def texts(self) -> tuple[Path, ...]:
        """Both files; () where nobody starts the agent."""
        return () if self.kind == NONE else (self.unit, self.drop_in)

    def lay_ready(self, unit: bytes, drop_in: bytes) -> None:
        """Lay the unit ready beside its place; systemd reads neither name. Does nothing for NONE.

        Raises:
            Trouble: It could not be started once it is in its place.
        """
        if self.kind == NONE:
            return
        self._require_unmasked()
        self.unit.parent.mkdir(parents=True, exist_ok=True)
        files.make_directory(self.drop_in.parent, 0o755)
        # The drop-in first: by it `clear` knows whose both are.
        files.write_beside(self.drop_in, drop_in, 0o644)
        files.write_beside(self.unit, unit, 0o644)

    def wanted(self, unit: str, drop_in: str) -> dict[Path, str]:
        """What has to lie ready or be there, for `ready`: {} for NONE.

        Args:
            unit: SHA-256, hex; "" for one that stays as it is.
            drop_in: The same.
        """
        return dict(zip(self.texts, (unit, drop_in), strict=False))

    def install(self, unit: str, drop_in: str) -> None:
        """Put the unit in its place. Does nothing for NONE.

        Args:
            unit: As `wanted`.
            drop_in: The same.

        Raises:
            Trouble: It does not lie ready.
        """
        # The drop-in first here, too: by it a removal knows whose a unit is that nobody has enabled yet.
        for path, sha256 in reversed(self.wanted(unit, drop_in).items()):
            ready.put(path, sha256)

    def enable(self) -> None:
        """Have systemd read the unit, and start it with the machine. Does nothing for NONE."""
        if self.kind != NONE:
            self._must("daemon-reload")
            self._must("enable", UNIT)

    def start(self) -> None:
        """Start the agent, or start it anew. Does nothing for NONE.

        Raises:
            Trouble: It did not say that it serves.
        """
        if self.kind != NONE:
            self._must("daemon-reload")  # whoever put the unit there may have been cut off before that
            self._systemctl("reset-failed", UNIT)
            self._must("restart", UNIT, timeout_s=START_S)

    def stop(self) -> bool:
        """End the agent, and have it start no more; answers whether its manager has done that. It has not for
        NONE, nor where the unit's file is gone: it may have started an agent by it before, and not know that
        unit any more."""
        if self.kind == NONE:
            return False
        if self.unit.exists():
            self._must("disable", "--now", UNIT, timeout_s=START_S)
            return True
        if self.drop_in.exists():
            self._systemctl("stop", UNIT, timeout_s=START_S)
        return False

    def clear(self, layout: Layout) -> None:
        """Remove what lies ready for the agent of these places; of another one it stays. Nothing for NONE."""
        told = ready.beside(self.drop_in)
        if self.kind == NONE or not _names(told if os.path.lexists(told) else self.drop_in, layout):
            return
        for path in self.texts:
            ready.beside(path).unlink(missing_ok=True)
        self._remove_empty()

    def uninstall(self) -> list[str]:
        """Remove the unit; answers what was removed."""
        if self.kind == NONE:
            return []
        gone = [path for path in self.texts if path.exists()]
        for path in gone:
            path.unlink()
        self._remove_empty()
        if gone:
            self._must("daemon-reload")
        return [str(path) for path in gone]

    def state(self) -> str:
        """What systemd says of it: active, failed, inactive ...; "" for NONE."""
        return "" if self.kind == NONE else self._systemctl("is-active", UNIT).stdout.strip()

    def enabled(self) -> bool:
        """Whether it starts with the machine; False for NONE."""
        return self.kind != NONE and self._systemctl("is-enabled", UNIT).stdout.strip() == "enabled"

    def starts(self, layout: Layout) -> bool:
        """Whether it is the agent of these places that the unit starts; another one may lie elsewhere."""
        return _names(self.drop_in, layout)

    def _require_unmasked(self) -> None:
        if self._systemctl("is-enabled", UNIT).stdout.strip().startswith("masked"):
            user = "--user " if self.kind == USER else ""
            remedy = f"find out why, then systemctl {user}unmask {UNIT} on the node"
            raise Trouble("the unit is masked: systemd will not start it", remedy, str(self.unit))

    def _remove_empty(self) -> None:
        if self.drop_in.parent.is_dir() and not any(self.drop_in.parent.iterdir()):
            self.drop_in.parent.rmdir()

    def _must(self, *words: str, timeout_s: float = 60.0) -> None:
        done = self._systemctl(*words, timeout_s=timeout_s)
        if done.returncode:
            user = "--user " if self.kind == USER else ""
            raise Trouble(
                f"systemctl {user}{' '.join(words)}: {last_words(done)}",
                f"look at journalctl {user}-u {UNIT} on the node, mend it, then run this again",
                str(self.unit),
            )

    def _systemctl(self, *words: str, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        of_user = ("--user",) if self.kind == USER else ()
        return run(["systemctl", *of_user, *words], timeout_s=timeout_s, environment=_bus(self._account))


def _names(drop_in: Path, layout: Layout) -> bool:
    try:
        text = drop_in.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    plain = str(layout.config)
    escaped = plain.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"' in text or f" {plain}\n" in text


def managers(account: Account) -> dict[str, bool]:
    """What could start the agent here, and whether a user's services outlive his sessions."""
    root = os.geteuid() == 0
    system = root and shutil.which("systemctl") is not None and Path("/run/systemd/system").is_dir()
    asked = run(["systemctl", "--user", "show-environment"], environment=_bus(account), timeout_s=20.0)
    return {
        SYSTEM: system,
        USER: not root and asked.returncode == 0,
        "linger": (_LINGER / account.name).exists(),
    }


def kept(layout: Layout, account: Account) -> str:
    """The kind of service that starts the agent of these places, or is going to; NONE for none."""
    for kind in (SYSTEM, USER):
        if Service(kind, account).starts(layout):
            return kind
    return NONE


def _bus(account: Account) -> dict[str, str]:
    """Where the user's manager listens; ssh sessions without PAM are not told (systemd-logind)."""
    return {"XDG_RUNTIME_DIR": os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{account.uid}"}
