"""The data link layout: what is seen in `cm` is one whole set at every instant, while links are made of
files and while the set is swapped."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
from itertools import pairwise
from pathlib import Path

import pytest
from gausscert_agent import set_names, set_on_disk
from gausscert_agent.config import CmSettings
from gausscert_agent.files import Disk
from gausscert_agent.stage import Contents
from gausscert_agent.staging import Material
from gausscert_agent.store import Store
from gausscert_common import certset
from gausscert_common.errors import NodeFailure, NodeRefusal, Reason
from gausscert_common.model import Layout
from gausscert_common.protocol.words import Outcome, Phase, Step
from support.agent_core import (
    BACKWARD,
    CHANGES,
    FORWARD,
    NEW,
    OLD,
    TX,
    Node,
    NoExchange,
    beside,
    bundle,
    live_files,
    snapshot,
    write_set,
)

CRL = {"server.crl": b"old crl\n"}
NOTES = {"notes.txt": b"notes\n"}
WITH_CRL = OLD | CRL | NOTES
OLD_DIGEST, NEW_DIGEST = certset.digest(OLD), certset.digest(NEW)


class Watched(NoExchange):
    """Calls `look` before and after every change; raises `failure` in place of the n-th one."""

    def __init__(self, look=lambda: None, at: int = 0, failure: BaseException | None = None) -> None:
        self.look = look
        self.at = at
        self.failure = failure
        self.count = 0

    def before(self, name: str) -> None:
        self.count += 1
        if self.count == self.at:
            raise self.failure or OSError(5, f"Input/output error at {name}")
        self.look()


def _watched(name: str):
    real = getattr(NoExchange, name)

    def change(self, *arguments):
        self.before(name)
        result = real(self, *arguments)
        self.look()
        return result

    return change


for _name in CHANGES:
    setattr(Watched, _name, _watched(_name))


@pytest.fixture
def sslcert(tmp_path):
    path = tmp_path / "home" / "share" / "sslcert"
    write_set(path / "cm", WITH_CRL)
    return path


def made(sslcert: Path, disk: Disk | None = None) -> Store:
    return Store(CmSettings(home=sslcert.parents[1]), disk=disk or NoExchange())


def staged(store: Store, files: dict[str, bytes], tx: str = TX) -> None:
    store.make_room(tx)
    store.write_stage(tx, Contents(files, dict.fromkeys(files, 0o400)))


def refusal(reason: Reason, call, *arguments, **options):
    with pytest.raises((NodeRefusal, NodeFailure)) as caught:
        call(*arguments, **options)
    assert caught.value.reason is reason
    assert caught.value.remedy
    return caught.value


# Files become links


def test_every_file_becomes_a_link_through_one_link(sslcert):
    made(sslcert).make_room(TX)
    live = sslcert / "cm"
    for name in WITH_CRL:
        assert os.readlink(live / name) == f"..data/{name}"
    target = live / os.readlink(live / "..data")
    assert {path.name: path.read_bytes() for path in target.iterdir()} == WITH_CRL
    assert stat.S_IMODE(target.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in target.iterdir()} == {0o400}
    assert beside(sslcert) == []
    assert made(sslcert).read_live().files == WITH_CRL
    assert [path.name for path in sslcert.iterdir()] == ["cm"]


def test_the_set_seen_is_the_same_at_every_instant_while_files_become_links(sslcert):
    seen = []
    disk = Watched(lambda: seen.append(live_files(sslcert) == WITH_CRL))
    made(sslcert, disk).make_room(TX)
    assert len(seen) > 60
    assert all(seen)


def test_a_second_time_nothing_is_changed(sslcert):
    store = made(sslcert)
    store.make_room(TX)
    before = snapshot(sslcert)
    store.make_room(TX)
    assert snapshot(sslcert) == before


def test_a_conversion_that_fails_anywhere_is_finished_by_the_next(tmp_path):
    at = failures = 0
    while True:
        at += 1
        sslcert = tmp_path / str(at) / "home" / "share" / "sslcert"
        write_set(sslcert / "cm", WITH_CRL)
        disk = Watched(at=at)
        store = made(sslcert, disk)
        try:
            store.make_room(TX)
        except NodeFailure:
            failures += 1
            assert live_files(sslcert) == WITH_CRL
            assert store.read_live().files == WITH_CRL
            assert store.read_live().strays == ()
            store.make_room(TX)
        assert live_files(sslcert) == WITH_CRL
        assert beside(sslcert) == []
        assert all(path.is_symlink() for path in (sslcert / "cm").iterdir() if path.is_file())
        if disk.count < at:
            break
    assert failures == at - 1 > 60


def test_a_conversion_cut_short_leaves_nothing_where_an_exchange_works_after_all(tmp_path):
    """Say the volume was mounted elsewhere meanwhile."""
    at = 0
    while True:
        at += 1
        sslcert = tmp_path / str(at) / "home" / "share" / "sslcert"
        write_set(sslcert / "cm", OLD)
        disk = Watched(at=at, failure=KeyboardInterrupt())
        try:
            made(sslcert, disk).make_room(TX)
        except KeyboardInterrupt:
            if (sslcert / "cm" / "..data").is_symlink():
                break
            store = made(sslcert, Disk())
            staged(store, NEW)
            store.ensure_live(TX, NEW_DIGEST, OLD_DIGEST)
            assert live_files(sslcert) == NEW
            assert beside(sslcert) == [f".cm.{TX}"]
            assert sorted(os.listdir(sslcert / f".cm.{TX}")) == sorted(OLD)
    assert at > 20


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give directories away")
def test_copies_belong_to_whom_the_files_belong(sslcert):
    os.chown(sslcert / "cm", 0, 4321)
    os.chown(sslcert / "cm" / "server.key", 0, 1234)
    made(sslcert).make_room(TX)
    assert (sslcert / "cm" / "server.key").stat().st_gid == 1234
    assert (sslcert / "cm" / "..data/").stat().st_gid == 4321


@pytest.mark.parametrize("mode", [0o770, 0o702])
def test_a_directory_that_others_may_write_to_is_unfit(sslcert, mode):
    (sslcert / "cm").chmod(mode)
    assert "others may write" in refusal(Reason.NODE_UNFIT, made(sslcert).require_fit).message


def test_without_a_directory_there_is_nothing_to_put_links_into(sslcert):
    (sslcert / "cm").rename(sslcert.parent / "away")
    found = refusal(Reason.NODE_UNFIT, made(sslcert).make_room, TX)
    assert "make it" in found.message


# Swaps


def test_the_swap_is_one_rename(sslcert):
    """Whoever opens the names before it sees the old set, whoever opens them after it the new one."""
    store = made(sslcert)
    staged(store, NEW)
    seen = []
    swapper = made(sslcert, Watched(lambda: seen.append(live_files(sslcert))))
    swapper.ensure_live(TX, NEW_DIGEST, certset.digest(WITH_CRL))
    swaps = [(one, other) for one, other in pairwise(seen) if one != other]
    assert swaps == [(WITH_CRL, NEW)]


def test_there_and_back_everything_is_as_it_was_and_nothing_is_left(sslcert):
    store = made(sslcert)
    store.make_room(TX)
    before = snapshot(sslcert)
    staged(store, NEW | {"client.crl": b"new crl\n"})
    new = certset.digest(NEW | {"client.crl": b"new crl\n"})
    for _ in range(2):
        store.ensure_live(TX, new, certset.digest(WITH_CRL))
        assert live_files(sslcert) == NEW | {"client.crl": b"new crl\n"}
        assert store.live_digest() == new
        assert store.read_stage(TX).files == WITH_CRL
        store.require_alike(TX)
    for _ in range(2):
        store.ensure_live(TX, certset.digest(WITH_CRL), new)
        assert live_files(sslcert) == WITH_CRL
        assert store.read_stage(TX).files == NEW | {"client.crl": b"new crl\n"}
    store.remove_stage(TX)
    assert snapshot(sslcert) == before


def test_a_crl_that_the_new_set_lacks_is_absent_and_not_left_over(sslcert):
    store = made(sslcert)
    staged(store, NEW)
    store.ensure_live(TX, NEW_DIGEST, certset.digest(WITH_CRL))
    assert not (sslcert / "cm" / "server.crl").exists()
    store.retire(TX, expected=certset.digest(WITH_CRL))
    store.prune(2)
    assert not (sslcert / "cm" / "server.crl").is_symlink()
    assert live_files(sslcert) == NEW


@pytest.mark.parametrize("to", ["new", "old"])
def test_a_foreign_set_is_never_touched(sslcert, to):
    store = made(sslcert)
    staged(store, NEW)
    if to == "old":
        store.ensure_live(TX, NEW_DIGEST, certset.digest(WITH_CRL))
    (sslcert / "cm" / "planted").write_text("by somebody")
    before = snapshot(sslcert)
    for wanted, other in ((NEW_DIGEST, certset.digest(WITH_CRL)), (certset.digest(WITH_CRL), NEW_DIGEST)):
        refusal(Reason.FOREIGN_SET, store.ensure_live, TX, wanted, other)
    assert snapshot(sslcert) == before


def replace_by_file(sslcert: Path, name: str, body: bytes) -> None:
    """As a script does that removes files and copies others there."""
    path = sslcert / "cm" / name
    path.unlink()
    path.write_bytes(body)
    path.chmod(0o400)


def test_files_put_in_place_of_links_become_links_before_the_swap(sslcert):
    """Else they would stay behind, and the set be a mixture."""
    store = made(sslcert)
    staged(store, NEW)
    replace_by_file(sslcert, "server.crt", OLD["server.crt"])
    replace_by_file(sslcert, "server.key", OLD["server.key"])
    store.ensure_live(TX, NEW_DIGEST, certset.digest(WITH_CRL))
    assert live_files(sslcert) == NEW


def test_a_set_copied_over_links_is_the_live_one_and_can_be_swapped_and_retired(sslcert):
    store = made(sslcert)
    staged(store, OLD, "tx-aaaaaaaa")
    store.ensure_live("tx-aaaaaaaa", OLD_DIGEST, certset.digest(WITH_CRL))
    store.retire("tx-aaaaaaaa", expected=certset.digest(WITH_CRL))
    third = {name: b"third " + body for name, body in OLD.items()}
    for name, body in third.items():
        replace_by_file(sslcert, name, body)
    assert store.live_digest() == certset.digest(third)
    staged(store, NEW)
    assert beside(sslcert) == [".cm.retired.tx-aaaaaaaa", f".cm.{TX}"]
    store.ensure_live(TX, NEW_DIGEST, certset.digest(third))
    assert live_files(sslcert) == NEW
    for _ in range(2):
        store.retire(TX, expected=certset.digest(third))
    assert [kept.contents.files for kept in store.retired()] == [third, WITH_CRL]


def test_links_without_their_link_are_strays_and_nothing_is_removed(sslcert):
    """The directories may hold the only copy that is left."""
    store = made(sslcert)
    staged(store, NEW)
    (sslcert / "cm" / "..data").unlink()
    before = snapshot(sslcert)
    assert set(store.read_live().strays) >= set(OLD)
    refusal(Reason.NODE_UNFIT, store.require_fit)
    refusal(Reason.FOREIGN_SET, store.ensure_live, TX, NEW_DIGEST, certset.digest(WITH_CRL))
    store.prune(0)
    store.remove_stage(TX)
    assert snapshot(sslcert) == before


@pytest.mark.parametrize("target", ["/etc", "../elsewhere", ".cm.retired.tx-00000009", "cm", ".", ".cm.x/y"])
def test_a_data_link_that_is_not_ours_is_a_stray_and_never_followed(sslcert, target):
    made(sslcert).make_room(TX)
    (sslcert / "cm" / "..data").unlink()
    (sslcert / "cm" / "..data").symlink_to(target)
    found = made(sslcert).read_live()
    assert "..data" in found.strays
    assert found.files == {}


def test_a_directory_that_somebody_put_into_a_plain_live_set_is_a_stray(sslcert):
    (sslcert / "cm" / ".cm.backup-2024").mkdir()
    assert made(sslcert, Disk()).read_live().strays == (".cm.backup-2024",)


# Generations


def test_generations_are_kept_inside_and_pruned_by_age(sslcert):
    store = made(sslcert)
    ids = ["tx-dddddddd", "tx-aaaaaaaa", "tx-cccccccc"]
    sets = [{name: f"{number} {name}".encode() for name in certset.NAMES} for number in range(3)]
    for tx, files in zip(ids, sets, strict=True):
        former = store.live_digest()
        staged(store, files, tx)
        store.ensure_live(tx, certset.digest(files), former)
        store.retire(tx, expected=former)
        store.prune(2)
    assert [(kept.generation, kept.contents.files) for kept in store.retired()] == [
        ("tx-cccccccc", sets[1]),
        ("tx-aaaaaaaa", sets[0]),
    ]
    assert beside(sslcert) == [".cm.retired.tx-aaaaaaaa", ".cm.retired.tx-cccccccc"]
    assert [path.name for path in sslcert.iterdir()] == ["cm"]


def test_what_is_not_the_former_set_is_not_given_up(sslcert):
    store = made(sslcert)
    former = store.live_digest()
    staged(store, NEW)
    store.ensure_live(TX, NEW_DIGEST, former)
    (other,) = (name for name in beside(sslcert) if name.startswith(".cm."))
    (sslcert / "cm" / other / "planted").write_text("by somebody")
    (sslcert / "cm" / other).rename(sslcert / "cm" / ".cm.tx-99999999")
    before = snapshot(sslcert)
    refusal(Reason.FOREIGN_SET, store.retire, TX, expected=former)
    assert snapshot(sslcert) == before


# The whole transaction, with the files becoming links in its Prepare


def plain_node(root: Path, disk: Disk) -> Node:
    return Node(root, live=WITH_CRL, disk=disk, retired=1)


def test_a_transaction_begins_with_files_and_ends_with_links(tmp_path):
    node = plain_node(tmp_path, NoExchange())
    node.start()
    node.run(Step.ACQUIRE)
    node.prepare(material=Material(bundle(), drop_crls=True))
    node.run_all(FORWARD[2:])
    assert live_files(node.sslcert) == NEW | NOTES
    assert node.state.outcome_of(TX) is Outcome.COMMITTED
    assert beside(node.sslcert) == [f".cm.retired.{TX}"]
    (kept,) = node.store.retired()
    assert kept.contents.files == WITH_CRL
    node.stop()


@pytest.mark.parametrize(
    "restarts",
    [pytest.param(False, id="goes on", marks=pytest.mark.faults), pytest.param(True, id="restarts")],
)
def test_after_a_failure_of_any_change_abort_and_clean_restore_what_is_seen(tmp_path, restarts):
    at = failures = 0
    while True:
        at += 1
        disk = Watched(at=at)
        node = plain_node(tmp_path / str(at), disk)
        try:
            node.start()
            node.run_all(FORWARD[:5])
        except NodeFailure:
            failures += 1
            assert live_files(node.sslcert) in (WITH_CRL, NEW | CRL | NOTES)
            if restarts or not node.runner._recovered:
                node.restart(disk)
            if node.state.owner != TX:
                node.run(Step.ACQUIRE)
            node.run_all(BACKWARD)
            assert live_files(node.sslcert) == WITH_CRL
            assert node.state.phase is Phase.NONE
            assert beside(node.sslcert) == []
        node.stop()
        if disk.count < at:
            break
    assert failures == at - 1 > 100


def test_no_file_is_written_twice_or_chmodded(tmp_path, monkeypatch):
    node = plain_node(tmp_path, NoExchange())
    monkeypatch.setattr(os, "chmod", None)
    changed = []
    real = os.fchmod
    monkeypatch.setattr(os, "fchmod", lambda fd, mode: (changed.append(os.fstat(fd)), real(fd, mode)))
    node.start()
    node.run_all(FORWARD)
    assert all(stat.S_ISDIR(status.st_mode) for status in changed)
    node.stop()


def test_a_reader_with_one_handle_sees_one_set(sslcert):
    store = made(sslcert)
    staged(store, NEW)
    handle = os.open(sslcert / "cm" / "..data", os.O_RDONLY | os.O_DIRECTORY)
    try:
        store.ensure_live(TX, NEW_DIGEST, certset.digest(WITH_CRL))
        found = {name: Path(f"/proc/self/fd/{handle}/{name}").read_bytes() for name in os.listdir(handle)}
    finally:
        os.close(handle)
    assert found == WITH_CRL


def test_a_swap_during_a_read_is_not_seen_by_halves(sslcert, monkeypatch):
    store = made(sslcert)
    staged(store, NEW)
    real = set_on_disk.read_through
    reads = []

    def read_and_swap(directory):
        found = real(directory)
        reads.append(found)
        if len(reads) == 1:
            made(sslcert).ensure_live(TX, NEW_DIGEST, certset.digest(WITH_CRL))
        return found

    monkeypatch.setattr(set_on_disk, "read_through", read_and_swap)
    assert store.read_live().files == NEW
    assert len(reads) > 1


# What an operator, a script or a full disk does to it


def linked_node(root: Path, **options) -> Node:
    node = Node(root, layout=Layout.DATA_LINK, **options)
    node.start()
    return node


@pytest.mark.parametrize("damage", ["points elsewhere", "target moved away"])
def test_nothing_is_tidied_away_while_the_link_leads_nowhere(tmp_path, damage):
    """The directory that it named may come back, or be the only copy."""
    node = linked_node(tmp_path)
    cm = node.sslcert / "cm"
    if damage == "points elsewhere":
        (cm / "..data").unlink()
        (cm / "..data").symlink_to(".cm.tx-00000009")
    else:
        (cm / os.readlink(cm / "..data")).rename(tmp_path / "aside")
    before = snapshot(node.sslcert)
    node.restart()
    assert snapshot(node.sslcert) == before
    node.stop()


@pytest.mark.parametrize("layout", list(Layout))
@pytest.mark.parametrize(
    "name", ["..data.new", "..link.foo", "..link.server.key", ".cm.x", "..anything", "n" * 250]
)
def test_names_that_the_layout_needs_are_refused_before_anything_changes(tmp_path, layout, name):
    node = Node(tmp_path, layout=layout, disk=NoExchange())
    (node.sslcert / "cm" / name).write_bytes(b"somebody's")
    node.start()
    before = snapshot(node.sslcert)
    node.run(Step.ACQUIRE)
    refusal(Reason.NODE_UNFIT, node.prepare)
    assert node.state.phase is Phase.NONE
    assert snapshot(node.sslcert) == before
    node.stop()


def test_a_plain_file_named_like_the_link_is_refused(sslcert):
    (sslcert / "cm" / "..data").write_bytes(b"somebody's")
    refusal(Reason.NODE_UNFIT, made(sslcert).require_fit)
    assert "..data" in made(sslcert).read_live().strays


def test_a_directory_that_is_not_ours_keeps_no_clean_back(tmp_path):
    node = linked_node(tmp_path)
    node.run_all(FORWARD[:2])
    (node.sslcert / "cm" / ".cm.probe.one").mkdir()
    (node.sslcert / "cm" / ".cm.probe.one" / "theirs").mkdir()
    node.run_all((Step.ABORT, Step.CLEAN))
    assert node.state.outcome_of(TX) is Outcome.ABORTED
    node.restart()
    assert (node.sslcert / "cm" / ".cm.probe.one" / "theirs").is_dir()
    node.stop()


class Full(Disk):
    """No room for anything new once `full`."""

    full = False

    def _room(self):
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")

    def link(self, directory, target, name):
        self._room()
        super().link(directory, target, name)

    def make_directory(self, directory, name):
        self._room()
        super().make_directory(directory, name)


def test_a_disk_that_is_full_after_the_vote_lets_the_old_set_come_back(tmp_path):
    disk = Full()
    node = linked_node(tmp_path, disk=disk)
    node.run_all(FORWARD[:5])
    disk.full = True
    node.run_all(BACKWARD)
    assert live_files(node.sslcert) == OLD
    assert node.state.outcome_of(TX) is Outcome.ABORTED
    node.stop()


def test_what_was_written_through_the_links_can_be_replaced(sslcert):
    """`cp new/* cm/` of root follows them: a copy made for one set then holds another."""
    store = made(sslcert)
    store.make_room(TX)
    inside = sslcert / "cm" / os.readlink(sslcert / "cm" / "..data")
    for name in OLD:
        (inside / name).unlink()
        (inside / name).write_bytes(b"through the link")
        (inside / name).chmod(0o400)
    for name, body in OLD.items():
        replace_by_file(sslcert, name, body)
    former = store.live_digest()
    assert former == certset.digest(WITH_CRL)
    staged(store, NEW)
    store.ensure_live(TX, NEW_DIGEST, former)
    assert live_files(sslcert) == NEW
    store.ensure_live(TX, former, NEW_DIGEST)
    assert live_files(sslcert) == WITH_CRL


def test_a_former_set_that_was_changed_is_not_given_up(sslcert):
    store = made(sslcert)
    former = store.live_digest()
    staged(store, NEW)
    store.ensure_live(TX, NEW_DIGEST, former)
    (name,) = (name for name in beside(sslcert) if name.startswith(".cm.former."))
    (sslcert / "cm" / name / "server.crt").unlink()
    refusal(Reason.FOREIGN_SET, store.retire, TX, expected=former)
    assert (sslcert / "cm" / name).is_dir()


def test_a_swap_beside_probes_never_fails(sslcert):
    store = made(sslcert)
    staged(store, NEW)
    done = threading.Event()

    def probe():
        while not done.is_set():
            store.probe_layout()

    prober = threading.Thread(target=probe)
    prober.start()
    try:
        for number in range(300):
            pair = (NEW_DIGEST, certset.digest(WITH_CRL))
            store.ensure_live(TX, *(pair if number % 2 == 0 else pair[::-1]))
    finally:
        done.set()
        prober.join()


AS_NOBODY = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from support.agent_core import Node
from gausscert_common.model import Layout
from gausscert_common.protocol.words import Step
# The modules may lie where only root may look, so they come first.
os.setgroups([]); os.setgid(65534); os.setuid(65534)
for layout in Layout:
    for mode in (0o000, 0o300, 0o500):
        node = Node(Path(sys.argv[2]) / f"{layout.name}-{mode}", layout=layout)
        (node.sslcert / "cm").chmod(mode)
        node.start()
        node.run(Step.ACQUIRE)
        node.run(Step.STOP)
        node.stop()
        (node.sslcert / "cm").chmod(0o700)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_a_live_directory_that_cannot_be_opened_keeps_no_agent_from_starting():
    place = Path(tempfile.mkdtemp(prefix="gausscert-"))
    place.chmod(0o777)
    try:
        command = [sys.executable, "-W", "error", "-c", AS_NOBODY, str(Path(__file__).parents[2]), str(place)]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr
    finally:
        shutil.rmtree(place)


# Generations from before there were links


@pytest.fixture
def relaid(sslcert):
    """A store whose file system could exchange directories when it retired its first sets."""
    before = made(sslcert, Disk())
    for number, files in enumerate((NEW, WITH_CRL)):
        tx = f"tx-0000000{number + 8}"
        live = before.live_digest()
        staged(before, files, tx)
        before.ensure_live(tx, certset.digest(files), live)
        before.retire(tx, expected=live)
    assert beside(sslcert) == [".cm.retired.tx-00000008", ".cm.retired.tx-00000009"]
    return made(sslcert)


def replace_through_links(store: Store, files: dict[str, bytes], tx: str = TX) -> None:
    live = store.live_digest()
    staged(store, files, tx)
    store.ensure_live(tx, certset.digest(files), live)
    store.retire(tx, expected=live)


def test_generations_that_were_retired_before_there_were_links_are_still_known(relaid, sslcert):
    replace_through_links(relaid, NEW)
    assert [kept.generation for kept in relaid.retired()] == [TX, "tx-00000009", "tx-00000008"]
    assert [kept.contents.files for kept in relaid.retired()] == [WITH_CRL, NEW, WITH_CRL]
    assert relaid.read_retired("tx-00000009").files == NEW
    assert (sslcert / "cm" / f".cm.retired.{TX}").is_dir()


def test_the_oldest_goes_first_wherever_it_lies(relaid, sslcert):
    replace_through_links(relaid, NEW)
    relaid.prune(2)
    assert [kept.generation for kept in relaid.retired()] == [TX, "tx-00000009"]
    assert beside(sslcert) == [f".cm.retired.{TX}", ".cm.retired.tx-00000009"]
    relaid.prune(1)
    assert [kept.generation for kept in relaid.retired()] == [TX]
    assert [path.name for path in sslcert.iterdir()] == ["cm"]


def test_a_set_is_retired_after_all_of_them_even_where_the_clock_was_set_back(relaid, sslcert):
    behind = Store(CmSettings(home=sslcert.parents[1]), disk=NoExchange(), clock=lambda: 1.0)
    replace_through_links(behind, NEW)
    assert behind.retired()[0].generation == TX


def test_no_two_generations_get_one_name(relaid):
    live = relaid.live_digest()
    staged(relaid, NEW)
    relaid.ensure_live(TX, NEW_DIGEST, live)
    relaid.retire(TX, expected=live, generation="tx-00000009")
    assert [kept.generation for kept in relaid.retired()] == [TX, "tx-00000009", "tx-00000008"]


def test_one_that_cannot_be_removed_there_keeps_nothing_back(relaid, sslcert, caplog):
    class Closed(NoExchange):
        """`share/sslcert` may not be written to."""

        def move(self, directory, old, new):
            if os.readlink(f"/proc/self/fd/{directory}") == str(sslcert):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), old)
            super().move(directory, old, new)

    store = made(sslcert, Closed())
    replace_through_links(store, NEW)
    store.prune(1)
    assert len(store.retired()) == 3
    assert "a former set cannot be removed" in caplog.text


def test_an_end_that_a_probe_did_not_reach_beside_cm_is_made_up_for(sslcert):
    """A power cut brings back what the probe had removed; then there are links, and no probe looks there."""
    store = made(sslcert)
    store.make_room(TX)
    for name, clean in zip(
        set_names.PROBE, (lambda: store.prune(2), lambda: store.remove_stage(TX)), strict=True
    ):
        (sslcert / name).mkdir()
        clean()
        assert [path.name for path in sslcert.iterdir()] == ["cm"]
