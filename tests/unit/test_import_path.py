"""What PYTHONPATH names is not imported: in the profile of the cluster's user it leads to OM's libraries."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from gausscert_common import import_path

PROGRAM = "import sys; from gausscert_common import import_path; import_path.keep_own(); "


def python(code: str, named: str, *options: str, cwd: str = "/") -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, *options, "-c", PROGRAM + code]
    environment = os.environ | {"PYTHONPATH": named}
    return subprocess.run(argv, check=False, capture_output=True, text=True, env=environment, cwd=cwd)


@pytest.mark.parametrize("named", ["{om}", "{om}/", ":{om}", "{om}:{om}", "/nowhere:{om}", "{om}/../lib"])
def test_what_the_variable_names_is_in_neither_search_path_nor_environment(tmp_path: Path, named: str):
    om = tmp_path / "lib"
    (om / "cryptography").mkdir(parents=True)
    (om / "cryptography" / "__init__.py").write_text("raise ImportError('of OM')")

    done = python(
        f"import cryptography, os; print([each for each in sys.path if {str(om)!r} in each],"
        " os.environ.get('PYTHONPATH'), cryptography.__file__)",
        named.format(om=om),
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("[] None ")
    assert str(om) not in done.stdout


def test_a_directory_relative_to_where_the_operator_stands_goes_too(tmp_path: Path):
    (tmp_path / "lib").mkdir()

    done = python("print(sys.path)", "lib", cwd=str(tmp_path))

    assert str(tmp_path) not in done.stdout


def test_what_python_has_by_itself_stays_when_the_variable_names_it_too():
    """It is in the search path only once, in the place that the variable gives it."""
    code = "import cryptography, json, _socket; print(*sorted(sys.path))"
    plain = python(code, "")
    own = [each for each in sys.path if each.endswith(("site-packages", "lib-dynload"))]
    own.append(os.path.dirname(os.__file__))

    named = python(code, os.pathsep.join(own))

    assert len(own) > 1
    assert named.returncode == 0, named.stderr
    assert named.stdout == plain.stdout


def test_it_stays_without_site_too(tmp_path: Path):
    (tmp_path / "lib").mkdir()
    own = [os.path.dirname(os.__file__), str(Path(import_path.__file__).parents[1])]

    done = python("import json; print(sys.path)", os.pathsep.join([str(tmp_path / "lib"), *own]), "-S")

    assert done.returncode == 0, done.stderr
    assert str(tmp_path) not in done.stdout


def test_where_gausscert_itself_lies_stays():
    """Whoever works on it may find it by the variable alone."""
    roots = [str(Path(import_path.__file__).parents[1]), "/of/om"]

    kept = import_path.without(["", *roots, "/std"], os.pathsep.join(roots), ("/std",))

    assert kept == ["", roots[0], "/std"]


def test_nothing_changes_without_the_variable(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("PYTHONPATH", raising=False)
    before = list(sys.path)

    import_path.keep_own()

    assert sys.path == before


@pytest.mark.parametrize("module", ["gausscert_coordinator.cli.entry", "gausscert_agent.cli"])
def test_an_entry_point_imports_nothing_that_was_installed_before_that(module: str):
    code = (
        f"import sys, {module}\n"
        "ours = {'gausscert_common', 'gausscert_agent', 'gausscert_coordinator'}\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules} - set(sys.stdlib_module_names) - ours"
        " - before))"
    )
    code = "import sys; before = {name.partition('.')[0] for name in sys.modules}\n" + code

    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert done.stdout.split() == []
