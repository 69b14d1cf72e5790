"""A plan on file: private, whole or not there, never over anything else, and read with mistrust."""

from __future__ import annotations

import copy
import json
import os
import stat

import pytest
from gausscert_common.errors import InvalidInput, Reason
from gausscert_coordinator import plan_document, plan_file
from support import documents
from support.plans import KEPT

MINIMAL = plan_document.to_document(KEPT)


def refused(function, *args) -> InvalidInput:
    with pytest.raises(InvalidInput) as raised:
        function(*args)
    assert raised.value.reason is Reason.ARGUMENT_INVALID
    assert raised.value.remedy
    return raised.value


def test_what_is_written_is_read_again(tmp_path):
    path = tmp_path / "plan.json"

    plan_file.write(path, KEPT)

    assert plan_file.read(path) == KEPT
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["plan.json"]


def test_the_mode_is_0600_whatever_the_umask_is(tmp_path):
    before = os.umask(0)
    try:
        plan_file.write(tmp_path / "plan.json", KEPT)
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "plan.json").stat().st_mode) == 0o600


def test_an_older_plan_is_written_over(tmp_path):
    path = tmp_path / "plan.json"
    path.write_text(json.dumps({"schema": "gausscert/plan-file/v9", "of": "another version"}))

    plan_file.write(path, KEPT)

    assert plan_file.read(path) == KEPT


@pytest.mark.parametrize(
    "body", [b"", b"a key", b"{}", b'{"schema": "gausscert/plan/v1"}', b"\xff", b"[" * 9999]
)
def test_nothing_else_is_ever_written_over(tmp_path, body):
    path = tmp_path / "server.key"
    path.write_bytes(body)

    error = refused(plan_file.write, path, KEPT)

    assert "there already" in error.message
    assert path.read_bytes() == body
    assert os.listdir(tmp_path) == ["server.key"]


def test_a_link_is_not_written_through_nor_replaced(tmp_path):
    (tmp_path / "elsewhere").write_text("precious")
    (tmp_path / "plan.json").symlink_to("elsewhere")

    refused(plan_file.write, tmp_path / "plan.json", KEPT)

    assert (tmp_path / "plan.json").is_symlink()
    assert (tmp_path / "elsewhere").read_text() == "precious"


def test_a_place_that_is_not_there_is_refused(tmp_path):
    error = refused(plan_file.check_writable, tmp_path / "missing" / "plan.json")

    assert "directory" in error.message


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_plan_that_others_may_write_to_is_not_read(tmp_path, mode):
    path = tmp_path / "plan.json"
    plan_file.write(path, KEPT)
    path.chmod(mode)

    error = refused(plan_file.read, path)

    assert f"{mode:04o}" in error.message


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give away a file")
def test_a_plan_of_another_user_is_neither_read_nor_written_over(tmp_path):
    """Who owns it can change it, whatever its mode is."""
    path = tmp_path / "plan.json"
    plan_file.write(path, KEPT)
    os.chown(path, 1500, 1500)

    error = refused(plan_file.read, path)

    assert "another user" in error.message
    assert "copy it" in error.remedy
    assert "no plan of your own" in refused(plan_file.write, path, KEPT).message
    os.chown(path, 0, 0)
    assert plan_file.read(path) == KEPT


def test_roots_plan_may_be_read_by_whoever_can(tmp_path, monkeypatch):
    path = tmp_path / "plan.json"
    plan_file.write(path, KEPT)
    mine = os.geteuid()
    monkeypatch.setattr(plan_file.os, "geteuid", lambda: mine + 1)

    if mine == 0:
        assert plan_file.read(path) == KEPT
    else:
        assert "another user" in refused(plan_file.read, path).message


def test_a_plan_that_others_may_read_is_read(tmp_path):
    """It holds no secret: it may be looked at by whoever has to agree."""
    path = tmp_path / "plan.json"
    plan_file.write(path, KEPT)
    path.chmod(0o644)

    assert plan_file.read(path) == KEPT


def test_a_file_that_is_not_there_a_directory_and_a_fifo_are_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "fifo")

    for name in ("missing", ".", "fifo"):
        refused(plan_file.read, tmp_path / name)


def test_a_file_without_end_is_not_read_to_it(tmp_path):
    path = tmp_path / "plan.json"
    with path.open("wb") as opened:
        opened.truncate(plan_file.LARGEST + 1)

    assert "bytes" in refused(plan_file.read, path).message


def places(raw, path=()):
    """Where every value of a document is."""
    items = raw.items() if isinstance(raw, dict) else enumerate(raw) if isinstance(raw, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from places(value, (*path, key))


def changed(path, value):
    document = copy.deepcopy(MINIMAL)
    *above, last = path
    inner = document
    for key in above:
        inner = inner[key]
    if value is None and isinstance(inner, dict):
        del inner[last]
    else:
        inner[last] = value
    return document


WORDS = {"schema", "made_at", "valid_until", "enable_ssl", "restart", "server", "agent"}


def still_says_something(path, value) -> bool:
    """Whether what was put there makes another record, instead of none."""
    before = MINIMAL
    for key in path:
        before = before[key]
    if path[0] == "server_roles" and len(path) == 2:
        return value is None or isinstance(value, str)
    if path == ("outage",) and value is None:
        return True  # files of this version have not always had it
    if path[-1] == "exclude":
        return value == ["canary"]
    return isinstance(before, str) and isinstance(value, str) and path[-1] not in WORDS


IGNORED = {("gausscert_version",)}


@pytest.mark.parametrize("path", [each for each in places(MINIMAL) if each not in IGNORED], ids=str)
@pytest.mark.parametrize("value", [None, 1.5, "canary", ["canary"], {"canary": 1}], ids=repr)
def test_every_field_is_looked_at_and_what_is_wrong_is_not_repeated(path, value):
    """A document with one field gone or of another kind is refused, or reads as what it then says."""
    document = changed(path, value)

    if still_says_something(path, value):
        assert plan_document.from_document(document) != KEPT
        return
    with pytest.raises(ValueError, match=str(path[0])) as raised:
        plan_document.from_document(document)
    assert "canary" not in str(raised.value)


def test_what_is_written_is_what_its_schema_says(tmp_path):
    plan_file.write(tmp_path / "plan.json", KEPT)

    documents.only_document((tmp_path / "plan.json").read_text())


def test_fields_of_a_later_version_are_passed_over():
    assert plan_document.from_document({**MINIMAL, "more": 1}) == KEPT


def test_true_is_no_number():
    document = changed(("nodes", 0, "cm_node_id"), True)

    with pytest.raises(ValueError, match=r"nodes\[0\].cm_node_id"):
        plan_document.from_document(document)


def test_a_time_without_a_zone_is_refused():
    with pytest.raises(ValueError, match="made_at"):
        plan_document.from_document(changed(("made_at",), "2026-11-02T12:00:00"))


def test_a_node_that_is_there_twice_is_refused():
    with pytest.raises(ValueError, match="twice"):
        plan_document.from_document({**MINIMAL, "nodes": [MINIMAL["nodes"][0]] * 2})
