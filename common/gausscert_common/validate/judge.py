"""All rules together: everything wrong with a bundle or a set, at once."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from gausscert_common import certset
from gausscert_common.findings import Severity
from gausscert_common.validate import chain, crls, keys, leaves, passwords
from gausscert_common.validate.catalogue import finding
from gausscert_common.validate.gather import CACERT, ROLES, gather
from gausscert_common.validate.passwords import Secrets

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

    from gausscert_common.bundle import Bundle
    from gausscert_common.findings import Finding
    from gausscert_common.model import FactorBuild
    from gausscert_common.validate.certificate import Cert, Name
    from gausscert_common.validate.gather import Material
    from gausscert_common.validate.passwords import Opened

DEFAULT_THRESHOLD_DAYS: Final = 90
"""CM's default for ssl_cert_expire_alert_threshold (facts section 5)."""

_NOTHING: Final[Mapping[str, bytes]] = MappingProxyType({})


def bundle(
    bundle: Bundle,
    *,
    now: datetime,
    threshold_days: int = DEFAULT_THRESHOLD_DAYS,
    live: Mapping[str, bytes] | None = None,
    carried_crls: Mapping[str, bytes] = _NOTHING,
    build: FactorBuild | None = None,
) -> tuple[Finding, ...]:
    """Everything wrong with a bundle, errors first; empty when nothing is. Never raises on any bytes.

    Args:
        bundle: What the operator handed in.
        now: By which clock certificates are judged; with a time zone.
        threshold_days: Fewer days left than these make a warning.
        live: The files of the live set, to find repeated serial numbers, a CA's name with another key, and
            an unchanged set; None to skip.
        carried_crls: CRLs of the live set that would stay; those whose names the bundle has too do not count.
        build: The factor file format of the node's CM; None when unknown.
    """
    carried = {name: body for name, body in carried_crls.items() if name not in bundle.pem}
    files = {**carried, **bundle.pem}
    material = gather(files)
    opened = passwords.judge(material.keys, _secrets(bundle), build)
    return _ordered(
        [
            *_unknown(bundle.pem),
            *material.findings,
            *_completeness(bundle),
            *opened.findings,
            *_substance(material, opened, frozenset(carried), now, threshold_days),
            *_against_live(material, files, live),
        ]
    )


def certificate_set(
    files: Mapping[str, bytes],
    modes: Mapping[str, int] | None,
    *,
    now: datetime,
    threshold_days: int = DEFAULT_THRESHOLD_DAYS,
    live: Mapping[str, bytes] | None = None,
    build: FactorBuild | None = None,
) -> tuple[Finding, ...]:
    """Everything wrong with a set as it lies on disk, errors first. Never raises on any bytes.

    Args:
        files: By name; names that are none of a set are ignored, as CM does.
        modes: st_mode by name, permission bits at least; None to skip.
        now: By which clock certificates are judged; with a time zone.
        threshold_days: Fewer days left than these make a warning.
        live: The files of the live set, to find repeated serial numbers and a CA's name with another key;
            None to skip.
        build: The factor file format of the node's CM; None when unknown.
    """
    material = gather(files)
    factor_files = {name: files[name] for name in certset.FACTOR_NAMES if files.get(name)}
    opened = passwords.judge(material.keys, Secrets(factor_files=factor_files), build)
    return _ordered(
        [
            *material.findings,
            *_factor_presence(files),
            *_modes(modes or {}),
            *opened.findings,
            *_substance(material, opened, frozenset(), now, threshold_days),
            *_serials_reused(material, live or {}),
            *_same_name(material, live or {}),
        ]
    )


def factor_files(files: Mapping[str, bytes], *, build: FactorBuild | None) -> tuple[Finding, ...]:
    """What is wrong with the form of the factor files of a set; nothing is decrypted.

    Args:
        files: By name; others are ignored.
        build: The factor file format of the node's CM; None when unknown.
    """
    present = {name: files[name] for name in certset.FACTOR_NAMES if files.get(name)}
    return _ordered(passwords.judge_form(present, build))


def _ordered(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    # Both chains say the same of their common CA: once is enough.
    once = dict.fromkeys(findings)
    return tuple(sorted(once, key=lambda found: found.severity is not Severity.ERROR))


def _secrets(bundle: Bundle) -> Secrets:
    given = zip(ROLES, (bundle.server_password, bundle.client_password), strict=True)
    present = bundle.factor_files.as_files() if bundle.factor_files else {}
    return Secrets(
        passwords={role: password for role, password in given if password is not None},
        factor_files={name: body for name, body in present.items() if body},
    )


def _completeness(bundle: Bundle) -> Iterator[Finding]:
    """Whether there are passwords or factor files, and the latter all four."""
    passwords_given = dict(zip(ROLES, (bundle.server_password, bundle.client_password), strict=True))
    present = _secrets(bundle).factor_files
    if present and len(present) < len(certset.FACTOR_NAMES):
        missing = ", ".join(name for name in certset.FACTOR_NAMES if name not in present)
        yield finding("FACTOR_FILES_PARTIAL", f"missing or empty: {missing}")
    for role, password in passwords_given.items():
        if password is None and not present:
            yield finding("PASSWORD_MISSING", f"for {role}.key", f"{role}.key")


def _unknown(pem: Mapping[str, bytes]) -> Iterator[Finding]:
    for name in pem:
        if name not in certset.BUNDLE_NAMES:
            yield finding("FILE_UNKNOWN", "CM reads no file of this name", name)


def _factor_presence(files: Mapping[str, bytes]) -> Iterator[Finding]:
    for name in certset.FACTOR_NAMES:
        if name not in files:
            yield finding("FILE_MISSING", f"there is no {name}", name)
        elif not files[name]:
            yield finding("FILE_EMPTY", f"{name} is empty", name)


_PERMISSIONS: Final = 0o7777


def _modes(modes: Mapping[str, int]) -> Iterator[Finding]:
    for name in certset.NAMES:
        mode = modes.get(name, certset.FILE_MODE) & _PERMISSIONS
        if mode != certset.FILE_MODE:
            yield finding("FILE_MODE", f"its mode is {mode:04o}", name)


def _substance(
    material: Material, opened: Opened, carried: frozenset[str], now: datetime, threshold_days: int
) -> Iterator[Finding]:
    """Keys, leaves, chains and CRLs, as far as they could be read."""
    extras = tuple(cert for crt in material.crts.values() for cert in crt if cert.index > 0)
    chains: dict[str, chain.Chain] = {}
    for role in ROLES:
        leaf = material.leaf(role)
        if leaf is None:
            continue
        if (key := opened.keys.get(role)) is not None:
            # Behind a misplaced leaf the others are judged as they are meant: one fault, one finding.
            leaf = next((cert for cert in material.crts[role] if cert.spki == key.spki), leaf)
            yield from keys.judge_match(role, key, leaf, _places(material, role))
        yield from leaves.judge(leaf, now, threshold_days)
        chains[role] = chain.build(leaf, material.cas, extras, now)
        if material.cas:  # else something is said of cacert.pem already: one fault, one finding
            yield from chain.judge(chains[role], now, threshold_days)
    if len(chains) == len(ROLES):
        yield from leaves.judge_pair(*(chains[role].certs[0] for role in ROLES))
        used = frozenset(cert.der for found in chains.values() for cert in found.certs)
        yield from leaves.judge_unused(material.cas, used, now)
    yield from crls.judge(material.crls, chains, carried, now)


def _places(material: Material, role: str) -> dict[str, str]:
    """Where else a key's certificate may be, for a better hint."""
    others = [cert for crt in material.crts.values() for cert in crt] + list(material.cas)
    return {cert.spki.hex(): cert.file for cert in others if cert.file != f"{role}.crt"}


def _against_live(
    material: Material, files: Mapping[str, bytes], live: Mapping[str, bytes] | None
) -> Iterator[Finding]:
    if live is None:
        return
    if certset.bundle_digest(files) == certset.bundle_digest(live):
        # The same PEM files are worth a replacement when the live factor files do not open the keys.
        has_factors = any(name in live for name in certset.FACTOR_NAMES)
        if not has_factors or passwords.opens_all(gather(live).keys, live):
            yield finding("SET_UNCHANGED", "every certificate, key and CRL is byte by byte the live one")
        return
    yield from _serials_reused(material, live)
    yield from _same_name(material, live)


def same_cas(one: Mapping[str, bytes], other: Mapping[str, bytes]) -> bool:
    """Whether two sets trust the same CAs: of the same names and keys, whatever else was renewed."""
    mine = _keys_of_cas(one)
    return bool(mine) and mine == _keys_of_cas(other)


def _same_name(material: Material, live: Mapping[str, bytes]) -> Iterator[Finding]:
    old = _keys_of_cas(live)
    new = _by_name(material.cas)
    for subject, cas in new.items():
        before = old.get(subject, frozenset())
        if before and not before & {ca.spki for ca in cas}:
            yield finding("CA_SAME_NAME", f"both are {cas[0].x509.subject.rfc4514_string()}", CACERT)


def _keys_of_cas(files: Mapping[str, bytes]) -> dict[Name, frozenset[bytes]]:
    cas = gather({CACERT: files.get(CACERT, b"")}).cas
    return {subject: frozenset(ca.spki for ca in found) for subject, found in _by_name(cas).items()}


def _by_name(cas: Iterable[Cert]) -> dict[Name, list[Cert]]:
    found: dict[Name, list[Cert]] = {}
    for ca in cas:
        if ca.spki:
            found.setdefault(ca.subject, []).append(ca)
    return found


def _serials_reused(material: Material, live: Mapping[str, bytes]) -> Iterator[Finding]:
    old = gather({name: live[name] for name in ("server.crt", "client.crt") if name in live})
    known = {(cert.issuer, cert.serial): cert for crt in old.crts.values() for cert in crt}
    for role in ROLES:
        leaf = material.leaf(role)
        before = known.get((leaf.issuer, leaf.serial)) if leaf else None
        if leaf and before and before.der != leaf.der:
            cause = f"it has the serial number {leaf.serial:x} of the live {before.file}"
            yield finding("SERIAL_REUSED", cause, leaf.file)
