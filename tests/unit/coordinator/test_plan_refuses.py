"""Every broken bundle is refused by the plan with its own codes, and no node is touched."""

from __future__ import annotations

import pytest
from gausscert_common import validate
from gausscert_common.findings import errors
from gausscert_coordinator.exit_codes import ExitCode, exit_code
from support import broken_bundles, pki
from support.fake_cluster import FakeCluster
from support.fake_node import EPOCH

ONLY_AT_A_NODE = {"CRL_LEFT_OVER", "SET_UNCHANGED", "FACTOR_BUILD_WRONG"}
"""They need what lies at the node: see test_plan, and test_corpora of the agent."""


@pytest.mark.parametrize("name", sorted(broken_bundles.CASES))
async def test_a_broken_bundle_is_refused_and_no_node_is_touched(name):
    case = broken_bundles.CASES[name]()
    if case.codes <= ONLY_AT_A_NODE:
        return
    cluster = FakeCluster(
        now_s=(pki.NOW - EPOCH).total_seconds(), rules=lambda bundle, now: validate.bundle(bundle, now=now)
    )
    async with cluster.coordinator() as coordinator:
        plan = await coordinator.plan(case.bundle)
        assert {finding.code for finding in errors(plan.findings)} >= case.codes
        assert exit_code(plan) is ExitCode.REFUSED
        result = await coordinator.replace(plan, case.bundle)
    assert exit_code(result) is ExitCode.REFUSED
    assert cluster.calls == []
