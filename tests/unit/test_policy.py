from __future__ import annotations

import re
from dataclasses import fields, replace
from pathlib import Path

import pytest
from gausscert_common.protocol.coordinator import POINT_OF_NO_RETURN, Course, Stage, begin
from gausscert_common.protocol.coordinator import TABLE as COURSE
from gausscert_common.protocol.words import RestartScope, Step
from gausscert_coordinator.inventory import Timeouts
from gausscert_coordinator.policy import TABLE, Call, Late

PROTO = Path(__file__).parents[2] / "protos" / "gausscert" / "v1" / "agent_service.proto"
TIMEOUTS = Timeouts()
READS = {Call.GET_NODE, Call.PREFLIGHT, Call.JUDGE, Call.GET_EXPIRY, Call.PROBE, Call.READ_AUDIT}
OUTSIDE = {Call.ENCRYPT, Call.SET_ENABLE_SSL}
OWN = {Call.BEGIN_RENEWAL, Call.FINISH_RENEWAL, Call.EXTEND_DENY_LIST}
"""About the agent itself: no command of the node is waited for."""


def test_every_unary_call_of_the_proto_has_a_row():
    calls = set(re.findall(r"^  rpc (\w+)\(\w+\) returns \((?!stream)", PROTO.read_text(), re.MULTILINE))

    assert {call.method for call in TABLE} == calls
    assert set(TABLE) == set(Call)


def test_every_row_says_why():
    assert all(policy.why for policy in TABLE.values())


@pytest.mark.parametrize("call", list(Call))
def test_deadlines_budgets_and_patience_follow_the_inventory(call):
    policy = TABLE[call]
    doubled = Timeouts(**{field.name: 2 * getattr(TIMEOUTS, field.name) for field in fields(Timeouts)})

    for figure in (policy.deadline_s, policy.budget_s, policy.patience_s):
        assert figure(doubled) == 2 * figure(TIMEOUTS) > 0


@pytest.mark.parametrize("call", [Call.STOP, Call.START, Call.ROLLBACK_STOP, Call.ROLLBACK_START])
def test_a_restart_may_take_longer_than_cm_ctl_gets(call):
    timeouts = replace(TIMEOUTS, stop_s=500.0, start_s=500.0)

    assert TABLE[call].deadline_s(timeouts) > 500.0


@pytest.mark.parametrize("call", sorted(set(Call) - READS - OWN))
def test_commands_have_the_whole_budget(call):
    assert TABLE[call].budget_s(TIMEOUTS) == TIMEOUTS.retry_s


@pytest.mark.parametrize("call", sorted(set(Call) - READS - OWN))
def test_a_command_waits_for_the_longest_one_before_it(call):
    longest = max(row.deadline_s(TIMEOUTS) for row in TABLE.values())

    assert TABLE[call].patience_s(TIMEOUTS) > longest


def _call(step: Step) -> Call:
    return Call[step.name]


def test_what_is_repeated_after_its_deadline_is_what_has_no_way_back():
    """From a stage with a way back a late node leads there; from any other only to doubt."""
    ways: dict[Call, bool] = {}
    for stage, row in COURSE.items():
        if row.step is not None and stage is not Stage.ENSURE_UP:
            ways[_call(row.step)] = Course(stage, RestartScope.CLUSTER).may_turn_back

    assert begin(RestartScope.CLUSTER).may_turn_back
    assert not ways[Call[POINT_OF_NO_RETURN.name]]
    assert set(ways) == set(Call) - READS - OUTSIDE - OWN
    assert {call: TABLE[call].late for call in ways} == {
        call: Late.TURN_BACK if back else Late.REPEAT for call, back in ways.items()
    }
