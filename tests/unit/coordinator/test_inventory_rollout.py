"""[ssh] and [agent] of an inventory."""

from __future__ import annotations

from pathlib import Path

import pytest
from gausscert_common.errors import InvalidInput
from gausscert_coordinator import inventory_file
from gausscert_coordinator.inventory import AgentInstall, SshAccess

HEAD = '[cluster]\nname = "p"\n[credentials]\nca = "ca"\ncert = "c"\nkey = "k"\n'
NODES = '[[node]]\nname = "a"\naddress = "10.0.0.1:7443"\n'
PATH = Path("/srv/gausscert.toml")


def node(more: str, own: str = ""):
    (found,) = inventory_file.parse(f"{HEAD}{more}\n{NODES}{own}", PATH).nodes
    return found


def test_without_any_of_it_everything_is_left_to_ssh_and_the_usual_places():
    assert (node("").ssh, node("").install) == (SshAccess(), AgentInstall())


def test_what_holds_for_all_holds_for_each_but_for_what_it_says_itself():
    usual = (
        '[ssh]\nuser = "root"\nport = 2222\noptions = ["IdentityFile=~/.ssh/id"]\npython = "python3.11"\n'
        '[agent]\nuser = "omm"\nsettings = "all.toml"\nlisten = "0.0.0.0:7443"\n'
    )
    own = 'ssh.host = "a.mgmt"\nssh.options = ["ProxyJump=bastion"]\nagent.directory = "/home/omm/g"\n'

    found = node(usual, own)

    options = ("IdentityFile=~/.ssh/id", "ProxyJump=bastion")
    assert found.ssh == SshAccess("root", "a.mgmt", 2222, options, "python3.11")
    assert found.install == AgentInstall("omm", "/home/omm/g", Path("/srv/all.toml"), "0.0.0.0:7443")


def test_a_node_may_be_worked_on_by_sudo_where_others_are_not_and_the_other_way_round():
    assert node("", "ssh.sudo = true").ssh.sudo
    assert node("[ssh]\nsudo = true\n").ssh.sudo
    assert not node("[ssh]\nsudo = true\n", "ssh.sudo = false").ssh.sudo


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('ssh.user = "-oProxyCommand=x"', "node[1].ssh.user"),
        ('ssh.host = "-oProxyCommand=x"', "node[1].ssh.host"),
        ('ssh.host = "a b"', "node[1].ssh.host"),
        ('ssh.python = "python3 -c x"', "node[1].ssh.python"),
        ('ssh.python = "$(id)"', "node[1].ssh.python"),
        ('ssh.options = "x"', "node[1].ssh.options"),
        ('ssh.options = ["-v"]', "node[1].ssh.options"),
        ('ssh.options = ["BatchMode=no"]', "gausscert's to set"),
        ('ssh.options = ["ControlMaster=auto"]', "gausscert's to set"),
        ('ssh.options = ["ControlPersist=60"]', "gausscert's to set"),
        ("ssh.port = 0.5", "node[1].ssh.port"),
        ("ssh.port = 65536", "node[1].ssh.port"),
        ('ssh.pasword = "x"', "unknown key"),
        ('ssh.sudo = "yes"', "node[1].ssh.sudo"),
        ("ssh.sudo = 1", "node[1].ssh.sudo"),
        ('agent.user = "a;b"', "node[1].agent.user"),
        ('agent.directory = "relative"', "node[1].agent.directory"),
        ('agent.directory = "/a/../b"', "node[1].agent.directory"),
        ('agent.listen = "nowhere"', "node[1].agent.listen"),
        ("agent.settings = 3", "node[1].agent.settings"),
    ],
)
def test_what_could_be_taken_for_something_else_is_refused(line: str, said: str):
    with pytest.raises(InvalidInput) as raised:
        node("", line)

    assert any(said in finding.cause for finding in raised.value.findings)
