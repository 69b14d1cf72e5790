"""Builds the stage: the bundle's files, the node's factor files, what is carried over from the live
set; or the files of a generation. Then has it judged with the node's own clock and rehearsed.

What an error leaves of a stage is for the caller to remove, who has journalled that there is one.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

from gausscert_common import certset
from gausscert_common.bundle import Bundle
from gausscert_common.errors import InvalidInput, NodeFailure, NodeRefusal, Reason
from gausscert_common.findings import Finding, Severity, errors
from gausscert_common.model import FactorBuild, Overlap
from gausscert_common.source import Generation

from gausscert_agent.judging import is_unusable
from gausscert_agent.stage import OWNER_BITS, Contents

if TYPE_CHECKING:
    from gausscert_common.source import Source

    from gausscert_agent.examination import Examiner
    from gausscert_agent.judging import Explain
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
        examiner: Judges what was staged.
        explain: The rules about a bundle; asked only where something is wrong.
    """

    def __init__(self, store: Store, cm: Cm, *, examiner: Examiner, explain: Explain) -> None:
        self._store = store
        self._cm = cm
        self._examiner = examiner
        self._explain = explain

    def build(self, transaction_id: str, material: Material) -> Built:
        """Build a transaction's stage; leftovers of an earlier try are removed first.

        Raises:
            InvalidInput: BUNDLE_INVALID, ARGUMENT_INVALID.
            NodeRefusal: SET_INVALID with all findings; NODE_UNFIT; GENERATION_UNKNOWN.
            NodeFailure: CM_CTL_FAILED, CM_CTL_TIMEOUT, STORE_FAILED.
        """
        self._store.require_fit()
        live = self._store.read_live()
        if isinstance(material.source, Generation):
            contents = self._of_generation(transaction_id, material, material.source, live)
        else:
            contents = self._of_bundle(transaction_id, material, _bundle(material), live)
        self._store.write_stage(transaction_id, contents)
        staged = self._read_back(transaction_id, contents)
        examined = self._examiner.examine(staged, live)
        if errors(examined.findings):
            _refuse_errors(self._explained(material, live))
            _refuse_errors(examined.findings)
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

    def _of_generation(
        self, transaction_id: str, material: Material, generation: Generation, live: SetOnDisk | None
    ) -> Contents:
        """Read before room is made, which may change the layout and with it the place of sets."""
        retired = self._store.read_retired(generation.name)
        self._store.make_room(transaction_id)
        self._learn_build(transaction_id)
        return contents_of(retired, live, drop_crls=material.drop_crls)

    def _of_bundle(
        self, transaction_id: str, material: Material, bundle: Bundle, live: SetOnDisk | None
    ) -> Contents:
        if is_unusable(bundle):
            _refuse_errors(self._explained(material, live))
        self._store.make_room(transaction_id)
        self._learn_build(transaction_id)
        kept = _carried_over(live, drop_crls=material.drop_crls)
        fresh = _pem(bundle) | self._factor_files(transaction_id, bundle)
        modes = dict.fromkeys(fresh, certset.FILE_MODE)
        return Contents({**kept.files, **fresh}, {**kept.modes, **modes})

    def _learn_build(self, transaction_id: str) -> None:
        """Ready-made factor files of the other build must not pass where there are none to compare with."""
        if self._cm.factor_build() is not None or not self._cm.has_cm_ctl():
            return
        try:
            with self._store.scratch(transaction_id) as directory:
                self._cm.learn_factor_build(directory)
        except NodeFailure as failure:
            if failure.reason is Reason.STORE_FAILED:
                raise
            logger.warning(
                "the build of CM is unknown: cm_ctl encrypt does not work", extra={"cause": failure.message}
            )

    def _read_back(self, transaction_id: str, contents: Contents) -> SetOnDisk:
        staged = self._store.read_stage(transaction_id)
        if staged is None or staged.files != contents.files:
            raise NodeFailure(
                Reason.STORE_FAILED,
                "the stage does not read back as it was written",
                file=str(self._store.stage_path(transaction_id)),
                remedy="see to the health of that file system",
            )
        return staged

    def _explained(self, material: Material, live: SetOnDisk | None) -> tuple[Finding, ...]:
        """In the words of what was handed in; of a generation nothing was."""
        if not isinstance(material.source, Bundle):
            return ()
        carried = {} if live is None or material.drop_crls else live.files
        return self._explain(
            material.source,
            now=self._examiner.now,
            carried_crls={name: carried[name] for name in certset.CRL_NAMES if name in carried},
            build=self._cm.factor_build(),
        )

    def _factor_files(self, transaction_id: str, bundle: Bundle) -> dict[str, bytes]:
        if bundle.factor_files is not None:
            return bundle.factor_files.as_files()
        passwords = (bundle.server_password, bundle.client_password)
        made: dict[str, bytes] = {}
        for mode, password in zip(_MODES, passwords, strict=True):
            if password is None:
                raise InvalidInput(
                    Reason.BUNDLE_INVALID,
                    f"there is neither a password for {mode}.key nor the factor files",
                    file=f"{mode}.key",
                    remedy="hand in both key passwords, or all four factor files",
                )
            made |= self._encrypted(transaction_id, mode, password)
        return made

    def _encrypted(
        self, transaction_id: str, mode: Literal["server", "client"], password: str
    ) -> dict[str, bytes]:
        from gausscert_common import factors

        names = f"{mode}.key.cipher", f"{mode}.key.rand"
        if not self._cm.has_cm_ctl():
            pair = factors.write(password, self._cm.factor_build() or FactorBuild.RELEASED)
            return dict(zip(names, pair, strict=True))
        with self._store.scratch(transaction_id) as directory:
            self._cm.encrypt(mode, directory, password)
            written = self._store.read_scratch(transaction_id)
        pair = written.get(names[0], b""), written.get(names[1], b"")
        if not _holds(pair, password):
            raise NodeFailure(
                Reason.CM_CTL_FAILED,
                "cm_ctl encrypt reported success, but its files do not hold the password",
                file=names[0],
                remedy="try `cm_ctl encrypt` by hand in an empty directory and compare",
            )
        return dict(zip(names, pair, strict=True))


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


def _pem(bundle: Bundle) -> dict[str, bytes]:
    for name, body in bundle.pem.items():
        if name not in certset.BUNDLE_NAMES:
            raise InvalidInput(Reason.ARGUMENT_INVALID, "is no file of a bundle", file=name)
        if len(body) > certset.MAX_FILE_BYTES:
            raise InvalidInput(
                Reason.BUNDLE_INVALID,
                f"is longer than {certset.MAX_FILE_BYTES} bytes",
                file=name,
                remedy="leave out what the cluster does not need",
            )
    return dict(bundle.pem)


def contents_of(retired: SetOnDisk, live: SetOnDisk | None, *, drop_crls: bool) -> Contents:
    """What a stage of a generation holds: its own nine files and its own CRLs, in the mode that CM demands
    whatever theirs is now; and of the live directory what is none of a set, as every new set has it.

    The CRLs of the live set are never carried over: one of another CA would make CM refuse every certificate
    of this one.
    """
    names = certset.NAMES if drop_crls else certset.NAMES + certset.CRL_NAMES
    own = {name: retired.files[name] for name in names if name in retired.files}
    kept = _carried_over(live, drop_crls=True)
    return Contents({**kept.files, **own}, {**kept.modes, **dict.fromkeys(own, certset.FILE_MODE)})


def _carried_over(live: SetOnDisk | None, *, drop_crls: bool) -> Contents:
    """Files of the live set that are not among the nine, and CRLs unless they are to be dropped."""
    left_behind = certset.NAMES + (certset.CRL_NAMES if drop_crls else ())
    if live is None:
        return Contents({}, {})
    kept = {name: body for name, body in live.files.items() if name not in left_behind}
    return Contents(kept, {name: live.modes[name] & OWNER_BITS for name in kept})


_UNCHANGED: Final = Finding(
    "SET_UNCHANGED",
    Severity.WARNING,
    "the new set is what is live on this node already, byte for byte",
    "nothing to do, if the other nodes still need it",
)
"""A warning: one node may have been repaired by hand before the others. That no node needs the set is for
the plan to see."""
