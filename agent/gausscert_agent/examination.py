"""A set as it is judged before it may become live: by the rules, with the node's own clock, and by handshakes
with itself and with the live one. The same for a stage and for a generation that is only asked about."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gausscert_common import certset
from gausscert_common.bundle import Bundle
from gausscert_common.findings import Finding, errors
from gausscert_common.model import Overlap

from gausscert_agent.judging import judge_form
from gausscert_agent.set_on_disk import SetOnDisk

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gausscert_common.source import Source

    from gausscert_agent.judging import Explain, Judge
    from gausscert_agent.ports import Cm, Rehearse
    from gausscert_agent.stage import Contents


@dataclass(frozen=True, slots=True)
class Examined:
    """What came of it."""

    findings: tuple[Finding, ...] = ()
    overlap: Overlap = Overlap()


def set_of(made: Contents) -> SetOnDisk:
    """What is to be staged, as it will be found on disk."""
    return SetOnDisk(dict(made.files), dict(made.modes))


class Examiner:
    """Judges sets. May be asked by several threads at once.

    Args:
        cm: Knows its own factor file format.
        rehearse: Holds the handshakes.
        judge: The rules about a set.
        explain: The rules about a bundle; asked only where something is wrong.
        clock: The node's clock, seconds since the epoch.
        threshold_days: Days before expiry at which a warning is due.
    """

    def __init__(
        self,
        cm: Cm,
        *,
        rehearse: Rehearse,
        judge: Judge,
        explain: Explain,
        clock: Callable[[], float],
        threshold_days: Callable[[], int],
    ) -> None:
        self._cm = cm
        self._rehearse = rehearse
        self._judge = judge
        self._explain = explain
        self._clock = clock
        self._threshold_days = threshold_days

    def examine(self, new: SetOnDisk, live: SetOnDisk | None) -> Examined:
        """Everything wrong with a set; handshakes are only held with one that the rules let pass.

        Raises:
            NodeFailure: CM's own threshold cannot be read.
        """
        from gausscert_common import factors  # an agent holds what it has loaded

        with factors.remembering():
            found = self._judged(new, live)
            if errors(found):
                return Examined(found)
            rehearsed = self._rehearse(new.files, None if live is None else live.files)
            return Examined(found + rehearsed.findings, rehearsed.overlap)

    def examine_again(self, staged: SetOnDisk, live: SetOnDisk | None) -> Examined:
        """What is to be said of a stage that was found good before, for a repeated Prepare."""
        rehearsed = self._rehearse(staged.files, None if live is None else live.files)
        return Examined(self._judged(staged, live), rehearsed.overlap)

    def examine_factor_files(self, new: Mapping[str, bytes]) -> tuple[Finding, ...]:
        """Whether they are of the build of CM that runs here, by what is known of it now."""
        return judge_form(new, build=self._cm.factor_build())

    def explain(self, source: Source, live: SetOnDisk | None, *, drop_crls: bool) -> tuple[Finding, ...]:
        """What is wrong in the words of what was handed in; of a generation nothing was."""
        if not isinstance(source, Bundle):
            return ()
        carried = {} if live is None or drop_crls else live.files
        return self._explain(
            source,
            now=datetime.fromtimestamp(self._clock(), UTC),
            carried_crls={name: carried[name] for name in certset.CRL_NAMES if name in carried},
            build=self._cm.factor_build(),
        )

    def _judged(self, new: SetOnDisk, live: SetOnDisk | None) -> tuple[Finding, ...]:
        return self._judge(
            new.files,
            new.modes,
            now=datetime.fromtimestamp(self._clock(), UTC),
            threshold_days=self._threshold_days(),
            live=None if live is None else live.files,
            build=self._cm.factor_build(),
        )
