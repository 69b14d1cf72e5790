from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime, timedelta, timezone
from enum import Enum

import pytest
from gausscert.v1 import agent_service_pb2 as calls
from gausscert.v1 import resources_pb2 as pb
from gausscert_common.errors import InvalidInput, Reason
from gausscert_common.findings import Finding, Severity
from gausscert_common.model import (
    Capabilities,
    Certificate,
    CertificateKind,
    CertificateSet,
    ClusterState,
    CmNode,
    CmProcess,
    CmTopology,
    ExpiryReport,
    FactorBuild,
    JudgedSet,
    Layout,
    NodeReport,
    Overlap,
    OverlapRefusal,
    Paths,
    ProbeReport,
    RetiredSet,
    Served,
    ServedState,
    SetFile,
    SetState,
    Side,
    SslSwitch,
    SslValue,
    TransactionReport,
    WatchEvent,
)
from gausscert_common.protocol.words import (
    Fence,
    LiveState,
    Outcome,
    Phase,
    RestartScope,
    SslWish,
    Step,
    Tombstone,
)
from gausscert_common.wire import enums, nodes, times, values

NOW = datetime(2026, 11, 23, 13, 30, 5, 123456, tzinfo=UTC)

FINDING = Finding("KEY_MISMATCH", Severity.ERROR, "the key is another one", "look", "n1", "server.key")
CERTIFICATE = Certificate(
    "server.crt", 1, CertificateKind.EXTRA, "CN=a", "CN=b", "0a", "f" * 64, NOW, NOW + timedelta(days=9)
)
LIVE = CertificateSet(
    SetState.WHOLE, "d" * 64, "b" * 64, (SetFile("server.crt", 0o400, 1234),), (CERTIFICATE,)
)
JUDGED = JudgedSet(
    LIVE,
    (FINDING,),
    Overlap(
        (OverlapRefusal(Side.NEW, Side.FORMER, "unknown CA", "the CAs differ", ("a link",), ("TLS 1.2",)),),
        "unknown",
        same_ca=True,
    ),
)
TRANSACTION = TransactionReport(
    transaction_id="tx-00000001",
    phase=Phase.SWAPPED,
    fence=Fence(7, Step.SWAP),
    holder="alice@ops",
    held_since=NOW,
    lease_left_s=12.5,
    participants=("n1", "n2"),
    excluded=("n3",),
    joins="tx-00000002",
    begun_by="alice@ops:6",
    old_digest="0" * 64,
    new_digest="1" * 64,
    live_state=LiveState.NEW,
    tombstones=(Tombstone("tx-00000000", Outcome.ABORTED, ("n3",)),),
    restart=RestartScope.NODE,
    ssl_wish=SslWish.ON,
    begun_at=NOW,
    reached=Fence(6, Step.START),
)
NODE = NodeReport(
    cluster="c",
    name="n1",
    agent_version="0.1.0",
    clock=NOW,
    cm_version="cm_ctl 6",
    paths=Paths("/home", "/home/share", "/state"),
    capabilities=Capabilities(layout=Layout.DATA_LINK, cm_ctl=True, factor_build=FactorBuild.LIBPQ_OFF),
    transaction=TRANSACTION,
    live=LIVE,
    stage=CertificateSet(SetState.INCOMPLETE),
    retired=(RetiredSet("tx-00000000", "d" * 64, "f" * 64, NOW), RetiredSet("tx-0000000a", "", "")),
    enable_ssl=SslSwitch(SslValue.ON, SslValue.COMMENTED),
    processes=(CmProcess("cm_server", 42, NOW, 1200, "boot pid:[1] 7"),),
    manually_stopped=True,
    paused=True,
    upgrading=True,
    topology=CmTopology(1, (CmNode(1, "host", "10.0.0.1", 5000, "10.0.0.2"),)),
    findings=(FINDING,),
)
SERVED = Served(
    1, "h:1", ServedState.SSL_ON, "f" * 64, chain_verified=True, not_after=NOW, cause="x", leaf=b"0"
)
PROBE = ProbeReport((SERVED,), ClusterState("Normal", {1: "Primary"}, "why"), (FINDING,))
EXPIRY = ExpiryReport("n1", NOW, (CERTIFICATE,), 90, (FINDING,), CERTIFICATE, (CERTIFICATE,))
EVENT = WatchEvent("tx-00000001", Phase.PREPARING, Fence(1, Step.PREPARE), "staging", NOW)


def every_field_is_set(value: object) -> list[str]:
    """Names of fields that hold their default: a round trip of those would prove nothing."""
    return [
        f.name
        for f in fields(value)  # type: ignore[arg-type]
        if getattr(value, f.name) == f.default
    ]


@pytest.mark.parametrize("value", [NODE, TRANSACTION, LIVE, SERVED, FINDING, CERTIFICATE, EXPIRY, EVENT])
def test_examples_set_every_field(value):
    assert every_field_is_set(value) == []


@pytest.mark.parametrize(
    ("value", "there", "back", "message"),
    [
        (NODE, nodes.node, nodes.as_node, pb.Node),
        (NodeReport("c", "n", "0", NOW), nodes.node, nodes.as_node, pb.Node),
        (JUDGED, values.judged, values.as_judged, calls.JudgeResponse),
        (JudgedSet(), values.judged, values.as_judged, calls.JudgeResponse),
        (TransactionReport(), nodes.transaction, nodes.as_transaction, pb.NodeTransaction),
        (CertificateSet(), values.certificate_set, values.as_certificate_set, pb.CertificateSet),
        (SERVED, values.served, values.as_served, pb.Served),
        (Served(1, "h:1", ServedState.REFUSED), values.served, values.as_served, pb.Served),
        (PROBE, values.probe_report, values.as_probe_report, calls.ProbeResponse),
        (ProbeReport(), values.probe_report, values.as_probe_report, calls.ProbeResponse),
        (EXPIRY, values.expiry_report, values.as_expiry_report, calls.GetExpiryResponse),
        (EVENT, values.watch_event, values.as_watch_event, calls.WatchTransactionResponse),
        (FINDING, values.finding, values.as_finding, pb.Finding),
    ],
)
def test_a_value_survives_the_wire(value, there, back, message):
    assert back(message.FromString(there(value).SerializeToString())) == value


def test_every_field_of_every_message_is_written():
    """A field added to a .proto and forgotten here would stay empty for ever."""
    message = nodes.node(NODE)

    for part in (message, message.transaction, message.live, message.capabilities, message.topology):
        written = {field.name for field, _ in part.ListFields()}
        assert written == {field.name for field in part.DESCRIPTOR.fields}


def test_an_epoch_after_which_there_could_be_none_is_no_fence():
    last = pb.Fence(epoch=values.MAX_EPOCH, step=pb.STEP_SWAP)
    assert values.as_fence(last) == Fence(values.MAX_EPOCH, Step.SWAP)

    for epoch in (values.MAX_EPOCH + 1, 2**64 - 1):
        with pytest.raises(InvalidInput, match="none that a node"):
            values.as_fence(pb.Fence(epoch=epoch, step=pb.STEP_SWAP))


def test_the_promised_epoch_is_that_of_the_fence():
    assert nodes.transaction(TRANSACTION).promised_epoch == 7


@pytest.mark.parametrize(
    ("words", "wire"),
    [
        (enums.PHASE, pb.Phase),
        (enums.STEP, pb.Step),
        (enums.OUTCOME, pb.Outcome),
        (enums.LIVE_STATE, pb.LiveState),
        (enums.SET_STATE, pb.SetState),
        (enums.CERTIFICATE_KIND, pb.CertificateKind),
        (enums.SERVED_STATE, pb.ServedState),
        (enums.SSL_VALUE, pb.SslValue),
        (enums.SSL_WISH, pb.SslWish),
        (enums.RESTART_SCOPE, pb.RestartScope),
        (enums.FACTOR_BUILD, pb.FactorBuild),
        (enums.SEVERITY, pb.Severity),
    ],
)
def test_both_sides_know_the_same_words(words, wire):
    known = dict(wire.items())
    ours = {name: words.value(number) for name, number in known.items() if number in words._value}

    assert {words.name(value): value for value in ours.values()} == ours
    assert [name for name in known if name not in ours] in ([], [f"{_prefix(wire)}_UNSPECIFIED"])
    assert set(ours.values()) == set(type(next(iter(ours.values()))))


def _prefix(wire):
    return next(name for name, number in wire.items() if number == 0).removesuffix("_UNSPECIFIED")


def test_step_numbers_are_those_of_the_protocol():
    assert {step: pb.Step.Value(enums.STEP.name(step)) for step in Step} == {s: int(s) for s in Step}


@pytest.mark.parametrize("number", [0, 99])
def test_a_word_unsaid_or_unknown_is_refused(number):
    with pytest.raises(InvalidInput) as refused:
        enums.PHASE.value(number)

    assert refused.value.reason is Reason.ARGUMENT_INVALID
    assert refused.value.remedy


def test_instants_keep_microseconds_and_any_zone_becomes_utc():
    east = NOW.astimezone(timezone(timedelta(hours=8)))

    assert times.instant(pb.Node(clock=times.timestamp(east)), "clock") == NOW
    assert times.instant(pb.Node(clock=times.timestamp(east)), "clock").tzinfo is UTC


def test_instants_before_1970_and_the_last_one_of_rfc_5280_survive():
    for at in (
        datetime(1969, 12, 31, 23, 59, 59, 1, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
    ):
        assert times.instant(pb.Node(clock=times.timestamp(at)), "clock") == at


def test_an_instant_that_is_missing_or_no_date_is_refused():
    with pytest.raises(InvalidInput):
        times.instant(pb.Node(), "clock")
    message = pb.Node()
    message.clock.seconds = 10**17
    with pytest.raises(InvalidInput):
        times.instant(message, "clock")


@pytest.mark.parametrize("length_s", [0.0, 0.000001, 1.5, 600.0, 86400.25])
def test_lengths_of_time_survive(length_s):
    message = calls.AcquireRequest(lease=times.duration(length_s))

    assert times.length_s(message, "lease") == pytest.approx(length_s, abs=1e-9)


def test_enum_tables_refuse_a_word_the_wire_lacks():
    class Odd(Enum):
        EXTRA = 1

    with pytest.raises(KeyError):
        enums.Words(Odd, "PHASE", pb.Phase.items())
