"""Scripted failures of one simulated node: `<home>/sim/faults.json`, read again at each use.

    from gausscert_sim.faults import Faults, StopFault, save
    save(node.home, Faults(stop=StopFault.LIE))

or, without Python, write the same words into the file: {"stop": "lie", "unreachable": [2]}.
What a fault does is said beside its word; an absent file means that nothing fails. Faults of
`encrypt`, `set`, `stop`, `start` and `query` strike the cm_ctl that is run in this home, those of
`server_*` and `agent_*` the daemons of this node.
"""

from __future__ import annotations

import json
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from gausscert_sim.settings import write_private

if TYPE_CHECKING:
    from pathlib import Path


class EncryptFault(StrEnum):
    """What goes wrong in `cm_ctl encrypt`."""

    NONE = ""
    FAIL = "fail"
    """Leaves .cipher without .rand, says `encrypt fail.`, exits 1."""
    LIE = "lie"
    """Says `encrypt success.` and writes nothing."""
    WRONG = "wrong"
    """Writes factor files of another password and says `encrypt success.`."""
    HANG = "hang"


class SetFault(StrEnum):
    """What goes wrong in `cm_ctl set`."""

    NONE = ""
    FAIL = "fail"
    LIE = "lie"
    """Says success and leaves the file as it is."""
    HANG = "hang"


class StopFault(StrEnum):
    """What goes wrong in `cm_ctl stop`."""

    NONE = ""
    FAIL = "fail"
    """Nothing is stopped; `failed in (N)s!`, exit 255."""
    LIE = "lie"
    """Says success, exit 0, and touches nothing."""
    PARTLY = "partly"
    """Stops this node alone, says `partly successfully`, exit 0."""
    HANG = "hang"


class StartFault(StrEnum):
    """What goes wrong in `cm_ctl start`."""

    NONE = ""
    FAIL = "fail"
    """Nothing is started; `failed in (N)s!`, exit 0."""
    LIE = "lie"
    """Says success and starts nothing."""
    SILENT = "silent"
    """Starts nothing and says neither success nor failure, exit 0."""
    HANG = "hang"


class QueryFault(StrEnum):
    """What goes wrong in `cm_ctl query`."""

    NONE = ""
    REFUSED = "refused"
    """Never reaches a cm_server, exit 255."""
    DEGRADED = "degraded"
    UNAVAILABLE = "unavailable"
    STARTING = "starting"
    UNKNOWN = "unknown"
    HANG = "hang"


class Faults(NamedTuple):
    """Everything that is scripted to fail on one node; the default is nothing."""

    encrypt: EncryptFault = EncryptFault.NONE
    set_conf: SetFault = SetFault.NONE
    stop: StopFault = StopFault.NONE
    start: StartFault = StartFault.NONE
    query: QueryFault = QueryFault.NONE
    unreachable: tuple[int, ...] = ()
    """Ids of nodes to which the "ssh trust" of this node is broken."""
    server_refuses: bool = False
    """cm_server exits 255 at each start, whatever its files."""
    server_accepts_only: tuple[str, ...] = ()
    """cm_server exits 255 unless its server.crt has one of these SHA-256 fingerprints (hex): the old
    one here makes the new set fail and the rollback work."""
    server_start_delay_s: float = 0.0
    """Real seconds, not scaled."""
    server_loads_from: str = ""
    """A directory: cm_server uses the set in it instead of the live one, as one does that was started for
    another home. What is started "successfully" then serves whatever lies there."""
    server_ssl: str = ""
    """"on" or "off": cm_server takes this for its enable_ssl, whatever cm_server.conf says, as one does that
    reads another file."""
    server_serves_nothing: bool = False
    """cm_server runs and listens nowhere."""
    server_survives_stop: bool = False
    """cm_agent stops itself and leaves cm_server running."""
    server_hides_from_stop: bool = False
    """cm_server outlives the stop, goes by no name of CM's until CM is started again, and then is the same
    process as before: what a process list that is blind for a while makes of one that survives."""
    agent_ignores_stop: bool = False
    """cm_agent does not obey `cluster_manual_start`: `cm_ctl stop` runs into its timeout."""
    agent_refuses: bool = False
    """cm_agent exits 1 at each start."""


_WORDS = {
    "encrypt": EncryptFault,
    "set_conf": SetFault,
    "stop": StopFault,
    "start": StartFault,
    "query": QueryFault,
    "unreachable": tuple,
    "server_accepts_only": tuple,
}


def faults_path(home: Path) -> Path:
    """Where a node's faults lie."""
    return home / "sim" / "faults.json"


def load(home: Path) -> Faults:
    """What is scripted to fail now.

    Raises:
        ValueError: The file holds a fault or a word that does not exist.
    """
    try:
        text = faults_path(home).read_bytes()
    except FileNotFoundError:
        return Faults()
    values: dict[str, Any] = json.loads(text)
    unknown = values.keys() - set(Faults._fields)
    if unknown:
        raise ValueError(f"no such fault: {', '.join(sorted(unknown))}")
    return Faults(**{name: _WORDS.get(name, lambda same: same)(value) for name, value in values.items()})


def save(home: Path, faults: Faults) -> None:
    """Script what shall fail from now on."""
    write_private(faults_path(home), json.dumps(faults._asdict(), indent=1).encode())
