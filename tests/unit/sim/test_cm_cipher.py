import pytest
from gausscert_sim import cm_cipher
from gausscert_sim.cm_cipher import LIBPQ_OFF, RELEASED, DecryptionFailed

# Written by real openGauss CM (7.0.0-RC3), one pair of each build.
REAL = [
    (
        RELEASED,
        b"Gauss#9{}Test",
        (
            "88ae8d8ca9a0b07ebc94a19b4e9d26c300cffc022d9718b15dfcee41bac084bc84aa5c0958edb8f2b0bda4b0ad72f355"
            "1765d4bddda8cafb"
        ),
        "1f6bb6dfbb07ae53ca4a70ec4f17e10e2f746d70e10ed47d",
    ),
    (
        LIBPQ_OFF,
        b"Abc@1234",
        (
            "ce7a3dd5d319e2317683440ea4531c370000000000000000000000000000000000f335138238a9cfec794bc71d0d4d32"
            "edc8efb0ade5ff3f7c90a3abb946f92da950bc235846f1fd6fdede5f4cdaa718d3db7c66efb46f19f3157e0374fca489"
            "455500009b690539"
        ),
        "11d2909571514ead8c8beaea25b0d2d390532e31c9d82f7def947ef2fdfb22a82f746d702dacacf3",
    ),
]


@pytest.mark.parametrize(("layout", "password", "cipher", "rand"), REAL)
def test_files_of_real_cm_decrypt(layout, password, cipher, rand):
    assert cm_cipher.decrypt(bytes.fromhex(cipher), bytes.fromhex(rand), layout) == password


@pytest.mark.parametrize(("layout", "password", "cipher", "rand"), REAL)
def test_files_of_real_cm_carry_the_legacy_checksum(layout, password, cipher, rand):
    for body in (bytes.fromhex(cipher), bytes.fromhex(rand)):
        assert cm_cipher.legacy_crc(body[:-4]) == int.from_bytes(body[-4:], "little")


def test_the_checksum_has_its_published_values():
    assert cm_cipher.legacy_crc(b"123456789") == 0xC40ED0B0
    assert cm_cipher.legacy_crc(bytes(52)) == 0x9EE30B36


@pytest.mark.parametrize(("layout", "sizes"), [(RELEASED, (56, 24)), (LIBPQ_OFF, (104, 40))])
@pytest.mark.parametrize("password", [b"12345678", b"123456789012345"])
def test_what_is_encrypted_decrypts_and_has_the_sizes_of_its_build(layout, sizes, password):
    cipher, rand = cm_cipher.encrypt(password, layout)
    assert (len(cipher), len(rand)) == sizes
    assert cm_cipher.decrypt(cipher, rand, layout) == password


def test_two_encryptions_share_no_randomness():
    assert cm_cipher.encrypt(b"Gauss#9Test", RELEASED) != cm_cipher.encrypt(b"Gauss#9Test", RELEASED)


def test_trailing_bytes_and_a_wrong_checksum_are_not_looked_at():
    cipher, rand = cm_cipher.encrypt(b"Gauss#9Test", RELEASED)
    broken = cipher[:-1] + bytes([cipher[-1] ^ 1])
    assert cm_cipher.decrypt(broken + b"more", rand + b"more", RELEASED) == b"Gauss#9Test"


def test_truncated_and_foreign_pairs_are_refused():
    cipher, rand = cm_cipher.encrypt(b"Gauss#9Test", RELEASED)
    with pytest.raises(DecryptionFailed):
        cm_cipher.decrypt(cipher[:-1], rand, RELEASED)
    with pytest.raises(DecryptionFailed):
        cm_cipher.decrypt(cipher, b"", RELEASED)
    # A wrong key decrypts to noise, which looks padded about once in 256 times.
    others = (cm_cipher.encrypt(b"Gauss#9Test", RELEASED)[1] for _ in range(8))
    outcomes = [_outcome(cipher, other) for other in others]
    assert b"Gauss#9Test" not in outcomes
    assert None in outcomes


def _outcome(cipher, rand):
    try:
        return cm_cipher.decrypt(cipher, rand, RELEASED)
    except DecryptionFailed:
        return None
