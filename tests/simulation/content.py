"""The sets of a schedule: what an operator hands in, and what becomes of it on a node."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from gausscert_common.bundle import Bundle
from gausscert_common.model import CertificateSet
from support.fake_node import FakeSet, bundle


@dataclass(frozen=True)
class Content(FakeSet):
    """A set, or what is to become one."""

    name: str = ""
    whole: bool = True


@cache
def content(label: str, salt: str = "") -> Content:
    """The set of a bundle, as it lies on one node; ready factor files make it the same everywhere."""
    made = FakeSet.of(bundle(label), salt)
    return Content(made.digest, made.bundle_digest, made.server, made.ca, f"{label}{salt and '/' + salt}")


@cache
def bundle_of(label: str) -> Bundle:
    """What an operator hands in."""
    return bundle(label)


@cache
def label_of(digest: str, labels: tuple[str, ...]) -> str:
    """Which of these bundles has that digest."""
    return next(label for label in labels if bundle_of(label).digest == digest)


@cache
def reported(held: Content) -> CertificateSet:
    """As a report tells it."""
    return held.report()


OLD, OLDER = "old", "older"
FORMER = "t-000-001"
"""The generation that all nodes have from the beginning, of a transaction before this time."""
FOREIGN = "somebody else's"
TORN = Content("torn", "", content(OLD).server, "", "torn", whole=False)
