"""Bundles that are wrong in one way each, with the codes of the errors that must be found: all and no other.

`CASES` maps a name to a function that makes a `Case`; making is lazy because of the keys. The same
table serves validation offline and tests in which no node may be touched.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from gausscert_common import factors
from gausscert_common.bundle import Bundle, FactorFiles
from gausscert_common.model import FactorBuild
from support import openssl_bundles, pki

DAY = timedelta(days=1)


@dataclass(frozen=True)
class Case:
    """A broken bundle."""

    bundle: Bundle
    codes: frozenset[str]
    live: dict[str, bytes] | None = field(default=None, repr=False)
    carried_crls: dict[str, bytes] = field(default_factory=dict, repr=False)
    build: FactorBuild | None = None


CASES: dict[str, Callable[[], Case]] = {}


def broken(*codes: str):
    """Put a function into the table: it returns a bundle, or a bundle and further arguments."""

    def register(make):
        def case() -> Case:
            made = make()
            bundle, more = made if isinstance(made, tuple) else (made, {})
            return Case(bundle, frozenset(codes), **more)

        CASES[make.__name__] = case
        return make

    return register


def _without(name: str) -> Bundle:
    return pki.bundle(files={name: None})


def _with(name: str, body: bytes) -> Bundle:
    return pki.bundle(files={name: body})


for _name in ("cacert.pem", "server.crt", "server.key", "client.crt", "client.key"):
    _codes = ["FILE_MISSING"]
    CASES[f"missing_{_name}"] = lambda name=_name, codes=_codes: Case(_without(name), frozenset(codes))
    _codes = ["FILE_EMPTY", *_codes[1:]]
    CASES[f"empty_{_name}"] = lambda name=_name, codes=_codes: Case(_with(name, b""), frozenset(codes))


# ---- files


@broken("FILE_TOO_LARGE")
def too_large():
    return _with("server.key", b"#" * 300_000)


@broken("FILE_NOT_PEM")
def text_instead_of_pem():
    return _with("server.crt", b"to be delivered\n")


@broken("FILE_NOT_PEM")
def utf_16():
    return _with("client.crt", pki.good_leaf("client").pem.decode().encode("utf-16"))


@broken("FILE_NOT_PEM")
def indented_pem():
    return _with("client.crt", b"  " + pki.good_leaf("client").pem.replace(b"\n", b"\n  "))


@broken("FILE_NOT_PEM")
def lone_cr_line_ends():
    return _with("client.crt", pki.good_leaf("client").pem.replace(b"\n", b"\r"))


@broken("FILE_DER")
def der_certificate():
    return _with("server.crt", pki.good_leaf("server").der)


@broken("FILE_DER")
def der_key():
    key = pki.key("ec", "client").private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return _with("client.key", key)


@broken("FILE_DER")
def der_ca():
    return _with("cacert.pem", pki.good_ca().der)


@broken("FILE_BOM")
def byte_order_mark():
    return _with("server.crt", b"\xef\xbb\xbf" + pki.good_leaf("server").pem)


@broken("FILE_WRONG_CONTENT")
def key_in_place_of_certificate():
    return _with("server.crt", pki.good_leaf("server").key_pem(pki.SERVER_PASSWORD))


@broken("FILE_WRONG_CONTENT")
def certificate_in_place_of_key():
    return _with("client.key", pki.good_leaf("client").pem)


@broken("FILE_WRONG_CONTENT")
def certificate_request_in_place_of_certificate():
    request = x509.CertificateSigningRequestBuilder().subject_name(pki.name("server"))
    signed = request.sign(pki.key("ec", "server"), hashes.SHA256())
    return _with("server.crt", signed.public_bytes(Encoding.PEM))


@broken("PEM_TRUNCATED")
def truncated_certificate():
    pem = pki.good_leaf("server").pem
    return _with("server.crt", pem[: len(pem) // 2])


@broken("PEM_TRUNCATED")
def truncated_key():
    pem = pki.good_leaf("server").key_pem(pki.SERVER_PASSWORD)
    return _with("server.key", pem[: len(pem) // 2])


@broken("PEM_TRUNCATED")
def truncated_last_ca():
    other = pki.ca("other CA").pem
    return _with("cacert.pem", pki.good_ca().pem + other[: len(other) // 2])


@broken("PEM_DAMAGED")
def damaged_base64():
    return _with("client.crt", pki.good_leaf("client").pem.replace(b"\nMII", b"\nM*I", 1))


@broken("CERTIFICATE_UNREADABLE")
def garbage_in_a_certificate_block():
    return _with("client.crt", _block("CERTIFICATE", b"\x30\x03\x02\x01\x05"))


@broken("CERTIFICATE_UNREADABLE")
def garbage_among_the_cas():
    return _with("cacert.pem", pki.good_ca().pem + _block("CERTIFICATE", b"garbage"))


@broken("KEY_UNREADABLE")
def garbage_in_a_key_block():
    return _with("client.key", _block("PRIVATE KEY", b"\x30\x03\x02\x01\x05"))


def _block(label: str, body: bytes) -> bytes:
    text = base64.encodebytes(body).decode()
    return f"-----BEGIN {label}-----\n{text}-----END {label}-----\n".encode()


@broken("PRIVATE_KEY_IN_CACERT")
def ca_key_in_cacert():
    return _with("cacert.pem", pki.good_ca().pem + pki.good_ca().key_pem("Secret#12"))


# ---- keys and passwords


@broken("KEY_SEVERAL")
def two_keys_in_a_file():
    keys = [pki.good_leaf("server").key_pem(pki.SERVER_PASSWORD) for _ in range(2)]
    return _with("server.key", b"".join(keys))


@broken("KEY_MISMATCH")
def key_of_another_certificate():
    return _with("server.key", pki.private_pem(pki.key("ec", "stranger"), pki.SERVER_PASSWORD))


@broken("KEY_MISMATCH")
def rsa_key_for_ec_certificate():
    return _with("server.key", pki.private_pem(pki.key("rsa"), pki.SERVER_PASSWORD))


@broken("KEY_MISMATCH")
def server_and_client_key_swapped():
    server = pki.good_leaf("client").key_pem(pki.SERVER_PASSWORD)
    return pki.bundle(
        files={"server.key": server, "client.key": pki.good_leaf("server").key_pem(pki.CLIENT_PASSWORD)}
    )


@broken("LEAF_NOT_FIRST")
def ca_before_leaf_in_crt():
    return _with("server.crt", pki.good_ca().pem + pki.good_leaf("server").pem)


@broken("KEY_PASSWORD_WRONG")
def wrong_password():
    return replace(pki.bundle(), server_password="Other#789")


@broken("KEY_PASSWORD_WRONG")
def passwords_swapped():
    return pki.bundle(server_password=pki.CLIENT_PASSWORD, client_password=pki.SERVER_PASSWORD)


@broken("KEY_PASSWORD_WRONG")
def wrong_password_for_traditional_key():
    key = pki.private_pem(pki.key("ec", "client"), "Other#789", PrivateFormat.TraditionalOpenSSL)
    return _with("client.key", key)


@broken("KEY_CIPHER_UNSUPPORTED")
def key_encrypted_with_camellia():
    key = pki.private_pem(pki.key("ec", "client"), pki.CLIENT_PASSWORD, PrivateFormat.TraditionalOpenSSL)
    return _with("client.key", key.replace(b"AES-256-CBC", b"CAMELLIA-256-CBC"))


@broken("PASSWORD_MISSING")
def no_password():
    return pki.bundle(client_password=None)


@broken("PASSWORD_MISSING")
def plain_key_and_no_password():
    bundle = pki.bundle(files={"server.key": pki.good_leaf("server").key_pem(None)})
    return replace(bundle, server_password=None)


def _password(password: str) -> Bundle:
    key = pki.good_leaf("server").key_pem(password)
    return pki.bundle(files={"server.key": key}, server_password=password)


@broken("PASSWORD_TOO_SHORT")
def short_password():
    return _password("Aa#1234")


@broken("PASSWORD_TOO_LONG")
def long_password():
    return _password("Abcdefgh#1234567")


@broken("PASSWORD_TOO_LONG")
def password_long_in_bytes_only():
    return _password("Aa1#" + "\u4e2d" * 4)


@broken("PASSWORD_TOO_SIMPLE")
def simple_password():
    return _password("abcdefgh1")


@broken("PASSWORD_TOO_SIMPLE")
def quotes_and_blanks_are_no_special_characters():
    return _password("abc' \"`123")


@broken("PASSWORD_UNTYPABLE")
def password_with_line_end():
    return _password("Server@123\n")


def _key_kind(kind: str) -> Bundle:
    return pki.bundle(server=pki.leaf(pki.good_ca(), "server", key=pki.key(kind)))


@broken("KEY_KIND_UNUSABLE")
def ed25519():
    return _key_kind("ed25519")


@broken("KEY_KIND_UNUSABLE")
def ed448():
    return _key_kind("ed448")


@broken("KEY_KIND_UNUSABLE")
def dsa():
    return _key_kind("dsa")


@broken("KEY_KIND_UNUSABLE")
def x25519():
    return _key_kind("x25519")


@broken("KEY_CURVE_UNUSABLE")
def secp256k1():
    return _key_kind("secp256k1")


@broken("KEY_CURVE_UNUSABLE")
def brainpool():
    return _key_kind("brainpool")


@broken("KEY_WEAK")
def rsa_1024():
    return _key_kind("rsa1024")


@broken("KEY_WEAK")
def rsa_1024_ca():
    return pki.of_ca(pki.ca("weak CA", key=pki.key("rsa1024")))


@broken("KEY_CURVE_UNUSABLE")
def p224():
    return _key_kind("p224")


# ---- factor files


def factor_files(
    server: str = pki.SERVER_PASSWORD,
    client: str = pki.CLIENT_PASSWORD,
    builds: tuple[FactorBuild, FactorBuild] = (FactorBuild.RELEASED, FactorBuild.RELEASED),
) -> FactorFiles:
    """Factor files of these passwords."""
    return FactorFiles(*factors.write(server, builds[0]), *factors.write(client, builds[1]))


def with_factors(made: FactorFiles, **changes: bytes) -> Bundle:
    """A good bundle with factor files instead of passwords."""
    return Bundle(pki.bundle().pem, factor_files=replace(made, **changes))


@broken("FACTOR_FILES_PARTIAL")
def one_factor_file_missing():
    return with_factors(factor_files(), client_rand=b"")


@broken("FACTOR_FILE_LENGTH")
def truncated_cipher():
    made = factor_files()
    return with_factors(made, server_cipher=made.server_cipher[:40])


@broken("FACTOR_FILE_LENGTH")
def cipher_and_rand_swapped():
    made = factor_files()
    return with_factors(made, server_cipher=made.server_rand, server_rand=made.server_cipher)


@broken("FACTOR_BUILDS_DIFFER")
def pairs_of_two_builds():
    return with_factors(factor_files(builds=(FactorBuild.RELEASED, FactorBuild.LIBPQ_OFF)))


@broken("FACTOR_BUILD_WRONG")
def factor_files_of_the_other_build():
    made = factor_files(builds=(FactorBuild.LIBPQ_OFF, FactorBuild.LIBPQ_OFF))
    return with_factors(made), {"build": FactorBuild.RELEASED}


@broken("FACTOR_FILES_SWAPPED")
def factor_pairs_swapped():
    return with_factors(factor_files(pki.CLIENT_PASSWORD, pki.SERVER_PASSWORD))


@broken("FACTOR_FILES_SWAPPED")
def rand_files_swapped():
    made = factor_files()
    return with_factors(made, server_rand=made.client_rand, client_rand=made.server_rand)


@broken("FACTOR_FILES_UNREADABLE")
def cipher_and_rand_of_different_runs():
    return with_factors(factor_files(), server_rand=bytes(range(24)))


@broken("FACTOR_PASSWORD_WRONG")
def factor_files_of_another_password():
    return with_factors(factor_files(client="Other#789"))


# ---- leaves


@broken("CERTIFICATE_EXPIRED")
def expired_leaf():
    return pki.bundle(server=pki.leaf(pki.good_ca(), "server", end=pki.NOW - DAY))


@broken("CERTIFICATE_NOT_YET_VALID")
def leaf_of_tomorrow():
    return pki.bundle(client=pki.leaf(pki.good_ca(), "client", begin=pki.NOW + DAY))


@broken("LEAF_PURPOSE")
def server_auth_only():
    return pki.bundle(server=pki.leaf(pki.good_ca(), "server", purposes=("serverAuth",)))


@broken("LEAF_PURPOSE")
def client_auth_only():
    return pki.bundle(client=pki.leaf(pki.good_ca(), "client", purposes=("clientAuth",)))


@broken("LEAF_PURPOSE")
def any_purpose_only():
    return pki.bundle(client=pki.leaf(pki.good_ca(), "client", purposes=("any",)))


@broken("LEAF_PURPOSE")
def netscape_type_server_only():
    return pki.bundle(server=pki.leaf(pki.good_ca(), "server", extra=(pki.netscape(0x40),)))


@broken("LEAF_PURPOSE")
def netscape_type_client_only():
    return pki.bundle(client=pki.leaf(pki.good_ca(), "client", extra=(pki.netscape(0x80),)))


@broken("LEAF_KEY_USAGE")
def no_digital_signature():
    return pki.bundle(server=pki.leaf(pki.good_ca(), "server", usage=("key_encipherment",)))


@broken("SIGNATURE_WEAK")
def sha1_leaf():
    return _weak_leaf("sha1")


@broken("SIGNATURE_WEAK")
def md5_leaf():
    return _weak_leaf("md5")


def _weak_leaf(digest: str) -> Bundle:
    authority = pki.ca("RSA CA", key=pki.key("rsa", "CA"))
    weak = openssl_bundles.signed_again(pki.leaf(None, "server", akid=False), authority, digest)
    return pki.bundle((authority,), weak, pki.leaf(authority, "client"))


@broken("CRITICAL_EXTENSION_UNKNOWN")
def unknown_critical_extension():
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")
    return pki.bundle(server=pki.leaf(pki.good_ca(), "server", extra=((unknown, True),)))


# ---- chains


@broken("LEAF_NOT_SIGNED_BY_CA")
def leaf_of_another_ca():
    return pki.bundle(server=pki.leaf(pki.ca("other CA"), "server"))


@broken("LEAF_NOT_SIGNED_BY_CA")
def ca_made_anew_under_the_same_name():
    old, new = (pki.ca("", key=pki.key("ec", f"OM {age}")) for age in ("old", "new"))
    return pki.bundle((new,), *(pki.leaf(old, role, **pki.BARE) for role in ("server", "client")))


@broken("LEAF_NOT_SIGNED_BY_CA")
def self_signed_leaf_outside_cacert():
    lonely = pki.make(pki.Wish(subject="lonely", key=pki.key("ec", "server")), None)
    return pki.bundle(server=lonely)


@broken("LEAF_NAMED_LIKE_CA")
def leaf_with_the_name_of_its_ca():
    authority = pki.ca("one name")
    return pki.bundle(
        (authority,),
        pki.leaf(authority, "server", subject="one name", akid=False),
        pki.leaf(authority, "client"),
    )


@broken("INTERMEDIATE_ONLY_IN_CRT")
def intermediate_in_crt():
    root = pki.ca("root")
    middle = pki.ca("middle", root)
    server, client = pki.leaf(middle, "server"), pki.leaf(middle, "client")
    crts = {f"{role}.crt": one.pem + middle.pem for role, one in (("server", server), ("client", client))}
    return pki.bundle((root,), server, client, files=crts)


def _two_levels(*, root_changes=None, middle_changes=None, cas=("root", "middle")) -> Bundle:
    root = pki.ca("root", **(root_changes or {}))
    made = {"root": root, "middle": pki.ca("middle", root, **(middle_changes or {}))}
    leaves = (pki.leaf(made["middle"], role) for role in ("server", "client"))
    return pki.bundle(tuple(made[one] for one in cas), *leaves)


@broken("ROOT_MISSING")
def intermediate_without_root():
    return _two_levels(cas=("middle",))


@broken("CHAIN_SIGNATURE_WRONG")
def root_made_anew():
    middle = pki.ca("middle", pki.ca("root"), akid=False)
    anew = pki.ca("root", key=pki.key("ec", "root anew"))
    return pki.bundle((anew, middle), *(pki.leaf(middle, role) for role in ("server", "client")))


@broken("CHAIN_TOO_DEEP")
def twelve_intermediates():
    cas = [pki.ca("root")]
    for level in range(12):
        cas.append(pki.ca(f"level {level}", cas[-1]))
    return pki.bundle(tuple(cas), *(pki.leaf(cas[-1], role) for role in ("server", "client")))


@broken("CHAIN_PATH_LENGTH")
def path_length_zero_above_an_intermediate():
    return _two_levels(root_changes={"basic": x509.BasicConstraints(ca=True, path_length=0)})


@broken("CA_DN_AMBIGUOUS")
def two_cas_of_one_name_and_leaves_without_akid():
    old, new = (pki.ca("", key=pki.key("ec", f"OM {age}")) for age in ("old", "new"))
    return pki.bundle((old, new), *(pki.leaf(new, role, **pki.BARE) for role in ("server", "client")))


@broken("AKID_MISMATCH")
def authority_key_identifier_of_another_ca():
    authority = pki.ca("CA of two identifiers")
    akid = x509.AuthorityKeyIdentifier(b"\x01" * 20, None, None)
    return pki.of_ca(authority, akid=akid)


@broken("AKID_MISMATCH")
def authority_serial_of_a_former_ca_certificate():
    authority = pki.ca("renewed CA")
    former = x509.DirectoryName(authority.certificate.subject)
    return pki.of_ca(authority, akid=x509.AuthorityKeyIdentifier(None, [former], 4711))


@broken("CA_NOT_A_CA")
def ca_false():
    return pki.of_ca(pki.ca("no CA", basic=x509.BasicConstraints(ca=False, path_length=None)))


@broken("CA_NOT_A_CA")
def ca_without_any_extension():
    return pki.of_ca(pki.ca("bare CA", **pki.BARE), akid=False)


@broken("CA_NOT_A_CA", "CA_CANNOT_SIGN")
def leaf_signed_by_a_leaf():
    root = pki.ca("root")
    no_ca = pki.leaf(root, "issuing leaf")
    return pki.bundle((root, no_ca), pki.leaf(no_ca, "server"), pki.leaf(root, "client"))


@broken("CA_CANNOT_SIGN")
def ca_by_a_key_usage_without_key_cert_sign():
    return pki.of_ca(pki.ca("CA by nothing", basic=None, usage=("crl_sign",)))


@broken("CA_CANNOT_SIGN")
def ca_without_key_cert_sign():
    return pki.of_ca(pki.ca("silent CA", usage=("digital_signature", "crl_sign")))


@broken("CA_PURPOSE")
def ca_for_code_signing():
    return pki.of_ca(pki.ca("code CA", purposes=("codeSigning",)))


@broken("CHAIN_NAME_CONSTRAINT")
def dns_name_outside_of_what_is_permitted():
    authority = pki.constrained([x509.DNSName("one.example")], None)
    return pki.of_ca(authority, extra=(pki.alternative(x509.DNSName("one.example.org")),))


@broken("CHAIN_NAME_CONSTRAINT")
def dns_name_that_only_ends_alike():
    authority = pki.constrained([x509.DNSName("one.example")], None)
    return pki.of_ca(authority, extra=(pki.alternative(x509.DNSName("someone.example")),))


@broken("CHAIN_NAME_CONSTRAINT")
def dns_name_without_the_label_that_a_leading_dot_wants():
    authority = pki.constrained([x509.DNSName(".one.example")], None)
    return pki.of_ca(authority, extra=(pki.alternative(x509.DNSName("one.example")),))


@broken("CHAIN_NAME_CONSTRAINT")
def dns_name_excluded():
    authority = pki.constrained(None, [x509.DNSName("one.example")])
    return pki.of_ca(authority, extra=(pki.alternative(x509.DNSName("db.One.Example")),))


@broken("CHAIN_NAME_CONSTRAINT")
def common_name_taken_for_a_dns_name():
    authority = pki.constrained([x509.DNSName("one.example")], None)
    return pki.bundle(
        (authority,), pki.leaf(authority, "server", subject="db.example"), pki.leaf(authority, "client")
    )


@broken("CHAIN_NAME_CONSTRAINT")
def ip_address_outside_of_what_is_permitted():
    authority = pki.constrained([pki.ip_network("10.1.0.0/16")], None)
    return pki.of_ca(authority, extra=(pki.alternative(pki.ip("10.2.0.1")),))


@broken("CHAIN_NAME_CONSTRAINT")
def ip_address_of_the_other_family():
    authority = pki.constrained([pki.ip_network("10.1.0.0/16")], None)
    return pki.of_ca(authority, extra=(pki.alternative(pki.ip("fd00::1")),))


@broken("CHAIN_NAME_CONSTRAINT")
def ip_address_excluded():
    authority = pki.constrained(None, [pki.ip_network("fd00::/8")])
    return pki.of_ca(authority, extra=(pki.alternative(pki.ip("fd12::1")),))


@broken("CHAIN_NAME_CONSTRAINT")
def subject_outside_of_what_is_permitted():
    base = x509.DirectoryName(x509.Name.from_rfc4514_string("O=Example,C=CN"))
    return pki.of_ca(pki.constrained([base], None))


@broken("CHAIN_NAME_CONSTRAINT")
def subject_excluded():
    return pki.of_ca(pki.constrained(None, [x509.DirectoryName(pki.name("SERVER"))]))


@broken("CHAIN_NAME_CONSTRAINT")
def directory_name_of_a_leaf_excluded():
    away = x509.DirectoryName(pki.name("away"))
    return pki.of_ca(pki.constrained(None, [away]), extra=(pki.alternative(away),))


@broken("CHAIN_NAME_CONSTRAINT")
def intermediate_excluded_by_the_root():
    root = pki.constrained(None, [x509.DirectoryName(pki.name("middle"))])
    middle = pki.ca("middle", root)
    return pki.bundle((root, middle), *(pki.leaf(middle, role) for role in ("server", "client")))


@broken("CA_EXPIRED")
def expired_ca():
    return pki.of_ca(pki.ca("old CA", end=pki.NOW - DAY))


@broken("CA_NOT_YET_VALID")
def ca_of_tomorrow():
    return pki.of_ca(pki.ca("young CA", begin=pki.NOW + DAY))


@broken("CA_EXPIRED")
def expired_intermediate():
    return _two_levels(middle_changes={"end": pki.NOW - DAY})


@broken("SIGNATURE_WEAK")
def sha1_intermediate():
    root = pki.ca("RSA root", key=pki.key("rsa", "CA"))
    middle = openssl_bundles.signed_again(pki.ca("middle"), root, "sha1")
    return pki.bundle((root, middle), *(pki.leaf(middle, role) for role in ("server", "client")))


# ---- revocation lists


def _crl(name: str, body: bytes) -> Bundle:
    return pki.bundle(files={name: body})


@broken("CRL_FOREIGN")
def crl_of_another_ca():
    return _crl("server.crl", pki.crl(pki.ca("other CA")))


@broken("CRL_FOREIGN")
def right_crl_second_in_the_file():
    return _crl("client.crl", pki.crl(pki.ca("other CA")) + pki.crl(pki.good_ca()))


@broken("CRL_SIGNATURE_WRONG")
def crl_of_a_ca_of_the_same_name():
    return _crl("client.crl", pki.crl(pki.good_ca(), signer=pki.key("ec", "former good CA")))


@broken("CRL_EXPIRED")
def expired_crl():
    return _crl("server.crl", pki.crl(pki.good_ca(), begin=pki.NOW - 9 * DAY, end=pki.NOW - DAY))


@broken("CRL_NOT_YET_VALID")
def crl_of_tomorrow():
    return _crl("server.crl", pki.crl(pki.good_ca(), begin=pki.NOW + DAY))


@broken("CRL_UNREADABLE")
def garbage_crl():
    return _crl("server.crl", _block("X509 CRL", b"garbage"))


@broken("FILE_EMPTY")
def empty_crl():
    return _crl("client.crl", b"")


@broken("LEAF_REVOKED")
def revoked_client():
    serial = pki.good_leaf("client").certificate.serial_number
    return _crl("server.crl", pki.crl(pki.good_ca(), revoked=(serial,)))


@broken("CRL_CA_CANNOT_SIGN")
def crl_of_a_ca_without_crl_sign():
    authority = pki.ca("CA without CRLs", usage=("key_cert_sign",))
    bundle = pki.of_ca(authority)
    return replace(bundle, pem={**bundle.pem, "client.crl": pki.crl(authority)})


@broken("CRL_LEFT_OVER")
def live_crl_of_the_old_ca():
    return pki.bundle(), {"carried_crls": {"server.crl": pki.crl(pki.ca("old CA"))}}


@broken("CRL_LEFT_OVER")
def live_crl_of_an_old_ca_of_the_same_name():
    left = pki.crl(pki.good_ca(), signer=pki.key("ec", "former good CA"))
    return pki.bundle(), {"carried_crls": {"client.crl": left}}


@broken("CRL_SCOPE")
def crl_of_ca_certificates_only():
    return _crl("server.crl", pki.crl(pki.good_ca(), extra=(pki.crl_for(only_contains_ca_certs=True),)))


@broken("CRL_SCOPE")
def crl_of_attribute_certificates_only():
    limit = pki.crl_for(only_contains_attribute_certs=True)
    return _crl("server.crl", pki.crl(pki.good_ca(), extra=(limit,)))


@broken("CRL_SCOPE")
def crl_of_some_reasons_only():
    limit = pki.crl_for(only_some_reasons=frozenset({x509.ReasonFlags.key_compromise}))
    return _crl("client.crl", pki.crl(pki.good_ca(), extra=(limit,)))


@broken("CRL_SCOPE")
def indirect_crl():
    return _crl("client.crl", pki.crl(pki.good_ca(), extra=(pki.crl_for(indirect_crl=True),)))


@broken("CRL_SCOPE")
def crl_of_a_distribution_point_that_no_leaf_names():
    limit = pki.crl_for(full_name=[x509.UniformResourceIdentifier("http://one.example/crl")])
    return _crl("client.crl", pki.crl(pki.good_ca(), extra=(limit,)))


@broken("CRL_CRITICAL_EXTENSION_UNKNOWN")
def crl_with_an_unknown_critical_extension():
    return _crl("server.crl", pki.crl(pki.good_ca(), extra=((pki.UNKNOWN, True),)))


@broken("CRL_CRITICAL_EXTENSION_UNKNOWN")
def crl_with_an_entry_that_has_an_unknown_critical_extension():
    return _crl("server.crl", pki.crl(pki.good_ca(), revoked=(5,), entry_extra=((pki.UNKNOWN, True),)))


@broken("CRL_FOREIGN")
def crl_with_the_authority_key_identifier_of_another_ca():
    akid = x509.AuthorityKeyIdentifier(b"\x01" * 20, None, None)
    return _crl("server.crl", pki.crl(pki.good_ca(), extra=((akid, False),)))


@broken("CRL_CA_CANNOT_SIGN")
def crl_of_a_self_signed_leaf_that_must_not_sign_any():
    lonely = pki.ca("lonely", key=pki.key("ec", "server"), usage=("digital_signature", "key_cert_sign"))
    bundle = pki.bundle((lonely, pki.good_ca()), server=lonely)
    return replace(bundle, pem={**bundle.pem, "client.crl": pki.crl(lonely)})


@broken("SIGNATURE_WEAK")
def sha1_crl():
    authority = pki.ca("RSA CA", key=pki.key("rsa", "CA"))
    bundle = pki.of_ca(authority)
    return replace(bundle, pem={**bundle.pem, "client.crl": openssl_bundles.crl(authority, "sha1")})


# ---- what OpenSSL reads otherwise than it looks


@broken("FILE_NOT_PEM")
def zero_bytes_before_the_certificate():
    return _with("server.crt", b"\0\0\0\n" + pki.good_leaf("server").pem)


@broken("PEM_DAMAGED")
def empty_line_in_a_certificate():
    return _with("server.crt", pki.good_leaf("server").pem.replace(b"\n", b"\n\n", 2))


@broken("PEM_DAMAGED")
def header_in_a_certificate():
    return _with("cacert.pem", pki.good_ca().pem.replace(b"-----\n", b"-----\nComment: mine\n\n", 1))


@broken("PEM_DAMAGED")
def long_lines_in_a_traditional_key():
    lines = _traditional_key().split(b"\n")
    body = b"".join(lines[4:-2])
    wide = [body[start : start + 76] for start in range(0, len(body), 76)]
    return _with("server.key", b"\n".join([*lines[:4], *wide, *lines[-2:]]))


@broken("PEM_DAMAGED")
def further_header_in_a_traditional_key():
    return _with("server.key", _traditional_key().replace(b"DEK-Info", b"Comment: mine\nDEK-Info"))


def _traditional_key() -> bytes:
    form = PrivateFormat.TraditionalOpenSSL
    return pki.private_pem(pki.key("ec", "server"), pki.SERVER_PASSWORD, form)


@broken("CRL_UNREADABLE")
def garbage_crl_among_the_cas():
    return _with("cacert.pem", pki.good_ca().pem + _block("X509 CRL", b"garbage"))


@broken("KEY_CIPHER_UNSUPPORTED")
def pkcs8_key_encrypted_with_camellia():
    key = pki.good_leaf("server").key_pem(None)
    return _with("server.key", openssl_bundles.encrypted(key, pki.SERVER_PASSWORD, "camellia-256-cbc"))


@broken("KEY_CURVE_UNUSABLE")
def curve_written_out():
    key, crt = openssl_bundles.explicit_curve_leaf(pki.good_ca(), pki.SERVER_PASSWORD)
    return pki.bundle(files={"server.key": key, "server.crt": crt})


@broken("CERTIFICATE_PROXY")
def proxy_certificate():
    language = bytes.fromhex("300c300a06082b06010505071501")
    proxy = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.5.5.7.1.14"), language)
    return pki.bundle(server=pki.leaf(pki.good_ca(), "server", extra=((proxy, False),)))


@broken("LEAF_NOT_SIGNED_BY_CA")
def issuer_with_another_kind_of_blank():
    authority, alias = (pki.ca(name, key=pki.key("ec", "blank")) for name in ("A\u00a0B", "A B"))
    return pki.bundle((authority,), *(pki.leaf(alias, role) for role in ("server", "client")))


def _twins(**changes) -> Bundle:
    """OpenSSL takes the first CA certificate of a key that is valid, fit or not."""
    good, unfit = (pki.ca("twin", key=pki.key("ec", "twin"), **one) for one in ({}, changes))
    return pki.bundle((unfit, good), *(pki.leaf(good, role) for role in ("server", "client")))


@broken("CA_NOT_A_CA")
def ca_behind_one_of_the_same_key_that_is_no_ca():
    return _twins(basic=x509.BasicConstraints(ca=False, path_length=None))


@broken("CA_CANNOT_SIGN")
def ca_behind_one_of_the_same_key_that_must_not_sign():
    return _twins(usage=("crl_sign",))


# ---- the live set


@broken("SET_UNCHANGED")
def nothing_new():
    bundle = pki.bundle()
    return bundle, {"live": {**bundle.pem, **factor_files().as_files()}}
