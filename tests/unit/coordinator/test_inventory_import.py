"""From openGauss's own files to a gausscert.toml, and what is refused on the way."""

from __future__ import annotations

import random
import tomllib
from pathlib import Path

import pytest
from gausscert_agent.drivers import cm_texts
from gausscert_common.errors import InvalidInput, Reason
from gausscert_coordinator import inventory_file, inventory_import
from gausscert_coordinator.inventory import InventoryNode
from gausscert_coordinator.inventory_import import Choices

SECRET = "Canary#7pw"
# As script/gspylib/etc/conf/cluster_config_template.xml of openGauss-OM lays it out, with other values.
XML = f"""<?xml version="1.0" encoding="UTF-8"?>
<ROOT>
  <CLUSTER>
    <PARAM name="clusterName" value="shop" />
    <PARAM name="nodeNames" value="db1, db2,db3" />
    <PARAM name="gaussdbAppPath" value="/opt/shop/app" />
    <PARAM name="gaussdbLogPath" value="/var/log/omm" />
    <PARAM name="password" value="{SECRET}" />
    <PARAM name="backIp1s" value="192.168.7.1,192.168.7.2,192.168.7.3"/>
  </CLUSTER>
  <DEVICELIST>
    <DEVICE sn="100001">
      <PARAM name="name" value="db1"/>
      <PARAM name="azName" value="AZ1"/>
      <PARAM name="backIp1" value="192.168.7.1"/>
      <PARAM name="sshIp1" value="10.7.0.1"/>
      <!-- cm -->
      <PARAM name="cmsNum" value="1"/>
      <PARAM name="cmServerPortBase" value="15000"/>
      <PARAM name="cmServerListenIp1" value="192.168.7.1,192.168.7.2,192.168.7.3"/>
      <PARAM name="cmServerRelation" value="db1,db2,db3"/>
      <PARAM name="cmDir" value="/data/cm"/>
      <PARAM name="dataNode1" value="/data/dn,db2,/data/dn,db3,/data/dn"/>
    </DEVICE>
    <DEVICE sn="100002">
      <PARAM name="name" value="db2"/>
      <PARAM name="backIp1" value="192.168.7.2"/>
      <PARAM name="sshIp1" value="10.7.0.2"/>
      <PARAM name="cmServerPortStandby" value="15000"/>
      <PARAM name="cmDir" value="/data/cm"/>
    </DEVICE>
    <DEVICE sn="100003">
      <PARAM name="name" value="db3"/>
      <PARAM name="backIp1" value="192.168.7.3"/>
      <PARAM name="sshIp1" value="10.7.0.3"/>
      <PARAM name="cmDir" value="/data/cm"/>
    </DEVICE>
  </DEVICELIST>
</ROOT>
"""
VIEW = """cm_ctl: a message before it: of no interest
NodeHeader:
version:301
time:1763900000
nodeCount:3
node:2
azName:AZ1
azPriority:1
node :1
nodeName:db1
ssh channel :
sshChannel 1:10.7.0.1
cmDataPath :/data/cm
cmServer 1:192.168.7.1
cmServer 2:192.168.8.1
port :15000
cmServerLocalHAIP 1:192.168.7.1
cmServerLocalHAPort :15001
cmAgentIP :192.168.7.1
datanodeCount :1
datanode 1:
datanodeLocalDataPath :/data/dn
datanodeListenIP 1:192.168.7.1
datanodePort :26000
node :2
nodeName:db2
ssh channel :
sshChannel 1:10.7.0.2
cmDataPath :/data/cm
cmServer 1:192.168.7.2
port :15000
cmAgentIP :192.168.7.2
node :3
nodeName:db3
ssh channel :
sshChannel 1:fd00::7:3
cmAgentIP :192.168.7.3
"""
SOURCE = "cluster_config.xml"


def made(text: str | bytes, **choices):
    body = text if isinstance(text, bytes) else text.encode()
    return inventory_import.make(body, SOURCE, Choices(**choices))


def refused(text: str | bytes, **choices) -> list[str]:
    with pytest.raises(InvalidInput) as caught:
        made(text, **choices)
    assert caught.value.reason is Reason.CONFIG_INVALID
    assert caught.value.file == SOURCE
    assert all(finding.remedy for finding in caught.value.findings)
    assert SECRET not in str(caught.value) + str(caught.value.findings)
    return [finding.cause for finding in caught.value.findings]


def read(text: str, cluster: str | None = None):
    return inventory_file.parse(text, Path("/srv/gausscert.toml"), cluster=cluster)


def test_the_file_of_om_becomes_an_inventory_with_the_addresses_for_management():
    written = made(XML, operator="alice")
    inventory = read(written.text)

    assert inventory.cluster == written.cluster == "shop"
    assert inventory.nodes == (
        InventoryNode("db1", "10.7.0.1:7443"),
        InventoryNode("db2", "10.7.0.2:7443"),
        InventoryNode("db3", "10.7.0.3:7443"),
    )
    assert inventory.credentials.key == Path("/srv/pki/operator-alice.key")
    assert inventory.findings == ()


def test_it_says_what_it_took_and_what_it_could_not_know():
    written = made(XML.replace('<PARAM name="sshIp1" value="10.7.0.2"/>', ""), port=7000)

    assert [(node.name, node.taken, node.unknown) for node in written.nodes[:2]] == [
        ("db1", "sshIp1 10.7.0.1", ("the agent's port: 7000",)),
        ("db2", "backIp1 192.168.7.2", ("the agent's port: 7000", "sshIp1: backIp1 instead")),
    ]
    assert [node.server for node in written.imported.nodes] == [f"192.168.7.{n}:15000" for n in (1, 2, 3)]
    assert 'agent.toml: data_path = "/data/cm"' in written.text
    assert 'agent.toml: home = "/opt/shop/app"' in written.text


def test_the_addresses_within_the_cluster_may_be_wanted():
    assert read(made(XML, back=True).text).nodes[0].address == "192.168.7.1:7443"
    assert read(made(VIEW, back=True, cluster="x").text).nodes[0].address == "192.168.7.1:7443"


def test_what_cm_ctl_prints_becomes_an_inventory():
    written = made(VIEW, cluster="shop")
    inventory = read(written.text)

    assert inventory.nodes == (
        InventoryNode("db1", "10.7.0.1:7443"),
        InventoryNode("db2", "10.7.0.2:7443"),
        InventoryNode("db3", "[fd00::7:3]:7443"),
    )
    assert [(node.server, node.cm_data_path) for node in written.imported.nodes] == [
        ("192.168.7.1:15000", "/data/cm"),
        ("192.168.7.2:15000", "/data/cm"),
        ("", ""),
    ]
    assert written.nodes[2].unknown == ("the agent's port: 7443", "where CM's data lies")


def test_it_reads_what_the_agent_reads():
    seen = cm_texts.view(VIEW)

    nodes = made(VIEW, cluster="shop").imported.nodes

    assert [(node.name, node.back) for node in nodes] == [
        (node.name, node.agent_address) for node in seen.topology.nodes
    ]
    assert [node.server for node in nodes] == [
        f"{node.server_address}:{node.server_port}" if node.server_address else ""
        for node in seen.topology.nodes
    ]


def test_further_clusters_stand_beside_others_in_one_file():
    both = made(XML, several=True).text + made(VIEW, several=True, cluster="te.st").text

    assert set(tomllib.loads(both)) == {"clusters"}
    assert read(both, "shop").nodes == read(made(XML).text).nodes
    assert read(both, "te.st").cluster == "te.st"


def test_a_name_that_is_given_wins():
    assert made(XML, cluster="other").cluster == "other"


def test_a_secret_in_the_file_goes_nowhere():
    written = made(XML)

    assert SECRET not in written.text + repr(written)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('value="db1, db2,db3"', 'value="db1,db2"', "DEVICE db3 is not in nodeNames"),
        ('value="db1, db2,db3"', 'value="db1,db2,db3,db4"', "nodeNames has db4, but there is no such DEVICE"),
        ('value="db1, db2,db3"', 'value="db1,db2,db3,db1"', "nodeNames has db1 more than once"),
        ('value="db1, db2,db3"', 'value=" "', "no nodeNames in CLUSTER"),
        ('<PARAM name="name" value="db3"/>', "", "line 32: a DEVICE without name"),
        ('<PARAM name="name" value="db3"/>', '<PARAM name="name" value="db2"/>', "DEVICE db2 is there twice"),
        ('<PARAM name="name" value="db3"/>', '<PARAM name="name"/>', "a PARAM without name or value"),
        ('name="sshIp1" value="10.7.0.3"', 'name="sshIp1" value="10.7.0.300"', "'10.7.0.300' is no IP"),
        ('name="sshIp1" value="10.7.0.3"', 'name="sshIp1" value="@{ip}"', "'@{ip}' is no IP address"),
        ('name="sshIp1" value="10.7.0.3"', 'name="sshIp1" value="10.7.0.2"', "10.7.0.2 is that of db2, too"),
        ('name="sshIp1" value="10.7.0.3"', 'name="backIp1" value="10.7.0.3"', "backIp1 is there twice"),
        ('value="shop"', 'value=""', "the name of the cluster is not told"),
        ('value="shop"', 'value="a shop"', "cluster.name: 'a shop' is no name"),
        ("CLUSTER>", "CLUSTRE>", "no CLUSTER in it"),
        ("DEVICELIST>", "DEVICES>", "no DEVICELIST/DEVICE in it"),
        ("</ROOT>", "", "not XML: line 40: no element found"),
        ("<ROOT>", "", "not XML: line 11: junk after document element"),
    ],
)
def test_each_mistake_is_named(old: str, new: str, expected: str):
    assert old in XML

    found = refused(XML.replace(old, new))

    assert any(expected in each for each in found), found


def test_all_mistakes_are_reported_at_once():
    wrong = (
        XML.replace("10.7.0.3", "x").replace('value="shop"', 'value=""').replace('value="db2"', 'value="d b"')
    )

    found = refused(wrong.replace("db1, db2,db3", "db1,d b,db3,db4"))

    assert len(found) == 4, found


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("nodeCount:3", "nodeCount:2", "the header says 2 nodes, and 3 are in it"),
        ("nodeName:db3", "nodeName:db1", "db1 is there twice"),
        ("nodeName:db3", "", "block 3, node 3, has no nodeName"),
        ("cmAgentIP :192.168.7.3", "cmAgentIP :192.168.7.2", "cmAgentIP 192.168.7.2 is that of db2, too"),
        ("sshChannel 1:10.7.0.2\n", "sshChannel 1:db2\n", "'db2' is no IP address"),
    ],
)
def test_each_mistake_in_what_cm_ctl_prints_is_named(old: str, new: str, expected: str):
    assert old in VIEW

    found = refused(VIEW.replace(old, new), cluster="shop")

    assert any(expected in each for each in found), found


def test_cm_ctl_does_not_tell_the_name_so_it_must_be_said():
    assert refused(VIEW) == ["the name of the cluster is not told"]


def test_a_cluster_without_cm_is_no_secret_to_the_operator():
    warnings = made(XML.replace('<PARAM name="cmDir" value="/data/cm"/>', "")).imported.warnings

    assert "gausscert is for clusters with CM" in warnings[0]


# ---- what an XML parser must not be led to do

BOMB = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
HOSTILE = {
    "billion laughs": f'<!DOCTYPE ROOT [<!ENTITY e0 "ha">{BOMB}]>',
    "quadratic": f'<!DOCTYPE ROOT [<!ENTITY e9 "{"a" * 50_000}">]>',
    "external entity": '<!DOCTYPE ROOT [<!ENTITY e9 SYSTEM "file:///etc/passwd">]>',
    "external subset": '<!DOCTYPE ROOT SYSTEM "file:///etc/passwd">',
    "parameter entity": '<!DOCTYPE ROOT [<!ENTITY % p SYSTEM "file:///etc/passwd"> %p;]>',
    "public": '<!DOCTYPE ROOT PUBLIC "-//x" "http://127.0.0.1:1/x.dtd">',
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-be", "utf-16-le"])
@pytest.mark.parametrize("name", HOSTILE)
def test_no_document_type_is_accepted_in_any_encoding(name: str, encoding: str):
    text = XML.replace('encoding="UTF-8"', f'encoding="{encoding[:6]}"').replace(
        "<ROOT>", f"{HOSTILE[name]}\n<ROOT>"
    )
    hostile = text.replace('value="shop"', 'value="&e9;"')

    found = refused(hostile.encode(encoding))

    assert len(found) == 1
    assert "a DOCTYPE" in found[0]


def test_the_same_file_without_it_is_accepted_in_these_encodings():
    """So that it is the document type that is refused above, and not the encoding."""
    for encoding in ("utf-8", "utf-16"):
        assert made(XML.replace("UTF-8", encoding).encode(encoding)).cluster == "shop"


@pytest.mark.parametrize("encoding", ["GBK", "UF-8", "utf-7", "idna", "hex"])
def test_an_encoding_that_cannot_be_read_is_told(encoding: str):
    (found,) = refused(XML.replace("UTF-8", encoding))

    assert "encoding" in found or "not XML" in found


TORN = (
    b"<!DOCTYPE x>",
    b"&e;",
    b"&#10;",
    b"\x00",
    b"\xff",
    b'"',
    b"[[node]]",
    b"<PARAM",
    b"/>",
    b"::1",
    b"\x7f",
    b"9" * 5000,
)


def test_whatever_is_torn_ends_as_an_inventory_or_as_findings():
    chance = random.Random(7)  # noqa: S311 - so that a failure comes again
    ends = {True: 0, False: 0}
    for _ in range(600):
        body = bytearray(chance.choice([XML.encode(), VIEW.encode(), XML.encode("utf-16")]))
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(body))
            if chance.random() < 0.5:
                body[at:at] = chance.choice(TORN)
            else:
                del body[at : at + chance.randint(1, 40)]
        try:
            made(bytes(body), cluster=chance.choice(["", "x"]), several=chance.random() < 0.5)
            ends[True] += 1
        except InvalidInput as error:
            ends[False] += bool(error.findings)

    assert sum(ends.values()) == 600
    assert all(ends.values()), ends


@pytest.mark.parametrize("text", ["&e9;", "&xxe;"])
def test_an_entity_that_nobody_declared_is_no_xml(text: str):
    assert "undefined entity" in refused(XML.replace('value="shop"', f'value="{text}"'))[0]


def test_a_deep_file_is_refused():
    assert "elements within each other" in refused("<ROOT>" + "<a>" * 100_000)[0]


def test_a_large_file_is_refused():
    assert "bytes" in refused(XML + " " * inventory_import.LARGEST)[0]


def test_what_is_neither_is_refused():
    assert refused("[cluster]\nname = 'x'\n") == [
        "it is neither a cluster_config.xml nor what `cm_ctl view` prints"
    ]
    assert refused(b"\xff\x00\x01") == ["it is neither a cluster_config.xml nor what `cm_ctl view` prints"]


def test_nothing_of_the_file_becomes_a_line_of_its_own():
    sly = XML.replace('value="/opt/shop/app"', 'value="/opt&#10;[[node]]&#10;name = 1"')
    sly = sly.replace('"db1,db2,db3"', '"db1,db2&#10;[[node]],db3"').replace('"15000"', '"15000&#10;[[x]]"')

    written = made(sly)

    assert read(written.text).nodes == read(made(XML).text).nodes
    assert not any(line.startswith("[[x") for line in written.text.splitlines())


def test_nothing_of_the_file_steers_a_terminal():
    sly = XML.replace('value="/data/cm"', 'value="/data&#x9b;31m&#x202e;cm"')

    assert all(each.isprintable() or each == "\n" for each in made(sly).text)


SLOW = {
    "a line of blanks": VIEW.replace("azName:AZ1", "azName" + 4000 * " ", 1),
    "many nodes": VIEW + "".join(f"node :{n}\nnodeName:x{n}\n" for n in range(60_000)),
    "many names": XML.replace("db1, db2,db3", ",".join(f"x{n}" for n in range(60_000))),
}


@pytest.mark.parametrize("what", SLOW)
def test_what_takes_long_to_read_is_read_in_no_time(what):
    body = SLOW[what].encode()

    if what == "a line of blanks":
        assert len(made(body, cluster="shop").nodes) == 3
    else:
        with pytest.raises(InvalidInput):
            made(body, cluster="shop")


@pytest.mark.parametrize("zone", ["\x1b[2J", "\x9b2J", '"', "\n", "a b"])
def test_a_zone_of_an_address_brings_nothing_else_with_it(zone):
    with pytest.raises(InvalidInput, match="no IP address"):
        made(VIEW.replace("10.7.0.2", f"fe80::1%{zone}x").encode(), cluster="shop")

    assert made(VIEW.replace("10.7.0.2", "fe80::1%eth0.7").encode(), cluster="shop").nodes[1].address == (
        "[fe80::1%eth0.7]:7443"
    )


@pytest.mark.parametrize("name", ["a\n[[node]]", "CORP\\alice", "alice@corp.example", "\udc80", ""])
def test_an_operator_whose_name_is_none_is_refused(name):
    with pytest.raises(InvalidInput, match="operator's name"):
        made(XML.encode(), operator=name)
