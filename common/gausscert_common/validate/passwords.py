"""Rules about what opens the keys: passwords as given, and factor files."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from gausscert_common import certset
from gausscert_common.errors import InvalidInput
from gausscert_common.factors import (
    LENGTHS,
    PasswordFault,
    build_of_cipher,
    build_of_rand,
    crc_ok,
    password_faults,
    read,
)
from gausscert_common.validate.catalogue import finding
from gausscert_common.validate.gather import ROLES
from gausscert_common.validate.keys import Closed, Key, open_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gausscert_common.findings import Finding
    from gausscert_common.model import FactorBuild
    from gausscert_common.pem import Block

_PASSWORD_CODES: Final = {
    PasswordFault.TOO_SHORT: "PASSWORD_TOO_SHORT",
    PasswordFault.TOO_LONG: "PASSWORD_TOO_LONG",
    PasswordFault.TOO_SIMPLE: "PASSWORD_TOO_SIMPLE",
    PasswordFault.UNTYPABLE: "PASSWORD_UNTYPABLE",
}


@dataclass(frozen=True, slots=True)
class Secrets:
    """What may open the keys, by role and by file name."""

    passwords: Mapping[str, str] = field(default_factory=dict, repr=False)
    factor_files: Mapping[str, bytes] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Opened:
    """The keys that something opened, and what was found on the way."""

    keys: Mapping[str, Key] = field(repr=False)
    findings: tuple[Finding, ...]


def judge(blocks: Mapping[str, Block], secrets: Secrets, build: FactorBuild | None) -> Opened:
    """Open every key with everything that is to open it.

    Args:
        blocks: The private keys by role.
        secrets: Passwords and factor files.
        build: What the node's CM reads; None when unknown.
    """
    keys: dict[str, Key] = {}
    findings: list[Finding] = [*judge_form(secrets.factor_files, build)]
    for role, block in blocks.items():
        if not block.encrypted:
            findings += _judge_plain(role, block, keys)
        elif (closed := open_key(block, "")) is not Closed.PASSWORD:
            findings.append(_unreadable(role, closed))
    for role, password in secrets.passwords.items():
        findings += _judge_password(role, password, blocks.get(role), keys)
    findings += _judge_pairs(blocks, secrets.factor_files, keys)
    return Opened(keys, tuple(findings))


def _judge_plain(role: str, block: Block, keys: dict[str, Key]) -> Iterator[Finding]:
    opened = open_key(block, None)
    if isinstance(opened, Key):
        keys[role] = opened
        yield finding("KEY_UNENCRYPTED", "it opens without a password", f"{role}.key")
    else:
        yield _unreadable(role, opened)


def _unreadable(role: str, closed: Key | Closed) -> Finding:
    if closed is Closed.CIPHER:
        return finding("KEY_CIPHER_UNSUPPORTED", "its encryption is of an uncommon kind", f"{role}.key")
    return finding("KEY_UNREADABLE", "the private key is damaged or of an unknown kind", f"{role}.key")


def _judge_password(role: str, password: str, block: Block | None, keys: dict[str, Key]) -> Iterator[Finding]:
    for fault in password_faults(password):
        yield finding(_PASSWORD_CODES[fault], f"the {role} password: {fault}", f"{role}.key")
    if block is None or not block.encrypted:
        return
    opened = open_key(block, password)
    if isinstance(opened, Key):
        keys[role] = opened
    elif opened is Closed.PASSWORD:
        yield finding("KEY_PASSWORD_WRONG", f"the {role} password does not open it", f"{role}.key")
    elif opened is Closed.CIPHER and open_key(block, "") is Closed.PASSWORD:
        yield _unreadable(role, opened)  # PKCS#8 tells its cipher only when a password is tried


def judge_form(files: Mapping[str, bytes], build: FactorBuild | None) -> Iterator[Finding]:
    """Whether factor files have the lengths of a build, all of the same one, and of the node's."""
    builds = {}
    for name, body in files.items():
        builds[name] = _build_of_file(name, body)
        if builds[name] is None:
            expected = " or ".join(str(pair[name.endswith(".rand")]) for pair in LENGTHS.values())
            yield finding("FACTOR_FILE_LENGTH", f"it has {len(body)} bytes instead of {expected}", name)
        elif build is not None and builds[name] is not build:
            cause = f"it is of the build {builds[name]}, the node's CM of the build {build}"
            yield finding("FACTOR_BUILD_WRONG", cause, name)
    if len(set(builds.values()) - {None}) > 1:
        told = ", ".join(f"{name} is of {found}" for name, found in builds.items() if found)
        yield finding("FACTOR_BUILDS_DIFFER", told, "")


def _build_of_file(name: str, body: bytes) -> FactorBuild | None:
    return build_of_rand(body) if name.endswith(".rand") else build_of_cipher(body)


def _judge_pairs(
    blocks: Mapping[str, Block], files: Mapping[str, bytes], keys: dict[str, Key]
) -> Iterator[Finding]:
    pairs = _Pairs(blocks, files, {role: _decrypt(files, role, role) for role in ROLES})
    for role in ROLES:
        if not pairs.has_form(role):
            continue
        block = blocks.get(role)
        opened = open_key(block, pairs.decrypted[role]) if block and pairs.decrypted[role] else None
        if isinstance(opened, Key):
            keys.setdefault(role, opened)
            yield from _judge_crc(role, files)
        elif block is None or opened is None or opened is Closed.PASSWORD:
            yield from pairs.explain(role)
        elif opened is Closed.CIPHER and open_key(block, "") is Closed.PASSWORD:
            yield _unreadable(role, opened)  # as for a password that is handed in


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Both pairs of factor files, to tell why one of them does not do."""

    blocks: Mapping[str, Block]
    files: Mapping[str, bytes] = field(repr=False)
    decrypted: Mapping[str, str | None] = field(repr=False)

    def has_form(self, role: str) -> bool:
        """Whether both files are there with lengths of one build; else there is a finding already."""
        names = (f"{role}.key.cipher", f"{role}.key.rand")
        builds = [_build_of_file(name, self.files[name]) for name in names if name in self.files]
        return len(builds) == len(names) and None not in builds and builds[0] is builds[1]

    def explain(self, role: str) -> Iterator[Finding]:
        """Why the role's pair does not open the role's key."""
        file = f"{role}.key.cipher"
        password = self.decrypted[role]
        if self._swapped(role):
            yield finding("FACTOR_FILES_SWAPPED", f"they open the other key instead of {role}.key", file)
        elif password is None:
            yield finding("FACTOR_FILES_UNREADABLE", f"{file} and {role}.key.rand do not decrypt", file)
        elif role in self.blocks:
            yield finding("FACTOR_PASSWORD_WRONG", f"what they hold does not open {role}.key", file)

    def _swapped(self, role: str) -> bool:
        other = ROLES[1 - ROLES.index(role)]
        # Both must fit crosswise: with one password for both keys, a damaged pair is no swapped one.
        whole = self._opens(role, self.decrypted[other]) and self._opens(other, self.decrypted[role])
        return whole or self._opens(role, _decrypt(self.files, role, other))

    def _opens(self, role: str, password: str | None) -> bool:
        block = self.blocks.get(role)
        return bool(block and block.encrypted and password) and isinstance(
            open_key(self.blocks[role], password), Key
        )


def _decrypt(files: Mapping[str, bytes], cipher_role: str, rand_role: str) -> str | None:
    cipher, rand = files.get(f"{cipher_role}.key.cipher"), files.get(f"{rand_role}.key.rand")
    if cipher is None or rand is None:
        return None
    try:
        return read(cipher, rand)
    except InvalidInput:
        return None


def _judge_crc(role: str, files: Mapping[str, bytes]) -> Iterator[Finding]:
    for place, name in enumerate((f"{role}.key.cipher", f"{role}.key.rand")):
        build = _build_of_file(name, files[name])
        length = LENGTHS[build][place] if build else len(files[name])
        if len(files[name]) > length:
            rest = len(files[name]) - length
            yield finding("FACTOR_FILE_TRAILING", f"{rest} bytes follow the {length} that CM reads", name)
        if not crc_ok(files[name][:length]):
            yield finding("FACTOR_CRC_WRONG", "its last four bytes are not the checksum of the others", name)


def opens_all(blocks: Mapping[str, Block], files: Mapping[str, bytes]) -> bool:
    """Whether the factor files among a set's files open both of its keys."""
    present = {name: files[name] for name in certset.FACTOR_NAMES if name in files}
    return all(
        role in blocks
        and (password := _decrypt(present, role, role)) is not None
        and isinstance(open_key(blocks[role], password), Key)
        for role in ROLES
    )
