"""Where things lie on this node, and who owns them."""

from __future__ import annotations

import grp
import os
import pwd
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

UNIT: Final = "gausscert-agent.service"
HOME_DIRECTORY: Final = "gausscert"
"""Below the home of whoever logs in, where that is not root."""
_ROOT: Final = 0
ETC: Final = Path("/etc/gausscert")
OWN_ETC: Final = "agent"
"""In /etc/gausscert, where that is an operator's."""
_INVENTORY: Final = "gausscert.toml"


@dataclass(frozen=True)
class Layout:
    """The places of one agent.

    Args:
        software: Holds `releases/` and the link `current`.
        etc: Holds agent.toml and pki/.
        state: The agent's own; never removed unless asked for.
    """

    software: Path
    etc: Path
    state: Path

    @property
    def current(self) -> Path:
        """The link to the release that is started."""
        return self.software / "current"

    @property
    def releases(self) -> Path:
        """One virtual environment each."""
        return self.software / "releases"

    @property
    def uploads(self) -> Path:
        """Wheels on their way into a release."""
        return self.software / "uploads"

    @property
    def given_up(self) -> Path:
        """Names the last activation that must not begin any more."""
        return self.software / ".given-up"

    @property
    def config(self) -> Path:
        """The agent's configuration."""
        return self.etc / "agent.toml"

    @property
    def pki(self) -> Path:
        """The agent's credential."""
        return self.etc / "pki"

    @property
    def deny_list(self) -> Path:
        """Whom the agent lets in no more."""
        return self.state / "deny.list"

    def release(self) -> str:
        """The release that `current` names; "" for none."""
        try:
            return Path(os.readlink(self.current)).name
        except OSError:
            return ""

    def agent(self, release: str = "") -> Path:
        """The command of a release; of the current one by default, else of one installed by hand."""
        if release:
            return self.releases / release / "bin" / "gausscert-agent"
        if self.release():
            return self.releases / self.release() / "bin" / "gausscert-agent"
        return self.software / "bin" / "gausscert-agent"


def layout(directory: str) -> Layout:
    """Of whoever is logged in.

    Args:
        directory: All in one place there; "" for the usual places: the system's for root, else below the
            home directory.
    """
    if not directory and os.geteuid() == _ROOT:
        return Layout(Path("/opt/gausscert"), etc_of(ETC), Path("/var/lib/gausscert"))
    base = Path(directory) if directory else Path(pwd.getpwuid(os.geteuid()).pw_dir) / HOME_DIRECTORY
    return Layout(base, base / "etc", base / "state")


def etc_of(place: Path) -> Path:
    """Where the agent has configuration and credential, which are for its user alone.

    Args:
        place: All of it where it is missing, or has an agent; where root has made it before, it is for
            operators (`inventory_file`), and the agent has a directory of its own in it. An agent.toml there
            may be the operators' settings: beside their inventory, or beside that directory, it is.
    """
    try:
        is_roots = place.stat().st_uid == _ROOT
    except OSError:
        return place
    theirs = any(os.path.lexists(place / name) for name in (OWN_ETC, _INVENTORY))
    return place / OWN_ETC if is_roots and (theirs or not os.path.lexists(place / "agent.toml")) else place


@dataclass(frozen=True)
class Account:
    """An OS user."""

    name: str
    uid: int
    gid: int
    group: str
    home: str


def me() -> Account:
    """Whoever is logged in."""
    return _account(pwd.getpwuid(os.geteuid()))


def agent_user(name: str, cm_home: str) -> Account | None:
    """The user that the agent runs as: the one named, else the owner of the cluster's certificates when root
    is logged in, else whoever is logged in. None: there is no such user."""
    if name:
        try:
            return _account(pwd.getpwnam(name))
        except KeyError:
            return None
    if os.geteuid() != _ROOT:
        return me()
    return owner_of(Path(cm_home) / "share" / "sslcert")


def owner_of(path: Path, *, follow: bool = True) -> Account | None:
    """The user whom a file belongs to, or without `follow` a link itself; None where there is no such file
    or user."""
    try:
        return _account(pwd.getpwuid(os.stat(path, follow_symlinks=follow).st_uid))
    except (OSError, KeyError):
        return None


def become(account: Account) -> None:
    """From here on be that user: root must not write where another may move directories about."""
    if os.geteuid() != account.uid:
        os.initgroups(account.name, account.gid)
        os.setresgid(account.gid, account.gid, account.gid)
        os.setresuid(account.uid, account.uid, account.uid)


@contextmanager
def acting_as(account: Account | None) -> Iterator[None]:
    """Be that user for a while, where root is logged in: in his directories a link may lead anywhere, and
    what it leads to must be none of his business. Nothing is run meanwhile; None changes nothing."""
    if account is None or os.geteuid() != _ROOT or account.uid == _ROOT:
        yield
        return
    groups, group = os.getgroups(), os.getegid()
    os.setgroups(os.getgrouplist(account.name, account.gid) if account.name else [])
    os.setegid(account.gid)
    os.seteuid(account.uid)
    try:
        yield
    finally:
        os.seteuid(_ROOT)
        os.setegid(group)
        os.setgroups(groups)


def holder(layout: Layout) -> Account:
    """Who can put links into the agent's places: whoever owns them, also where he has no name any more."""
    base = layout.software if layout.etc.parent == layout.software else layout.etc
    try:
        uid, gid = (found := base.lstat()).st_uid, found.st_gid
    except OSError:
        return me()
    try:
        return _account(pwd.getpwuid(uid))
    except KeyError:
        return Account("", uid, gid, str(gid), "/")


def _account(entry: pwd.struct_passwd) -> Account:
    try:
        group = grp.getgrgid(entry.pw_gid).gr_name
    except KeyError:
        group = str(entry.pw_gid)
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, group, entry.pw_dir)
