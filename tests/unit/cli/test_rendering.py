"""Narrow terminals, NO_COLOR, hostile names, readers that go away, and progress."""

from __future__ import annotations

import io
import json
import os
import re
from datetime import UTC, datetime

import pytest
from gausscert_common.errors import NodeFailure, Reason
from gausscert_common.model import RetiredSet
from gausscert_common.protocol.coordinator import Stage
from gausscert_coordinator.cli import layout
from gausscert_coordinator.cli.progress import Board, LineProgress, LiveProgress, NodeLine
from gausscert_coordinator.cli.render import Enduring, Renderer
from gausscert_coordinator.cli.settings import Settings
from gausscert_coordinator.report import ClusterStatus, Mark, NodeStatus, Progress
from rich.console import Console
from support.cli_fakes import (
    NEW,
    OLD,
    PROGRESS,
    Given,
    Tty,
    certificate,
    cli,
    cluster_status,
    error,
    expiry_report,
    finding,
    result,
    status_of,
    unreachable,
)

ESCAPE = "\x1b"


@pytest.fixture(autouse=True)
def terminal(monkeypatch):
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


def healthy():
    return Given(
        status=ClusterStatus("prod", (status_of("n1"), NodeStatus("n2", "a", error=unreachable("n2"))))
    )


@pytest.mark.parametrize("columns", [20, 40, 60, 79])
def test_on_a_narrow_terminal_every_node_becomes_a_block_that_fits(monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("NO_COLOR", "1")

    run = cli("status", given=healthy(), terminal_out=True)

    lines = run.out.splitlines()
    assert max(len(line) for line in lines) <= columns
    assert any(line.strip() == "n1" for line in lines)
    assert OLD[:12] in run.out.replace("\n", "").replace(" ", "")


@pytest.mark.parametrize("told", ["by COLUMNS", "by the terminal"])
def test_a_dumb_terminal_is_as_narrow_as_it_is(monkeypatch, told):
    """rich takes all of them for 80 columns."""
    monkeypatch.setenv("TERM", "dumb")
    if told == "by COLUMNS":
        monkeypatch.setenv("COLUMNS", "40")
    else:
        monkeypatch.setattr(os, "get_terminal_size", lambda *_: os.terminal_size((40, 24)))
        monkeypatch.setattr(Tty, "fileno", lambda _: 1)

    run = cli("status", given=healthy(), terminal_out=True)

    assert max(len(line.rstrip()) for line in run.out.splitlines()) <= 40
    assert any(line.strip() == "n1" for line in run.out.splitlines())


def test_on_a_wide_terminal_it_is_a_table(monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")

    run = cli("status", given=healthy())

    assert "days left  modes  enable_ssl" in run.out


def test_findings_fit_a_narrow_terminal_and_lose_nothing(monkeypatch):
    monkeypatch.setenv("COLUMNS", "44")
    found = tuple(finding(f"CODE_{number}") for number in range(3))
    given = Given(status=ClusterStatus("prod", (status_of("n1", findings=found),)))

    run = cli("status", given=given)

    assert max(len(line) for line in run.out.splitlines()) <= 44
    for number in range(3):
        assert f"CODE_{number}" in run.out
        assert f"remedy for CODE_{number}" in " ".join(run.out.split())


@pytest.mark.parametrize(("columns", "below"), [(30, True), (44, False)])
def test_where_headings_leave_no_room_a_value_stands_below_its_own(monkeypatch, columns, below):
    monkeypatch.setenv("COLUMNS", str(columns))
    code = "FILE_NOT_REGULAR"
    given = Given(status=ClusterStatus("prod", (status_of("n1", findings=(finding(code),)),)))

    lines = [line.split() for line in cli("status", given=given).out.splitlines()]

    assert (["code"] in lines and lines[lines.index(["code"]) + 1] == [code]) is below
    assert (["code", code] in lines) is not below


def test_colours_on_a_terminal_only():
    assert ESCAPE in cli("status", given=healthy(), terminal_out=True).out
    assert ESCAPE not in cli("status", given=healthy()).out


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_no_color_is_honoured_on_a_terminal(monkeypatch, name, value):
    monkeypatch.setenv(name, value)

    assert ESCAPE not in cli("status", given=healthy(), terminal_out=True).out


@pytest.mark.parametrize(
    ("forced", "coloured"), [("1", True), ("true", True), ("0", False), ("false", False), ("", False)]
)
def test_force_color_colours_what_goes_elsewhere(monkeypatch, forced, coloured):
    monkeypatch.setenv("FORCE_COLOR", forced)

    assert (ESCAPE in cli("status", given=healthy()).out) == coloured


def test_no_color_has_the_last_word(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")

    for terminal_out in (True, False):
        assert ESCAPE not in cli("status", given=healthy(), terminal_out=terminal_out).out


def test_an_empty_no_color_means_nothing(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "")

    assert ESCAPE in cli("status", given=healthy(), terminal_out=True).out


def test_forced_colours_bring_no_other_control_character(monkeypatch):
    """The live board moves the cursor; a log in colours must not."""
    monkeypatch.setenv("FORCE_COLOR", "1")

    run = cli("recover", given=Given(result=result(), progress=PROGRESS))

    without_colours = re.sub(r"\x1b\[[0-9;]*m", "", run.out + run.err)
    assert without_colours != run.out + run.err
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", without_colours)


@pytest.mark.parametrize("option", [(), ("--output", "json")])
def test_a_document_is_never_coloured(monkeypatch, option):
    monkeypatch.setenv("FORCE_COLOR", "1")

    run = cli("status", *option, given=healthy())

    assert (ESCAPE in run.out) == (option == ())


def test_a_dumb_terminal_gets_lines_instead_of_a_board(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")

    run = cli("recover", given=Given(result=result(), progress=PROGRESS), terminal_out=True)

    assert ESCAPE not in run.out + run.err
    assert "prepare n3 failed: no space" in run.err


def test_progress_in_a_log_has_no_control_characters_whatever_nodes_say():
    hostile = Progress(0.1, Stage.PREPARE, Mark.FAILED, "n1", "no\x1b[2J\rspace\x07")

    run = cli("recover", given=Given(result=result(), progress=(hostile,)))

    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", run.err)
    assert sum("prepare n1 failed" in line for line in run.err.splitlines()) == 1


def test_a_document_has_no_colours_even_on_a_terminal():
    assert ESCAPE not in cli("status", "--output", "json", given=healthy(), terminal_out=True).out


@pytest.mark.parametrize("hostile", ["\x1b[2J", "\x9b2J", "a\rb", "a\x00b", "\u202egnirts", "[bold]x[/bold]"])
def test_what_nodes_say_never_steers_the_terminal_and_is_never_markup(hostile):
    raised = error(NodeFailure, Reason.STORE_FAILED, f"at {hostile} end", node=hostile)

    run = cli("status", given=Given(raises=raised))

    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", run.err)
    assert run.err.count("end") == 1
    if hostile.startswith("[bold]"):
        assert hostile in run.err


def test_a_reader_that_goes_away_changes_neither_the_end_nor_the_code():
    class Gone(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    stream = Enduring(Gone())
    assert stream.write("text") == 4
    assert stream.write("more") == 4
    stream.flush()


def test_a_closed_pipe_does_not_end_the_process_with_a_traceback(tmp_path):
    import subprocess
    import sys

    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-c", "from gausscert_coordinator.cli.main import main; main()", "version"],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writer)

    assert done.returncode == 0
    assert done.stderr == ""


def test_what_the_terminal_cannot_encode_is_escaped():
    raw = io.BytesIO()
    stream = Enduring(io.TextIOWrapper(raw, encoding="ascii", write_through=True))

    stream.write("caf\u00e9 \u4e2d")

    assert raw.getvalue() == b"caf\\xe9 \\u4e2d"


def test_short_fingerprints_are_prefixes_and_nothing_is_a_dash():
    assert OLD.startswith(layout.short(OLD))
    assert layout.short("") == "-"


def line_progress(verbose=False):
    out = io.StringIO()
    console = Console(file=out, width=300)
    moment = datetime(2026, 11, 2, 12, tzinfo=UTC)
    with LineProgress(console, verbose=verbose, now=lambda: moment) as watch:
        for each in PROGRESS:
            watch(each)
    return out.getvalue().splitlines()


def test_without_a_terminal_progress_is_one_timestamped_line_per_event():
    assert line_progress() == [
        "2026-11-02T12:00:00Z +0.0s prepare started",
        "2026-11-02T12:00:00Z +0.4s prepare n1 done",
        "2026-11-02T12:00:00Z +0.5s prepare n2 retrying: connection refused",
        "2026-11-02T12:00:00Z +0.6s prepare n3 failed: no space",
        "2026-11-02T12:00:00Z +0.7s prepare note: turning back",
    ]


def test_verbose_also_tells_that_a_single_node_has_begun():
    assert "2026-11-02T12:00:00Z +0.0s prepare n1 started" in line_progress(verbose=True)


def live(nodes, height=24, events=PROGRESS, width=80):
    out = Tty()
    console = Console(file=out, force_terminal=True, color_system=None, width=width, height=height)
    clock = iter([0.0, 0.0, *(each.at_s for each in events), *([10.0] * 1000)])
    progress = LiveProgress(console, nodes, clock=lambda: next(clock))
    for each in events:
        progress(each)
    drawn = Console(file=io.StringIO(), width=width, height=height)
    with drawn.capture() as captured:
        drawn.print(progress.draw())
    return captured.get().splitlines(), out.getvalue()


def test_on_a_terminal_every_node_has_its_line_with_step_state_and_time():
    lines, above = live(("n1", "n2", "n3"))

    assert lines[0].startswith("prepare (")
    assert lines[2].split()[:4] == ["n1", "prepare", "done", "0.4"]
    assert lines[3].split()[:3] == ["n2", "prepare", "retrying"]
    assert "connection refused" in lines[3]
    assert "no space" in lines[4]
    assert "turning back" in above


@pytest.mark.parametrize("columns", [20, 40, 59])
def test_on_a_narrow_terminal_a_node_has_one_line_that_fits(columns):
    lines, above = live(("n1", "n2", "a-node-with-a-long-name"), width=columns)

    assert len(lines) == 5
    assert max(len(line) for line in lines) <= columns
    assert lines[1].startswith("n1 prepare done")
    assert lines[3].startswith("a-node-with-a-long")
    assert "n3: no space" in above, "what went wrong is not cut off"


def test_at_40_columns_nine_nodes_fit_on_a_terminal_of_24_lines():
    nodes = tuple(f"n{number}" for number in range(9))

    lines, _ = live(nodes, height=24, events=PROGRESS[:2], width=40)

    assert len(lines) == 10
    assert [line.split()[0] for line in lines[1:]] == [*nodes]


def test_more_nodes_than_lines_shows_those_in_trouble_and_counts_the_rest():
    nodes = tuple(f"n{number}" for number in range(100))
    failed = Progress(1.0, Stage.PREPARE, Mark.FAILED, "n77", "no space")

    lines, _ = live(nodes, height=10, events=(failed,))

    assert len(lines) <= 10
    assert any(line.startswith("n77") for line in lines)
    assert "and 94 more nodes" in lines[-1]


WAITS = Progress(20.0, Stage.START, Mark.WAITING, "", "for n1, 20 s so far, up to 635 s and no longer")


def test_that_a_stage_still_waits_is_a_line_in_a_log_and_one_on_the_board_that_goes_again():
    out = io.StringIO()
    moment = datetime(2026, 11, 2, 12, tzinfo=UTC)
    with LineProgress(Console(file=out, width=300), now=lambda: moment) as watch:
        watch(WAITS)
    assert out.getvalue() == (
        "2026-11-02T12:00:00Z +20.0s start waiting: for n1, 20 s so far, up to 635 s and no longer\n"
    )
    began = Progress(0.0, Stage.START, Mark.STARTED)
    lines, above = live(("n1",), events=(began, WAITS, WAITS))
    assert lines[1] == "waiting for n1, 20 s so far, up to 635 s and no longer"
    assert "waiting" not in above, "nothing is left above the board"
    lines, _ = live(("n1",), events=(began, WAITS), width=30)
    assert (len(lines[1]), lines[1][-1]) == (30, "…")
    lines, _ = live(("n1",), events=(began, WAITS, Progress(21.0, Stage.START, Mark.DONE)))
    assert not any("waiting" in line for line in lines)
    lines, _ = live(tuple(f"n{number}" for number in range(9)), height=10, events=(WAITS,))
    assert len(lines) <= 9, "the cursor has a line of its own"


def test_a_board_counts_the_time_of_a_node_from_its_own_start():
    board = Board({"n1": NodeLine()})
    board.take(Progress(5.0, Stage.STOP, Mark.STARTED))
    board.take(Progress(6.0, Stage.STOP, Mark.STARTED, "n1"))

    assert board.nodes["n1"].elapsed_s(8.5) == 2.5
    board.take(Progress(9.0, Stage.STOP, Mark.DONE, "n1"))
    assert board.nodes["n1"].elapsed_s(100.0) == 3.0


def test_live_progress_draws_on_the_terminal_and_leaves_the_board():
    out = Tty()
    render = Renderer(Settings(), io.StringIO(), out)

    with render.progress(("n1", "n2", "n3")) as watch:
        assert isinstance(watch, LiveProgress)
        for each in PROGRESS:
            watch(each)

    assert "no space" in out.getvalue()


def test_only_the_verdict_is_coloured_and_not_what_follows_it():
    raised = error(NodeFailure, Reason.STORE_FAILED, "the rest", node="n1")

    run = cli("status", given=Given(raises=raised), terminal_out=True)

    before_rest = run.err.split("n1: the rest")[0]
    assert before_rest.endswith(("\x1b[0m", " "))


def test_without_a_terminal_a_long_error_stays_one_line():
    raised = error(NodeFailure, Reason.STORE_FAILED, "word " * 100 + "end", node="n1")

    run = cli("status", given=Given(raises=raised))

    assert any(line.startswith("error") and line.endswith("end") for line in run.err.splitlines())


def test_a_piped_table_has_no_trailing_blanks():
    findings = tuple(finding(f"CODE_{number}") for number in range(2))

    run = cli("status", given=Given(status=ClusterStatus("prod", (status_of("n1", findings=findings),))))

    assert [line for line in run.out.splitlines() if line != line.rstrip()] == []


def test_status_verbose_tells_processes_and_versions():
    given = Given(status=ClusterStatus("prod", (status_of("n1", cm_version="CM 6.0"),)))

    plain = cli("status", given=given)
    more = cli("status", "--verbose", given=given)

    for words in ("agent 0.1.0", "CM 6.0", "cm_server (11)"):
        assert words in more.out
        assert words not in plain.out


def test_status_shows_the_generations_without_verbose_because_rollback_is_told_one_of_them():
    then = datetime(2026, 11, 1, 8, 30, tzinfo=UTC)
    newest = RetiredSet("20261101t083000z-9f3c1a", "d1" * 32, "ee" * 32, then)
    older = RetiredSet("20261001t083000z-9f3c1b", "d3" * 32, "ab" * 32)
    nodes = (status_of("n1", retired=(newest, older)), status_of("n2", retired=(newest,)))

    lines = cli("status", given=Given(status=ClusterStatus("prod", nodes))).out.splitlines()

    rows = [line.split() for line in lines if line.startswith("2026")]
    assert rows == [
        ["20261101t083000z-9f3c1a", "2026-11-01", "08:30", "ee" * 6, "all", "nodes"],
        ["20261001t083000z-9f3c1b", "-", "ab" * 6, "n1"],
    ]


def test_status_of_nodes_that_never_retired_a_set_has_no_table_of_generations():
    assert "generation" not in cli("status", given=Given(status=cluster_status())).out


def test_the_document_of_status_tells_when_each_generation_was_retired():
    then = datetime(2026, 11, 1, 8, 30, tzinfo=UTC)
    kept = (RetiredSet("tx-00000001", "d1" * 32, "ee" * 32, then), RetiredSet("tx-00000000", "", ""))
    given = Given(status=ClusterStatus("prod", (status_of("n1", retired=kept),)))

    (node,) = cli("status", "--output", "json", given=given).document["nodes"]

    told = [(each["generation"], each["retired_at"]) for each in node["report"]["retired"]]
    assert told == [("tx-00000001", "2026-11-01T08:30:00Z"), ("tx-00000000", None)]


def test_a_certificate_that_all_nodes_have_is_one_line_and_in_the_document_one_for_each(monkeypatch):
    monkeypatch.setenv("COLUMNS", "112")
    monkeypatch.setenv("NO_COLOR", "1")
    odd = certificate(fingerprint=NEW)
    given = Given(expiry=(expiry_report("n1"), expiry_report("n2"), expiry_report("n3", certificate(), odd)))

    run = cli("expiry", given=given, terminal_out=True)
    rows = run.out.splitlines()[1:]

    assert len(rows) == 2
    assert sum("all nodes" in row and OLD[:12] in row for row in rows) == 1
    assert sum(" n3 " in row and NEW[:12] in row for row in rows) == 1
    document = json.loads(cli("expiry", "--output", "json", given=given).out)
    assert [each["node"] for each in document["certificates"]].count("n1") == 1
