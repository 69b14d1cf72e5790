"""The overlap verdict can be read: the verdict, then a line for each direction with the plain cause first."""

from __future__ import annotations

from gausscert_common.model import OverlapRefusal, Side
from gausscert_coordinator.cli.overlap_text import overlap_text
from gausscert_coordinator.report import Meeting, NodesRefusal, OverlapVerdict

LINKS = ("cm_agent or cm_ctl to cm_server", "cm_server to cm_server (DCC)")
VERSIONS = ("TLS 1.2", "TLS 1.3")


def refusal(connecting: Side, refusing: Side, cause: str = "the CAs differ") -> OverlapRefusal:
    return OverlapRefusal(connecting, refusing, "unknown CA (19)", cause, LINKS, VERSIONS)


def test_two_cas_take_three_lines():
    found = (refusal(Side.NEW, Side.NEW), refusal(Side.FORMER, Side.FORMER))
    lines = list(overlap_text(OverlapVerdict(Meeting.REFUSED, refusals=tuple(map(NodesRefusal, found)))))
    where = "cm_agent or cm_ctl to cm_server, cm_server to cm_server (DCC); TLS 1.2 and TLS 1.3"
    cause = f"the CAs differ ({where}; unknown CA (19))"
    assert lines == [
        "old and new nodes: could not talk: each refuses the other",
        f"  from the new set to the former one: refused by the new set: {cause}",
        f"  from the former set to the new one: refused by the former set: {cause}",
    ]


def test_one_way_and_nodes_that_differ_are_said():
    told = NodesRefusal(refusal(Side.FORMER, Side.FORMER, ""), ("n1", "n2"))
    lines = list(overlap_text(OverlapVerdict(Meeting.ONE_WAY, Side.NEW, (told,))))
    assert lines[0].startswith("old and new nodes: one way: nodes with the new set would have")
    assert lines[1] == "  from the new set to the former one: ok"
    assert lines[2].startswith(
        "  from the former set to the new one: on n1, n2 refused by the former set: unknown"
    )


def test_sets_that_can_talk_take_one_line():
    assert list(overlap_text(OverlapVerdict(Meeting.SAME_CA))) == ["old and new nodes: could talk (same CA)"]
