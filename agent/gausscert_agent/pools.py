"""The threads of an agent's server, and who shares them with whom."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from gausscert_common import identity
from gausscert_common.errors import InvalidInput
from gausscert_common.identity import Role

from gausscert_agent.admission import HEALTH_WATCHERS, WATCHERS, Door, Entrance, Pool

if TYPE_CHECKING:
    from gausscert_agent.admission import Caller

LOOKS_EACH: Final = 4
COMMANDS_EACH: Final = 8
HEALTH_EACH: Final = 2
WATCHES_EACH: Final = 3
"""Of one caller at once."""

_LOOKING: Final = frozenset(
    f"{identity.AGENT_SERVICE}/{method}" for method in ("GetNode", "Judge", "GetExpiry", "Probe", "ReadAudit")
)
_WATCHING: Final = frozenset(
    {f"{identity.AGENT_SERVICE}/WatchTransaction", f"{identity.HEALTH_SERVICE}/Watch"}
)


_COMMANDING: Final = frozenset({Role.OPERATOR, Role.RECOVERER})
"""On whom a transaction may hang."""


class Pools:
    """Threads and slots by kind of call and of caller, so that no kind can keep another waiting or out.

    Args:
        cluster: The agent's.
    """

    def __init__(self, cluster: str) -> None:
        self._cluster = cluster
        door = self._door = Door()
        # One command runs at a time; the others wait for it, or are told BUSY.
        self.work = Pool("work", threads=4, slots=10, door=door, share=COMMANDS_EACH)
        # Whoever is only to hear that he may not call.
        self._refused = Pool("refused", threads=2, slots=4, door=door, share=2)
        # Nobody has all of them, so that an observer gone wild does not keep others from looking.
        self._look = Pool("look", threads=8, slots=16, door=door, share=LOOKS_EACH)
        self._observe = Pool("observe", threads=8, slots=16, door=door, share=LOOKS_EACH)
        # Whoever opens a call, and never sends its request, holds a thread.
        self._health = Pool("health", threads=2, slots=4, door=door)
        self._monitor = Pool("monitor", threads=4, slots=8, door=door, share=HEALTH_EACH)
        watchers = WATCHERS + HEALTH_WATCHERS
        self._watch = Pool("watch", threads=watchers, slots=watchers, door=door)
        # Fewer than HEALTH_WATCHERS, and so of WATCHERS, too.
        self._overlook = Pool("overlook", threads=6, slots=6, door=door, share=WATCHES_EACH)

    def of(self, rpc: str) -> Entrance:
        """Where calls to `service/method` come in."""
        commanding, others = self._kind_of(rpc)

        def choose(caller: Caller) -> Pool:
            role = _role_in(self._cluster, caller.uris)
            if role is None or not identity.may_call(role, rpc):
                return self._refused
            return commanding if role in _COMMANDING else others

        return Entrance(choose)

    def are_empty(self) -> bool:
        """Whether no call is inside or at the door."""
        return self._door.is_empty() and all(pool.is_empty() for pool in self._pools())

    def close(self) -> None:
        """Wait for the threads to end. The server must have stopped."""
        for pool in self._pools():
            pool.shutdown()
        self._door.close()

    def _pools(self) -> list[Pool]:
        return [each for each in vars(self).values() if isinstance(each, Pool)]

    def _kind_of(self, rpc: str) -> tuple[Pool, Pool]:
        """The pool for those who command, and for all others who may call it."""
        if rpc in _WATCHING:
            return self._watch, self._overlook
        if rpc in _LOOKING:
            return self._look, self._observe
        if rpc.startswith(f"{identity.HEALTH_SERVICE}/"):
            return self._health, self._monitor
        return self.work, self._refused


@lru_cache(maxsize=256)
def _role_in(cluster: str, uris: tuple[bytes, ...]) -> Role | None:
    """Of a caller; None for somebody who is nobody in this cluster. It only says where he waits: whether he
    may call the doorkeeper decides (`interceptors`)."""
    try:
        caller = identity.of_uris(uris)
    except InvalidInput:
        return None
    return caller.role if caller.cluster == cluster else None
