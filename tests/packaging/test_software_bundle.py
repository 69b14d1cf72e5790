"""The bundle of software: what is locked is what the project needs, and Python is all it takes to install."""

from __future__ import annotations

import os
import platform
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from gausscert_coordinator.rollout import bundle
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "deploy/bundle/requirements.lock").read_text()
LOCKED = {
    bundle.normal(name): version for name, version in re.findall(r"^([\w.-]+)==(\S+)", LOCK, re.MULTILINE)
}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
HERE = ".".join(map(str, sys.version_info[:2]))


@pytest.mark.parametrize("text", [*PROJECT["dependencies"], "pip"])
def test_every_dependency_is_locked_to_a_version_that_the_project_allows(text: str):
    wanted = Requirement(text)

    assert wanted.specifier.contains(LOCKED[bundle.normal(wanted.name)])


def test_every_locked_project_has_hashes_and_nothing_else_is_in_the_lock():
    lines = [line for line in LOCK.replace("\\\n", "").splitlines() if not line.startswith("#")]

    assert all(re.fullmatch(r"[\w.-]+==\S+( +--hash=sha256:[0-9a-f]{64})+", line) for line in lines)
    assert len(lines) == len(LOCKED)


def test_projects_made_for_one_machine_have_a_hash_for_each_machine_and_python():
    """grpcio has a wheel for each of both, cryptography one for each machine."""
    counted = {line.split("==")[0]: line.count("--hash") for line in LOCK.replace("\\\n", "").splitlines()}

    assert (counted["grpcio"], counted["cryptography"], counted["rich"]) == (6, 2, 1)


FAKE_PYTHON = """#!/bin/sh
echo "foreign: $PYTHONPATH$PYTHONHOME$LD_LIBRARY_PATH" >>"$log.python"
for word; do last=$word; done
case " $* " in *" venv "*)
    mkdir -p "$last/bin" && cp "$0" "$last/bin/python"
    printf '#!/bin/sh\\n' >"$last/bin/gausscert-agent" && chmod 755 "$last/bin/gausscert-agent" ;;
esac
"""
FAKE_SYNC = """#!/bin/sh
echo "sync $* $(ls -A "$releases"/*)" >>"$log"
exit $(($# > 0 && refused))
"""


@pytest.mark.parametrize("refused", [0, 1], ids=["as it is", "without -f"])
def test_what_is_installed_by_hand_is_durable_before_it_says_that_it_is_complete(
    tmp_path: Path, refused: int
):
    """`agents deploy` takes a complete release for one, too."""
    programs, source, target = tmp_path / "bin", tmp_path / "bundle", tmp_path / "target"
    programs.mkdir()
    source.mkdir()
    for name, text in (("python", FAKE_PYTHON), ("sync", FAKE_SYNC)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    (source / "requirements.txt").write_text("gausscert==1.0 \\\npip==25.1 \\\n")
    (source / "install.sh").write_bytes((ROOT / "deploy/bundle/install.sh").read_bytes())
    log = tmp_path / "log"
    environment = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHON": str(programs / "python"),
        "releases": str(target / "releases"),
        "log": str(log),
        "refused": str(refused),
        **dict.fromkeys(("PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH"), "/of/om"),  # from omm's profile
    }

    subprocess.run(["sh", str(source / "install.sh"), str(target)], env=environment, check=True)

    (release,) = (target / "releases").iterdir()
    wanted = [f"sync -f {release} bin", *["sync  bin"][:refused]]
    assert log.read_text().splitlines() == wanted
    assert (release / ".complete").exists()
    assert (target / "current").resolve() == release
    assert set(Path(f"{log}.python").read_text().splitlines()) == {"foreign: "}

    for text, anew in (("#!/bin/sh\nexit 2\n", False), ("#!/nowhere/python3.11\n", True)):
        (release / "bin" / "gausscert-agent").write_text(text)
        said = subprocess.run(
            ["sh", str(source / "install.sh"), str(target)], env=environment, check=True, capture_output=True
        ).stdout
        assert (b"installed " in said) is anew  # only where its Python has gone

    gone = release / "bin" / "gausscert-agent"
    gone.write_text("#!/nowhere/python3.11\n")
    agent = subprocess.Popen([f"{release}/bin/python", "60"], executable="/bin/sleep")
    try:
        told = subprocess.run(["sh", str(source / "install.sh"), str(target)], env=environment, check=False)
        assert told.returncode == 2
        assert gone.exists()
    finally:
        agent.kill()
        agent.wait()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For this machine alone."""
    if HERE not in ("3.11", "3.12", "3.13") or platform.machine() not in ("x86_64", "aarch64"):
        pytest.skip(f"no bundle is made for Python {HERE} on {platform.machine()}")
    target = tmp_path_factory.mktemp("made") / "bundle"
    builder = [sys.executable, str(ROOT / "deploy/bundle/build.py"), str(target)]
    subprocess.run([*builder, "--machine", platform.machine(), "--python", HERE], check=True)
    return target


def install(made: Path, target: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", str(made / "install.sh"), str(target)],
        env={"PATH": "/usr/bin:/bin", "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_node_installs_it_without_a_network_and_under_the_name_that_a_roll_out_gives_it(
    made: Path, tmp_path: Path
):
    done = install(made, tmp_path / "software")

    assert done.returncode == 0, done.stderr
    loaded = bundle.load(made)
    here = bundle.Target(sys.version_info[:2], platform.machine(), platform.libc_ver()[1])
    assert loaded.chosen(here)[1] == ()
    assert os.readlink(tmp_path / "software" / "current") == f"releases/{loaded.release}"
    assert (tmp_path / "software" / "current" / ".complete").exists()
    for command in ("gausscert", "gausscert-agent"):
        program = tmp_path / "software" / "current" / "bin" / command
        said = subprocess.run([str(program), "version"], capture_output=True, text=True, check=True).stdout
        assert loaded.version in said
    before = (tmp_path / "software" / "current" / ".complete").stat()
    assert install(made, tmp_path / "software").returncode == 0
    assert (tmp_path / "software" / "current" / ".complete").stat() == before

    changed = next((made / "wheels").glob("click-*.whl"))
    changed.write_bytes(changed.read_bytes() + b"!")
    refused = install(made, tmp_path / "other")

    assert refused.returncode != 0
    assert "hash" in refused.stderr.lower()
    assert not (tmp_path / "other" / "current").exists()
    assert os.listdir(tmp_path / "other" / "releases") == []


def test_a_bundle_may_lie_in_a_directory_with_blanks():
    """`make bundle DIR=$HOME/...`, whatever the home is called. The make that runs this has its own ARGS."""
    outer = {"ARGS", "MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS"}
    done = subprocess.run(
        ["make", "--no-print-directory", "-n", "bundle", "DIR=/home/ann smith/software", "VENV=."],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name not in outer},
        capture_output=True,
        text=True,
        check=True,
    )

    (line,) = (line for line in done.stdout.splitlines() if "build.py" in line)
    assert shlex.split(line)[2:] == ["/home/ann smith/software"]
