from __future__ import annotations

from dataclasses import replace

import pytest
from gausscert.v1 import agent_service_pb2 as calls
from gausscert.v1 import resources_pb2 as pb
from gausscert_common import certset
from gausscert_common.bundle import Bundle, FactorFiles
from gausscert_common.errors import InvalidInput, Reason
from gausscert_common.protocol.commands import (
    AcquireCommand,
    Command,
    CommitCommand,
    PrepareCommand,
    PurgeCommand,
)
from gausscert_common.protocol.words import RestartScope, SslWish, Step
from gausscert_common.source import Generation, LiveSet
from gausscert_common.wire import commands, requests, times

TX = "tx-00000001"
PEM = {name: f"{name} body".encode() for name in certset.PEM_NAMES}
BUNDLE = Bundle(PEM, server_password="Abc@1234", client_password="Xyz@1234")
FACTORS = FactorFiles(b"1" * 56, b"2" * 24, b"3" * 56, b"4" * 24)


def command(step: Step) -> Command:
    return Command(TX, 3, step)


def prepare_request(**changes) -> calls.PrepareRequest:
    said = {
        "participants": ("n1", "n2"),
        "expected_live_digest": "a" * 64,
        "source": BUNDLE,
        "ssl_wish": SslWish.ON,
        "restart": RestartScope.NODE,
        "drop_crls": True,
    }
    return requests.prepare_request(command(Step.PREPARE), **(said | changes))


def again(message):
    return type(message).FromString(message.SerializeToString())


def acquire_request(**changes) -> calls.AcquireRequest:
    said = {"holder": "alice@ops:1", "lease_s": 30.0, "take_over": True, "excluded": ("n3", "n4")}
    return requests.acquire_request(command(Step.ACQUIRE), **(said | changes))


def test_acquire_survives_the_wire():
    order = commands.as_acquire(again(acquire_request()))

    assert order == commands.AcquireOrder(
        AcquireCommand(TX, 3, Step.ACQUIRE, "alice@ops:1", take_over=True, excluded=("n3", "n4")), 30.0
    )


@pytest.mark.parametrize("names", [("n3", "n3"), ("../etc",)])
def test_who_is_left_out_of_a_recovery_must_be_nodes(names):
    with pytest.raises(InvalidInput) as caught:
        commands.as_acquire(again(acquire_request(excluded=names)))

    assert caught.value.reason is Reason.ARGUMENT_INVALID


@pytest.mark.parametrize(
    "source",
    [
        BUNDLE,
        Bundle(PEM | {"server.crl": b"crl"}, factor_files=FACTORS),
        Bundle({}),
        Generation("20261102t120000z-9f3c1a"),
    ],
)
@pytest.mark.parametrize("drop_crls", [True, False])
def test_prepare_survives_the_wire(source, drop_crls):
    order = commands.as_prepare(again(prepare_request(source=source, drop_crls=drop_crls)), begun_at=17.0)

    assert order.source == source
    assert order.drop_crls is drop_crls
    assert order.command == PrepareCommand(
        TX,
        3,
        Step.PREPARE,
        participants=("n1", "n2"),
        expected_live_digest="a" * 64,
        ssl_wish=SslWish.ON,
        restart=RestartScope.NODE,
        begun_at=17.0,
    )


def test_who_is_left_out_and_joined_survives_the_wire():
    request = prepare_request(excluded=("n4", "n3"), joins="tx-00000002")

    order = commands.as_prepare(again(request), begun_at=0.0)

    assert (order.command.excluded, order.command.joins) == (("n3", "n4"), "tx-00000002")


@pytest.mark.parametrize("settled", [(), ("n3", "n4")])
def test_purge_survives_the_wire(settled):
    sent = PurgeCommand(TX, 3, Step.PURGE, settled)

    assert commands.as_purge(again(requests.purge_request(sent))) == sent


@pytest.mark.parametrize("follows", [True, False])
def test_whether_a_start_follows_survives_the_wire(follows):
    purge = PurgeCommand(TX, 3, Step.PURGE, (), follows)
    commit = CommitCommand(TX, 3, Step.COMMIT, follows)

    assert commands.as_purge(again(requests.purge_request(purge))) == purge
    assert commands.as_commit(again(requests.commit_request(commit))) == commit
    assert not commands.as_commit(again(requests.commit_request(command(Step.COMMIT)))).start_follows


def test_a_purge_without_more_settles_nobody():
    assert commands.as_purge(again(requests.purge_request(command(Step.PURGE)))).settled == ()


@pytest.mark.parametrize("settled", [("n3", "n3"), ("../n3",), tuple(f"n{i}" for i in range(5000))])
def test_settled_nodes_that_are_no_names_are_refused(settled):
    request = requests.purge_request(PurgeCommand(TX, 3, Step.PURGE, settled))

    assert refused(commands.as_purge, request).reason is Reason.ARGUMENT_INVALID


@pytest.mark.parametrize("step", [Step.STOP, Step.ROLLBACK_STOP])
@pytest.mark.parametrize("scope", list(RestartScope))
def test_stop_survives_the_wire(step, scope):
    request = requests.stop_request(command(step), scope=scope, executor=True, timeout_s=300.0)

    assert commands.as_stop(again(request)) == commands.RestartOrder(command(step), scope, True, 300.0)


@pytest.mark.parametrize("step", [Step.START, Step.ROLLBACK_START])
def test_start_survives_the_wire(step):
    request = requests.start_request(command(step), scope=RestartScope.CLUSTER, executor=False, timeout_s=0.5)

    expected = commands.RestartOrder(command(step), RestartScope.CLUSTER, False, 0.5)
    assert commands.as_start(again(request)) == expected


def test_the_same_command_makes_the_same_bytes():
    assert prepare_request().SerializeToString() == prepare_request().SerializeToString()


def refused(read, *arguments, **keywords) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        read(*arguments, **keywords)
    assert caught.value.reason is Reason.ARGUMENT_INVALID
    return caught.value


@pytest.mark.parametrize(
    "transaction_id", ["", "short-7", "x" * 65, "UPPER-CASE", "under_score", "tx-0000/..", "tx-00000001\n"]
)
def test_a_transaction_id_that_is_none_is_refused(transaction_id):
    request = calls.SwapRequest(ref=requests.ref(replace(command(Step.SWAP), transaction_id=transaction_id)))

    assert "transaction_id" in refused(commands.as_command, request, Step.SWAP).message


@pytest.mark.parametrize("epoch", [0, 2**63])
def test_an_epoch_below_one_or_near_the_end_is_refused(epoch):
    request = calls.SwapRequest(ref=requests.ref(replace(command(Step.SWAP), epoch=epoch)))

    assert "epoch" in refused(commands.as_command, request, Step.SWAP).message


@pytest.mark.parametrize(
    ("read", "request_of", "right"),
    [
        (commands.as_acquire, calls.AcquireRequest, {Step.ACQUIRE}),
        (commands.as_stop, calls.StopRequest, {Step.STOP, Step.ROLLBACK_STOP}),
        (commands.as_start, calls.StartRequest, {Step.START, Step.ROLLBACK_START}),
    ],
)
def test_a_step_of_another_call_is_refused(read, request_of, right):
    for step in set(Step) - right:
        assert "step" in refused(read, request_of(ref=requests.ref(command(step)))).message


def test_a_step_nobody_knows_is_refused():
    request = calls.SwapRequest(ref=calls.TransactionRef(transaction_id=TX, epoch=1, step=77))  # type: ignore[arg-type]

    refused(commands.as_command, request, *Step)


def test_a_request_without_reference_is_refused():
    refused(commands.as_command, calls.SwapRequest(), Step.SWAP)


@pytest.mark.parametrize(
    "changes",
    [
        {"holder": ""},
        {"holder": "a\nb"},
        {"holder": "x" * 201},
        {"lease_s": 0.0},
        {"lease_s": 3600.1},
        {"lease_s": -1.0},
    ],
)
def test_acquire_with_a_bad_holder_or_lease_is_refused(changes):
    refused(commands.as_acquire, acquire_request(**changes))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"participants": ()}, "participants"),
        ({"participants": ("n1", "n1")}, "participants"),
        ({"participants": ("n1", "../n2")}, "node name"),
        ({"participants": ("n1", "")}, "node name"),
        ({"participants": tuple(f"n{i}" for i in range(5000))}, "participants"),
        ({"excluded": ("n3", "n3")}, "excluded"),
        ({"excluded": ("n1", "n3")}, "excluded"),
        ({"excluded": ("../n3",)}, "node name"),
        ({"joins": "UPPER-CASE"}, "joins"),
        ({"expected_live_digest": "A" * 64}, "expected_live_digest"),
        ({"expected_live_digest": "a" * 63}, "expected_live_digest"),
        ({"source": Bundle({"cacert.pem": b"x" * (certset.MAX_FILE_BYTES + 1)})}, "cacert_pem"),
        ({"source": Bundle(PEM, server_password="x" * 1025)}, "server_password"),
        ({"source": Bundle(PEM, server_password="x", factor_files=FACTORS)}, "bundle"),
        ({"source": Bundle(PEM, factor_files=replace(FACTORS, client_rand=b""))}, "factor_files"),
        ({"source": Bundle(PEM, factor_files=replace(FACTORS, client_rand=b"x" * 2000))}, "factor_files"),
    ],
)
def test_prepare_with_a_bad_field_is_refused_by_its_name(changes, field):
    assert field in refused(commands.as_prepare, prepare_request(**changes), begun_at=0.0).message


def test_prepare_without_anything_to_stage_is_refused():
    request = prepare_request()
    request.ClearField("bundle")

    assert "source" in refused(commands.as_prepare, request, begun_at=0.0).message


PATHS = (
    "..",
    "../../etc",
    "/etc/passwd",
    ".cm.retired.tx-00000001",
    "tx-0000/1",
    "tx-00000001\n",
    "TX-00000001",
)


@pytest.mark.parametrize("name", [*PATHS, "", "short", "x" * 65, "tx-00000001\0", "tx 00000001"])
def test_a_generation_whose_name_is_no_transactions_is_refused(name):
    request = prepare_request(source=Generation(name))

    assert "generation" in refused(commands.as_prepare, request, begun_at=0.0).message
    refused(commands.as_generation, name)


@pytest.mark.parametrize("drop_crls", [True, False])
@pytest.mark.parametrize("source", [Generation("tx-00000001"), LiveSet(), BUNDLE])
def test_the_question_about_a_set_survives_the_wire(source, drop_crls):
    request = again(requests.judge_request(source, drop_crls=drop_crls))

    assert commands.as_question(request) == commands.Question(source, drop_crls)


@pytest.mark.parametrize(
    "request_",
    [
        calls.JudgeRequest(),
        calls.JudgeRequest(live=False),
        calls.JudgeRequest(live=True, crl_policy=9),
        *(calls.JudgeRequest(generation=name) for name in PATHS),
    ],
)
def test_a_question_about_nothing_that_there_is_is_refused(request_):
    refused(commands.as_question, request_)


@pytest.mark.parametrize("wish", [SslWish.ON, SslWish.OFF])
def test_the_live_set_survives_the_wire(wish):
    request = again(prepare_request(source=LiveSet(), ssl_wish=wish))

    assert request.WhichOneof("source") == "live"
    order = commands.as_prepare(request, begun_at=0.0)
    assert (order.source, order.command.ssl_wish) == (LiveSet(), wish)


def test_a_live_set_of_which_nothing_changes_is_refused():
    request = prepare_request(source=LiveSet(), ssl_wish=SslWish.KEEP)
    assert "enable_ssl" in refused(commands.as_prepare, request, begun_at=0.0).message


def test_a_live_set_that_is_not_meant_is_refused():
    request = prepare_request(source=LiveSet())
    request.live = False
    assert "live" in refused(commands.as_prepare, again(request), begun_at=0.0).message


def test_a_bundle_and_a_generation_cannot_both_be_sent():
    request = prepare_request()
    request.generation = "tx-00000001"

    assert commands.as_prepare(again(request), begun_at=0.0).source == Generation("tx-00000001")


def test_participants_are_sorted():
    order = commands.as_prepare(prepare_request(participants=("n2", "n1")), begun_at=0.0)

    assert order.command.participants == ("n1", "n2")


@pytest.mark.parametrize("field", ["restart", "enable_ssl", "crl_policy"])
def test_prepare_with_a_word_nobody_knows_is_refused(field):
    request = prepare_request()
    setattr(request, field, 55)

    refused(commands.as_prepare, request, begun_at=0.0)


def test_prepare_that_does_not_say_who_restarts_is_refused():
    request = prepare_request()
    request.ClearField("restart")

    refused(commands.as_prepare, request, begun_at=0.0)


def test_no_refusal_repeats_a_password():
    request = prepare_request(source=Bundle(PEM, server_password="Secr3t!" * 200))

    assert "Secr3t" not in str(refused(commands.as_prepare, request, begun_at=0.0))


@pytest.mark.parametrize("timeout_s", [0.0, -5.0, 3601.0])
def test_a_restart_without_a_sane_timeout_is_refused(timeout_s):
    request = requests.stop_request(
        command(Step.STOP), scope=RestartScope.NODE, executor=False, timeout_s=timeout_s
    )

    refused(commands.as_stop, request)


def test_probe_has_a_timeout_of_its_own():
    assert commands.probe_timeout_s(calls.ProbeRequest()) == 5.0
    assert commands.probe_timeout_s(calls.ProbeRequest(timeout=times.duration(2.0))) == 2.0
    refused(commands.probe_timeout_s, calls.ProbeRequest(timeout=times.duration(0.0)))
    refused(commands.probe_timeout_s, calls.ProbeRequest(timeout=times.duration(61.0)))


def test_enable_ssl_must_be_on_or_off():
    assert commands.as_ssl_value(calls.SetEnableSslRequest(enable_ssl=pb.SSL_WISH_ON)) is True
    assert commands.as_ssl_value(calls.SetEnableSslRequest(enable_ssl=pb.SSL_WISH_OFF)) is False
    refused(commands.as_ssl_value, calls.SetEnableSslRequest())
