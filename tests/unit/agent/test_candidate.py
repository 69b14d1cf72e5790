"""What a node says of a bundle before anything is staged: with the real rules and real handshakes."""

from __future__ import annotations

from datetime import timedelta

import pytest
from gausscert_agent.drivers.overlap import hold
from gausscert_agent.judging import explain_bundle, judge_set
from gausscert_common import factors
from gausscert_common.bundle import Bundle
from gausscert_common.model import SetState, Side
from gausscert_common.source import LiveSet
from support import pki
from support.agent_core import Node


def files_of(made: Bundle, **more: bytes) -> dict[str, bytes]:
    files = dict(made.pem)
    for role, password in (("server", made.server_password), ("client", made.client_password)):
        pair = factors.write(password or "")
        files |= zip((f"{role}.key.cipher", f"{role}.key.rand"), pair, strict=True)
    return files | more


@pytest.fixture
def node_with(tmp_path):
    made: list[Node] = []

    def make(live: dict[str, bytes] | None) -> Node:
        node = Node(tmp_path, live=live)
        node.judge, node.explain, node._rehearse = judge_set, explain_bundle, hold
        node.clock.now = pki.NOW.timestamp()
        node.start()
        made.append(node)
        return node

    yield make
    for node in made:
        node.stop()


def judge(node: Node, bundle: Bundle, *, drop_crls: bool = False):
    before = node.everything()
    judged = node.core.candidates.judge(bundle, drop_crls=drop_crls)
    assert node.everything() == before
    return judged


def test_leaves_of_one_ca_can_talk_to_each_other(node_with):
    ca = pki.good_ca()
    judged = judge(node_with(files_of(pki.of_ca(ca))), pki.of_ca(ca))

    assert (judged.overlap.refusals, judged.overlap.unknown) == ((), "")
    assert judged.overlap.can_talk is True
    assert judged.overlap.same_ca is True


def test_a_renewed_ca_of_the_same_name_and_key_is_the_same_ca(node_with):
    old = pki.ca("CA", key=pki.key("ec", "the CA's"))
    renewed = pki.ca("CA", key=pki.key("ec", "the CA's"), end=pki.NOW + timedelta(days=3000))
    judged = judge(node_with(files_of(pki.of_ca(old))), pki.of_ca(renewed))

    assert (judged.overlap.can_talk, judged.overlap.same_ca) == (True, True)
    assert "CA_SAME_NAME" not in {each.code for each in judged.findings}


def test_another_ca_of_the_same_name_is_named_as_a_trap(node_with):
    old, new = (pki.ca("CA", key=pki.key("ec", each)) for each in ("one", "other"))
    judged = judge(node_with(files_of(pki.of_ca(old))), pki.of_ca(new))

    assert (judged.overlap.can_talk, judged.overlap.same_ca) == (False, False)
    assert "CA_SAME_NAME" in {each.code for each in judged.findings}
    assert {each.cause.partition(":")[0] for each in judged.overlap.refusals} == {"the CAs differ"}


def test_two_cas_that_do_not_know_each_other_refuse_each_other_in_both_directions(node_with):
    other = pki.of_ca(pki.ca("Another CA"))
    judged = judge(node_with(files_of(pki.of_ca(pki.good_ca()))), other)

    assert judged.overlap.can_talk is False
    assert {(each.connecting, each.refusing) for each in judged.overlap.refusals} == {
        (Side.NEW, Side.NEW),
        (Side.FORMER, Side.FORMER),
    }
    assert judged.overlap.same_ca is False


def test_a_node_without_a_set_does_not_know(node_with):
    judged = judge(node_with(None), pki.bundle())

    assert judged.overlap.unknown == "there is no former set"
    assert judged.set.state is SetState.WHOLE


def test_the_digest_of_what_cm_ctl_will_make_is_not_told_but_that_of_the_bundle_is(node_with):
    bundle = pki.bundle()
    judged = judge(node_with(files_of(pki.bundle())), bundle)

    assert (judged.set.digest, judged.set.bundle_digest) == ("", bundle.digest)
    assert {file.mode for file in judged.set.files} == {0o400}


def test_the_live_sets_crl_of_the_old_ca_is_told_before_it_can_do_harm(node_with):
    old = pki.good_ca()
    node = node_with(files_of(pki.of_ca(old), **{"server.crl": pki.crl(old)}))
    new = pki.of_ca(pki.ca("Another CA"))

    assert "CRL_LEFT_OVER" in {each.code for each in judge(node, new).findings}
    assert "CRL_LEFT_OVER" not in {each.code for each in judge(node, new, drop_crls=True).findings}


def test_no_key_and_no_password_is_in_the_answer(node_with):
    bundle = pki.bundle()
    said = repr(judge(node_with(files_of(bundle)), bundle))

    assert "PRIVATE KEY" not in said
    assert pki.SERVER_PASSWORD not in said


def test_a_node_without_a_live_set_says_so_when_it_is_to_keep_it(node_with):
    (found,) = node_with(None).core.candidates.judge(LiveSet(), drop_crls=False).findings

    assert found.code == "NODE_UNFIT"
