"""A generation, or the live set, as the next set: what would be staged of it, and what is wrong with that
today."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from gausscert_common import certset
from gausscert_common.errors import GausscertError, NodeRefusal, Reason
from gausscert_common.findings import Finding, Severity
from gausscert_common.model import JudgedGeneration
from gausscert_common.source import Generation, LiveSet

from gausscert_agent.observe import describe_set
from gausscert_agent.set_on_disk import SetOnDisk
from gausscert_agent.staging import contents_of

if TYPE_CHECKING:
    from gausscert_agent.examination import Examiner
    from gausscert_agent.store import Store


class GenerationJudge:
    """Judges generations without staging them; changes nothing.

    Args:
        store: The sets.
        examiner: Judges.
    """

    def __init__(self, store: Store, examiner: Examiner) -> None:
        self._store = store
        self._examiner = examiner
        self._one_at_a_time = threading.Lock()
        """Opening keys and shaking hands takes a processor; observers may ask, too. Nobody waits for it:
        callers that queue here would keep out those who only look."""

    def judge(self, generation: Generation | LiveSet, *, drop_crls: bool) -> JudgedGeneration:
        """What would be staged, and what Prepare would say of it. What cannot be read is a finding.

        Raises:
            NodeRefusal: BUSY; another one is being judged.
        """
        if not self._one_at_a_time.acquire(blocking=False):
            raise NodeRefusal(Reason.BUSY, "another generation is being judged", remedy="try again")
        name = generation.name if isinstance(generation, Generation) else ""
        try:
            if isinstance(generation, LiveSet):
                return self._judge_live()
            return self._judge(generation, drop_crls=drop_crls)
        except GausscertError as error:
            if error.reason is Reason.GENERATION_UNKNOWN:
                return JudgedGeneration(name)
            found = Finding(error.reason.value, Severity.ERROR, error.message, error.remedy, file=error.file)
            return JudgedGeneration(name, findings=(found,))
        finally:
            self._one_at_a_time.release()

    def _judge_live(self) -> JudgedGeneration:
        live = self._store.need_live()
        return JudgedGeneration("", describe_set(live), self._examiner.examine(live, None).findings)

    def _judge(self, generation: Generation, *, drop_crls: bool) -> JudgedGeneration:
        retired, live = self._store.read_retired(generation.name), self._store.read_live()
        contents = contents_of(retired, live, drop_crls=drop_crls)
        new = SetOnDisk(dict(contents.files), dict(contents.modes))
        examined = self._examiner.examine(new, live)
        found = (*examined.findings, *odd_modes(retired))
        return JudgedGeneration(generation.name, describe_set(new), found)


def odd_modes(retired: SetOnDisk) -> tuple[Finding, ...]:
    """Modes that CM would refuse. Only a warning: a stage gets the right ones, but who changed these?"""
    from gausscert_common.validate.catalogue import finding

    odd = {name: mode for name, mode in retired.modes.items() if mode != certset.FILE_MODE}
    return tuple(
        replace(
            finding("FILE_MODE", f"in the retired set its mode is {odd[name]:04o}; a copy gets 0400", name),
            severity=Severity.WARNING,
            remedy="find out who changed it since it was retired",
        )
        for name in certset.NAMES
        if name in odd
    )
