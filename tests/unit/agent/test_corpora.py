"""Every broken bundle is refused by the agent's own core, with its own code and not one byte written; every
good one is staged, rehearsed with real handshakes, and its factor files hold the passwords."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from gausscert_agent.drivers.overlap import hold
from gausscert_agent.judging import explain_bundle, judge_set
from gausscert_agent.staging import Material
from gausscert_common import factors
from gausscert_common.bundle import Bundle
from gausscert_common.errors import NodeRefusal, Reason
from gausscert_common.findings import errors
from gausscert_common.model import FactorBuild, Layout
from gausscert_common.protocol.words import Phase, Step
from support import broken_bundles, good_bundles, openssl_bundles, pki
from support.agent_core import OLD, HookedDisk, Node, snapshot

ONLY_FOR_THE_PLAN = {"nothing_new"}
"""Refused for the whole cluster; at one node it is a warning: another one may need the set."""

ALSO_AT_A_NODE = {"pairs_of_two_builds": {"FACTOR_BUILD_WRONG"}}
"""What a node finds besides, which knows its own build: one of the two is another."""

OF_THE_JOURNAL = {"write_at", "sync_data"}
"""How a record is written; a set is never written so."""

BUILDS = {"factor_files_of_the_other_build": FactorBuild.LIBPQ_OFF}
"""Good bundles for nodes of that build."""

NOT_SENT = {"readme_beside_the_files"}
"""Unknown files are told offline, and have no place in the message."""

GOOD = sorted(good_bundles.CASES.keys() - NOT_SENT)
BROKEN = sorted(broken_bundles.CASES.keys() - ONLY_FOR_THE_PLAN)


def node_at(root, *, live=OLD, build: FactorBuild | None = None, layout=Layout.EXCHANGE, disk=None) -> Node:
    node = Node(root, live=live, layout=layout, disk=disk)
    node.judge, node.explain = judge_set, explain_bundle
    node._rehearse = hold
    node.clock.now = pki.NOW.timestamp()
    node.cm.ctl = True
    node.cm.build = build or node.cm.build
    node.start()
    node.run(Step.ACQUIRE)
    return node


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_bundle_is_refused_with_its_codes_and_nothing_is_written(name, tmp_path):
    case = broken_bundles.CASES[name]()
    changes: list[str] = []
    layout = list(Layout)[BROKEN.index(name) % 2]
    live = (case.live or OLD) | case.carried_crls
    node = node_at(tmp_path, live=live, build=case.build, layout=layout, disk=HookedDisk(changes.append))
    before = snapshot(node.sslcert)
    changes.clear()
    node.cm.calls.clear()

    with pytest.raises(NodeRefusal) as caught:
        node.prepare(material=Material(case.bundle))

    assert set(changes) <= OF_THE_JOURNAL
    assert node.cm.calls == ["read_ssl"]
    assert snapshot(node.sslcert) == before
    assert caught.value.reason is Reason.SET_INVALID
    assert {finding.code for finding in errors(caught.value.findings)} == case.codes | ALSO_AT_A_NODE.get(
        name, set()
    )
    assert all(finding.remedy for finding in caught.value.findings)
    assert node.core.candidates.judge(case.bundle, drop_crls=False).findings == caught.value.findings
    assert (node.state.phase, node.state.transaction) == (Phase.NONE, None)
    node.stop()


def staged(node: Node, bundle: Bundle) -> dict[str, bytes]:
    judged = node.core.candidates.judge(bundle, drop_crls=False)
    done = node.prepare(material=Material(bundle))
    assert node.state.phase is Phase.PREPARED
    assert errors(done.findings) == ()
    files = node.store.read_stage(node.transaction_id).files
    assert judged.findings == done.findings
    assert judged.overlap == done.overlap
    assert judged.set.bundle_digest == node.state.transaction.bundle_digest
    assert judged.set.digest in ("", node.state.transaction.new_digest)
    node.stop()
    return files


@pytest.mark.parametrize("name", GOOD)
def test_a_good_bundle_is_staged_and_its_factor_files_hold_the_passwords(name, tmp_path):
    bundle = good_bundles.CASES[name]()
    files = staged(node_at(tmp_path, build=BUILDS.get(name)), bundle)
    assert {file: files[file] for file in bundle.pem} == dict(bundle.pem)
    for role, password in (("server", bundle.server_password), ("client", bundle.client_password)):
        held = factors.read(files[f"{role}.key.cipher"], files[f"{role}.key.rand"])
        assert password is None or held == password


@pytest.mark.parametrize("style", openssl_bundles.STYLES)
def test_a_bundle_made_by_openssl_is_staged(style, tmp_path):
    bundle = openssl_bundles.make_bundle(tmp_path / "made", style=style)
    node = node_at(tmp_path / "node")
    node.clock.now = datetime.now(UTC).timestamp()
    assert staged(node, bundle).keys() >= bundle.pem.keys()


def test_factor_files_of_another_build_are_refused_where_only_cm_ctl_can_tell_the_nodes_own(tmp_path):
    changes: list[str] = []
    node = node_at(tmp_path, disk=HookedDisk(changes.append))
    node.cm.build, node.cm.learns = None, FactorBuild.LIBPQ_OFF
    before = snapshot(node.sslcert)
    changes.clear()
    with pytest.raises(NodeRefusal) as caught:
        node.prepare(material=Material(good_bundles.CASES["ready_made_factor_files"]()))
    assert {finding.code for finding in errors(caught.value.findings)} == {"FACTOR_BUILD_WRONG"}
    assert snapshot(node.sslcert) == before
    assert "create" not in changes
    node.stop()


def test_factor_files_that_cm_ctl_makes_for_another_build_are_never_staged(tmp_path):
    """It has become another one since the live files were made, say by half an upgrade."""
    changes: list[str] = []
    node = node_at(tmp_path, build=FactorBuild.LIBPQ_OFF, disk=HookedDisk(changes.append))
    changes.clear()
    with pytest.raises(NodeRefusal) as caught:
        node.prepare(material=Material(pki.of_ca(pki.good_ca())))
    assert {finding.code for finding in errors(caught.value.findings)} == {"FACTOR_BUILD_WRONG"}
    assert node.cm.calls == ["read_ssl", "encrypt server", "encrypt client"]
    assert "create" not in changes
    node.stop()


def test_there_are_many_kinds_of_both():
    kinds = set().union(*(broken_bundles.CASES[name]().codes for name in BROKEN))
    assert len(kinds) >= 40
    assert len(GOOD) + len(openssl_bundles.STYLES) >= 15
