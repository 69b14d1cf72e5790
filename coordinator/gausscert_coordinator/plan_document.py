"""A plan record as a JSON document, and back. Pure.

A field may be added; none is renamed, dropped or given another meaning within a version. What is read is
checked field by field: the file may come from anywhere.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, TypeVar

from gausscert_common import VERSION
from gausscert_common.model import CmNode, SslSwitch, SslValue
from gausscert_common.protocol.words import RestartScope, SslWish

from gausscert_coordinator.plan_record import Accepted, Origin, PlanRecord, RecordedNode
from gausscert_coordinator.report import ReplaceOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMA: Final = "gausscert/plan-file/v1"

Document = dict[str, Any]
_Word = TypeVar("_Word", bound=StrEnum)


def to_document(kept: PlanRecord) -> Document:
    """Of a record."""
    return {
        "schema": SCHEMA,
        "gausscert_version": VERSION,
        "cluster": kept.cluster,
        "made_at": _iso(kept.origin.made_at),
        "made_by": kept.origin.made_by,
        "valid_until": _iso(kept.origin.valid_until),
        "bundle": {"directory": kept.origin.directory, "digest": kept.bundle_digest},
        "options": {
            "enable_ssl": kept.options.ssl_wish.value,
            "restart": kept.options.restart.value,
            "drop_crls": kept.options.drop_crls,
            "accept_state": kept.options.accept_state,
            "exclude": list(kept.options.exclude),
        },
        "nodes": [_node(each) for each in kept.nodes],
        "topology": [_cm_node(each) for each in kept.topology],
        "cluster_state": kept.cluster_state,
        "server_roles": {str(node): role for node, role in sorted(kept.server_roles.items())},
        "accepted": [
            {
                "code": each.code,
                "node": each.node,
                "file": each.file,
                "cause": each.cause,
                "remedy": each.remedy,
            }
            for each in kept.accepted
        ],
        "outage": kept.outage,
    }


def _node(each: RecordedNode) -> Document:
    return {
        "node": each.node,
        "cm_node_id": each.cm_node_id,
        "old_digest": each.old_digest,
        "old_server_fingerprint": each.old_server,
        "new_server_fingerprint": each.new_server,
        "enable_ssl": {"server": each.enable_ssl.server.value, "agent": each.enable_ssl.agent.value},
        "stopped": each.stopped,
    }


def _cm_node(each: CmNode) -> Document:
    return {
        "cm_node_id": each.id,
        "name": each.name,
        "server_address": each.server_address,
        "server_port": each.server_port,
        "agent_address": each.agent_address,
    }


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def from_document(document: object) -> PlanRecord:
    """The record that a document tells of.

    Raises:
        ValueError: It is none, or of another version; the text says where, and never what is there.
    """
    top = _Fields(document, "")
    if top.text("schema") != SCHEMA:
        raise ValueError(f"schema: this gausscert reads {SCHEMA}")
    bundle = top.fields("bundle")
    nodes = tuple(_read_node(each) for each in top.each("nodes"))
    if len({each.node for each in nodes}) != len(nodes):
        raise ValueError("nodes: one of them is there twice")
    return PlanRecord(
        origin=Origin(
            directory=bundle.text("directory"),
            made_at=top.moment("made_at"),
            made_by=top.text("made_by"),
            valid_until=top.moment("valid_until"),
        ),
        cluster=top.text("cluster"),
        bundle_digest=bundle.text("digest"),
        options=_read_options(top.fields("options")),
        nodes=nodes,
        topology=tuple(_read_cm_node(each) for each in top.each("topology")),
        cluster_state=top.text("cluster_state"),
        server_roles=top.fields("server_roles").numbered_texts(),
        accepted=tuple(_read_accepted(each) for each in top.each("accepted")),
        outage=top.added_text("outage"),
    )


def _read_options(fields: _Fields) -> ReplaceOptions:
    return ReplaceOptions(
        ssl_wish=fields.word("enable_ssl", SslWish),
        restart=fields.word("restart", RestartScope),
        drop_crls=fields.flag("drop_crls"),
        accept_state=fields.flag("accept_state"),
        exclude=fields.texts("exclude"),
    )


def _read_node(fields: _Fields) -> RecordedNode:
    switch = fields.fields("enable_ssl")
    return RecordedNode(
        node=fields.text("node"),
        cm_node_id=fields.number("cm_node_id"),
        old_digest=fields.text("old_digest"),
        old_server=fields.text("old_server_fingerprint"),
        new_server=fields.text("new_server_fingerprint"),
        enable_ssl=SslSwitch(switch.word("server", SslValue), switch.word("agent", SslValue)),
        stopped=fields.flag("stopped"),
    )


def _read_cm_node(fields: _Fields) -> CmNode:
    return CmNode(
        id=fields.number("cm_node_id"),
        name=fields.text("name"),
        server_address=fields.text("server_address"),
        server_port=fields.number("server_port"),
        agent_address=fields.text("agent_address"),
    )


def _read_accepted(fields: _Fields) -> Accepted:
    told = {name: fields.text(name) for name in ("code", "node", "file", "cause", "remedy")}
    return Accepted(**told)


class _Fields:
    """One JSON object, read with its place in the document at hand."""

    def __init__(self, raw: object, place: str) -> None:
        if not isinstance(raw, dict):
            raise ValueError(f"{place or 'the document'}: an object is expected")
        self._raw = raw
        self._place = place

    def _at(self, name: str) -> str:
        return f"{self._place}.{name}" if self._place else name

    def _get(self, name: str, kind: type) -> Any:  # noqa: ANN401 - the callers narrow it
        value = self._raw.get(name)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise ValueError(f"{self._at(name)}: {_EXPECTED[kind]} is expected")
        return value

    def text(self, name: str) -> str:
        return str(self._get(name, str))

    def added_text(self, name: str) -> str:
        """One that files of this version have not always had; "" there."""
        return self.text(name) if name in self._raw else ""

    def number(self, name: str) -> int:
        return int(self._get(name, int))

    def flag(self, name: str) -> bool:
        return bool(self._get(name, bool))

    def word(self, name: str, words: type[_Word]) -> _Word:
        try:
            return words(self.text(name))
        except ValueError:
            known = ", ".join(each.value for each in words)
            raise ValueError(f"{self._at(name)}: one of {known} is expected") from None

    def moment(self, name: str) -> datetime:
        try:
            moment = datetime.fromisoformat(self.text(name))
            if moment.tzinfo is not None:
                return moment.astimezone(UTC)
        except (ValueError, OverflowError):  # in the year 1 or 9999 another zone may have no such moment
            pass
        raise ValueError(f"{self._at(name)}: a time with its zone is expected")

    def fields(self, name: str) -> _Fields:
        return _Fields(self._get(name, dict), self._at(name))

    def each(self, name: str) -> Iterator[_Fields]:
        for index, raw in enumerate(self._get(name, list)):
            yield _Fields(raw, f"{self._at(name)}[{index}]")

    def texts(self, name: str) -> tuple[str, ...]:
        found = self._get(name, list)
        if not all(isinstance(each, str) for each in found):
            raise ValueError(f"{self._at(name)}: texts are expected")
        return tuple(found)

    def numbered_texts(self) -> dict[int, str]:
        if not all(key.isdecimal() and isinstance(value, str) for key, value in self._raw.items()):
            raise ValueError(f"{self._place}: a text for each number is expected")
        return {int(key): value for key, value in self._raw.items()}


_EXPECTED: Final = {str: "a text", int: "a number", bool: "true or false", dict: "an object", list: "a list"}
