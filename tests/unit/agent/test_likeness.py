"""A new set is like the live one in owner, group, mode and security label, or it is refused; and it is
compared again once it is live."""

from __future__ import annotations

import errno
import os

import pytest
from gausscert_agent import attributes
from gausscert_agent.attributes import LABEL, Attributes
from gausscert_agent.config import CmSettings
from gausscert_agent.files import Disk
from gausscert_agent.stage import Contents
from gausscert_agent.store import Store
from gausscert_common import certset
from gausscert_common.errors import NodeFailure, NodeRefusal, Reason
from support.agent_core import NEW, OLD, TX, write_set

WITH_CRL = NEW | {"client.crl": b"a crl\n"}
"""The live set has no such file."""
FRESH = b"system_u:object_r:unlabeled_t:s0"
"""What the kernel gives to a new file."""
OF_CM = b"system_u:object_r:cm_t:s0"
OF_KEY = b"system_u:object_r:cm_key_t:s0"

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")


class Labelled(Disk):
    """A file system with security labels, whether or not this one has any.

    Args:
        permitted: Whether the agent may set them.
    """

    def __init__(self, *, permitted: bool = True) -> None:
        self.labels: dict[int, bytes] = {}
        self.permitted = permitted

    def label(self, path, value: bytes) -> None:
        self.labels[path.stat().st_ino] = value

    def label_of(self, path) -> bytes:
        return self.labels.get(path.stat().st_ino, FRESH)

    def read_attribute(self, descriptor, name):
        if name == LABEL:
            return self.labels.get(os.fstat(descriptor).st_ino, FRESH)
        return super().read_attribute(descriptor, name)

    def set_attribute(self, descriptor, name, value):
        assert name == LABEL
        if not self.permitted:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        self.labels[os.fstat(descriptor).st_ino] = value


class Keeping(Disk):
    """May not give away what has a name that ends so; "" for nothing at all."""

    def __init__(self, end: str = "") -> None:
        self.end = end

    def set_owner(self, descriptor, uid, gid):
        if os.readlink(f"/proc/self/fd/{descriptor}").endswith(self.end):
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        super().set_owner(descriptor, uid, gid)


@pytest.fixture
def live(tmp_path):
    path = tmp_path / "home" / "share" / "sslcert" / "cm"
    write_set(path, OLD)
    return path


@pytest.fixture
def staged(live):
    return live.parent / f".cm.{TX}"


def store(live, disk: Disk) -> Store:
    return Store(CmSettings(home=live.parents[2]), disk=disk)


def write(made: Store, files: dict[str, bytes] = WITH_CRL) -> None:
    made.write_stage(TX, Contents(files, dict.fromkeys(files, 0o400)))


def refused(made: Store) -> str:
    with pytest.raises(NodeRefusal) as caught:
        write(made)
    assert caught.value.reason is Reason.NODE_UNFIT
    assert caught.value.remedy
    return caught.value.message


def unlike_after_the_swap(made: Store, files: dict[str, bytes], meanwhile) -> str:
    write(made, files)
    meanwhile()
    made.ensure_live(TX, certset.digest(files), certset.digest(OLD))
    with pytest.raises(NodeFailure) as caught:
        made.require_alike(TX)
    assert caught.value.reason is Reason.STORE_FAILED
    return caught.value.message


# Labels


def test_the_label_of_the_directory_and_of_every_file_is_copied(live, staged):
    disk = Labelled()
    disk.label(live, OF_CM)
    disk.label(live / "server.key", OF_KEY)
    made = store(live, disk)
    write(made)
    assert disk.label_of(staged) == OF_CM
    assert disk.label_of(staged / "server.key") == OF_KEY
    assert disk.label_of(staged / "client.crl") == FRESH
    made.ensure_live(TX, certset.digest(WITH_CRL), certset.digest(OLD))
    made.require_alike(TX)
    assert disk.label_of(live / "server.key") == OF_KEY


@pytest.mark.parametrize("place", ["", "server.key"], ids=["directory", "file"])
def test_a_label_that_may_not_be_copied_is_refused(live, place):
    disk = Labelled(permitted=False)
    disk.label(live / place, OF_CM)
    assert f"another {LABEL}" in refused(store(live, disk))


@pytest.mark.parametrize("place", ["", "server.key"], ids=["directory", "file"])
def test_a_label_that_was_changed_since_prepare_is_found_after_the_swap(live, place):
    disk = Labelled()
    found = unlike_after_the_swap(store(live, disk), NEW, lambda: disk.label(live / place, OF_CM))
    assert f"another {LABEL}" in found


# Owners


@only_root
def test_an_owner_that_may_not_be_given_is_refused(live):
    os.chown(live / "server.key", 1234, -1)
    assert refused(store(live, Keeping())).endswith("server.key: owner 0 instead of 1234")


@only_root
def test_a_file_that_only_the_new_set_has_must_get_the_owner_of_the_directory(live):
    os.chown(live, 1234, -1)
    assert refused(store(live, Keeping("/client.crl"))).endswith("client.crl: owner 0 instead of 1234")


@only_root
@pytest.mark.parametrize("name", ["server.key", "client.crl"])
def test_an_owner_that_was_changed_since_prepare_is_found_after_the_swap(live, staged, name):
    made = store(live, Disk())
    found = unlike_after_the_swap(made, WITH_CRL, lambda: os.chown(staged / name, 1234, -1))
    assert f"{name}: owner 1234 instead of 0" in found


# Groups


@only_root
@pytest.mark.parametrize("mode", [0o750, 0o710])
def test_a_group_to_which_the_mode_grants_something_must_be_the_same(live, mode):
    os.chown(live, -1, 1234)
    live.chmod(mode)
    assert f"group 0 instead of 1234, with mode {mode:04o}" in refused(store(live, Keeping()))


@only_root
def test_a_group_to_which_the_mode_grants_nothing_may_be_another(live):
    os.chown(live, -1, 1234)
    write(store(live, Keeping()))


@only_root
def test_a_group_that_was_changed_since_prepare_is_found_after_the_swap(live):
    live.chmod(0o750)
    found = unlike_after_the_swap(store(live, Disk()), NEW, lambda: os.chown(live, -1, 1234))
    assert "group 0 instead of 1234" in found


def of(uid: int = 1, gid: int = 2, mode: int = 0o400) -> Attributes:
    return Attributes(uid, gid, mode, ((LABEL, None),))


@pytest.mark.parametrize(
    ("one", "other", "mode", "found"),
    [
        (of(uid=7), of(), False, ("owner 7 instead of 1",)),
        (of(gid=7), of(), False, ()),
        (of(gid=7), of(mode=0o440), False, ()),
        (of(gid=7, mode=0o440), of(), False, ("group 7 instead of 2, with mode 0440",)),
        (of(gid=7, mode=0o750), of(mode=0o750), True, ("group 7 instead of 2, with mode 0750",)),
        (of(mode=0o700), of(mode=0o750), True, ("mode 0700 instead of 0750",)),
        (of(mode=0o400), of(mode=0o440), False, ()),
    ],
)
def test_what_is_compared(one, other, mode, found):
    """Without the right to give files away."""
    assert attributes.unlike(one, other, mode=mode) == found
