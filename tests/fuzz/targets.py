"""What is fuzzed: each target takes bytes, and raises nothing but a bug.

Errors that a docstring names are answers. To add a target: a function, a row of TARGETS, and at least one
file in corpus/NAME; a crash that was found becomes a file there, named after what it was.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from gausscert.v1 import agent_service_pb2 as calls
from gausscert_agent import config_file, journal_codec, journal_slots, peer, renewal
from gausscert_agent.drivers import cm_conf, cm_packets, cm_signatures, cm_texts, conf_edit
from gausscert_agent.service import AgentService
from gausscert_common import auditing, certificates, denylist, factors, pem
from gausscert_common.errors import GausscertError, InvalidInput, NodeFailure
from gausscert_common.wire import commands, errors, nodes, values
from gausscert_coordinator import imported_view, imported_xml, inventory_file, pki_requests, plan_document
from gausscert_coordinator.imported import Problems
from gausscert_coordinator.inventory import InventoryNode, SshAccess
from gausscert_coordinator.rollout import facts, revoked, ssh
from gausscert_coordinator.rollout.on_node.main import ANSWER
from google.protobuf.message import DecodeError
from support.edges import NODE, FakeNode

CORPUS: Final = Path(__file__).parent / "corpus"


def factor_files(data: bytes) -> None:
    """A pair of .cipher and .rand; the first byte pair says where one ends."""
    place = int.from_bytes(data[:2], "big")
    cipher, rand = data[2 : 2 + place], data[2 + place :]
    factors.build_of(cipher, rand)
    factors.crc_ok(cipher)
    with suppress(InvalidInput):
        assert isinstance(factors.read(cipher, rand), str)


def pem_files(data: bytes) -> None:
    """A file of a set."""
    for block in pem.split(data).blocks:
        assert block.der is None or isinstance(block.der, bytes)
    certificates.describe({"cacert.pem": data, "server.crt": data, "client.crl": data})


def conf(data: bytes) -> None:
    """cm_server.conf, read and edited; an edit changes what it is to change and nothing else."""
    cm_conf.parse(data.decode("utf-8", "surrogateescape"))
    for parameter in conf_edit.Parameter:
        changed = conf_edit.edited(data, parameter, "on")
        if conf_edit.obstacle(data, parameter):
            continue  # what cm_ctl does to such a file is nothing that anybody wants, and it is not run
        assert conf_edit.edited(changed, parameter, "on") == changed
        assert changed.count(b"\n") == conf_edit.with_newline(data).count(b"\n")


def cm_text(data: bytes) -> None:
    """What cm_ctl prints, and what CM logs."""
    text = data.decode("utf-8", "replace")
    cm_texts.verdict(text)
    with suppress(GausscertError):
        cm_texts.cluster_state(text)
    with suppress(GausscertError):
        cm_texts.view(text)
    cm_signatures.read({"cm_server": text, "dcc": text})


def cm_packet(data: bytes) -> None:
    """What answers where a cm_server should."""
    with suppress(NodeFailure):
        if len(data) >= 5:
            cm_packets.header(data[:5])
    with suppress(NodeFailure):
        cm_packets.require_authenticated(data[:1], data[1:])
    with suppress(NodeFailure):
        cm_packets.ssl_is_on(data[:1], data[1:])


def journal(data: bytes) -> None:
    """The agent's durable state: a whole file, and a record as it would stand in one."""
    for read in (lambda: journal_slots.read(data).text, lambda: data):
        with suppress(ValueError, KeyError, TypeError, RecursionError):
            record = journal_codec.decode(json.loads(read()))
            assert journal_codec.decode(journal_codec.encode(record)) == record


def imported(data: bytes) -> None:
    """cluster_config.xml, and what `cm_ctl view` prints."""
    with suppress(GausscertError):
        imported_xml.read(data, Problems("cluster_config.xml"))
    with suppress(GausscertError):
        imported_view.read(data.decode("utf-8", "replace"), Problems("view.txt"))


_READERS: Final[tuple[tuple[Any, Callable[[Any], object]], ...]] = (
    (calls.AcquireRequest, commands.as_acquire),
    (calls.PrepareRequest, lambda request: commands.as_prepare(request, begun_at=0.0)),
    (calls.JudgeRequest, commands.as_question),
    (calls.StopRequest, commands.as_stop),
    (calls.StartRequest, commands.as_start),
    (calls.PurgeRequest, commands.as_purge),
    (calls.SwapRequest, commands.as_command),
    (calls.SetEnableSslRequest, commands.as_ssl_value),
    (calls.ProbeRequest, commands.probe_timeout_s),
    (calls.GetNodeResponse, lambda answer: nodes.as_node(answer.node)),
    (calls.JudgeResponse, values.as_judged),
    (calls.ProbeResponse, values.as_probe_report),
    (calls.GetExpiryResponse, values.as_expiry_report),
    (calls.WatchTransactionResponse, values.as_watch_event),
)


def wire(data: bytes) -> None:
    """A message of either end; the first byte says which."""
    kind, read = _READERS[data[0] % len(_READERS)] if data else _READERS[0]
    with suppress(DecodeError):
        message = kind.FromString(data[1:])
        with suppress(GausscertError):
            read(message)


class _Control:
    """The agent's control plane without its files: it parses what it is sent, and keeps nothing."""

    audit: Any = None

    def begin_renewal(self, request_id: str) -> renewal.Asked:
        return renewal.Asked(b"", b"")

    def finish_renewal(self, request_id: str, certificate_pem: bytes) -> None:
        renewal._parse(certificate_pem)
        raise InvalidInput("CREDENTIAL_INVALID", "it was never begun")

    def deny(self, entries: Any, caller: peer.Numbers) -> tuple[int, int]:
        return len(entries), len(entries)

    def lines(self, after: int, most: int) -> tuple[list[str], int]:
        return [], after


_Control.audit = _Control()


class _Context:
    """Of a call that lasts."""

    def is_active(self) -> bool:
        return True

    def auth_context(self) -> dict[str, tuple[bytes, ...]]:
        return {}


HANDLERS: Final = tuple(
    (method.name, getattr(calls, method.input_type.name))
    for method in calls.DESCRIPTOR.services_by_name["AgentService"].methods
    if not method.server_streaming
)
"""All that answer once."""


def handlers(data: bytes) -> None:
    """A request for the agent, through its servicer to a node that does whatever it is asked; the first byte
    says which."""
    name, kind = HANDLERS[data[0] % len(HANDLERS)] if data else HANDLERS[0]
    control: Any = _Control()
    node: Any = FakeNode()
    service = AgentService(NODE, node, control, lambda: 0.0)
    with suppress(DecodeError):
        request = kind.FromString(data[1:])
        with suppress(GausscertError):
            getattr(service, name)(request, _Context()).SerializeToString()


def control_plane(data: bytes) -> None:
    """Deny list, audit log, and what agent and coordinator tell each other in a renewal."""
    text = data.decode("utf-8", "replace")
    with suppress(InvalidInput):
        assert denylist.read(b"\n".join(one.line.encode() for one in denylist.read(data).entries))
    auditing.verify(text.splitlines())
    auditing.as_head(text)
    with suppress(InvalidInput):
        renewal._parse(data)
    with suppress(InvalidInput):
        pki_requests._key_of(data, "n1")
    with suppress(ValueError, IndexError):
        assert peer.serial_of(data) >= 0


def configuration(data: bytes) -> None:
    """gausscert.toml and agent.toml."""
    text = data.decode("utf-8", "replace")
    with suppress(InvalidInput):
        inventory_file.parse(text, Path("gausscert.toml"))
    with suppress(InvalidInput, tomllib.TOMLDecodeError):
        config_file.parse(tomllib.loads(text), Path("agent.toml"))


def told(data: bytes) -> None:
    """A plan on file, and what a node answers to a roll-out."""
    with suppress(ValueError, RecursionError):
        document = json.loads(data)
        with suppress(ValueError):
            kept = plan_document.from_document(document)
            assert plan_document.from_document(plan_document.to_document(kept)) == kept
    node = InventoryNode("n1", "127.0.0.1:1")
    with suppress(GausscertError):
        seen = facts.of(ssh.read(node, ssh.Ended(0, ANSWER + data.decode("utf-8", "replace"), "")))
        somebody = denylist.parse("serial aa\n").entries
        if lacks := revoked.lacking(seen, somebody):
            more = revoked.extended(seen.denied, lacks)
            digest = hashlib.sha256(more.encode()).hexdigest()
            assert not revoked.lacking(replace(seen, denied=more, denied_sha256=digest), somebody)
    text = data.decode("utf-8", "replace")
    with suppress(GausscertError):
        ssh.read(replace(node, ssh=SshAccess(sudo=True)), ssh.Ended(1, text, text))


def status(data: bytes) -> None:
    """What comes with an error; the first byte is its code."""
    codes = sorted(set(errors.CODES.values()), key=lambda code: code.value[0])
    code = codes[data[0] % len(codes)] if data else codes[0]
    found = errors.from_rpc(code, data.decode("utf-8", "replace"), data[1:], node="n1")
    assert isinstance(found, GausscertError)


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    "factor_files": factor_files,
    "pem_files": pem_files,
    "conf": conf,
    "cm_text": cm_text,
    "cm_packet": cm_packet,
    "journal": journal,
    "imported": imported,
    "wire": wire,
    "handlers": handlers,
    "control_plane": control_plane,
    "configuration": configuration,
    "told": told,
    "status": status,
}
