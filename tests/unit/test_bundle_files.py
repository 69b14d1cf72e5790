"""Bundle directories: only the names of a bundle count, nothing is followed or overwritten."""

from __future__ import annotations

import os
import stat
from dataclasses import replace

import pytest
from gausscert_common import certset, validate
from gausscert_common.bundle import Bundle
from gausscert_common.errors import InvalidInput, Reason
from gausscert_common.findings import Severity
from gausscert_coordinator.bundle_files import read_directory, with_contents, write_directory
from support import pki
from support.broken_bundles import factor_files

MADE = pki.bundle()


@pytest.fixture
def directory(tmp_path):
    path = tmp_path / "bundle"
    write_directory(path, MADE, None)
    return path


def put(path, body=b"x", mode=0o600):
    path.unlink(missing_ok=True)
    path.touch(mode)
    path.write_bytes(body)
    path.chmod(mode)


def mode_of(path):
    return stat.S_IMODE(path.lstat().st_mode)


def tree(path):
    return {one.name: (one.lstat().st_mode, one.read_bytes()) for one in path.iterdir()}


def test_what_is_written_is_read_back(directory):
    files = read_directory(directory)

    assert files.pem == MADE.pem
    assert files.factor_files is None
    assert files.unknown == ()
    assert files.findings == ()


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_directory_and_files_are_written_for_nobody_else(tmp_path, umask):
    before = os.umask(umask)
    try:
        write_directory(tmp_path / "new", pki.bundle(), b"the CA's key")
    finally:
        os.umask(before)

    assert mode_of(tmp_path / "new") == 0o700
    assert {mode_of(one) for one in (tmp_path / "new").iterdir()} == {0o400}


def test_factor_files_and_ca_key_are_written_and_the_ca_key_is_never_read(tmp_path):
    made = factor_files()
    write_directory(tmp_path / "new", Bundle(pki.bundle().pem, factor_files=made), b"the CA's key")

    files = read_directory(tmp_path / "new")

    assert (tmp_path / "new" / "ca.key").read_bytes() == b"the CA's key"
    assert files.factor_files == made
    assert files.unknown == ()
    assert b"the CA's key" not in {*files.pem.values(), *made.as_files().values()}


def test_passwords_are_not_written(directory):
    text = b"".join(one.read_bytes() for one in directory.iterdir())

    assert pki.SERVER_PASSWORD.encode() not in text
    assert pki.CLIENT_PASSWORD.encode() not in text


def test_only_names_of_a_bundle_are_written(tmp_path):
    bundle = replace(pki.bundle(), pem={**pki.bundle().pem, "../escaped": b"x", "README": b"x"})

    write_directory(tmp_path / "new", bundle, None)

    assert {one.name for one in (tmp_path / "new").iterdir()} == set(certset.PEM_NAMES)
    assert {one.name for one in tmp_path.iterdir()} == {"new"}


def test_an_empty_directory_may_be_there_already(tmp_path):
    (tmp_path / "new").mkdir()

    write_directory(tmp_path / "new", pki.bundle(), None)

    assert set(certset.PEM_NAMES) == {one.name for one in (tmp_path / "new").iterdir()}


def test_a_directory_that_is_not_empty_is_refused_and_left_alone(directory):
    before = tree(directory)

    with pytest.raises(InvalidInput, match="empty") as caught:
        write_directory(directory, pki.of_ca(pki.ca("other")), None)

    assert caught.value.reason is Reason.USAGE
    assert tree(directory) == before


@pytest.mark.parametrize("kind", ["file", "link to an empty directory", "dangling link"])
def test_what_is_no_directory_is_refused_and_left_alone(tmp_path, kind):
    target = tmp_path / "target"
    path = tmp_path / "new"
    if kind == "file":
        path.write_bytes(b"precious")
    else:
        path.symlink_to(target)
        if "empty" in kind:
            target.mkdir()
    before = sorted(one.name for one in tmp_path.rglob("*"))

    with pytest.raises(InvalidInput):
        write_directory(path, pki.bundle(), None)

    assert sorted(one.name for one in tmp_path.rglob("*")) == before
    assert kind != "file" or path.read_bytes() == b"precious"


def test_a_missing_parent_is_refused(tmp_path):
    with pytest.raises(InvalidInput, match="cannot be written"):
        write_directory(tmp_path / "missing" / "new", pki.bundle(), None)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["missing", "file"])
def test_a_directory_that_cannot_be_opened_is_refused(tmp_path, name):
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(InvalidInput) as caught:
        read_directory(tmp_path / name)

    assert caught.value.reason is Reason.USAGE
    assert caught.value.file.endswith(name)


def test_unknown_files_are_named_and_left_alone(directory):
    put(directory / "cakey.pem")
    (directory / "old").mkdir()

    files = read_directory(directory)

    assert files.unknown == ("cakey.pem", "old")
    assert files.findings == ()
    assert "cakey.pem" not in files.pem


def test_missing_files_are_left_to_validation(directory):
    (directory / "client.crt").unlink()

    files = read_directory(directory)

    assert "client.crt" not in files.pem
    assert files.findings == ()


def _link(path, elsewhere):
    elsewhere.write_bytes(b"secret of somebody else")
    path.symlink_to(elsewhere)


IRREGULAR = {
    "link": _link,
    "dangling link": lambda path, elsewhere: path.symlink_to(elsewhere),
    "directory": lambda path, elsewhere: path.mkdir(),
    "fifo": lambda path, elsewhere: os.mkfifo(path),
}


@pytest.mark.parametrize("kind", IRREGULAR)
@pytest.mark.parametrize("name", ["server.key", "cacert.pem", "client.key.rand"])
def test_nothing_but_regular_files_is_read(directory, tmp_path, name, kind):
    (directory / name).unlink(missing_ok=True)
    IRREGULAR[kind](directory / name, tmp_path / "elsewhere")

    files = read_directory(directory)

    assert [(found.code, found.file) for found in files.findings] == [("FILE_NOT_REGULAR", name)]
    assert name not in files.pem
    assert name in certset.PEM_NAMES or files.factor_files.as_files()[name] == b""


@pytest.mark.parametrize(("size", "taken"), [(certset.MAX_FILE_BYTES, 0), (certset.MAX_FILE_BYTES * 3, 1)])
def test_of_a_large_file_only_so_much_is_read_that_validation_sees_it(directory, size, taken):
    put(directory / "server.crt", b"#" * size)

    body = read_directory(directory).pem["server.crt"]

    assert len(body) == certset.MAX_FILE_BYTES + taken


@pytest.mark.parametrize("name", ["server.key", "client.key", "server.key.cipher"])
@pytest.mark.parametrize("mode", [0o640, 0o604])
def test_secrets_that_others_may_read_are_worth_a_warning(directory, name, mode):
    put(directory / name, mode=mode)

    found = read_directory(directory).findings

    assert [(one.code, one.severity, one.file) for one in found] == [
        ("KEY_FILE_READABLE", Severity.WARNING, name)
    ]


def test_certificates_may_be_read_by_all(directory):
    put(directory / "server.crt", mode=0o644)

    assert read_directory(directory).findings == ()


def test_some_factor_files_are_told_from_none(directory):
    put(directory / "server.key.rand", b"r")

    found = read_directory(directory).factor_files

    assert (found.server_rand, found.server_cipher, found.client_rand) == (b"r", b"", b"")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_an_error(directory):
    (directory / "server.key").chmod(0o000)

    found = read_directory(directory).findings

    assert [(one.code, one.file) for one in found] == [("FILE_UNREADABLE", "server.key")]


def test_a_repr_shows_no_key(directory):
    assert "PRIVATE" not in repr(read_directory(directory))


def test_a_link_is_called_one_and_not_also_said_to_be_missing(directory):
    elsewhere = directory.parent / "server.crt"
    (directory / "server.crt").rename(elsewhere)
    (directory / "server.crt").symlink_to(elsewhere)

    files = read_directory(directory)
    judged = validate.bundle(Bundle(files.pem), now=pki.NOW)
    found = with_contents(files.findings, judged)

    assert "FILE_MISSING" in {each.code for each in judged}
    assert [(each.code, each.cause) for each in found if each.file == "server.crt"] == [
        ("FILE_NOT_REGULAR", "it is a symbolic link")
    ]


def test_a_file_that_is_missing_is_still_said_to_be(directory):
    (directory / "server.crt").unlink()

    files = read_directory(directory)
    found = with_contents(files.findings, validate.bundle(Bundle(files.pem), now=pki.NOW))

    assert [each.code for each in found if each.file == "server.crt"] == ["FILE_MISSING"]
