"""Several clusters in one gausscert.toml."""

from __future__ import annotations

from pathlib import Path

import pytest
from gausscert_common.errors import InvalidInput, Reason
from gausscert_coordinator import inventory_file
from gausscert_coordinator.inventory import InventoryNode

PATH = Path("/srv/gausscert.toml")
ONE = """
[cluster]
name = "prod"
[credentials]
ca = "a"
cert = "b"
key = "c"
[[node]]
name = "n1"
address = "h1:7443"
"""
SEVERAL = """
[timeouts]
stop_s = 30

[clusters.prod.credentials]
ca = "prod/ca.crt"
cert = "prod/op.crt"
key = "prod/op.key"
[[clusters.prod.node]]
name = "n1"
address = "10.0.0.1:7443"
[[clusters.prod.node]]
name = "n2"
address = "10.0.0.2:7443"

[clusters."test.2".credentials]
ca = "test/ca.crt"
cert = "test/op.crt"
key = "test/op.key"
[clusters."test.2".timeouts]
start_s = 7
[[clusters."test.2".node]]
name = "n1"
address = "10.9.0.1:7443"
"""


def refused(text: str, cluster: str | None = None) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        inventory_file.parse(text, PATH, cluster=cluster)
    assert caught.value.reason is Reason.CONFIG_INVALID
    assert caught.value.file == str(PATH)
    return caught.value


def causes(text: str, cluster: str | None = None) -> list[str]:
    return [finding.cause for finding in refused(text, cluster).findings]


def test_the_cluster_that_is_named_is_read_with_its_own_nodes_and_credentials():
    prod = inventory_file.parse(SEVERAL, PATH, cluster="prod")
    test = inventory_file.parse(SEVERAL, PATH, cluster="test.2")

    assert (prod.cluster, test.cluster) == ("prod", "test.2")
    assert prod.nodes == (InventoryNode("n1", "10.0.0.1:7443"), InventoryNode("n2", "10.0.0.2:7443"))
    assert test.nodes == (InventoryNode("n1", "10.9.0.1:7443"),)
    assert prod.credentials.key == Path("/srv/prod/op.key")
    assert test.credentials.key == Path("/srv/test/op.key")


def test_timeouts_of_all_clusters_give_way_to_those_of_one():
    assert inventory_file.parse(SEVERAL, PATH, cluster="prod").timeouts.stop_s == 30
    test = inventory_file.parse(SEVERAL, PATH, cluster="test.2").timeouts
    assert (test.start_s, test.stop_s) == (7, 300)


def test_how_nodes_are_reached_over_ssh_may_be_said_for_all_clusters():
    text = '[ssh]\nuser = "root"\nport = 2222\n' + SEVERAL + '[clusters."test.2".ssh]\nuser = "omm"\n'

    prod = inventory_file.parse(text, PATH, cluster="prod").nodes[0].ssh
    test = inventory_file.parse(text, PATH, cluster="test.2").nodes[0].ssh

    assert (prod.user, prod.port) == ("root", 2222)
    assert (test.user, test.port) == ("omm", 0)


def test_where_several_are_there_nobody_guesses():
    error = refused(SEVERAL)

    assert error.message == "which cluster? There are prod, test.2"
    assert "--cluster NAME or $GAUSSCERT_CLUSTER" in error.remedy


def test_a_single_cluster_needs_no_name():
    alone = SEVERAL.split('[clusters."test.2"', maxsplit=1)[0]

    assert inventory_file.parse(alone, PATH).cluster == "prod"


@pytest.mark.parametrize("text", [SEVERAL, ONE])
def test_a_name_that_is_not_there_is_refused_with_those_that_are(text: str):
    error = refused(text, "prd")

    assert error.message.startswith("no cluster 'prd' in it; there ")
    assert "prod" in error.message.split("; there ")[1]
    assert error.remedy == "did you mean 'prod'?"


def test_the_form_for_one_cluster_stays_valid_and_may_be_named():
    assert inventory_file.parse(ONE, PATH).cluster == "prod"
    assert inventory_file.parse(ONE, PATH, cluster="prod").cluster == "prod"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('ca = "prod/ca.crt"', "", "clusters.prod.credentials.ca: missing"),
        ('name = "n2"', 'name = "n1"', "clusters.prod.node[2].name: 'n1' is there twice"),
        ("10.0.0.2:7443", "10.0.0.2", "clusters.prod.node[2].address: '10.0.0.2' is not host:port"),
        ("[timeouts]", "[timeout]", "timeout: unknown key"),
        ("[timeouts]", "[timeouts]\nstop = 3", "clusters.prod.timeouts.stop: unknown key"),
        ("[timeouts]", "[node]\n[timeouts]", "node: it stands beside [clusters]"),
        ("[timeouts]", '[cluster]\nname = "x"\n[timeouts]', "cluster: it stands beside [clusters]"),
        ("[clusters.prod.credentials]", "[clusters.prod.cluster]", "clusters.prod.cluster: the key is its"),
        ("[clusters.prod.credentials]", "[clusters.prod.x]", "[clusters.prod.credentials]: missing"),
    ],
)
def test_mistakes_are_named_with_the_cluster_they_are_in(old: str, new: str, expected: str):
    assert old in SEVERAL

    found = causes(SEVERAL.replace(old, new, 1), "prod")

    assert any(each.startswith(expected) for each in found), found


@pytest.mark.parametrize("text", ["[clusters]\n", "clusters = 3\n", "[clusters]\nprod = 3\n"])
def test_a_table_of_no_clusters_is_taken_for_a_mistyped_one(text: str):
    found = causes(text)

    assert "clusters: unknown key" in found
    assert "[cluster]: missing" in found


def test_what_stands_among_the_clusters_and_is_none_is_refused():
    assert "clusters.x: not a table" in causes(f"clusters.x = 3\n{SEVERAL}", "prod")


def test_a_name_that_is_none_is_refused():
    bad = SEVERAL.replace('"test.2"', '"a/b"')

    assert any("'a/b' is no name" in each for each in causes(bad, "a/b"))


def test_the_names_of_all_clusters_are_told_whatever_else_is_wrong(tmp_path):
    path = tmp_path / "gausscert.toml"
    path.write_text(SEVERAL.replace("address", "adress"))
    assert inventory_file.clusters(path) == ("prod", "test.2")
    path.write_text(ONE)
    assert inventory_file.clusters(path) == ("prod",)
    path.write_text("")
    assert inventory_file.clusters(path) == ()
