"""No password and no key is anywhere but where it belongs, whatever is done and whatever fails (I12)."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from gausscert.v1 import agent_service_pb2 as pb
from gausscert_common.errors import GausscertError
from gausscert_common.identity import node_dns_name
from gausscert_coordinator import agents, inventory_file
from gausscert_coordinator.cli import demo_files
from gausscert_sim.faults import Faults
from google.protobuf.message import Message
from support import strace
from support.canaries import Canaries
from support.edge_calls import GOOD
from support.local_cluster import NODES
from support.watched_cluster import WatchedCluster
from support.witness import Witness

pytestmark = [pytest.mark.xdist_group("secrets"), pytest.mark.timeout(300)]

WRONG = "Wrng-0f1e2d3c4b"
PASSPHRASE = "canary passphrase: ö \\ \" 'x' 0123456789"
SSH = '#!/bin/sh\nfor last; do :; done\nexec /bin/sh -c "$last"\n'
"""What ssh does with a command line, without the way between."""
KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----\n", re.DOTALL)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> WatchedCluster:
    """After all has been done and has ended."""
    strace.require()
    root = tmp_path_factory.mktemp("watched")
    with WatchedCluster.started(root, nodes=1, timeouts={"start_s": 30.0, "verify_s": 4.0}) as running:
        everything(running)
    return running


def everything(cluster: WatchedCluster) -> None:
    for name, text in (("wrong", WRONG), ("passphrase", PASSPHRASE)):
        cluster.canaries.plant(name, text)
        demo_files.write_private(cluster.root / f"{name}.pw", text + "\n")
    make_keys(cluster)
    refused(cluster)
    committed(cluster)
    renewed(cluster)
    rolled_out(cluster)
    rolled_back(cluster)
    encrypted(cluster)
    answers_of_agents(cluster)
    cluster.simulated.start()
    for verb in (["status"], ["expiry"], ["history"], ["check"]):
        cluster.run(*verb, "--output", "json")


def make_keys(cluster: WatchedCluster) -> None:
    cluster.homes |= {cluster.root / name for name in ("fresh", "second", "kept", "other", "other/n9")}
    cluster.new_bundle("fresh")
    kept = cluster.run("bundle", "new", "kept", "--ca-passphrase-file", "passphrase.pw", *cluster.passwords)
    init = cluster.run(
        "pki", "init", "--dir", "other", "--cluster", "other", "--passphrase-file", "passphrase.pw"
    )
    issue = cluster.run(
        *("pki", "issue", "node", "n9", "--dir", "other", "--out", "other/n9"),
        *("--passphrase-file", "passphrase.pw"),
    )
    assert (kept.code, init.code, issue.code) == (0, 0, 0), kept.err + init.err + issue.err
    cluster.plant_bundle("fresh")
    cluster.plant_bundle("kept")
    cluster.plant_control_plane()
    for key in ("other/ca.key", "kept/ca.key"):
        cluster.canaries.plant_key(key, (cluster.root / key).read_bytes(), PASSPHRASE)
    cluster.canaries.plant_key("n9", (cluster.root / "other/n9/node-n9.key").read_bytes(), None)


def refused(cluster: WatchedCluster) -> None:
    wrong = ("--server-password-file", "wrong.pw", *cluster.passwords[2:])
    verified = cluster.run("bundle", "verify", "fresh", "--verbose", *wrong)
    replaced = cluster.run("replace", "fresh", "--yes", "--verbose", "--output", "json", *wrong)
    unlocked = cluster.run(
        *("pki", "issue", "node", "n8", "--dir", "other", "--passphrase-file", "wrong.pw", "--verbose")
    )
    good_one = cluster.run("bundle", "verify", "fresh", *cluster.passwords)
    assert (verified.code, replaced.code, unlocked.code, good_one.code) == (2, 2, 2, 0), verified.err


def committed(cluster: WatchedCluster) -> None:
    planned = cluster.run("plan", "fresh", "--out", "plan.json", "--verbose", *cluster.passwords)
    done = cluster.run("replace", "--plan", "plan.json", "--yes", "--verbose", *cluster.passwords)
    assert (planned.code, done.code) == (0, 0), planned.err + done.err


def renewed(cluster: WatchedCluster) -> None:
    """Over the wire: the new key never leaves the agent's own directory."""
    done = cluster.run("pki", "renew", "--all-nodes", "--dir", "pki", "--verbose")
    assert done.code == 0, done.err
    found = KEY.search((cluster.root / f"agent-{NODES[0]}" / "credential.pem").read_bytes())
    assert found is not None
    cluster.canaries.plant_key("renewed", found[0], None)


def rolled_out(cluster: WatchedCluster) -> None:
    """A node's new key goes through ssh to where it belongs. The release is there already."""
    issued = cluster.run(
        "pki",
        "issue",
        "operator",
        "bob",
        "--dir",
        "other",
        "--out",
        "other",
        "--passphrase-file",
        "passphrase.pw",
    )
    place, ssh = cluster.root / "rolled", cluster.root / "bin" / "ssh"
    agent = place / "releases" / bare_software(cluster.root / "software") / "bin" / "gausscert-agent"
    for script, text in ((ssh, SSH), (agent, "#!/bin/sh\nexit 0\n")):
        script.parent.mkdir(parents=True)
        script.write_text(text)
        script.chmod(0o755)
    (agent.parent.parent / ".complete").touch()
    cm_home = cluster.root / "another-cm"  # that of the cluster has an agent already
    (cm_home / "share" / "sslcert").mkdir(parents=True)
    (cluster.root / "agent.toml").write_text(f'[cm]\nhome = "{cm_home}"\n')
    (cluster.root / "rollout.toml").write_text(
        f'[cluster]\nname = "other"\n[agent]\ndirectory = "{place}"\n'
        '[credentials]\nca = "other/ca.crt"\ncert = "other/operator-bob.crt"\n'
        'key = "other/operator-bob.key"\n'
        '[[node]]\nname = "n1"\naddress = "127.0.0.1:1"\n'
    )
    cluster.homes.add(place / "etc" / "pki")
    done = cluster.run(
        *("agents", "deploy", "--ssh", "--inventory", "rollout.toml", "--bundle", "software", "--verbose"),
        *("--service", "none", "--pki", "other", "--passphrase-file", "passphrase.pw"),
    )
    assert (issued.code, done.code) == (0, 0), issued.err + done.err + done.out
    for key in (cluster.root / "other/operator-bob.key", place / "etc/pki/node-n1.key"):
        cluster.canaries.plant_key(key.name, key.read_bytes(), None)


def bare_software(root: Path) -> str:
    """A bundle of which nothing is sent; answers its release."""
    lines = []
    for name in ("gausscert", "pip"):
        wheel = root / "wheels" / f"{name}-9.9-py3-none-any.whl"
        wheel.parent.mkdir(parents=True, exist_ok=True)
        wheel.write_bytes(name.encode())
        lines.append(f"{name}==9.9 --hash=sha256:{hashlib.sha256(name.encode()).hexdigest()}\n")
    (root / "requirements.txt").write_text("".join(lines))
    for unit in ("gausscert-agent.service", "user/gausscert-agent.service"):
        (root / unit).parent.mkdir(exist_ok=True)
        (root / unit).write_text("[Service]\n")
    return f"9.9-{hashlib.sha256(''.join(lines).encode()).hexdigest()[:12]}"


def rolled_back(cluster: WatchedCluster) -> None:
    cluster.new_bundle("second")
    cluster.plant_bundle("second")
    node = cluster.node(NODES[0])
    cluster.script(NODES[0], Faults(server_accepts_only=(node.served_fingerprint(),)))
    done = cluster.replace("--restart", "node", "--verbose", bundle="second")
    cluster.mend()
    assert done.code == 1, done.err


def encrypted(cluster: WatchedCluster) -> None:
    """No verb of the command, but a call of the library. It wants CM stopped."""

    async def ask(number: int, password: str) -> None:
        connected = agents.connect(inventory_file.load(cluster.root / "gausscert.toml"))
        try:
            await connected[NODES[0]].encrypt(
                f"canary-{number}", server_password=password, client_password=cluster.client_password
            )
        except GausscertError as error:
            cluster.said.append(("an error of Encrypt", repr((error, vars(error), error.__cause__)).encode()))
        finally:
            for each in connected.values():
                await each.close()

    cluster.simulated.stop()
    before = len(cluster.said)
    for number, password in enumerate((cluster.server_password, WRONG, f"{WRONG}\n", WRONG[:7], "ä" * 40)):
        asyncio.run(ask(number, password))
    errors = cluster.said[before:]
    assert len(errors) == 4, errors


def secret_fields(message: Message) -> Iterator[tuple[Message, str]]:
    """Those that the wire's own definition calls secret, and CM's factor files."""
    for field in message.DESCRIPTOR.fields:
        if field.message_type is not None:
            if field.message_type.file.package == "gausscert.v1":
                yield from secret_fields(getattr(message, field.name))
        elif field.GetOptions().debug_redact or field.containing_type.name == "FactorFiles":
            yield message, field.name


def answers_of_agents(cluster: WatchedCluster) -> None:
    """Every call with a password or key where one may be, and each of them wrong."""
    inventory = inventory_file.load(cluster.root / "gausscert.toml")
    mine, node = inventory.credentials, inventory.nodes[0]
    tls = grpc.ssl_channel_credentials(*(path.read_bytes() for path in (mine.ca, mine.key, mine.cert)))
    name = node_dns_name(inventory.cluster, node.name)
    key = (cluster.root / "fresh/server.key").read_bytes()
    asked = 0
    with grpc.secure_channel(node.address, tls, options=[("grpc.ssl_target_name_override", name)]) as channel:
        for method in ("Judge", "Prepare", "Encrypt"):
            for spoiled in requests_with_secrets(type(GOOD[method]), key):
                call = channel.unary_unary(f"/gausscert.v1.AgentService/{method}")
                asked += 1
                with contextlib.suppress(grpc.RpcError):
                    cluster.said.append((f"an answer of {method}", call(spoiled, timeout=20)))
                    continue
                failed = call.future(spoiled, timeout=20)
                error = failed.exception()
                told = (failed.details(), failed.trailing_metadata(), failed.initial_metadata())
                cluster.said.append((f"a refusal of {method}", repr((error, *told)).encode()))
                cluster.said += [("its details", body) for _, body in told[1] if isinstance(body, bytes)]
    assert asked > 10


def requests_with_secrets(kind: type[Message], key: bytes) -> Iterator[bytes]:
    names = [name for _, name in secret_fields(kind())]
    assert names
    for name in names:
        for body in (WRONG.encode(), key, key.replace(b"PRIVATE", b"PUBLIC"), WRONG.encode() + b"\xff"):
            request = kind()
            request.MergeFrom(GOOD[kind.__name__.removesuffix("Request")])
            if isinstance(request, pb.PrepareRequest | pb.JudgeRequest):
                request.bundle.cacert_pem = b"x"
            (holder,) = (message for message, found in secret_fields(request) if found == name)
            field = holder.DESCRIPTOR.fields_by_name[name]
            value = body if field.type == field.TYPE_BYTES else body.decode("utf-8", "replace")
            setattr(holder, name, value)
            yield request.SerializeToString()


def test_no_secret_has_left_its_place(cluster: WatchedCluster):
    assert cluster.leaks() == set()


def test_everything_was_looked_at(cluster: WatchedCluster):
    """What was not there cannot have been searched."""
    executions = list(cluster.witness.executions())
    files = {os.path.relpath(path, cluster.root) for path in cluster.files()}
    told = {word for each in executions if b"/bin/cm_ctl\0" in each for word in each.split(b"\0")}
    errors = b"".join(body for name, body in cluster.said if name == "errors of replace --plan")
    kinds = {write.path.partition(":")[0] for write in cluster.witness.writes()}

    assert told >= {b"encrypt", b"stop", b"start", b"query"}
    assert any(b"gausscert_agent.cli\0serve" in each for each in executions)
    assert any(b"\0replace\0fresh\0" in each for each in executions)
    assert any(b"\0ssh\0-T\0" in each for each in executions)
    assert files >= {"history.db", "agent-n1.log", "plan.json", "rolled/etc/agent.toml"}
    assert {name.partition("/")[0] for name in files} >= {"agent-n1", "nodes", "other", "kept"}
    assert any(name.endswith("server.key.cipher") for name in files)
    assert kinds >= {"pipe", "socket", "/memfd"}
    assert b"DEBUG:" in errors
    assert " DEBUG " in cluster.agent_log(NODES[0])


def test_secrets_are_found_where_they_are_at_home(cluster: WatchedCluster):
    """So the forms are the right ones, and the witness sees what is written."""
    paths = [Path(place, name) for place, _, names in os.walk(cluster.root) for name in names]
    homes = [path for path in paths if cluster.is_home_of_secrets(path)]
    at_home = {path.name for path in homes if cluster.canaries.hits(path.read_bytes())}
    written = [each for each in cluster.witness.writes() if cluster.canaries.hits(each.body)]

    assert at_home >= {"server.pw", "client.pw", "server.key", "client.key", "ca.key", "operator-demo.key"}
    assert at_home >= {"credential.pem", "node-n1.key"}
    assert {each.who for each in written if each.path.startswith(("pipe:", "socket:"))} == {
        "agent",
        "rollout",
    }
    sent = {name for each in written if each.who == "rollout" for name in cluster.canaries.hits(each.body)}
    assert {name.partition(" (")[0] for name in sent} == {"node-n1.key"}


def test_a_planted_leak_is_found_in_whatever_form(cluster: WatchedCluster):
    forms = cluster.canaries.forms()
    planted = {cluster.root / "nodes" / f"leak-{number}.log": each for number, each in enumerate(forms)}
    for path, body in planted.items():
        path.write_bytes(b"2026-01-01 DEBUG something " + body + b" more\n")
    missed = [forms[body] for path, body in planted.items() if forms[body] not in cluster.found_in(path)]
    covered = planted.keys() <= cluster.files()
    for path in planted:
        path.unlink()

    assert covered
    assert missed == []
    assert len({name.partition(" (")[0] for name in forms.values()}) > 10


@pytest.mark.parametrize(
    ("script", "where"),
    [
        ("read -r word; exec true $word", "told"),
        ("read -r word; SECRET=$word exec true", "told"),
        ("read -r word; echo $word > gone; rm gone", "written"),
        ("read -r word; echo $word | cat > /dev/null", "written"),
    ],
)
def test_a_password_that_is_there_for_a_moment_only_is_seen(tmp_path: Path, script: str, where: str):
    strace.require()
    witness, canaries = Witness(tmp_path / "witness"), Canaries()
    canaries.plant("wrong", WRONG)
    command = [*witness.before("shell"), "sh", "-c", script]
    subprocess.run(command, cwd=tmp_path, input=WRONG.encode() + b"\n", check=True)
    witness.settle()

    told = any(canaries.hits(each) for each in witness.executions())
    written = any(canaries.hits(write.body) for write in witness.writes())
    assert (told, written) == (where == "told", where == "written")
