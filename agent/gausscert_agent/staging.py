"""Builds the stage: the bundle's files, the node's factor files, what is carried over from the live
set; or the files of a generation.

It is judged with the node's own clock, and rehearsed, in memory: nothing is written of what CM would refuse.
What only `cm_ctl encrypt` makes is judged when it is there. What an error leaves of a stage is for the caller
to remove, who has journalled that there is one.
"""

from __future__ import annotations

import logging
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

from gausscert_common import certset
from gausscert_common.bundle import Bundle
from gausscert_common.errors import InvalidInput, NodeFailure, NodeRefusal, Reason
from gausscert_common.findings import Finding, Severity, errors
from gausscert_common.model import FactorBuild, Overlap
from gausscert_common.source import Generation

from gausscert_agent import contents
from gausscert_agent.examination import set_of
from gausscert_agent.judging import is_unusable
from gausscert_agent.stage import Contents

if TYPE_CHECKING:
    from gausscert_common.source import Source

    from gausscert_agent.alone import Alone
    from gausscert_agent.examination import Examined, Examiner
    from gausscert_agent.ports import Cm
    from gausscert_agent.set_on_disk import SetOnDisk
    from gausscert_agent.store import Store

logger = logging.getLogger(__name__)

_MODES: Final[tuple[Literal["server", "client"], ...]] = ("server", "client")


@dataclass(frozen=True, slots=True)
class Material:
    """What Prepare hands in."""

    source: Source
    drop_crls: bool = False
    """With a bundle: the new set has only its CRLs; else those of the live set are carried over.
    With a generation: the new set has none; else it has those of the generation."""


@dataclass(frozen=True, slots=True)
class Built:
    """A stage that is durable and found good."""

    digest: str
    bundle_digest: str
    findings: tuple[Finding, ...] = ()
    """Warnings only."""
    overlap: Overlap = Overlap()


class StageBuilder:
    """Builds stages.

    Args:
        store: Where.
        cm: Encrypts, and knows its own factor file format.
        examiner: Judges what is to be staged.
        alone: Waits for cm_ctl of others.
    """

    def __init__(self, store: Store, cm: Cm, examiner: Examiner, alone: Alone) -> None:
        self._store = store
        self._alone = alone
        self._cm = cm
        self._examiner = examiner

    def build(self, transaction_id: str, material: Material) -> Built:
        """Build a transaction's stage; leftovers of an earlier try are removed first.

        Raises:
            InvalidInput: BUNDLE_INVALID, ARGUMENT_INVALID.
            NodeRefusal: SET_INVALID with all findings; NODE_UNFIT, also where somebody else's cm_ctl runs;
                GENERATION_UNKNOWN.
            NodeFailure: CM_CTL_FAILED, CM_CTL_TIMEOUT, STORE_FAILED.
        """
        self._store.require_fit()
        live = self._store.read_live()
        wanted, examined = self._examined(material, live)
        # From here on something is written. Making room may change the layout, and with it the place of sets.
        self._store.make_room(transaction_id)
        learned = self._learn_build(transaction_id)
        wanted = self._with_factor_files(transaction_id, material, wanted, live, learned=learned)
        self._store.write_stage(transaction_id, wanted)
        staged = self._read_back(transaction_id, wanted)
        unchanged = (_UNCHANGED,) if live is not None and live.digest == staged.digest else ()
        return Built(
            staged.digest,
            certset.bundle_digest(staged.files),
            examined.findings + unchanged,
            examined.overlap,
        )

    def keep_live(self, *, strict: bool) -> Built:
        """Stage nothing: the live set stays, and is judged as if it was new.

        Args:
            strict: What is wrong with it refuses. Else it is told: SSL is switched off, often because of it.

        Raises:
            NodeRefusal: SET_INVALID with all findings; NODE_UNFIT, there is no live set.
        """
        live = self._store.need_live()
        found = self._examiner.examine(live, None).findings
        if strict:
            _refuse_errors(found)
        warnings = tuple(replace(each, severity=Severity.WARNING) for each in found)
        return Built(live.digest, certset.bundle_digest(live.files), warnings)

    def said_of(self, transaction_id: str) -> tuple[tuple[Finding, ...], Overlap]:
        """What is to be said of a stage that was built before; nothing if it is gone."""
        staged, live = self._store.read_stage(transaction_id), self._store.read_live()
        if staged is None:
            return (), Overlap()
        said = self._examiner.examine_again(staged, live)
        return said.findings, said.overlap

    def _examined(self, material: Material, live: SetOnDisk | None) -> tuple[Contents, Examined]:
        """What is to be staged, with factor files of our own where `cm_ctl encrypt` will make them: the same
        passwords, and so the same verdict."""
        from gausscert_common import factors

        source = material.source
        if isinstance(source, Bundle) and is_unusable(source):
            _refuse_errors(self._examiner.explain(source, live, drop_crls=material.drop_crls))
        # What is written in here need not be decrypted; what is to be staged as it is, that is.
        with factors.remembering() if self._cm.has_cm_ctl() else nullcontext():
            wanted = self._contents(material, live)
            examined = self._examiner.examine(set_of(wanted), live)
        self._refuse(examined.findings, material, live)
        return wanted, examined

    def _contents(self, material: Material, live: SetOnDisk | None) -> Contents:
        source, drop_crls = material.source, material.drop_crls
        if isinstance(source, Generation):
            return contents.of_generation(self._store.read_retired(source.name), live, drop_crls=drop_crls)
        bundle = _bundle(material)
        made = contents.factor_files(bundle, self._cm.factor_build() or FactorBuild.RELEASED)
        return contents.of_bundle(bundle, made, live, drop_crls=drop_crls)

    def _refuse(self, found: tuple[Finding, ...], material: Material, live: SetOnDisk | None) -> None:
        """In the words of what was handed in, where these say what is wrong."""
        if errors(found):
            _refuse_errors(self._examiner.explain(material.source, live, drop_crls=material.drop_crls))
            _refuse_errors(found)

    def _learn_build(self, transaction_id: str) -> bool:
        """Ready-made factor files of the other build must not pass where there are none to compare with.

        Returns:
            Whether it was learned only now.
        """
        if self._cm.factor_build() is not None or not self._cm.has_cm_ctl():
            return False
        try:
            with self._store.scratch(transaction_id) as directory:
                self._alone.before()
                self._cm.learn_factor_build(directory)
        except NodeFailure as failure:
            if failure.reason is Reason.STORE_FAILED:
                raise
            logger.warning(
                "the build of CM is unknown: cm_ctl encrypt does not work", extra={"cause": failure.message}
            )
        return self._cm.factor_build() is not None

    def _read_back(self, transaction_id: str, wanted: Contents) -> SetOnDisk:
        staged = self._store.read_stage(transaction_id)
        if staged is None or (staged.files, staged.modes) != (wanted.files, wanted.modes):
            raise NodeFailure(
                Reason.STORE_FAILED,
                "the stage does not read back as it was written",
                file=str(self._store.stage_path(transaction_id)),
                remedy="see to the health of that file system",
            )
        return staged

    def _with_factor_files(
        self,
        transaction_id: str,
        material: Material,
        wanted: Contents,
        live: SetOnDisk | None,
        *,
        learned: bool,
    ) -> Contents:
        """With those that `cm_ctl encrypt` makes, where it is to make any; judged by the build of CM that is
        known by now."""
        source, files = material.source, wanted.files
        is_theirs = isinstance(source, Bundle) and source.factor_files is None and self._cm.has_cm_ctl()
        if isinstance(source, Bundle) and is_theirs:
            files = {**files, **self._made(transaction_id, source)}
        if is_theirs or learned:
            self._refuse(self._examiner.examine_factor_files(files), material, live)
        return Contents(files, wanted.modes)

    def _made(self, transaction_id: str, bundle: Bundle) -> dict[str, bytes]:
        made: dict[str, bytes] = {}
        for mode, password in zip(_MODES, contents.passwords(bundle), strict=True):
            names = f"{mode}.key.cipher", f"{mode}.key.rand"
            pair = self._encrypted(transaction_id, mode, password)
            if not _holds(pair, password):
                raise NodeFailure(
                    Reason.CM_CTL_FAILED,
                    "cm_ctl encrypt reported success, but its files do not hold the password",
                    file=names[0],
                    remedy="try `cm_ctl encrypt` by hand in an empty directory and compare",
                )
            made |= zip(names, pair, strict=True)
        return made

    def _encrypted(
        self, transaction_id: str, mode: Literal["server", "client"], password: str
    ) -> tuple[bytes, bytes]:
        with self._store.scratch(transaction_id) as directory:
            self._alone.before()
            self._cm.encrypt(mode, directory, password)
            written = self._store.read_scratch(transaction_id)
        return written.get(f"{mode}.key.cipher", b""), written.get(f"{mode}.key.rand", b"")


def _bundle(material: Material) -> Bundle:
    if not isinstance(material.source, Bundle):
        raise TypeError("the live set is kept, and never staged")
    return material.source


def _refuse_errors(found: tuple[Finding, ...]) -> None:
    """Raises NodeRefusal SET_INVALID if there are errors among them."""
    if errors(found):
        raise NodeRefusal(
            Reason.SET_INVALID,
            f"the new set is not fit for use: {len(errors(found))} errors",
            remedy="mend what the findings say and prepare again",
            findings=found,
        )


def _holds(pair: tuple[bytes, bytes], password: str) -> bool:
    from gausscert_common import factors

    try:
        return factors.read(*pair) == password
    except InvalidInput:
        return False


_UNCHANGED: Final = Finding(
    "SET_UNCHANGED",
    Severity.WARNING,
    "the new set is what is live on this node already, byte for byte",
    "nothing to do, if the other nodes still need it",
)
"""A warning: one node may have been repaired by hand before the others. That no node needs the set is for
the plan to see."""
