"""`inventory import`: where it writes, and where it does not."""

from __future__ import annotations

import io
import os
import stat

import pytest
from gausscert_coordinator import inventory_file
from support.cli_fakes import cli

XML = """<ROOT><CLUSTER><PARAM name="clusterName" value="shop"/>
<PARAM name="nodeNames" value="db1"/></CLUSTER>
<DEVICELIST><DEVICE sn="1"><PARAM name="name" value="db1"/><PARAM name="backIp1" value="10.0.0.1"/>
<PARAM name="cmDir" value="/data/cm"/></DEVICE></DEVICELIST></ROOT>"""
VIEW = "NodeHeader:\nnodeCount:1\nnode:1\nnode :1\nnodeName:db1\nsshChannel 1:10.0.0.1\ncmAgentIP :10.0.0.1\n"


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "cluster_config.xml"
    path.write_text(XML)
    return path


def test_the_text_goes_to_standard_output_and_all_else_beside_it(source, tmp_path):
    run = cli("inventory", "import", str(source), "--operator", "alice")

    assert run.code == 0
    path = tmp_path / "gausscert.toml"
    path.write_text(run.out)
    inventory = inventory_file.load(path, require_credentials=False)
    assert (inventory.cluster, inventory.nodes[0].address) == ("shop", "10.0.0.1:7443")
    assert inventory.credentials.cert.name == "operator-alice.crt"
    assert "the agent's port: 7443; sshIp1: backIp1 instead" in run.err
    assert "whose credential is used" in run.err


def test_a_user_whose_name_is_none_for_a_credential_is_an_operator(source, monkeypatch):
    for user, named in (("alice", "alice"), ("CORP\\alice", "operator"), ("alice@corp.example", "operator")):
        monkeypatch.setenv("USER", user)

        assert f'"pki/operator-{named}.crt"' in cli("inventory", "import", str(source)).out


def test_a_file_is_written_but_never_over_another_one(source, tmp_path):
    out = tmp_path / "gausscert.toml"
    arguments = ("inventory", "import", str(source), "--out", str(out))

    first = cli(*arguments)
    out.chmod(0o600)
    before = out.read_text()
    again = cli(*arguments, "--port", "7000")

    assert (first.code, first.out) == (0, f"wrote {out}\n")
    assert again.code == 2
    assert "it is there already" in again.err
    assert "--force" in again.err
    assert out.read_text() == before
    assert cli(*arguments, "--port", "7000", "--force").code == 0
    assert ":7000" in out.read_text()
    assert sorted(os.listdir(tmp_path)) == ["cluster_config.xml", "gausscert.toml"]


def test_a_dangling_link_is_not_followed(source, tmp_path):
    out = tmp_path / "gausscert.toml"
    out.symlink_to(tmp_path / "elsewhere")

    assert cli("inventory", "import", str(source), "--out", str(out)).code == 2
    assert not (tmp_path / "elsewhere").exists()
    assert cli("inventory", "import", str(source), "--out", str(out), "--force").code == 0
    assert stat.S_ISREG(out.lstat().st_mode)


@pytest.mark.parametrize("options", [(), ("--force",)])
def test_what_cannot_be_written_leaves_nothing_behind(source, tmp_path, options):
    (tmp_path / "there").mkdir()

    for out in (tmp_path / "there", tmp_path / "none" / "gausscert.toml"):
        assert cli("inventory", "import", str(source), "--out", str(out), *options).code == 2
    assert sorted(os.listdir(tmp_path)) == ["cluster_config.xml", "there"]


def test_standard_input_will_do(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(VIEW.encode())))

    run = cli("inventory", "import", "-", "--cluster", "shop", "--output", "json")

    assert run.code == 0
    assert run.document["schema"] == "gausscert/inventory-import/v1"
    assert run.document["source"] == "cm_ctl view"
    assert run.document["out"] is None
    assert run.document["nodes"] == [
        {
            "node": "db1",
            "address": "10.0.0.1:7443",
            "taken": "sshChannel 1 10.0.0.1",
            "cm_server": None,
            "data_path": None,
            "not_known": ["the agent's port: 7443", "where CM's data lies"],
        }
    ]
    assert 'name = "shop"' in run.document["inventory"]


def test_everything_wrong_is_told_at_once_and_nothing_is_written(source, tmp_path):
    source.write_text(XML.replace("10.0.0.1", "x").replace('value="shop"', 'value=""'))
    out = tmp_path / "gausscert.toml"

    run = cli("inventory", "import", str(source), "--out", str(out), "--output", "json")

    assert run.code == 2
    assert len(run.document["error"]["findings"]) == 2
    assert not out.exists()


def test_a_missing_file_is_named(tmp_path):
    run = cli("inventory", "import", str(tmp_path / "none.xml"))

    assert run.code == 2
    assert "none.xml: it cannot be read: No such file" in run.err


@pytest.mark.parametrize(
    "words",
    [("inventory", "import", "-", "--cluster", "shop"), ("--cluster", "shop", "inventory", "import", "-")],
)
def test_the_name_may_stand_before_or_after_the_verb(monkeypatch, words):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(VIEW.encode())))

    assert 'name = "shop"' in cli(*words).out
