"""What tests of the command line share. The width of output is the test's business, not its caller's."""

from __future__ import annotations

import pytest
from support.cli_fakes import SECRET


@pytest.fixture(autouse=True)
def no_width_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture
def bundle(tmp_path):
    """A directory that looks like a bundle; the fake cluster judges nothing."""
    directory = tmp_path / "bundle"
    directory.mkdir()
    for name in ("cacert.pem", "server.crt", "client.crt", "server.key", "client.key"):
        path = directory / name
        path.write_text(name)
        path.chmod(0o400)
    return directory


@pytest.fixture
def passwords(tmp_path):
    """The options that hand them in."""
    path = tmp_path / "pw"
    path.write_text(SECRET)
    path.chmod(0o600)
    return ("--server-password-file", str(path), "--client-password-file", str(path))
