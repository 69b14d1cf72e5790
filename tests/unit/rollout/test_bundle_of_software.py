"""A bundle of software is checked before anything of it is sent, and a node gets what fits it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from gausscert_common.errors import InvalidInput
from gausscert_coordinator.rollout import bundle
from gausscert_coordinator.rollout.bundle import Target
from support import software


@pytest.mark.parametrize(
    ("tags", "fits"),
    [
        ("py3-none-any", True),
        ("py2.py3-none-any", True),
        ("cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64", True),
        ("cp39-abi3-manylinux_2_28_x86_64", True),
        ("cp312-abi3-manylinux_2_17_x86_64", False),
        ("cp312-cp312-manylinux2014_x86_64", False),
        ("cp310-cp310-manylinux2014_x86_64", False),
        ("cp311-cp311-manylinux2014_aarch64", False),
        ("cp311-cp311-manylinux_2_34_x86_64", False),
        ("cp311-cp311-musllinux_1_2_x86_64", False),
        ("cp311-cp311-macosx_11_0_arm64", False),
        ("cp311-cp311-win_amd64", False),
        ("cp311-none-any", True),
    ],
)
def test_a_wheel_fits_where_pip_would_take_it(tags, fits):
    wheel = bundle.parse(Path(f"some_thing-1.0-{tags}.whl"))

    assert wheel is not None
    assert wheel.name == "some-thing"
    assert wheel.fits(Target((3, 11), "x86_64", "2.28")) is fits


def test_without_glibc_only_pure_wheels_fit():
    wheel = bundle.parse(Path("x-1-cp311-cp311-manylinux2014_x86_64.whl"))

    assert wheel is not None
    assert not wheel.fits(Target((3, 11), "x86_64", ""))


def test_a_whole_bundle_has_a_release_and_units_and_lacks_nothing_for_this_machine(tmp_path: Path):
    import platform
    import sys

    loaded = bundle.load(software.make(tmp_path / "b"))
    here = Target(sys.version_info[:2], platform.machine(), platform.libc_ver()[1])
    wheels, missing = loaded.chosen(here)

    assert not missing
    assert loaded.release.startswith(f"{loaded.version}-")
    assert {blob.name for blob in loaded.blobs(here)} == {"requirements.txt", *(w.path.name for w in wheels)}
    _, lacking = loaded.chosen(Target((3, 8), "riscv64", "2.40"))
    assert {"grpcio", "cryptography"} <= set(lacking)


def test_a_wheel_that_was_exchanged_is_found(tmp_path: Path):
    made = software.make(tmp_path / "b")
    changed = next((made / "wheels").glob("click-*.whl"))
    changed.write_bytes(changed.read_bytes() + b"!")

    with pytest.raises(InvalidInput) as raised:
        bundle.load(made)

    assert [finding.file for finding in raised.value.findings] == [str(changed)]


def test_what_is_no_file_or_cannot_be_read_is_no_wheel_and_is_not_waited_for(tmp_path: Path):
    root = software.make(tmp_path / "b")
    (root / "wheels" / "a-1-py3-none-any.whl").mkdir()
    os.mkfifo(root / "wheels" / "b-1-py3-none-any.whl")
    (root / "wheels" / "c-1-py3-none-any.whl").symlink_to("/proc/self/mem")  # root may read everything else

    with pytest.raises(InvalidInput) as caught:
        bundle.load(root)

    assert [Path(each.file).name[0] for each in caught.value.findings] == ["a", "b", "c"]


def test_a_directory_that_is_no_bundle_says_how_to_make_one(tmp_path: Path):
    with pytest.raises(InvalidInput, match="make bundle"):
        bundle.load(tmp_path)


def test_what_a_bundle_lacks_is_named(tmp_path: Path):
    root = software.make(tmp_path / "b")
    unit = root / "user" / "gausscert-agent.service"
    body = unit.read_bytes()
    unit.write_bytes(b"\xff")
    with pytest.raises(InvalidInput, match="not UTF-8") as caught:
        bundle.load(root)
    assert caught.value.file == str(root)
    unit.unlink()
    with pytest.raises(InvalidInput, match="No such file") as caught:
        bundle.load(root)
    assert caught.value.file == str(unit)

    unit.write_bytes(body)
    bundle.load(root)


def test_another_version_of_anything_is_another_release(tmp_path: Path):
    one, other = (bundle.load(software.make(tmp_path / v, v)) for v in ("0.1.0", "0.1.1"))

    assert one.release != other.release
