"""What the recorder is told, as rows of the history. Pure: values in, statements with parameters out.

Nothing of a bundle but its digest and what its certificates say gets into a row: no key, no password.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gausscert_common import VERSION
from gausscert_common.model import CertificateKind, CertificateSet
from gausscert_common.protocol.words import LiveState, Phase
from gausscert_common.source import Generation

from gausscert_coordinator import history_schema as schema
from gausscert_coordinator import standing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from gausscert_common.auditing import Head
    from gausscert_common.errors import GausscertError
    from gausscert_common.findings import Finding
    from gausscert_common.model import Certificate, ClusterState, NodeReport, PreparedSet
    from gausscert_common.protocol.coordinator import Stage

    from gausscert_coordinator.job import Job
    from gausscert_coordinator.recorder import Kind
    from gausscert_coordinator.report import Proof, Result

Cell = str | int | float | None
Row = tuple[str, tuple[Cell, ...]]
"""A statement of `history_schema` and its parameters but the first one, the run."""


def moment(at: datetime) -> str:
    """UTC to the millisecond, always of the same length: as text it sorts as time does."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z"


def begun(kind: Kind, cluster: str, job: Job, at: datetime) -> Iterator[Row]:
    """Who sets out to do what, and how. A recovery only knows what the nodes tell it later."""
    new = job.replacement
    yield (
        schema.BEGIN_RUN,
        (
            job.transaction_id,
            cluster,
            kind.value,
            job.holder,
            VERSION,
            len(job.participants),
            job.restart.value,
            new.ssl_wish.value if new is not None else None,
            new.drop_crls if new is not None else None,
            job.take_over,
            new.bundle_digest if new is not None else None,
            new.leaf if new is not None else None,
            moment(at),
            new.source.name if new is not None and isinstance(new.source, Generation) else None,
            job.accept_state,
            ",".join(job.excluded),
        ),
    )


def fenced(epoch: int) -> Iterator[Row]:
    """The epoch of the run."""
    yield (schema.SET_EPOCH, (epoch,))


def granted(reports: Mapping[str, NodeReport]) -> Iterator[Row]:
    """Old and new set of each node, as far as it has them."""
    for name, report in reports.items():
        old, new = _sides(report)
        yield (schema.PUT_NODE, (name, *_told_of(old), *_told_of(new)))


def _sides(report: NodeReport) -> tuple[CertificateSet, CertificateSet]:
    """Which of live set and stage is the old one: after the exchange they have changed places."""
    told = report.transaction
    if told.phase is Phase.NONE:
        return report.live, CertificateSet()
    if told.live_state is LiveState.NEW:
        return report.stage, report.live
    return report.live, report.stage


def _told_of(held: CertificateSet) -> tuple[str, str]:
    return held.digest, held.fingerprint(CertificateKind.SERVER)


def staged(prepared: Mapping[str, PreparedSet]) -> Iterator[Row]:
    """The new set of each node; the certificates once, for they are the bundle's."""
    for name, answer in prepared.items():
        yield (schema.SET_STAGED, (name, *_told_of(answer.stage)))
    for answer in list(prepared.values())[:1]:
        for number, each in enumerate(answer.stage.certificates):
            yield (schema.PUT_CERTIFICATE, (number, *_certificate(each)))


def _certificate(shown: Certificate) -> tuple[Cell, ...]:
    dates = (moment(shown.not_before), moment(shown.not_after))
    names = (shown.subject, shown.issuer, shown.serial, shown.fingerprint)
    return (shown.file, shown.kind.value, *names, *dates)


def steps(changed: Iterable[tuple[Cell, ...]]) -> Iterator[Row]:
    """Steps that began or ended since the last group."""
    for each in changed:
        yield (schema.PUT_STEP, each)


def before(state: ClusterState | None) -> Iterator[Row]:
    """How the cluster was before CM was stopped."""
    yield (schema.SET_BEFORE, (_said(state), standing.roles_text(state)))


def _said(state: ClusterState | None) -> str | None:
    return (state.cluster_state or state.cause) if state is not None else None


def seen(stage: Stage, evidence: Sequence[Proof]) -> Iterator[Row]:
    """What was served, seen from where."""
    for number, proof in enumerate(evidence):
        served = proof.served
        until = moment(served.not_after) if served.not_after is not None else None
        target = (proof.seen_from, served.cm_node_id, served.target, served.state.value)
        shown = (served.fingerprint, served.chain_verified, until, served.cause)
        yield (schema.PUT_EVIDENCE, (stage.value, number, *target, *shown))


def found(findings: Sequence[Finding]) -> Iterator[Row]:
    """All findings so far; those that are there already are written once more over themselves."""
    for number, each in enumerate(findings):
        place = (each.node, each.file)
        yield (
            schema.PUT_FINDING,
            (number, each.code, each.severity.value, *place, each.cause, each.remedy),
        )


def heads(seen: Mapping[str, Head]) -> Iterator[Row]:
    """The last line of each node's audit log about this run."""
    for name, head in seen.items():
        yield (schema.PUT_HEAD, (name, head.number, head.hash))


def ended(result: Result, at: datetime) -> Iterator[Row]:
    """How it ended, and why."""
    yield (
        schema.END_RUN,
        (
            moment(at),
            result.duration_s,
            result.verdict.value,
            result.why,
            result.interrupted,
            result.last_stage.value if result.last_stage is not None else None,
            _said(result.cluster_state),
            standing.roles_text(result.cluster_state),
        ),
    )
    objections = [finding for failure in result.failures for finding in failure.findings]
    yield from found([*result.findings, *objections])
    yield from failed(result.failures)


def failed(failures: Iterable[GausscertError]) -> Iterator[Row]:
    """Why it did not go forward."""
    for number, each in enumerate(failures):
        yield (
            schema.PUT_FAILURE,
            (number, each.reason.value, each.node, each.file, each.message, each.remedy),
        )
