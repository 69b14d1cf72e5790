"""What programs may rely on is written down, kept to, and only ever grows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from gausscert_coordinator import schemas
from gausscert_coordinator.cli import judge, tables_pki
from gausscert_coordinator.cli.group import VerbGroup
from gausscert_coordinator.node_check import Mark, Subject
from gausscert_coordinator.rollout.outcome import State
from gausscert_coordinator.schemas import SCHEMAS, clusters, control_planes, published
from gausscert_coordinator.schemas.words import parts_in
from jsonschema import Draft202012Validator, ValidationError
from support import documents
from support.cli_fakes import Given, cli, cluster_status, plan
from support.documents import hold, shape, strict

ROOT = Path(__file__).parents[3]
VECTOR = Path(__file__).parents[1] / "vectors" / "documents-v1.json"
NO_VERBS = {"error", "plan-file", "history-transaction", "history-verify", "demo-stay"}
"""Documents that are not named after a verb."""


def verbs(group, path=()):
    import click

    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        if isinstance(command, VerbGroup):
            yield from verbs(command, (*path, name))
        else:
            yield "-".join((*path, name))


def test_every_verb_has_a_schema_and_every_schema_a_verb():
    from gausscert_coordinator.cli.main import cli as root

    assert set(verbs(root)) == set(SCHEMAS) - NO_VERBS


@pytest.mark.parametrize("name", SCHEMAS)
def test_it_is_a_schema_and_has_all_it_refers_to(name):
    schema = published(name)

    Draft202012Validator.check_schema(schema)
    assert schema["title"] == f"gausscert/{name}/v1"
    assert parts_in({k: v for k, v in schema.items() if k != "$defs"}, schema.get("$defs", {})) == set(
        schema.get("$defs", {})
    )


def objects(schema):
    if isinstance(schema, list):
        for each in schema:
            yield from objects(each)
    elif isinstance(schema, dict):
        if isinstance(schema.get("properties"), dict):
            yield schema
        yield from objects(list(schema.values()))


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_field_is_always_there(name):
    for each in objects(published(name)):
        assert list(each["properties"]) == each["required"]


def test_the_files_in_docs_are_those_schemas_and_no_others():
    files = {path.name: json.loads(path.read_text()) for path in (ROOT / "docs/schemas").iterdir()}

    assert files == {f"{name}.schema.json": published(name) for name in SCHEMAS}


def test_a_program_that_validates_lives_with_fields_that_are_added():
    document = cli("version", "--output", "json").document | {"more": 1}

    Draft202012Validator(published("version")).validate(document)


@pytest.mark.parametrize(
    "change",
    [{"more": 1}, {"version": 1}, {"version": None}],
    ids=["a field more", "another kind", "null"],
)
def test_the_tests_do_not_live_with_what_is_not_described(change):
    document = cli("version", "--output", "json").document | change

    with pytest.raises(AssertionError, match="version at"):
        hold(document)


def test_a_field_that_is_missing_deep_inside_is_found():
    document = cli("status", "--output", "json", given=Given(status=cluster_status())).document
    del document["nodes"][2]["report"]["live"]["digest"]

    with pytest.raises(AssertionError, match="digest"):
        hold(document)


def test_a_word_that_is_not_in_the_enumeration_is_found():
    document = cli("status", "--output", "json", given=Given(status=cluster_status())).document
    document["nodes"][0]["report"]["enable_ssl"]["server"] = "perhaps"

    with pytest.raises(ValidationError, match="perhaps"):
        Draft202012Validator(strict(published("status"))).validate(document)


def test_words_that_are_repeated_here_are_those_of_the_code():
    assert [*judge.ExpiryState] == [*clusters.EXPIRY_STATES]
    assert [*Subject] == [*control_planes.CHECK_SUBJECTS]
    assert [*Mark] == [*control_planes.CHECK_MARKS]
    assert [*State] == [*control_planes.ROLLOUT_STATES]
    assert {*control_planes.IDENTITY_STATES, "unconfirmed"} == set(tables_pki._STYLES)


@pytest.mark.parametrize("name", json.loads(VECTOR.read_text()))
def test_within_a_version_documents_only_grow(name):
    """What was promised once is there for good. A field that is added goes into the vector with the next
    release: PYTHONPATH=tests python -m support.documents."""
    promised = json.loads(VECTOR.read_text())[name]

    now = shape(name)

    assert {path: now.get(path) for path in promised} == promised


def test_a_shape_tells_null_lists_and_words_apart():
    told = shape("replace")

    assert told["result?.verdict"] == "string of committed, rolled back, nothing done, in doubt"
    assert told["plan.nodes[].old_server?.not_after"] == "string"
    assert told["result?.overlap.*.can_talk?"] == "boolean"


def test_schema_lists_the_documents_and_prints_one():
    listed = cli("schema")
    one = cli("schema", "status")

    assert listed.out.split() == [*SCHEMAS]
    assert json.loads(one.out) == published("status")
    assert (listed.code, one.code) == (0, 0)


def test_schema_as_a_document_holds_schemas():
    run = cli("schema", "status", "--output", "json")

    assert run.document["schemas"] == {"status": published("status")}


def test_an_unknown_schema_is_refused():
    run = cli("schema", "nonsense")

    assert run.code == 2
    assert "gausscert schema lists all of them" in run.err


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_verb_that_is_described_is_described_in_the_page(name):
    page = (ROOT / "docs/documents.md").read_text()

    assert f"[{name}](schemas/{name}.schema.json) | gausscert/{name}/{schemas.VERSION} |" in page


def test_a_document_and_then_something_else_is_not_one_document():
    with pytest.raises(AssertionError, match="one document"):
        documents.only_document('{"schema": "gausscert/version/v1", "version": "1", "python": "3"}\nmore\n')


def test_a_plan_and_the_plan_in_a_result_have_the_same_fields(bundle, passwords):
    planned = shape("plan")
    in_result = shape("replace")

    del planned["schema"], planned["plan_file?"], planned[""]
    assert planned == {
        path.removeprefix("plan."): kind for path, kind in in_result.items() if path.startswith("plan.")
    }
    assert plan().feasible
