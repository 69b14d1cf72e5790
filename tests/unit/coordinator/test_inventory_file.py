from __future__ import annotations

import os
from pathlib import Path

import pytest
from gausscert_common.errors import InvalidInput, Reason
from gausscert_common.identity import Identity, Role
from gausscert_coordinator import inventory_file
from gausscert_coordinator.inventory import InventoryNode, Timeouts

GOOD = """
[cluster]
name = "prod"

[credentials]
ca = "pki/ca.crt"
cert = "pki/op.crt"
key = "/abs/op.key"

[timeouts]
stop_s = 30
retry_s = 2.5

[[node]]
name = "node-b"
address = "[fd00::2]:7443"

[[node]]
name = "node-a"
address = "10.0.0.1:7443"
"""
PATH = Path("/srv/cluster/gausscert.toml")


def problems(text: str) -> list[str]:
    with pytest.raises(InvalidInput) as caught:
        inventory_file.parse(text, PATH)
    assert caught.value.reason is Reason.CONFIG_INVALID
    assert caught.value.file == str(PATH)
    assert all(finding.file == str(PATH) for finding in caught.value.findings)
    return [f"{finding.cause} ({finding.remedy})" for finding in caught.value.findings]


def test_a_good_file_becomes_an_inventory():
    inventory = inventory_file.parse(GOOD, PATH)

    assert inventory.cluster == "prod"
    assert inventory.nodes == (
        InventoryNode("node-a", "10.0.0.1:7443"),
        InventoryNode("node-b", "[fd00::2]:7443"),
    )
    assert inventory.credentials.ca == Path("/srv/cluster/pki/ca.crt")
    assert inventory.credentials.key == Path("/abs/op.key")
    assert inventory.timeouts == Timeouts(stop_s=30, retry_s=2.5)
    assert inventory.findings == ()


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('name = "prod"', 'nmae = "prod"', "cluster.nmae: unknown key (did you mean 'name'?)"),
        ("[timeouts]", "[timeout]", "timeout: unknown key (did you mean 'timeouts'?)"),
        ("stop_s = 30", "stop = 30", "timeouts.stop: unknown key (did you mean 'stop_s'?)"),
        ("stop_s = 30", "zzz = 30", "timeouts.zzz: unknown key (known keys: connect_s"),
        ("stop_s = 30", "stop_s = 0", "timeouts.stop_s: 0 is no number"),
        ("stop_s = 30", "stop_s = true", "timeouts.stop_s: True is no number"),
        ("stop_s = 30", "stop_s = nan", "timeouts.stop_s: nan is no number"),
        ("stop_s = 30", 'stop_s = "30"', "timeouts.stop_s: '30' is no number"),
        ('name = "node-a"', 'name = "node-b"', "node[2].name: 'node-b' is there twice"),
        ("10.0.0.1:7443", "[fd00::2]:7443", "node[2].address: '[fd00::2]:7443' is there twice"),
        ("10.0.0.1:7443", "10.0.0.1:0", "node[2].address: bad port '0'"),
        ("10.0.0.1:7443", "10.0.0.1:65536", "node[2].address: bad port '65536'"),
        ("10.0.0.1:7443", "10.0.0.1:x", "node[2].address: bad port 'x'"),
        ("10.0.0.1:7443", "10.0.0.1", "node[2].address: '10.0.0.1' is not host:port"),
        ("10.0.0.1:7443", "fd00::1:7443", "node[2].address: 'fd00::1:7443' is not host:port"),
        ('name = "node-a"', 'name = "a/b"', "node[2].name: 'a/b' is no name"),
        ('name = "node-a"', "name = 7", "node[2].name: not a text"),
        ('ca = "pki/ca.crt"', "", "credentials.ca: missing"),
        ("[cluster]", "[clusters]", "[cluster]: missing"),
    ],
)
def test_each_mistake_is_named_with_its_key_and_remedy(old, new, expected):
    assert old in GOOD

    found = problems(GOOD.replace(old, new))

    assert any(each.startswith(expected) for each in found), found


@pytest.mark.parametrize("name", ["prod-", "p", "x." + "y" * 62, "N_1."])
def test_whatever_can_have_a_credential_can_be_in_an_inventory(name):
    """`pki init --cluster prod-` made a CA that no inventory could name."""
    text = GOOD.replace('name = "prod"', f'name = "{name}"').replace('name = "node-a"', f'name = "{name}"')

    assert Identity(name, Role.NODE, name).cluster == inventory_file.parse(text, PATH).cluster


def test_all_mistakes_are_reported_at_once():
    found = problems('[cluster]\nnmae = "x"\n[timeouts]\nstop_s = -1\n')

    keys = {each.split(":")[0] for each in found}
    assert keys == {"cluster.nmae", "cluster.name", "[credentials]", "timeouts.stop_s", "[[node]]"}


def test_a_file_that_is_not_toml_is_refused():
    with pytest.raises(InvalidInput, match="not TOML"):
        inventory_file.parse("[cluster", PATH)


def test_more_than_nine_nodes_are_a_warning():
    nodes = "".join(f'[[node]]\nname = "n{i}"\naddress = "h{i}:1"\n' for i in range(10))
    text = GOOD.split("[[node]]", maxsplit=1)[0] + nodes

    inventory = inventory_file.parse(text, PATH)

    assert len(inventory.nodes) == 10
    assert [finding.code for finding in inventory.findings] == ["MANY_NODES"]


def test_a_missing_file_is_refused_by_name(tmp_path):
    with pytest.raises(InvalidInput, match="cannot be read: No such file") as caught:
        inventory_file.load(tmp_path / "none.toml")
    assert caught.value.file == str(tmp_path / "none.toml")


def test_missing_credential_files_are_all_reported_unless_they_are_yet_to_be_made(tmp_path):
    path = tmp_path / "gausscert.toml"
    path.write_text(GOOD)

    with pytest.raises(InvalidInput) as caught:
        inventory_file.load(path)
    assert len(caught.value.findings) == 3
    assert inventory_file.load(path, require_credentials=False).cluster == "prod"


class TestFind:
    def places(self, tmp_path, *present: str):
        for name in present:
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / "gausscert.toml").touch()
        return {
            "working_directory": tmp_path / "here",
            "system_file": tmp_path / "etc" / "gausscert.toml",
        }

    def test_the_one_that_is_named_wins(self, tmp_path):
        places = self.places(tmp_path, "here", "etc")

        assert inventory_file.find(Path("mine"), {"GAUSSCERT_INVENTORY": "other"}, **places) == Path("mine")

    def test_then_the_working_directory(self, tmp_path):
        places = self.places(tmp_path, "here", "etc")

        found = inventory_file.find(None, {"GAUSSCERT_INVENTORY": "other"}, **places)

        assert found == tmp_path / "here" / "gausscert.toml"

    def test_then_the_variable_even_if_its_file_is_missing(self, tmp_path):
        places = self.places(tmp_path, "etc")

        assert inventory_file.find(None, {"GAUSSCERT_INVENTORY": "other"}, **places) == Path("other")

    def test_then_the_system(self, tmp_path):
        places = self.places(tmp_path, "etc")

        assert inventory_file.find(None, {}, **places) == places["system_file"]

    def test_else_it_says_where_it_looked(self, tmp_path):
        places = self.places(tmp_path)

        with pytest.raises(InvalidInput, match="GAUSSCERT_INVENTORY"):
            inventory_file.find(None, {}, **places)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("[history]\n", None),
        ('[history]\nfile = "h/prod.db"\n', Path("/srv/cluster/h/prod.db")),
        ('[history]\nfile = "/var/lib/gausscert/prod.db"\n', Path("/var/lib/gausscert/prod.db")),
    ],
)
def test_the_history_lies_where_the_inventory_says_relative_to_it(text: str, expected: Path | None):
    assert inventory_file.parse(GOOD + text, PATH).history == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[history]\nfiel = "x"\n', "history.fiel: unknown key (did you mean 'file'?)"),
        ("[history]\nfile = 3\n", 'history.file: not a text (write file = "...")'),
        ('[history]\nfile = "~/x"\n', "begins with ~, which is not expanded (write the whole path)"),
    ],
)
def test_a_history_that_makes_no_sense_is_refused(text: str, expected: str):
    assert any(expected in problem for problem in problems(GOOD + text))


def test_an_inventory_may_come_through_a_descriptor():
    """As `--inventory <(command)` of a shell has it."""
    reading, writing = os.pipe()
    os.write(writing, GOOD.encode())
    os.close(writing)
    try:
        found = inventory_file.load(Path(f"/dev/fd/{reading}"), require_credentials=False)
    finally:
        os.close(reading)

    assert found.cluster == "prod"
