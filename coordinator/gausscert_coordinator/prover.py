"""Looks until the cluster is seen to serve what it must, or until there is no more time."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from gausscert_coordinator import proof, query, running, sightings, takeover
from gausscert_coordinator.hands import PROBE_TIMEOUT_S, QUICK_PROBE_S
from gausscert_coordinator.heartbeat import Wait
from gausscert_coordinator.report import Mark

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping

    from gausscert_common.errors import GausscertError
    from gausscert_common.findings import Finding
    from gausscert_common.model import ClusterState, ProbeReport

    from gausscert_coordinator.expectation import Expectation
    from gausscert_coordinator.fanout import Answers
    from gausscert_coordinator.hands import Hands
    from gausscert_coordinator.report import Proof
    from gausscert_coordinator.reporter import Reporter
    from gausscert_coordinator.running import Processes

POLL_S: Final = 1.0
"""Between two looks; cm_server serves 1 to 2 s after its start (facts section 17)."""


_TOLD: Final = 20
"""Things that are wrong and named while there is still time; the result has all. A cluster of CM has nine
nodes at most (facts section 7), of each of which one or two things are said."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """What one look has brought."""

    wrong: list[GausscertError] = field(default_factory=list)
    hopeless: bool = False
    """Waiting mends nothing."""
    wrongly: frozenset[int] = frozenset()
    """cm_servers that answered wrongly."""
    held_down: frozenset[int] = frozenset()
    """cm_servers that are gone and that nothing starts."""
    taken: list[GausscertError] = field(default_factory=list)
    """Another coordinator has taken over."""


class Prover:
    """Proof by handshake, from every node."""

    def __init__(self, hands: Hands, reporter: Reporter, clock: Callable[[], float]) -> None:
        self._hands = hands
        self._reporter = reporter
        self._clock = clock
        self.evidence: tuple[Proof, ...] = ()
        """What was seen last."""
        self.cluster_state: ClusterState | None = None
        self.causes: tuple[Finding, ...] = ()
        """What CM's logs said when something was last seen to be wrong."""
        self._asked: Mapping[str, ProbeReport] = {}
        self.short_of: list[GausscertError] = []
        """What was hoped for and not seen, once no less than before was."""
        self.wait: Wait | None = None
        """While it looks."""
        self.said = ""
        """What was wrong in the last look, for a person."""

    async def prove(
        self,
        expectation: Expectation,
        *,
        least: Expectation | None = None,
        before: Processes | None = None,
        within_s: float,
        pause: Callable[[float], Awaitable[None]],
        enough: Callable[[], bool],
        gives_up: bool,
    ) -> list[GausscertError]:
        """Everything that is still not as wanted at the end; [] is the proof.

        Args:
            expectation: What must be seen.
            least: What is enough if that is not seen in time; None: nothing less.
            before: The processes that must be gone, by node; None: not looked at.
            within_s: How long the cluster gets.
            pause: Waits between two looks, or less.
            enough: Asked after each look; True ends the looking at once.
            gives_up: End at once, too, where a cm_server was seen twice to answer wrongly, because it has
                read its files, or to be gone where nothing starts it: all that waiting brings is a longer
                outage.
        """
        self.cluster_state, self.short_of = None, []
        deadline_s = self._clock() + within_s
        needed = (least or expectation).servers.keys()
        vain, longest_s = frozenset[int](), QUICK_PROBE_S
        with self._waiting(within_s):
            while True:
                seen = await self._look(expectation, before, longest_s, deadline_s)
                before_vain, vain = vain, seen.wrongly | (seen.held_down & needed)
                twice = gives_up and bool(vain & before_vain)
                if seen.wrong and seen.taken:
                    return seen.taken
                if not seen.wrong or seen.hopeless or twice or enough():
                    return seen.wrong
                if self._clock() >= deadline_s:
                    return await self._settle_for(least, expectation, seen.wrong, before)
                self._tell(_named(seen.wrong))
                longest_s = PROBE_TIMEOUT_S
                await pause(POLL_S)

    @contextmanager
    def _waiting(self, within_s: float) -> Iterator[None]:
        self.said, self.wait = "", Wait(set(), self._reporter.elapsed_s, within_s)
        try:
            yield
        finally:
            self.wait = None

    def _tell(self, text: str) -> None:
        if text != self.said:
            self._reporter.tell(Mark.NOTE, detail=f"waiting: {text}")
            self.said = text

    async def _settle_for(
        self,
        least: Expectation | None,
        hoped: Expectation,
        wrong: list[GausscertError],
        before: Processes | None,
    ) -> list[GausscertError]:
        """Whatever is enough, what it falls short of is told; also what `query` says where it need not say
        anything."""
        if least is None:
            return wrong
        seen = await self._look(least, before, PROBE_TIMEOUT_S, self._clock())
        if not seen.wrong:
            said = proof.state_objections(hoped, self._asked)
            self.short_of = list({(each.node, each.message): each for each in [*wrong, *said]}.values())
        return seen.wrong

    async def _look(
        self, expectation: Expectation, before: Processes | None, longest_s: float, deadline_s: float
    ) -> _Seen:
        """Everything that is wrong, what the process lists show first."""
        read, probes = await self._hands.look(longest_s=longest_s)
        wrong = await self._look_at_servers(expectation, probes, deadline_s)
        if before is None and not wrong:
            return _Seen()
        stale = running.not_restarted(read.good, before or {})
        gone = running.absent(read.good) if wrong else []
        return _Seen(
            [*stale, *gone, *wrong, *read.bad.values()],
            hopeless=bool(stale),
            wrongly=sightings.definite(expectation, probes.good),
            held_down=running.held_down(read.good),
            taken=takeover.fenced_out(read.good, self._hands.epoch),
        )

    async def _look_at_servers(
        self, expectation: Expectation, probes: Answers[ProbeReport], deadline_s: float
    ) -> list[GausscertError]:
        """`query` is asked only once every handshake is right: before that cm_ctl may hang for 91 s on a
        connection that is refused (facts section 17). It gets what is left of the time, but enough."""
        self.evidence = proof.evidence(probes.good)
        self._note_causes(probes.good.values())
        wrong = [*probes.bad.values(), *proof.objections(expectation, probes.good)]
        if wrong:
            return wrong
        left_s = deadline_s - self._clock()
        longest_s = min(query.LONGEST_S, max(PROBE_TIMEOUT_S, left_s))
        asked = await self._hands.probe(query=True, longest_s=longest_s)
        self._asked = asked.good
        self.cluster_state = query.cluster_state(asked.good)
        self.evidence = proof.evidence(asked.good)
        self._note_causes(asked.good.values())
        return [
            *asked.bad.values(),
            *proof.objections(expectation, asked.good),
            *proof.state_objections(expectation, asked.good),
        ]

    def _note_causes(self, reports: Iterable[ProbeReport]) -> None:
        found = [finding for report in reports for finding in report.findings]
        self.causes = tuple(dict.fromkeys(found)) or self.causes


def _named(wrong: Iterable[GausscertError]) -> str:
    """Everything that is wrong, each once, by the first node that sees it."""
    seen: dict[str, str] = {}
    for error in wrong:
        seen.setdefault(error.message, error.node)
    shown = [f"{node}: {message}" if node else message for message, node in seen.items()]
    more = f"; and {len(shown) - _TOLD} more" if len(shown) > _TOLD else ""
    return "; ".join(shown[:_TOLD]) + more
