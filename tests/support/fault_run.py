"""One run: a replacement, something that is done to it, and its end.

    with Run.upon(cluster, replay="make faults ...") as run:
        ended = run.command(on={"swap started": act})
        run.finish(ended)                       # recovered from the second machine if need be, and whole
        assert run.hits

Whatever fails in it says how to replay it, and spoils the cluster for others.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from gausscert_common.protocol.words import Outcome, Phase
from gausscert_coordinator.cli.demo_cluster import GAUSSCERT
from support import local_cluster, outside
from support.fault_cluster import COORDINATOR_CHILD, READY, FaultCluster
from support.local_cluster import NODES, Act, Done
from support.outside import Known

T = TypeVar("T")

_CHOSEN = "GAUSSCERT_SEED"
"""Names the one case that is to be replayed."""
MOST_TRIES = 6
"""A moment is chosen by what was seen; what comes after it may still be too late."""


@dataclass
class FaultRun:
    """See the module."""

    cluster: FaultCluster
    known: Known
    ssl_wish: str = "keep"
    hits: list[str] = field(default_factory=list)
    """What was done to it, while it mattered."""
    said: list[str] = field(default_factory=list)
    committed_seen: bool = False
    """A node was seen committed: there is no way back any more."""
    _wrong: list[BaseException] = field(default_factory=list)
    """What went wrong while a command was watched."""

    @classmethod
    @contextmanager
    def upon(
        cls,
        cluster: FaultCluster,
        replay: str,
        *,
        ready: bool = True,
        frail: frozenset[str] = frozenset(),
        only_ssl: bool = False,
        left_out: frozenset[str] = frozenset(),
    ) -> Iterator[FaultRun]:
        """A run upon a cluster in which nothing is going on, with some agents whose children outlive them."""
        cluster.make_frail(set(frail))
        bundle = cluster.other_bundle() + (READY if ready else "")
        try:
            yield cls(cluster, Known.of(cluster, bundle, only_ssl=only_ssl, left_out=left_out))
        except BaseException as error:
            cluster.spoilt = True
            error.add_note(f"replay it: {replay}")
            error.add_note(f"what is left: {cluster.root}")
            raise

    def launch(
        self,
        *options: str,
        on: Mapping[str, Act] | None = None,
        program: Sequence[str] = GAUSSCERT,
        instead: Sequence[str] = (),
    ) -> local_cluster.Run:
        """Start the replacement on the first machine, or something else instead."""
        arguments = instead or self.cluster.replacement(self.known.bundle, *options)
        return self.cluster.launch_at(self.cluster.first, *arguments, on=on, program=program)

    def ended(self, run: local_cluster.Run) -> Done:
        """Wait for a command, and raise what went wrong while it was watched."""
        done = run.done()
        self.said += [done.out, done.err]
        if self._wrong:
            raise self._wrong[0]
        return done

    def act(self, act: Callable[[local_cluster.Run], None]) -> Act:
        """Something to be done when a line of progress comes: in the thread that reads those."""

        def guarded(run: local_cluster.Run) -> None:
            try:
                act(run)
            except BaseException as error:  # noqa: BLE001 - raised again by `ended`
                self._wrong.append(error)

        return guarded

    def note_hit(self, what: str) -> None:
        """Something was done just now. It counts while the transaction is not over at every node. Looks
        at everything, whatever else goes on."""
        if not self.is_over():
            self.hits.append(what)
        self.look()

    def is_over(self) -> bool:
        """Whether every node knows how the transaction has ended."""
        states = {name: outside.journal(self.cluster, name) for name in NODES}
        return all(
            state.phase is Phase.NONE
            and any(stone.transaction_id not in self.known.ended[name] for stone in state.tombstones)
            for name, state in states.items()
        )

    def look(self) -> None:
        """The invariants, now."""
        states = [outside.journal(self.cluster, name) for name in NODES]
        self.committed_seen |= any(
            state.phase is Phase.COMMITTED
            or any(
                each.outcome is Outcome.COMMITTED and each.transaction_id not in self.known.ended[name]
                for each in state.tombstones
            )
            for name, state in zip(NODES, states, strict=True)
        )
        outside.assert_at_any_moment(self.cluster, self.known)

    def recover(
        self, *, finish: bool = False, on: Mapping[str, Act] | None = None, may_die: bool = False
    ) -> Done:
        """From the second machine. Finishing may need Swap, which only an operator may order."""
        options = ("--inventory", "operator.toml", "--finish") if finish else ()
        done = self.cluster.run_at(
            self.cluster.second, "recover", "--take-over", "--output", "json", *options, on=on
        )
        self.said += [done.out, done.err]
        died = may_die and done.code == -signal.SIGKILL
        assert died or done.code in (0, 1), f"recover ended with {done.code}\n{done.out}\n{done.err}"
        return done

    def finish(self, done: Done, *, finish: bool = False) -> str:
        """Bring it to its end, if it has not come there by itself; "old" or "new"."""
        self.cluster.ensure_agents()
        self.look()
        if done.code == 0:
            promised = "new"
        elif done.code in (1, 2, 4):
            promised = "old"
        else:
            assert done.code in (3, -signal.SIGKILL), f"ended with {done.code}\n{done.out}\n{done.err}"
            promised = self._promised(self.recover(finish=finish))
        return self.end(promised)

    def end(self, promised: str = "") -> str:
        """The invariants, at its end, and what was promised."""
        end = outside.assert_end(self.cluster, self.known, self.ssl_wish)
        assert promised in ("", end), f"{promised} was promised, it is {end}\n" + "\n".join(self.said)
        assert end == "new" or not self.committed_seen, "a commit was taken back"
        outside.assert_no_secret_is_written(self.cluster, *self.said)
        return end

    def _promised(self, recovered: Done) -> str:
        if recovered.code == 1:
            return "old"
        return "new" if recovered.document["verdict"] == "committed" else ""


def child(cluster: FaultCluster, *boundaries: Mapping[str, object]) -> tuple[str, ...]:
    """The program of a coordinator that acts at boundaries."""
    journals = {name: str(cluster.root / f"agent-{name}") for name in NODES}
    return (*COORDINATOR_CHILD, json.dumps({"boundaries": boundaries, "journals": journals}))


def seeds(given: Iterable[int]) -> list[int]:
    """These, or the one that is to be replayed, whether or not it is among them."""
    return [int(os.environ[_CHOSEN])] if _CHOSEN in os.environ else list(given)


def asked_for(given: Iterable[T], named: Callable[[T], str] = str) -> list[T]:
    """These, or of them the one that is to be replayed."""
    chosen = os.environ.get(_CHOSEN, "")
    return [each for each in given if chosen in ("", named(each))]


def replay_command(module: str, seed: object) -> str:
    """How to run one case again."""
    return f"{_CHOSEN}={seed} make faults ARGS='tests/faults/processes/{module}.py -n0'"


__all__ = ["MOST_TRIES", "FaultRun", "asked_for", "child", "replay_command", "seeds"]
