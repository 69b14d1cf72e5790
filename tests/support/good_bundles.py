"""Bundles that real CM accepts: none may be refused. `WARNINGS` says what may be worth knowing of some.

`CASES` maps a name to a function that makes a bundle; those made by the openssl command line are in
`openssl_bundles`.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import PrivateFormat
from gausscert_common.bundle import Bundle
from gausscert_common.model import FactorBuild
from support import openssl_bundles, pki
from support.broken_bundles import factor_files, with_factors

CASES = {}
WARNINGS = {}

ROLES = ("server", "client")


def good(*warnings):
    """Put a function into the table, with the warnings that are to be given."""

    def register(make):
        CASES[make.__name__] = make
        WARNINGS[make.__name__] = set(warnings)
        return make

    return register


@good()
def as_documented():
    return pki.bundle()


@good()
def leaves_without_any_extension():
    return pki.of_ca(pki.ca("", key=pki.key("ec", "OM")), **pki.BARE)


@good()
def rsa_keys():
    authority = pki.ca("RSA CA", key=pki.key("rsa", "CA"))
    leaves = (pki.leaf(authority, role, key=pki.key("rsa", role)) for role in ROLES)
    return pki.bundle((authority,), *leaves)


@good()
def rsa_pss_signatures():
    authority = pki.ca("PSS CA", key=pki.key("rsa", "CA"), rsa_padding=pki.PSS)
    return pki.of_ca(authority, rsa_padding=pki.PSS)


@good()
def p384_and_p521():
    authority = pki.ca("P-521 CA", key=pki.key("p521"))
    leaves = (pki.leaf(authority, role, key=pki.key("p384", role)) for role in ROLES)
    return pki.bundle((authority,), *leaves)


@good()
def intermediate_in_cacert():
    root = pki.ca("root")
    middle = pki.ca("middle", root, basic=x509.BasicConstraints(ca=True, path_length=0))
    return pki.bundle((middle, root), *(pki.leaf(middle, role) for role in ROLES))


@good()
def ten_intermediates():
    cas = [pki.ca("root")]
    for level in range(10):
        cas.append(pki.ca(f"level {level}", cas[-1]))
    return pki.bundle(tuple(cas), *(pki.leaf(cas[-1], role) for role in ROLES))


@good()
def leaves_of_different_cas():
    one, two = pki.ca("one"), pki.ca("two")
    return pki.bundle((one, two), pki.leaf(one, "server"), pki.leaf(two, "client"))


@good()
def overlap_of_old_and_new_ca():
    return pki.bundle((pki.ca("old CA"), pki.good_ca()))


@good()
def two_cas_of_one_name_and_leaves_with_akid():
    old, new = (pki.ca("", key=pki.key("ec", f"OM {age}")) for age in ("old", "new"))
    return pki.bundle((old, new), *(pki.leaf(new, role) for role in ROLES))


@good()
def the_same_ca_twice():
    return pki.bundle((pki.good_ca(), pki.good_ca()))


@good("CA_UNUSED_EXPIRED")
def expired_ca_of_the_same_name():
    old = pki.ca("", key=pki.key("ec", "OM old"), end=pki.NOW - timedelta(days=1))
    new = pki.ca("", key=pki.key("ec", "OM new"))
    return pki.bundle((old, new), *(pki.leaf(new, role, **pki.BARE) for role in ROLES))


@good()
def issuer_in_other_case_and_spacing():
    authority = pki.ca("Good  CA", key=pki.key("ec", "case"))
    alias = replace(authority, certificate=pki.ca("good ca", key=pki.key("ec", "case")).certificate)
    return pki.bundle((authority,), *(pki.leaf(alias, role) for role in ROLES))


@good()
def text_before_pem_blocks():
    bundle = pki.bundle()
    headed = {name: b"subject=/CN=x\nBag Attributes: <none>\n\n" + body for name, body in bundle.pem.items()}
    return replace(bundle, pem=headed)


@good("FILE_CRLF")
def windows_line_ends():
    bundle = pki.bundle()
    return replace(bundle, pem={name: body.replace(b"\n", b"\r\n") for name, body in bundle.pem.items()})


@good()
def no_line_end_at_the_end():
    bundle = pki.bundle()
    return replace(bundle, pem={name: body.rstrip() for name, body in bundle.pem.items()})


@good("CRT_SEVERAL")
def leaf_and_ca_in_crt():
    return pki.bundle(files={"server.crt": pki.good_leaf("server").pem + pki.good_ca().pem})


@good("PRIVATE_KEY_IN_CRT", "FILE_OTHER_BLOCKS")
def certificate_and_key_in_one_file():
    both = pki.good_leaf("server").pem + pki.good_leaf("server").key_pem(pki.SERVER_PASSWORD)
    return pki.bundle(files={"server.crt": both})


@good()
def traditional_keys():
    form = PrivateFormat.TraditionalOpenSSL
    server = pki.private_pem(pki.key("ec", "server"), pki.SERVER_PASSWORD, form)
    return pki.bundle(
        client=pki.leaf(pki.good_ca(), "client", key=pki.key("rsa")),
        files={
            "server.key": server,
            "client.key": pki.private_pem(pki.key("rsa"), pki.CLIENT_PASSWORD, form),
        },
    )


@good("KEY_UNENCRYPTED")
def plain_keys_with_passwords():
    keys = {f"{role}.key": pki.good_leaf(role).key_pem(None) for role in ROLES}
    return pki.bundle(files=keys)


@good()
def ready_made_factor_files():
    return with_factors(factor_files())


@good()
def factor_files_of_the_other_build():
    return with_factors(factor_files(builds=(FactorBuild.LIBPQ_OFF, FactorBuild.LIBPQ_OFF)))


@good()
def factor_files_and_passwords():
    return replace(pki.bundle(), factor_files=factor_files())


@good("FACTOR_CRC_WRONG")
def factor_file_with_a_wrong_checksum():
    made = factor_files()
    return with_factors(made, server_rand=made.server_rand[:-1] + bytes([made.server_rand[-1] ^ 1]))


@good()
def one_password_for_both():
    keys = {f"{role}.key": pki.good_leaf(role).key_pem("Gauss@123") for role in ROLES}
    return pki.bundle(files=keys, server_password="Gauss@123", client_password="Gauss@123")


@good("KEYS_SHARED")
def one_key_for_both():
    return pki.bundle(client=pki.leaf(pki.good_ca(), "client", key=pki.key("ec", "server")))


@good()
def crls_of_the_issuing_ca():
    return pki.bundle(files={"server.crl": pki.crl(pki.good_ca()), "client.crl": pki.crl(pki.good_ca())})


@good("CRL_SEVERAL")
def crl_of_another_ca_behind_the_right_one():
    return pki.bundle(files={"client.crl": pki.crl(pki.good_ca()) + pki.crl(pki.ca("other CA"))})


@good("CRL_EXPIRING")
def crl_of_three_days():
    return pki.bundle(files={"client.crl": pki.crl(pki.good_ca(), end=pki.NOW + timedelta(days=3))})


@good("LEAF_OUTLIVES_CA")
def leaf_longer_than_its_ca():
    return pki.of_ca(pki.ca("CA"), end=pki.NOW + timedelta(days=2000))


@good("CERTIFICATE_EXPIRING")
def leaves_of_a_month():
    return pki.of_ca(pki.good_ca(), end=pki.NOW + timedelta(days=30))


@good("CA_EXPIRING", "LEAF_OUTLIVES_CA")
def ca_of_a_month():
    return pki.of_ca(pki.ca("short CA", end=pki.NOW + timedelta(days=30)))


@good("SERIAL_REUSED")
def one_serial_for_both():
    return pki.of_ca(pki.good_ca(), serial=1)


@good("LEAF_SELF_SIGNED")
def self_signed_leaf_in_cacert():
    lonely = pki.ca("lonely", key=pki.key("ec", "server"), usage=("digital_signature", "key_cert_sign"))
    return pki.bundle((lonely, pki.good_ca()), server=lonely)


@good("FILE_UNKNOWN")
def readme_beside_the_files():
    return pki.bundle(files={"README": b"made on a Monday"})


@good()
def other_dns_and_addresses():
    names = x509.SubjectAlternativeName([x509.DNSName("nowhere.example")])
    return pki.of_ca(pki.good_ca(), extra=((names, False),))


@good("CA_WITHOUT_BASIC_CONSTRAINTS")
def ca_by_key_usage_only():
    return pki.of_ca(pki.ca("CA by usage", basic=None))


@good("CA_WITHOUT_BASIC_CONSTRAINTS")
def ca_by_netscape_type_only():
    return pki.of_ca(pki.ca("CA by type", basic=None, usage=None, extra=(pki.netscape(0x04),)))


@good()
def ed25519_ca():
    return pki.of_ca(pki.ca("ed CA", key=pki.key("ed25519")))


@good()
def brainpool_ca():
    return pki.of_ca(pki.ca("brainpool CA", key=pki.key("brainpool")))


@good()
def p224_ca():
    return pki.of_ca(pki.ca("P-224 CA", key=pki.key("p224")))


@good()
def netscape_type_of_both_purposes():
    return pki.of_ca(pki.good_ca(), extra=(pki.netscape(0xC0),))


@good()
def dns_constraint_kept():
    permitted = [x509.DNSName("one.example"), x509.DNSName(".two.example"), x509.DNSName("three.example")]
    authority = pki.constrained(permitted, [x509.DNSName("no.one.example")])
    names = pki.alternative(*map(x509.DNSName, ("ONE.example", "a.b.two.example", "notno.one.example")))
    return pki.of_ca(authority, extra=(names,))


@good()
def dns_constraint_and_common_names_that_are_no_dns_names():
    authority = pki.constrained([x509.DNSName("one.example")], None)
    leaves = (pki.leaf(authority, role, subject=f"{role} no. 1.") for role in ROLES)
    return pki.bundle((authority,), *leaves)


@good()
def dns_constraint_kept_by_the_common_name():
    authority = pki.constrained([x509.DNSName("one.example")], None)
    leaves = (pki.leaf(authority, role, subject=f"{role}.one.example") for role in ROLES)
    return pki.bundle((authority,), *leaves)


@good()
def ip_constraint_kept():
    authority = pki.constrained([pki.ip_network("10.1.0.0/16"), pki.ip_network("fd00::/8")], None)
    names = pki.alternative(pki.ip("10.1.255.9"), pki.ip("fd00::7"), x509.DNSName("elsewhere.example"))
    return pki.of_ca(authority, extra=(names,))


@good()
def directory_constraint_kept():
    base = x509.Name.from_rfc4514_string("O=Example,C=CN")
    authority = pki.constrained([x509.DirectoryName(base)], None)
    subjects = (x509.Name.from_rfc4514_string(f"CN={role},O=EXAMPLE,C=CN") for role in ROLES)
    leaves = (pki.leaf(authority, role, subject=one) for role, one in zip(ROLES, subjects, strict=True))
    return pki.bundle((authority,), *leaves)


@good("CHAIN_NAME_CONSTRAINT_UNJUDGED")
def mail_constraint_kept():
    authority = pki.constrained([x509.RFC822Name("one.example")], None)
    return pki.of_ca(authority, extra=(pki.alternative(x509.RFC822Name("dba@one.example")),))


@good()
def mail_constraint_and_no_mail_address():
    return pki.of_ca(pki.constrained([x509.RFC822Name("one.example")], None))


@good()
def crl_for_end_entities_only():
    return pki.bundle(
        files={"client.crl": pki.crl(pki.good_ca(), extra=(pki.crl_for(only_contains_user_certs=True),))}
    )


@good()
def crl_of_the_distribution_point_that_the_leaves_name():
    name = [x509.UniformResourceIdentifier("http://one.example/crl")]
    points = x509.CRLDistributionPoints([x509.DistributionPoint(name, None, None, None)])
    bundle = pki.of_ca(pki.good_ca(), extra=((points, False),))
    crl = pki.crl(pki.good_ca(), extra=(pki.crl_for(full_name=name),))
    return replace(bundle, pem={**bundle.pem, "server.crl": crl, "client.crl": crl})


@good()
def crl_with_the_authority_key_identifier_of_its_ca():
    akid = x509.AuthorityKeyIdentifier.from_issuer_public_key(pki.good_ca().key.public_key())
    return pki.bundle(files={"client.crl": pki.crl(pki.good_ca(), extra=((akid, False),))})


@good()
def revocation_that_was_taken_back():
    serials = tuple(pki.good_leaf(role).certificate.serial_number for role in ROLES)
    taken_back = (x509.CRLReason(x509.ReasonFlags.remove_from_crl), False)
    return pki.bundle(
        files={"server.crl": pki.crl(pki.good_ca(), revoked=serials, entry_extra=(taken_back,))}
    )


@good()
def blanks_within_the_base64():
    bundle = pki.bundle()
    indented = {
        name: b"\n".join(
            line if line.startswith(b"--") else b"  " + line[:9] + b"\t" + line[9:] for line in lines
        )
        for name, lines in ((name, body.split(b"\n")) for name, body in bundle.pem.items())
    }
    return replace(bundle, pem=indented)


@good()
def empty_line_after_begin():
    return pki.bundle(files={"server.crt": pki.good_leaf("server").pem.replace(b"-----\n", b"-----\n\n", 1)})


@good("PEM_DAMAGED_BEHIND")
def crt_cut_off_behind_the_leaf():
    return pki.bundle(files={"server.crt": pki.good_leaf("server").pem + pki.good_ca().pem[:200]})


@good("PEM_DAMAGED_BEHIND", "CRT_SEVERAL")
def garbage_behind_the_leaf():
    garbage = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    return pki.bundle(files={"server.crt": pki.good_leaf("server").pem + garbage})


@good()
def ca_before_one_of_the_same_key_that_is_no_ca():
    no_ca = x509.BasicConstraints(ca=False, path_length=None)
    good_one, unfit = (pki.ca("twin", key=pki.key("ec", "twin"), **one) for one in ({}, {"basic": no_ca}))
    return pki.bundle((good_one, unfit), *(pki.leaf(good_one, role) for role in ROLES))


@good()
def aes_192_traditional_keys():
    passwords = (pki.SERVER_PASSWORD, pki.CLIENT_PASSWORD)
    files = {
        f"{role}.key": openssl_bundles.traditional(pki.good_leaf(role).key_pem(None), password, "aes192")
        for role, password in zip(ROLES, passwords, strict=True)
    }
    return pki.bundle(files=files)


@good("FACTOR_FILE_TRAILING")
def line_end_behind_a_factor_file():
    made = factor_files()
    return with_factors(
        made, server_cipher=made.server_cipher + b"\n", client_rand=made.client_rand + b"\r\n"
    )


def as_set(bundle: Bundle) -> dict[str, bytes]:
    """The nine files, and CRLs, that a node makes of a bundle."""
    made = bundle.factor_files or factor_files(bundle.server_password, bundle.client_password)
    return {**bundle.pem, **made.as_files()}
