"""The factor files of real CM are read, and what we write has their form."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from gausscert_common import factors
from gausscert_common.errors import InvalidInput, Reason
from gausscert_common.factors import PasswordFault, password_faults
from gausscert_common.model import FactorBuild

VECTORS = json.loads((Path(__file__).parent / "vectors" / "key-factor-files.json").read_text())["vectors"]


def pair(vector):
    cipher, rand = (
        bytes.fromhex(vector["files"][f"{vector['mode']}.key.{end}"]) for end in ("cipher", "rand")
    )
    return cipher, rand


@pytest.mark.parametrize("vector", VECTORS)
def test_what_real_cm_wrote_is_read(vector):
    cipher, rand = pair(vector)

    assert factors.read(cipher, rand) == vector["password"]
    assert factors.build_of(cipher, rand) is FactorBuild(vector["build"])
    assert factors.crc_ok(cipher)
    assert factors.crc_ok(rand)


@pytest.mark.parametrize("vector", VECTORS)
def test_writing_with_the_randomness_of_real_cm_gives_its_bytes_but_for_uninitialised_ones(vector):
    cipher, rand = pair(vector)
    build = FactorBuild(vector["build"])
    part = 16 if build is FactorBuild.RELEASED else 32
    drawn = iter([rand[:part], cipher[part + 1 : 2 * part + 1], cipher[2 * part + 2 : 3 * part + 2]])

    written, written_rand = factors.write(vector["password"], build, random=lambda length: next(drawn))

    assert (len(written), len(written_rand)) == (len(cipher), len(rand))
    assert written_rand[:part] == rand[:part]
    for start in (0, part + 1, 2 * part + 2):
        assert written[start : start + part] == cipher[start : start + part]


@pytest.mark.parametrize("build", FactorBuild)
@pytest.mark.parametrize("password", ["Gauss@12", "Gauss@123456789", "p\u00e4ssWord#1", "'\" `Aa1bcd"])
def test_what_is_written_is_read_back(build, password):
    cipher, rand = factors.write(password, build)

    assert factors.read(cipher, rand) == password
    assert factors.build_of(cipher, rand) is build
    assert factors.crc_ok(cipher)
    assert factors.crc_ok(rand)


def test_no_two_pairs_of_one_password_are_equal():
    first, second = factors.write("Gauss@123"), factors.write("Gauss@123")

    assert first[0] != second[0]
    assert first[1] != second[1]


def test_the_checksum_is_the_one_of_postgresql():
    assert factors.crc(b"123456789") == 0xC40ED0B0
    assert factors.crc(bytes(52)) == 0x9EE30B36


@pytest.mark.parametrize("place", [0, 1])
def test_a_wrong_checksum_is_seen_but_does_not_hinder_reading(place):
    files = list(factors.write("Gauss@123"))
    files[place] = files[place][:-1] + bytes([files[place][-1] ^ 0x80])

    assert not factors.crc_ok(files[place])
    assert factors.read(*files) == "Gauss@123"


@pytest.mark.parametrize(
    ("cipher", "rand"), [(0, 0), (55, 24), (56, 23), (72, 24), (56, 40), (104, 24), (24, 56)]
)
def test_other_lengths_are_refused_by_name(cipher, rand):
    with pytest.raises(InvalidInput, match=re.escape(f"{cipher} and {rand} bytes")) as caught:
        factors.read(bytes(cipher), bytes(rand))

    assert caught.value.reason is Reason.BUNDLE_INVALID
    assert factors.build_of(bytes(cipher), bytes(rand)) is None


@pytest.mark.parametrize("build", FactorBuild)
def test_a_few_bytes_behind_the_end_are_not_read_as_cm_does_not(build):
    cipher, rand = factors.write("Gauss@123", build)

    assert factors.read(cipher + b"\r\n", rand + b"\n") == "Gauss@123"
    assert factors.build_of(cipher + bytes(15), rand + bytes(15)) is build
    assert factors.build_of(cipher + bytes(16), rand) is None


def test_cipher_and_rand_of_different_runs_do_not_decrypt():
    mixed = [factors.write("Gauss@123")[0], factors.write("Gauss@123")[1]]

    with pytest.raises(InvalidInput, match="decrypt"):
        factors.read(*mixed)


@pytest.mark.parametrize("body", [b"", b"\0", b"1234"])
def test_a_file_too_short_for_a_checksum_has_none(body):
    assert not factors.crc_ok(body)


@pytest.mark.parametrize(
    ("password", "faults"),
    [
        ("Gauss@12", ()),
        ("Gauss@123456789", ()),
        ("abcdef#1", ()),
        ("ABCDEF#1", ()),
        ("ABCDEfg1", ()),
        ("Gauss@1", (PasswordFault.TOO_SHORT,)),
        ("Gauss@1234567890", (PasswordFault.TOO_LONG,)),
        ("gaussdb12", (PasswordFault.TOO_SIMPLE,)),
        ("gauss_db", (PasswordFault.TOO_SIMPLE,)),
        ("", (PasswordFault.TOO_SHORT, PasswordFault.TOO_SIMPLE)),
        ("gauss'\"` 1", (PasswordFault.TOO_SIMPLE,)),
        ("Gauss@12\n", (PasswordFault.UNTYPABLE,)),
        ("Gauss@\0002", (PasswordFault.UNTYPABLE,)),
        ("Aa1#\u4e2d\u4e2d\u4e2d\u4e2d", (PasswordFault.TOO_LONG,)),
    ],
)
def test_the_rules_for_passwords_are_those_of_cm(password, faults):
    assert password_faults(password) == faults


@pytest.mark.parametrize("special", "~!@#$%^&*()-_=+\\|[{}];:,<.>/?")
def test_every_special_character_of_cm_counts(special):
    assert password_faults(f"gauss{special}123") == ()


def test_a_password_that_cm_would_refuse_is_not_written_and_not_told():
    with pytest.raises(InvalidInput) as caught:
        factors.write("hunter2")

    assert caught.value.reason is Reason.BUNDLE_INVALID
    assert "hunter2" not in str(caught.value)


def test_within_a_block_a_pair_is_decrypted_once_and_then_forgotten(monkeypatch):
    rounds = []
    real = factors.hashlib.pbkdf2_hmac
    monkeypatch.setattr(
        factors.hashlib, "pbkdf2_hmac", lambda *arguments: (rounds.append(1), real(*arguments))[1]
    )
    one, other = factors.write("Password-1"), factors.write("Password-2")
    rounds.clear()
    with factors.remembering():
        assert [factors.read(*pair) for pair in (one, other, one, other)] == ["Password-1", "Password-2"] * 2
        assert len(rounds) == 2
        for _ in range(2):
            with pytest.raises(InvalidInput):
                factors.read(one[0], other[1])
    assert factors.read(*one) == "Password-1"
    assert len(rounds) == 5
