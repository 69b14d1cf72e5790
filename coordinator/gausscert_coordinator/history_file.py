"""The history's file: where it lies, who may touch it, and how it is opened.

SQLite with write-ahead log, every commit synchronised. Whatever is wrong with the file is an `InvalidInput`
with reason HISTORY_UNUSABLE that names file, cause and remedy; it costs history and nothing else.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gausscert_common.errors import InvalidInput, Reason

from gausscert_coordinator import history_schema as schema
from gausscert_coordinator.private_files import sync_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from gausscert_coordinator.inventory import Inventory

VARIABLE: Final = "XDG_STATE_HOME"
BUSY_S: Final = 3.0
"""How long another writer is waited for; a group is written in milliseconds."""
_RETRY_S: Final = 0.05

_ONLY_HISTORY: Final = "only the record of what was done is lost: no transaction depends on it"

_NO_SHARED_MEMORY: Final = frozenset(
    {
        "9p",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "gfs2",
        "glusterfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "ocfs2",
        "smb3",
    }
)
"""The write-ahead log needs memory that all writers share: "WAL does not work over a network filesystem"
(sqlite.org/wal.html). SQLite itself does not notice."""


def place(inventory: Inventory, environment: Mapping[str, str] | None = None) -> Path:
    """Where the history of a cluster lies: as the inventory says, else with the state of this user.

    Args:
        inventory: The cluster.
        environment: None for the process's own.

    Raises:
        InvalidInput: HISTORY_UNUSABLE: the user has no home directory.
    """
    if inventory.history is not None:
        return inventory.history
    variables = os.environ if environment is None else environment
    home = variables.get("HOME") or os.path.expanduser("~")
    state = variables.get(VARIABLE, "")
    # "All paths set in these environment variables must be absolute", else ignored (XDG Base Directory).
    base = Path(state) if os.path.isabs(state) else Path(home) / ".local" / "state"
    if not base.is_absolute():
        raise _unusable(
            base, "this user has no home directory", 'write file = "..." under [history] in the inventory'
        )
    return base / "gausscert" / f"{inventory.cluster}.db"


def prepare(path: Path) -> None:
    """Make sure that there is a file which nobody else can read or write, in a directory in which nobody
    else can replace it; an empty one is made where there is none.

    Raises:
        InvalidInput: HISTORY_UNUSABLE.
        OSError: It cannot be made.
    """
    directory = path.parent
    for each in reversed([directory, *directory.parents]):
        if not each.exists():
            _make_directory(each)
    _judge_directory(directory, os.stat(directory))
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        _judge_file(path, os.lstat(path))
    else:
        sync_directory(directory)


def _make_directory(path: Path) -> None:
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:  # another coordinator was faster
        return
    sync_directory(path.parent)


def _judge_directory(directory: Path, found: os.stat_result) -> None:
    if found.st_mode & 0o022:
        raise _unusable(directory, "others may write to this directory", f"chmod go-w {directory}")
    _judge_owner(directory, found, (os.geteuid(), 0))


def _judge_file(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise _unusable(path, "it is no regular file", "move it away")
    if found.st_mode & 0o077:
        mode = stat.S_IMODE(found.st_mode)
        raise _unusable(path, f"others may read or write it: its mode is {mode:04o}", f"chmod 0600 {path}")
    _judge_owner(path, found, (os.geteuid(),))


def _judge_owner(path: Path, found: os.stat_result, accepted: tuple[int, ...]) -> None:
    if found.st_uid not in accepted:
        raise _unusable(
            path,
            f"it belongs to user id {found.st_uid}, not to you",
            'write another file = "..." under [history] in the inventory',
        )


def open_for_writing(
    path: Path,
    *,
    busy_s: float = BUSY_S,
    unfit_for_wal: Callable[[Path], str] | None = None,
) -> tuple[sqlite3.Connection, str]:
    """Open, make or migrate the file.

    Args:
        path: The file; see `prepare`.
        busy_s: How long another writer is waited for.
        unfit_for_wal: Names the file system of a directory on which a write-ahead log cannot be had, else "".

    Returns:
        The connection, in autocommit mode, for this thread alone; and why there is no write-ahead log, or "".

    Raises:
        InvalidInput: HISTORY_UNUSABLE.
    """
    with described(path):
        prepare(path)
        connection = sqlite3.connect(path, timeout=busy_s, isolation_level=None)
        try:
            _require_ours(path, connection)
            unfit = _journal(path, connection, busy_s, unfit_for_wal or network_file_system)
            migrate(path, connection)
        except BaseException:
            connection.close()
            raise
        return connection, unfit


def migrate(
    path: Path,
    connection: sqlite3.Connection,
    migrations: tuple[tuple[str, ...], ...] = schema.MIGRATIONS,
) -> None:
    """Bring the tables to the newest version, in one transaction: all of it or nothing.

    Args:
        path: For messages.
        connection: In autocommit mode.
        migrations: See `history_schema.MIGRATIONS`.

    Raises:
        InvalidInput: HISTORY_UNUSABLE: a newer gausscert wrote it; it is not touched.
    """
    if version_of(path, connection, len(migrations)) == len(migrations):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Looked at again now that nobody else can write: another coordinator may have been faster.
        for index in range(version_of(path, connection, len(migrations)), len(migrations)):
            for statement in migrations[index]:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {index + 1}")
        connection.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def version_of(path: Path, connection: sqlite3.Connection, newest: int = schema.VERSION) -> int:
    """The schema version of a file of ours.

    Raises:
        InvalidInput: HISTORY_UNUSABLE: a newer gausscert wrote it, or it is damaged.
    """
    version = _number(connection, "user_version")
    if version < 0:
        raise _unusable(path, f"it is corrupt: its schema has version {version}", "move the file away")
    if version > newest:
        raise _unusable(
            path,
            f"a newer gausscert wrote it: its schema has version {version}, this one knows up to {newest}",
            "use that gausscert, or move the file away",
        )
    return version


def _require_ours(path: Path, connection: sqlite3.Connection) -> None:
    """An empty file is as good as ours; anything else must say that it is."""
    if is_foreign(connection):
        raise foreign(path)


def is_foreign(connection: sqlite3.Connection) -> bool:
    """Whether another program made this database."""
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    return bool(tables) and _number(connection, "application_id") != schema.APPLICATION_ID


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    return int(connection.execute(f"PRAGMA {pragma}").fetchone()[0])


def _journal(
    path: Path, connection: sqlite3.Connection, busy_s: float, unfit_for_wal: Callable[[Path], str]
) -> str:
    unfit = unfit_for_wal(path.parent)
    if not unfit and _switched(connection, "WAL", busy_s):
        connection.execute("PRAGMA synchronous = FULL")
    else:
        _switched(connection, "DELETE", busy_s)
        # FULL would leave a commit to the directory's own time of writing (sqlite.org/pragma.html).
        connection.execute("PRAGMA synchronous = EXTRA")
        unfit = unfit or "this file system"
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA trusted_schema = OFF")
    return unfit


def _switched(connection: sqlite3.Connection, mode: str, busy_s: float) -> bool:
    """SQLite does not wait for others here, so we do."""
    deadline = time.monotonic() + busy_s
    while True:
        try:
            found = connection.execute(f"PRAGMA journal_mode = {mode}").fetchone()[0]
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                raise
            time.sleep(_RETRY_S)
        else:
            return str(found).upper() == mode


def network_file_system(directory: Path, mounts: Path = Path("/proc/self/mountinfo")) -> str:
    """The kind of file system, if it is one of several machines or of a program (FUSE), else ""."""
    device = os.stat(directory).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    for line in lines:
        # proc(5): ID parent major:minor root mount-point options [optional ...] - type source options
        head, _, tail = line.partition(" - ")
        kind = tail.split(" ", 1)[0]
        shared = kind in _NO_SHARED_MEMORY or kind.startswith("fuse.")
        if shared and head.split()[2:3] == [wanted]:
            return kind
    return ""


@contextmanager
def described(path: Path) -> Iterator[None]:
    """Turn what SQLite and the system say of the file into one kind of error, with what to do."""
    try:
        yield
    except sqlite3.Error as error:
        raise _of_sqlite(path, error) from error
    except OSError as error:
        where = Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else path
        cause = error.strerror or type(error).__name__
        raise _unusable(where, f"it cannot be used: {cause}", "make its directory usable for you") from error


def _of_sqlite(path: Path, error: sqlite3.Error) -> InvalidInput:
    name = getattr(error, "sqlite_errorname", "")
    for prefix, (cause, remedy) in _MEANING.items():
        if name.startswith(prefix):
            return _unusable(path, f"{cause}: {error}", remedy.format(path=path))
    return _unusable(path, f"SQLite says: {error}", "look at the file and its directory")


_MOVE: Final = (
    "move it away, with {path}-wal and {path}-shm if they are there; the next transaction begins a new one"
)
_MEANING: Final[dict[str, tuple[str, str]]] = {
    "SQLITE_CORRUPT": (f"it is corrupt ({_ONLY_HISTORY})", _MOVE),
    "SQLITE_NOTADB": (f"it is no database, or a corrupt one ({_ONLY_HISTORY})", _MOVE),
    "SQLITE_FULL": ("there is no space for it", "make space on the file system of {path}"),
    "SQLITE_BUSY": ("another program keeps it locked", "find out which one with: fuser {path}"),
    "SQLITE_READONLY": ("it cannot be written", "make {path} and its directory writable for you"),
    "SQLITE_CANTOPEN": ("it cannot be opened", "make {path} and its directory writable for you"),
    "SQLITE_PERM": ("it cannot be opened", "make {path} and its directory writable for you"),
    "SQLITE_IOERR": ("reading or writing failed", "look at the disk and the kernel's log"),
}


def corrupt(path: Path, said: str) -> InvalidInput:
    """What a check of the whole file has found."""
    cause, remedy = _MEANING["SQLITE_CORRUPT"]
    return _unusable(path, f"{cause}: {said}", remedy.format(path=path))


def foreign(path: Path) -> InvalidInput:
    """A database of another program."""
    return _unusable(path, "it is a database of another program", "name another file, or move it away")


def _unusable(path: Path, cause: str, remedy: str) -> InvalidInput:
    return InvalidInput(Reason.HISTORY_UNUSABLE, cause, file=str(path), remedy=remedy)
