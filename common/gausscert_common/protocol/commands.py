"""What a coordinator can tell a node to do."""

from __future__ import annotations

from dataclasses import dataclass

from gausscert_common.protocol.words import Fence, RestartScope, SslWish, Step


@dataclass(frozen=True, slots=True)
class Command:
    """What every command carries."""

    transaction_id: str
    epoch: int
    step: Step

    @property
    def fence(self) -> Fence:
        """Its place in the order of all commands."""
        return Fence(self.epoch, self.step)


@dataclass(frozen=True, slots=True)
class AcquireCommand(Command):
    """Step 0."""

    holder: str
    take_over: bool = False
    excluded: tuple[str, ...] = ()
    """Participants that the operator leaves out of the recovery because they do not answer; sorted."""


@dataclass(frozen=True, slots=True)
class PrepareCommand(Command):
    """Step 1, without the files: those go to the effect."""

    participants: tuple[str, ...]
    expected_live_digest: str
    ssl_wish: SslWish
    restart: RestartScope
    begun_at: float
    excluded: tuple[str, ...] = ()
    """Nodes of the cluster that the operator leaves out because they do not answer; sorted."""
    joins: str = ""
    """The transaction that left the participants out, where this one brings them to its set."""


@dataclass(frozen=True, slots=True)
class CommitCommand(Command):
    """Step 5. A plain `Command` of this step says that nothing follows the last one."""

    start_follows: bool = False
    """CM is started when all is decided: the coordinator needs the lease until then."""


@dataclass(frozen=True, slots=True)
class PurgeCommand(Command):
    """Step 6. A plain `Command` of this step settles nobody."""

    settled: tuple[str, ...] = ()
    """Excluded nodes that have joined or are gone (`protocol.exclusion`)."""
    start_follows: bool = False
    """As in `CommitCommand`."""
