"""CM's configuration files as they were before a transaction changed them, in the agent's state directory.

A copy is made once for each transaction and file, durably and before the change; only what it holds lets a
rollback put the file back to the byte. They are no part of the journal: their size is not ours to bound.
"""

from __future__ import annotations

import base64
import json
import os
import re
from typing import TYPE_CHECKING, Final

from gausscert_common.errors import NodeFailure, Reason

from gausscert_agent import files, set_names
from gausscert_agent.drivers.conf_file import MAX_BYTES, ConfFile
from gausscert_agent.files import store_errors

if TYPE_CHECKING:
    from pathlib import Path

    from gausscert_agent.files import Disk
    from gausscert_agent.ports import Component

_NAME: Final = re.compile(r"conf\.(server|agent)\.(?P<owner>[a-z0-9-]{8,64})(\.new)?")
_MODE: Final = 0o600
_LIMIT: Final = 2 * MAX_BYTES
"""base64 and the rest."""


class ConfCopies:
    """See the module.

    Args:
        state_dir: The agent's own directory, which its journal holds locked.
        disk: Makes every change.
    """

    def __init__(self, state_dir: Path, disk: Disk) -> None:
        self._path = state_dir
        self._disk = disk

    def keep(self, transaction_id: str, component: Component, found: ConfFile) -> None:
        """Keep a copy, durably; one that there is already was made before the first change, and stays.

        Raises:
            NodeFailure: STORE_FAILED.
        """
        name = _name(transaction_id, component)
        with store_errors("keep a copy of CM's configuration", self._path), files.opened(self._path) as place:
            if files.exists(place, name):
                # Whoever made it may have died before it was durable.
                self._disk.sync(place)
                return
            self._write(place, name, _encoded(found))

    def read(self, transaction_id: str, component: Component) -> ConfFile | None:
        """The copy; None if the transaction has changed nothing.

        Raises:
            NodeFailure: STORE_FAILED; it is damaged.
        """
        name = _name(transaction_id, component)
        with store_errors("read the copy of CM's configuration", self._path):
            try:
                with files.opened(self._path) as place, files.opened_file(place, name) as descriptor:
                    body = files.read_all(descriptor, _LIMIT)
            except FileNotFoundError:
                return None
        return _decoded(body, self._path / name)

    def owners(self) -> list[str]:
        """The transactions whose copies are here.

        Raises:
            OSError: The directory cannot be read.
        """
        with files.opened(self._path) as place:
            found = (_NAME.fullmatch(name) for name in os.listdir(place))
            return sorted({match["owner"] for match in found if match})

    def drop_all(self) -> None:
        """Remove all copies, while no transaction needs one. Not durable; success when there are none.

        Raises:
            OSError: One cannot be removed.
        """
        with files.opened(self._path) as place:
            for name in os.listdir(place):
                if _NAME.fullmatch(name):
                    self._disk.unlink(place, name)

    def _write(self, place: int, name: str, body: bytes) -> None:
        new = f"{name}.new"
        files.write_anew(self._disk, place, new, body, _MODE)
        self._disk.replace(place, new, name)
        self._disk.sync(place)


def _name(transaction_id: str, component: Component) -> str:
    set_names.stage_name(transaction_id)
    return f"conf.{component}.{transaction_id}"


def _encoded(found: ConfFile) -> bytes:
    body = base64.b64encode(found.body).decode()
    return json.dumps({"mode": found.mode, "uid": found.uid, "gid": found.gid, "body": body}).encode()


def _decoded(raw: bytes, path: Path) -> ConfFile:
    try:
        found = json.loads(raw)
        body = base64.b64decode(found["body"], validate=True)
        return ConfFile(body, int(found["mode"]), int(found["uid"]), int(found["gid"]))
    except (ValueError, KeyError, TypeError) as error:
        raise NodeFailure(
            Reason.STORE_FAILED,
            "the copy of CM's configuration is damaged",
            file=str(path),
            remedy="set enable_ssl by hand as it was, remove the copy, then run gausscert recover",
        ) from error
