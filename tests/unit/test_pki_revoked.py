"""Who is revoked, from the registers that are at hand."""

from __future__ import annotations

import pytest
from gausscert_common.errors import InvalidInput
from gausscert_common.identity import Role
from gausscert_coordinator import pki, pki_register, pki_revoked, pki_trust


class Register:
    """A CA that has issued and revoked something."""

    def __init__(self, directory, person):
        self.directory = directory
        pki.init(directory, "prod", None)
        pki.issue(directory, Role.OPERATOR, person)
        listed = pki_register.revoke(directory, pki_register.entries(directory), "left")
        self.entries = listed.entries
        self.cas = pki_trust.read((directory / "ca.crt").read_bytes())


@pytest.fixture
def old(tmp_path):
    return Register(tmp_path / "pki", "alice")


@pytest.fixture
def new(tmp_path):
    return Register(tmp_path / "pki-new", "bob")


def test_one_register(old):
    found = pki_revoked.at_hand([old.directory, old.directory], old.cas)

    assert (found.entries, found.unknown) == (old.entries, ())


def test_where_nobody_was_ever_revoked_that_is_known(tmp_path):
    pki.init(tmp_path / "pki", "prod", None)
    cas = pki_trust.read((tmp_path / "pki" / "ca.crt").read_bytes())

    assert pki_revoked.at_hand([tmp_path / "pki"], cas) == pki_revoked.Revoked((), ())


def test_both_while_the_ca_changes(old, new):
    both = (old.directory / "ca.crt").read_bytes() + (new.directory / "ca.crt").read_bytes()
    (old.directory / "ca.crt").chmod(0o600)
    (old.directory / "ca.crt").write_bytes(both)  # step 2 of the rotation

    found = pki_revoked.at_hand([new.directory, old.directory], (*old.cas, *new.cas))

    assert (set(found.entries), found.unknown) == ({*old.entries, *new.entries}, ())


def test_a_ca_whose_register_is_elsewhere_is_named(old, new):
    found = pki_revoked.at_hand([old.directory], (*old.cas, *new.cas))

    assert found.entries == old.entries
    (unknown,) = found.unknown
    assert f"{new.cas[0].not_valid_before_utc:%Y-%m-%d}" in unknown


def test_a_ca_that_nodes_do_not_trust_has_nothing_to_say(old, new):
    assert pki_revoked.at_hand([old.directory, new.directory], new.cas).entries == new.entries


def test_an_operators_directory_is_no_register_until_a_list_lies_there(old, tmp_path):
    place = tmp_path / "mine"
    place.mkdir()
    (place / "ca.crt").write_bytes((old.directory / "ca.crt").read_bytes())
    (place / "operator-carol.crt").touch()

    assert len(pki_revoked.at_hand([place, tmp_path / "nowhere"], old.cas).unknown) == 1
    (place / "deny.list").write_bytes((old.directory / "deny.list").read_bytes())
    assert pki_revoked.at_hand([place], old.cas) == pki_revoked.Revoked(old.entries, ())


def test_the_keys_are_not_needed(old):
    (old.directory / "ca.key").unlink()

    assert pki_revoked.at_hand([old.directory], old.cas).entries == old.entries


def test_a_list_that_is_not_understood_denies_nobody_knows_whom(old):
    (old.directory / "deny.list").write_text("alice\n")

    with pytest.raises(InvalidInput, match="line 1"):
        pki_revoked.at_hand([old.directory], old.cas)


def copy_of(old, place):
    """As an operator has it beside the inventory's ca.crt: not the register itself."""
    place.mkdir()
    for name in ("ca.crt", "deny.list"):
        (place / name).write_bytes((old.directory / name).read_bytes())
    return place


@pytest.mark.parametrize("turned", [False, True])
def test_a_copy_of_former_days_does_not_hide_who_was_revoked_since(old, tmp_path, turned):
    copy = copy_of(old, tmp_path / "mine")
    pki.issue(old.directory, Role.OPERATOR, "carol")
    since = pki_register.revoke(old.directory, pki_register.entries(old.directory), "left").entries
    places = [old.directory, copy]

    found = pki_revoked.at_hand(reversed(places) if turned else places, old.cas)

    assert len(since) == 2
    assert (set(found.entries), found.unknown) == (set(since), ())


def replaced(directory, *bodies):
    (directory / "ca.crt").chmod(0o600)
    (directory / "ca.crt").write_bytes(b"".join(bodies))


def test_the_old_register_with_the_new_ca_in_it_does_not_stand_for_the_new_one(old, new):
    """Between steps 5 and 6 of the rotation the new CA is alone in the place of the old one."""
    replaced(old.directory, (new.directory / "ca.crt").read_bytes())

    both = pki_revoked.at_hand([new.directory, old.directory], new.cas)
    alone = pki_revoked.at_hand([old.directory], new.cas)

    assert (set(both.entries), both.unknown) == ({*new.entries, *old.entries}, ())
    assert (alone.entries, len(alone.unknown)) == (old.entries, 1)


def test_nor_does_it_where_the_new_ca_stands_first(old, new):
    bodies = [(each.directory / "ca.crt").read_bytes() for each in (new, old)]
    replaced(old.directory, *bodies)

    both = pki_revoked.at_hand([new.directory, old.directory], (*new.cas, *old.cas))
    alone = pki_revoked.at_hand([old.directory], (*new.cas, *old.cas))

    assert (set(both.entries), both.unknown) == ({*new.entries, *old.entries}, ())
    (unknown,) = alone.unknown
    assert f"{new.cas[0].not_valid_before_utc:%Y-%m-%d}" in unknown
    assert alone.entries == old.entries


def test_a_register_tells_of_the_ca_that_has_issued_there_whatever_its_ca_crt_says(old, new):
    replaced(old.directory, (new.directory / "ca.crt").read_bytes())

    assert pki_revoked.at_hand([old.directory], old.cas) == pki_revoked.Revoked(old.entries, ())


def test_a_copy_tells_of_the_ca_that_stands_first_in_it_alone(old, new, tmp_path):
    copy = copy_of(old, tmp_path / "mine")
    bodies = [(each.directory / "ca.crt").read_bytes() for each in (old, new)]
    replaced(copy, *bodies)

    found = pki_revoked.at_hand([copy], (*old.cas, *new.cas))

    assert (found.entries, len(found.unknown)) == (old.entries, 1)
