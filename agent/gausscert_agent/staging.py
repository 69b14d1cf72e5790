"""Builds the stage: the bundle's files, the node's factor files, what is carried over from the live
set; then has it judged with the node's own clock and rehearsed.

What an error leaves of a stage is for the caller to remove, who has journalled that there is one.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal

from gausscert_common import certset
from gausscert_common.errors import InvalidInput, NodeFailure, NodeRefusal, Reason
from gausscert_common.findings import Finding, Severity, errors
from gausscert_common.model import FactorBuild, Overlap

from gausscert_agent.judging import is_unusable
from gausscert_agent.stage import OWNER_BITS, Contents

if TYPE_CHECKING:
    from collections.abc import Callable

    from gausscert_common.bundle import Bundle

    from gausscert_agent.judging import Explain, Judge
    from gausscert_agent.ports import Cm, Rehearse
    from gausscert_agent.set_on_disk import SetOnDisk
    from gausscert_agent.store import Store

logger = logging.getLogger(__name__)

_MODES: Final[tuple[Literal["server", "client"], ...]] = ("server", "client")


@dataclass(frozen=True, slots=True)
class Material:
    """What Prepare hands in."""

    bundle: Bundle
    drop_crls: bool = False
    """The new set has only the CRLs of the bundle; else those of the live set are carried over."""


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
        rehearse: Holds the handshakes.
        judge: The rules about a set.
        explain: The rules about a bundle; asked only where something is wrong.
        clock: The node's clock, seconds since the epoch.
        threshold_days: Days before expiry at which a warning is due.
    """

    def __init__(
        self,
        store: Store,
        cm: Cm,
        *,
        rehearse: Rehearse,
        judge: Judge,
        explain: Explain,
        clock: Callable[[], float],
        threshold_days: Callable[[], int],
    ) -> None:
        self._store = store
        self._cm = cm
        self._rehearse = rehearse
        self._judge = judge
        self._explain = explain
        self._clock = clock
        self._threshold_days = threshold_days

    def build(self, transaction_id: str, material: Material) -> Built:
        """Build a transaction's stage; leftovers of an earlier try are removed first.

        Raises:
            InvalidInput: BUNDLE_INVALID, ARGUMENT_INVALID.
            NodeRefusal: SET_INVALID with all findings; NODE_UNFIT.
            NodeFailure: CM_CTL_FAILED, CM_CTL_TIMEOUT, STORE_FAILED.
        """
        self._store.require_fit()
        live = self._store.read_live()
        if is_unusable(material.bundle):
            _refuse_errors(self._explained(material, live))
        self._store.make_room(transaction_id)
        self._learn_build(transaction_id)
        contents = self._contents(transaction_id, material, live)
        self._store.write_stage(transaction_id, contents)
        staged = self._read_back(transaction_id, contents)
        found, overlap = self._tried(staged, live)
        if live is not None and live.digest == staged.digest:
            found += (_UNCHANGED,)
        if errors(found):
            _refuse_errors(self._explained(material, live))
            _refuse_errors(found)
        return Built(staged.digest, certset.bundle_digest(staged.files), found, overlap)

    def said_of(self, transaction_id: str) -> tuple[tuple[Finding, ...], Overlap]:
        """What is to be said of a stage that was built before; nothing if it is gone."""
        staged, live = self._store.read_stage(transaction_id), self._store.read_live()
        if staged is None:
            return (), Overlap()
        rehearsed = self._rehearse(staged.files, None if live is None else live.files)
        return self._judged(staged, live), rehearsed.overlap

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

    def _contents(self, transaction_id: str, material: Material, live: SetOnDisk | None) -> Contents:
        kept = _carried_over(live, material)
        fresh = _pem(material.bundle) | self._factor_files(transaction_id, material.bundle)
        modes = dict.fromkeys(fresh, certset.FILE_MODE)
        return Contents({**kept.files, **fresh}, {**kept.modes, **modes})

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

    def _tried(self, staged: SetOnDisk, live: SetOnDisk | None) -> tuple[tuple[Finding, ...], Overlap]:
        """By the rules, and where these find nothing, in handshakes."""
        from gausscert_common import factors

        with factors.remembering():
            found = self._judged(staged, live)
            if errors(found):
                return found, Overlap()
            rehearsed = self._rehearse(staged.files, None if live is None else live.files)
            return found + rehearsed.findings, rehearsed.overlap

    def _judged(self, staged: SetOnDisk, live: SetOnDisk | None) -> tuple[Finding, ...]:
        return self._judge(
            staged.files,
            staged.modes,
            now=datetime.fromtimestamp(self._clock(), UTC),
            threshold_days=self._threshold_days(),
            live=None if live is None else live.files,
            build=self._cm.factor_build(),
        )

    def _explained(self, material: Material, live: SetOnDisk | None) -> tuple[Finding, ...]:
        carried = {} if live is None or material.drop_crls else live.files
        return self._explain(
            material.bundle,
            now=datetime.fromtimestamp(self._clock(), UTC),
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


def _carried_over(live: SetOnDisk | None, material: Material) -> Contents:
    """Files of the live set that are not among the nine, and CRLs unless they are to be dropped."""
    left_behind = certset.NAMES + (certset.CRL_NAMES if material.drop_crls else ())
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
