"""The rules as the agent uses them: about a set on disk, which is what counts, and about the bundle that it
was made of, which tells an operator more where something is wrong. Loaded when needed: an idle agent holds
no cryptography."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from gausscert_common import certset

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from gausscert_common.bundle import Bundle
    from gausscert_common.findings import Finding
    from gausscert_common.model import FactorBuild


class Judge(Protocol):
    """`gausscert_common.validate.certificate_set`."""

    def __call__(
        self,
        files: Mapping[str, bytes],
        modes: Mapping[str, int],
        *,
        now: datetime,
        threshold_days: int = 90,
        live: Mapping[str, bytes] | None = None,
        build: FactorBuild | None = None,
    ) -> tuple[Finding, ...]:
        """Everything wrong with a set on disk."""


class Explain(Protocol):
    """`gausscert_common.validate.bundle`."""

    def __call__(
        self, bundle: Bundle, *, now: datetime, carried_crls: Mapping[str, bytes], build: FactorBuild | None
    ) -> tuple[Finding, ...]:
        """Everything wrong with what was handed in."""


def judge_set(
    files: Mapping[str, bytes],
    modes: Mapping[str, int],
    *,
    now: datetime,
    threshold_days: int = 90,
    live: Mapping[str, bytes] | None = None,
    build: FactorBuild | None = None,
) -> tuple[Finding, ...]:
    """See `Judge`."""
    from gausscert_common.validate import certificate_set

    return certificate_set(files, modes, now=now, threshold_days=threshold_days, live=live, build=build)


def judge_form(files: Mapping[str, bytes], *, build: FactorBuild | None) -> tuple[Finding, ...]:
    """What is wrong with the form of the factor files of a set; nothing is decrypted."""
    from gausscert_common import validate

    return validate.factor_files(files, build=build)


def explain_bundle(
    bundle: Bundle, *, now: datetime, carried_crls: Mapping[str, bytes], build: FactorBuild | None
) -> tuple[Finding, ...]:
    """See `Explain`."""
    from gausscert_common import validate

    return validate.bundle(bundle, now=now, carried_crls=carried_crls, build=build)


def is_unusable(bundle: Bundle) -> bool:
    """Whether no stage can even be made of a bundle: `cm_ctl encrypt` would refuse a password, one is
    missing, or a file is too long."""
    if any(len(body) > certset.MAX_FILE_BYTES for body in bundle.pem.values()):
        return True
    if bundle.factor_files is not None:
        return False
    from gausscert_common import factors

    passwords = (bundle.server_password, bundle.client_password)
    return any(password is None or factors.password_faults(password) for password in passwords)
