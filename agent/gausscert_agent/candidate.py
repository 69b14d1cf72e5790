"""What would be staged of a source, and what is wrong with that today: a bundle, a generation or the live set
as the next set. All of it in memory."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from gausscert_common import certset
from gausscert_common.bundle import Bundle
from gausscert_common.errors import GausscertError, NodeRefusal, Reason
from gausscert_common.findings import Finding, Severity, errors
from gausscert_common.model import FactorBuild, JudgedSet
from gausscert_common.source import Generation

from gausscert_agent import contents
from gausscert_agent.described import describe_set
from gausscert_agent.examination import set_of
from gausscert_agent.judging import is_unusable

if TYPE_CHECKING:
    from gausscert_common.source import Source

    from gausscert_agent.examination import Examiner
    from gausscert_agent.ports import Cm
    from gausscert_agent.set_on_disk import SetOnDisk
    from gausscert_agent.store import Store


class CandidateJudge:
    """Judges without staging; changes nothing.

    Args:
        store: The sets.
        cm: Knows its own factor file format.
        examiner: Judges.
    """

    def __init__(self, store: Store, cm: Cm, examiner: Examiner) -> None:
        self._store = store
        self._cm = cm
        self._examiner = examiner
        self._one_at_a_time = threading.Lock()
        """Opening keys and shaking hands takes a processor; observers may ask, too. Nobody waits for it:
        callers that queue here would keep out those who only look."""

    def judge(self, source: Source, *, drop_crls: bool) -> JudgedSet:
        """What would be staged, and what Prepare would say of it, but for what only `cm_ctl` can tell: its
        build, where the node has no factor files yet. What cannot be read is a finding.

        Raises:
            NodeRefusal: BUSY; another one is being judged.
        """
        if not self._one_at_a_time.acquire(blocking=False):
            raise NodeRefusal(Reason.BUSY, "another set is being judged", remedy="try again")
        try:
            self._store.require_fit()
            if isinstance(source, Bundle):
                return self._judge_bundle(source, drop_crls=drop_crls)
            if isinstance(source, Generation):
                return self._judge_generation(source, drop_crls=drop_crls)
            return self._judge_live()
        except GausscertError as error:
            if error.reason is Reason.GENERATION_UNKNOWN:
                return JudgedSet()
            found = Finding(error.reason.value, Severity.ERROR, error.message, error.remedy, file=error.file)
            return JudgedSet(findings=(found,))
        finally:
            self._one_at_a_time.release()

    def _judge_live(self) -> JudgedSet:
        live = self._store.need_live()
        return JudgedSet(describe_set(live), self._examiner.examine(live, None).findings)

    def _judge_generation(self, generation: Generation, *, drop_crls: bool) -> JudgedSet:
        retired, live = self._store.read_retired(generation.name), self._store.read_live()
        new = set_of(contents.of_generation(retired, live, drop_crls=drop_crls))
        examined = self._examiner.examine(new, live)
        return JudgedSet(describe_set(new), (*examined.findings, *odd_modes(retired)), examined.overlap)

    def _judge_bundle(self, bundle: Bundle, *, drop_crls: bool) -> JudgedSet:
        live = self._store.read_live()
        if is_unusable(bundle):
            return JudgedSet(findings=self._examiner.explain(bundle, live, drop_crls=drop_crls))
        made = contents.factor_files(bundle, self._cm.factor_build() or FactorBuild.RELEASED)
        new = set_of(contents.of_bundle(bundle, made, live, drop_crls=drop_crls))
        examined = self._examiner.examine(new, live)
        found = examined.findings
        if errors(found):
            explained = self._examiner.explain(bundle, live, drop_crls=drop_crls)
            found = explained if errors(explained) else found
        described = describe_set(new)
        if bundle.factor_files is None:
            described = replace(described, digest="")
        return JudgedSet(described, found, examined.overlap)


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
