"""What the verbs of `gausscert pki` show: documents and lines."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from gausscert_common.identity import CREDENTIAL_WARNED_DAYS, Role

from gausscert_coordinator.cli import documents, judge
from gausscert_coordinator.cli.layout import BAD, DOUBTFUL, FAINT, GOOD, cell, fitted, short
from gausscert_coordinator.cli.tables_errors import failures

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gausscert_common.identity import Identity
    from gausscert_common.model import Certificate
    from rich.console import RenderableType

    from gausscert_coordinator.control_plane import Denial, Held, Renewed
    from gausscert_coordinator.pki import Issued
    from gausscert_coordinator.pki_register import Entry

_STYLES: Final = {
    "ok": GOOD,
    "expiring": DOUBTFUL,
    "expired": BAD,
    "revoked": BAD,
    "superseded": FAINT,
    "unconfirmed": DOUBTFUL,
}


def issued(made: Issued) -> tuple[dict[str, Any], list[str], str]:
    """One identity that was issued: document, lines, and where it belongs."""
    document = {
        "identity": made.identity.uri,
        "cert": str(made.cert),
        "key": str(made.key),
        "ca": str(made.ca),
        "fingerprint": made.fingerprint,
        "not_after": documents.time(made.not_after),
    }
    lines = [
        f"issued {made.identity} until {made.not_after:%Y-%m-%d %H:%M} UTC",
        f"  {made.cert}",
        f"  {made.key}",
        f"  {made.ca}",
    ]
    is_node = made.identity.role is Role.NODE
    of_node = "/etc/gausscert/pki on that node, or where its agent.toml says"
    place = of_node if is_node else "where gausscert.toml says"
    return document, lines, place


def renewed_document(shown: Sequence[Renewed]) -> dict[str, Any]:
    """Agents whose credential was renewed over the wire; no file was written."""
    return {
        **dict.fromkeys(("identity", "cert", "key", "ca", "fingerprint", "not_after")),
        "nodes": [
            {
                "node": each.node,
                "credential": None if each.credential is None else documents.certificate(each.credential),
                "error": None if each.error is None else documents.error(each.error),
            }
            for each in shown
        ],
    }


def renewed(shown: Sequence[Renewed]) -> list[RenderableType]:
    """The same for a person."""
    lines: list[RenderableType] = [
        cell(
            f"{each.node}: renewed until {each.credential.not_after:%Y-%m-%d %H:%M} UTC, and seen to serve it"
        )
        for each in shown
        if each.credential is not None
    ]
    return [*lines, *failures([each.error for each in shown if each.error is not None])]


def revoked_document(revoked: Sequence[Entry], shown: Sequence[Denial]) -> dict[str, Any]:
    """What was revoked, and which agents know."""
    return {
        "revoked": [
            {"identity": each.identity.uri, "serial": each.serial, "fingerprint": each.fingerprint}
            for each in revoked
        ],
        "nodes": [
            {
                "node": each.node,
                "added": each.added,
                "total": each.total,
                "error": None if each.error is None else documents.error(each.error),
            }
            for each in shown
        ],
    }


def revoked(gone: Sequence[Entry], shown: Sequence[Denial]) -> list[RenderableType]:
    """The same for a person."""
    lines: list[RenderableType] = [cell(f"revoked {each.identity}, serial {each.serial}") for each in gone]
    lines += [
        cell(f"{each.node}: refuses {each.total} credentials, {each.added} of them new to it")
        for each in shown
        if each.error is None
    ]
    return [*lines, *failures([each.error for each in shown if each.error is not None])]


def _advice(of: Identity) -> str:
    if of.role is not Role.NODE:
        return (
            f"{of.name}: signed, but cut off before its files were seen to be there; gausscert pki issue"
            f" {of.role} {of.name} puts it right"
        )
    return (
        f"{of.name}: signed, but not seen in use; gausscert pki renew --node {of.name} puts it right,"
        " pki list --nodes shows what its agent has"
    )


class Listing:
    """Everything that `gausscert pki list` knows, judged at one moment.

    Args:
        entries: Of the register; newest first for each identity.
        held: What the agents have; () where they were not asked.
        now: The present.
    """

    def __init__(self, entries: Sequence[Entry], held: Sequence[Held], now: datetime | None = None) -> None:
        seen = {one.fingerprint for each in held for one in each.certificates}
        self._entries = [
            replace(each, pending=each.pending and each.fingerprint not in seen) for each in entries
        ]
        self._held = held
        self._now = now or datetime.now(UTC)

    def document(self) -> dict[str, Any]:
        """For a program."""
        return {
            "identities": [
                {
                    "identity": each.identity.uri,
                    "role": each.role.value,
                    "name": each.identity.name,
                    "serial": each.serial,
                    "fingerprint": each.fingerprint,
                    "not_before": documents.time(each.not_before),
                    "not_after": documents.time(each.not_after),
                    "days_left": judge.days_between(self._now, each.not_after),
                    "revoked": each.revoked,
                    "state": self._word(each),
                    "confirmed": not each.pending,
                }
                for each in self._entries
            ],
            "agents": [
                {
                    "node": each.node,
                    "certificates": [
                        {
                            **documents.certificate(one),
                            "days_left": judge.days_between(self._now, one.not_after),
                            "known": self._is_known(one),
                        }
                        for one in each.certificates
                    ],
                    "error": None if each.error is None else documents.error(each.error),
                }
                for each in self._held
            ],
        }

    def table(self, width: int) -> list[RenderableType]:
        """For a person."""
        rows = [
            [
                cell(each.role.value),
                cell(each.identity.name),
                cell(self.state(each), _STYLES[self.state(each)]),
                cell(str(judge.days_between(self._now, each.not_after))),
                cell(f"{each.not_after:%Y-%m-%d %H:%M}"),
                cell(each.serial),
            ]
            for each in self._entries
        ]
        headings = ("role", "name", "state", "days left", "expires (UTC)", "serial")
        parts: list[RenderableType] = (
            [fitted(headings, rows, width)] if rows else [cell("nothing was issued yet")]
        )
        return [*parts, *self._unconfirmed(), *self._agents(width)]

    def _unconfirmed(self) -> list[RenderableType]:
        waiting = {each.identity for each in self._entries if self.state(each) == "unconfirmed"}
        return [cell(_advice(each), DOUBTFUL) for each in sorted(waiting, key=lambda each: each.uri)]

    def state(self, entry: Entry) -> str:
        """One word for people: as for programs, but "unconfirmed" of what is good, was signed for an agent
        that was not seen to have it, or for files that may not be there, and was not followed by another one
        since."""
        newest = self._newest(entry)
        followed = newest is not None and newest.number > entry.number
        good = self._word(entry) in ("ok", "expiring")
        return "unconfirmed" if entry.pending and good and not followed else self._word(entry)

    def _word(self, entry: Entry) -> str:
        """One word for programs: "revoked" before all, "superseded" where a newer one of the same identity is
        there and in use."""
        if entry.revoked:
            return "revoked"
        if entry.not_after <= self._now:
            return "expired"
        newest = self._newest(entry)
        if (
            newest is not None
            and newest is not entry
            and not (entry.pending and newest.number < entry.number)
        ):
            return "superseded"
        soon = judge.days_between(self._now, entry.not_after) < CREDENTIAL_WARNED_DAYS
        return "expiring" if soon else "ok"

    def _newest(self, entry: Entry) -> Entry | None:
        """Of the same identity, of those that are in use."""
        same = (each for each in self._entries if each.identity == entry.identity)
        return next((each for each in same if not each.pending), None)

    def _agents(self, width: int) -> list[RenderableType]:
        rows = [
            [
                cell(each.node),
                cell(one.kind.value),
                cell(str(judge.days_between(self._now, one.not_after))),
                cell(f"{one.not_after:%Y-%m-%d %H:%M}"),
                cell(short(one.fingerprint)),
                cell(one.serial, "" if self._is_known(one) else DOUBTFUL),
                cell(one.file),
            ]
            for each in self._held
            for one in each.certificates
        ]
        headings = ("agent", "holds", "days left", "expires (UTC)", "fingerprint", "serial", "file")
        parts: list[RenderableType] = [cell(""), fitted(headings, rows, width, flexible=20)] if rows else []
        return [*parts, *failures([each.error for each in self._held if each.error is not None])]

    def _is_known(self, one: Certificate) -> bool:
        return any(each.fingerprint == one.fingerprint for each in self._entries)
