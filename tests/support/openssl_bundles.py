"""Bundles made by the openssl command line, exactly as the openGauss documentation and its installer do.

    bundle = make_bundle(tmp_path, style="om")

Passwords go by stdin or files, as everywhere. RSA keys take long, so each style is made once per
process; `make_bundle` then only copies the files into the directory.
"""

from __future__ import annotations

import functools
import subprocess
import tempfile
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from gausscert_common.bundle import Bundle
from support import pki

PASSWORD = "Gauss@123"
OM_SUBJECT = "/C=CN/ST=NULL/L=NULL/O=NULL/OU=NULL/CN={}"
"""What openGauss's installer always uses (facts section 10.2)."""
OM_DAYS = 10950
ROLES = ("server", "client")

STYLES = (
    "om",
    "documented",
    "traditional",
    "pkcs8-des3",
    "ec",
    "ec-sec1",
    "text",
    "intermediate",
    "two-cas",
    "with-crl",
    "v1-ca",
)
"""om: the installer's. documented: docs/bundle.md's. traditional: keys with `Proc-Type: 4,ENCRYPTED`.
text: keys and certificates with a printout before the PEM block. v1-ca: a CA of X.509 version 1."""


def make_bundle(
    directory: Path,
    *,
    server_password: str = PASSWORD,
    client_password: str = PASSWORD,
    style: str = "om",
) -> Bundle:
    """A bundle in this style, its files written into the directory, 0600."""
    bundle = _made(style, server_password, client_password)
    directory.mkdir(exist_ok=True)
    for name, body in bundle.pem.items():
        path = directory / name
        path.touch(0o600)
        path.write_bytes(body)
    return bundle


@functools.cache
def _made(style: str, server_password: str, client_password: str) -> Bundle:
    with tempfile.TemporaryDirectory() as folder:
        workshop = Workshop(Path(folder), {"server": server_password, "client": client_password})
        _STYLES[style](workshop)
        names = ["cacert.pem", *(f"{role}.{end}" for role in ROLES for end in ("crt", "key", "crl"))]
        pem = {one: (workshop.path / one).read_bytes() for one in names if (workshop.path / one).exists()}
    return Bundle(pem, server_password, client_password)


class Workshop:
    """A directory in which openssl works."""

    def __init__(self, path: Path, passwords: dict[str, str]) -> None:
        self.path = path
        self.passwords = {"cakey": PASSWORD, **passwords}

    def run(self, *argv: str, password: str | None = None) -> bytes:
        """Run openssl; a password goes by stdin, twice since some commands ask for it twice."""
        text = f"{password}\n{password}\n".encode() if password is not None else b""
        done = subprocess.run(
            ["openssl", *argv], cwd=self.path, input=text, capture_output=True, check=False, timeout=60
        )
        if done.returncode:
            raise AssertionError(f"openssl {argv[0]}: {done.stderr.decode()}")
        return done.stdout

    def rsa_key(self, name: str, bits: int = 2048, *options: str) -> None:
        """An encrypted RSA key in `<name>.key`."""
        out = ("-out", f"{name}.key", str(bits))
        self.run(
            "genrsa",
            *options,
            "-aes256",
            "-passout",
            "stdin",
            *out,
            password=self.passwords.get(name, PASSWORD),
        )

    def ca(self, name: str = "cakey", subject: str = OM_SUBJECT.format("CA"), *options: str) -> None:
        """A self-signed CA in `<name>.pem`, with its key in `<name>.key`."""
        self.rsa_key(name, 3072)
        signed = ("-out", f"{name}.pem", "-sha256", "-days", str(OM_DAYS), "-subj", subject, *options)
        self.run(
            "req", "-new", "-x509", "-key", f"{name}.key", "-passin", "stdin", *signed, password=PASSWORD
        )

    def leaf(self, role: str, ca: str = "cakey", *, days: int = OM_DAYS, subject: str = OM_SUBJECT) -> None:
        """A leaf in `<role>.crt` for `<role>.key`, without extensions, as the installer does."""
        request = ("-new", "-key", f"{role}.key", "-out", f"{role}.csr", "-subj", subject.format(role))
        self.run("req", *request, "-passin", "stdin", password=self.passwords[role])
        signing = ("-CA", f"{ca}.pem", "-CAkey", f"{ca}.key", "-CAcreateserial", "-passin", "stdin")
        which = ("-in", f"{role}.csr", "-out", f"{role}.crt", "-days", str(days), "-sha256")
        self.run("x509", "-req", *which, *signing, password=PASSWORD)

    def join(self, name: str, *parts: str) -> None:
        """Write several files into one."""
        (self.path / name).write_bytes(b"".join((self.path / part).read_bytes() for part in parts))


def _om(workshop: Workshop) -> None:
    workshop.ca()
    workshop.join("cacert.pem", "cakey.pem")
    for role in ROLES:
        workshop.rsa_key(role)
        workshop.leaf(role)


def _documented(workshop: Workshop) -> None:
    extensions = ("basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign")
    added = [word for one in extensions for word in ("-addext", one)]
    workshop.run("version")
    workshop.ca("cakey", "/C=CN/O=example/CN=openGauss CM CA 2026", *added)
    workshop.join("cacert.pem", "cakey.pem")
    for role in ROLES:
        workshop.rsa_key(role)
        workshop.leaf(role, days=1095, subject="/C=CN/O=example/CN={}")


def _traditional(workshop: Workshop) -> None:
    workshop.ca()
    workshop.join("cacert.pem", "cakey.pem")
    for role in ROLES:
        workshop.rsa_key(role, 2048, "-traditional")
        workshop.leaf(role)


def _pkcs8_des3(workshop: Workshop) -> None:
    _om(workshop)
    for role in ROLES:
        password = workshop.passwords[role]
        (workshop.path / "secret").write_text(f"{password}\n{password}\n")
        words = ("-passin", "file:secret", "-passout", "file:secret", "-v2", "des3")
        workshop.run("pkcs8", "-topk8", "-in", f"{role}.key", *words, "-out", "new")
        workshop.join(f"{role}.key", "new")


def _ec(workshop: Workshop) -> None:
    workshop.ca()
    workshop.join("cacert.pem", "cakey.pem")
    for role, curve in zip(ROLES, ("P-256", "P-384"), strict=True):
        options = ("-algorithm", "EC", "-pkeyopt", f"ec_paramgen_curve:{curve}", "-aes256")
        password = workshop.passwords[role]
        workshop.run("genpkey", *options, "-pass", "stdin", "-out", f"{role}.key", password=password)
        workshop.leaf(role)


def _ec_sec1(workshop: Workshop) -> None:
    _ec(workshop)
    for role in ROLES:
        (workshop.path / "secret").write_text(f"{workshop.passwords[role]}\n" * 2)
        workshop.run("ecparam", "-name", "prime256v1", "-out", "parameters")
        words = ("-passin", "file:secret", "-passout", "file:secret", "-aes256", "-out", "new")
        workshop.run("ec", "-in", f"{role}.key", *words)
        workshop.join(f"{role}.key", "parameters", "new")


def _text(workshop: Workshop) -> None:
    _om(workshop)
    for name in ("cacert.pem", "server.crt", "client.crt"):
        workshop.run("x509", "-in", name, "-text", "-out", "new")
        workshop.join(name, "new")
    for role in ROLES:
        (workshop.path / "header").write_bytes(b"RSA Private-Key: (2048 bit, 2 primes)\nmodulus: 00:00\n")
        workshop.join("new", "header", f"{role}.key")
        workshop.join(f"{role}.key", "new")


def _intermediate(workshop: Workshop) -> None:
    workshop.ca("root", "/CN=root")
    workshop.rsa_key("middle")
    request = ("-new", "-key", "middle.key", "-out", "middle.csr", "-subj", "/CN=middle")
    workshop.run("req", *request, "-passin", "stdin", password=PASSWORD)
    (workshop.path / "ca.ext").write_text("basicConstraints=CA:TRUE\n")
    signing = ("-CA", "root.pem", "-CAkey", "root.key", "-CAcreateserial", "-passin", "stdin")
    which = ("-in", "middle.csr", "-out", "middle.pem", "-days", str(OM_DAYS), "-extfile", "ca.ext")
    workshop.run("x509", "-req", *which, *signing, password=PASSWORD)
    workshop.join("cacert.pem", "middle.pem", "root.pem")
    for role in ROLES:
        workshop.rsa_key(role)
        workshop.leaf(role, "middle")


def _two_cas(workshop: Workshop) -> None:
    _om(workshop)
    workshop.ca("other", "/C=CN/CN=old CA")
    workshop.join("cacert.pem", "other.pem", "cakey.pem")


def _with_crl(workshop: Workshop) -> None:
    _documented(workshop)
    (workshop.path / "index.txt").touch()
    (workshop.path / "ca.conf").write_text(
        "[ca]\ndefault_ca=one\n[one]\ndatabase=index.txt\ndefault_md=sha256\ndefault_crl_days=30\n"
    )
    which = ("-config", "ca.conf", "-gencrl", "-keyfile", "cakey.key", "-cert", "cakey.pem")
    workshop.run("ca", *which, "-passin", "stdin", "-out", "server.crl", password=PASSWORD)
    workshop.join("client.crl", "server.crl")


def _v1_ca(workshop: Workshop) -> None:
    workshop.rsa_key("cakey", 3072)
    request = ("-new", "-key", "cakey.key", "-out", "cakey.csr", "-subj", OM_SUBJECT.format("CA"))
    workshop.run("req", *request, "-passin", "stdin", password=PASSWORD)
    which = ("-in", "cakey.csr", "-signkey", "cakey.key", "-days", str(OM_DAYS), "-out", "cakey.pem")
    workshop.run("x509", "-req", *which, "-passin", "stdin", password=PASSWORD)
    workshop.join("cacert.pem", "cakey.pem")
    for role in ROLES:
        workshop.rsa_key(role)
        workshop.leaf(role)


_STYLES = {
    "om": _om,
    "documented": _documented,
    "traditional": _traditional,
    "pkcs8-des3": _pkcs8_des3,
    "ec": _ec,
    "ec-sec1": _ec_sec1,
    "text": _text,
    "intermediate": _intermediate,
    "two-cas": _two_cas,
    "with-crl": _with_crl,
    "v1-ca": _v1_ca,
}


def signed_again(one: pki.Issued, issuer: pki.Issued, digest: str) -> pki.Issued:
    """A self-signed certificate, signed anew with a digest that `cryptography` refuses to sign with."""
    with tempfile.TemporaryDirectory() as folder:
        workshop = Workshop(Path(folder), {})
        for name, body in (("in", one.pem), ("ca", issuer.pem), ("key", issuer.key_pem(None))):
            (workshop.path / name).write_bytes(body)
        which = ("-in", "in", "-CA", "ca", "-CAkey", "key", "-set_serial", "77", f"-{digest}")
        pem = workshop.run("x509", *which, "-preserve_dates")
    return replace(one, certificate=x509.load_pem_x509_certificate(pem))


def crl(authority: pki.Issued, digest: str) -> bytes:
    """A CRL that `cryptography` refuses to sign with this digest."""
    with tempfile.TemporaryDirectory() as folder:
        workshop = _authority(folder, authority, digest)
        return workshop.run(*_CA, "-gencrl", "-crl_lastupdate", f"{_YESTERDAY}Z")


_CA = ("ca", "-config", "conf", "-keyfile", "cakey", "-cert", "ca")
_YESTERDAY = f"{pki.NOW - timedelta(days=1):%Y%m%d%H%M%S}"


def _authority(folder: str, authority: pki.Issued, digest: str) -> Workshop:
    """A directory in which `openssl ca` works: it alone lets one choose when things begin."""
    workshop = Workshop(Path(folder), {})
    settings = ("database=index.txt", "new_certs_dir=.", "serial=serial", "policy=any", "default_days=900")
    lines = ("[ca]", "default_ca=one", "[one]", f"default_md={digest}", "default_crl_days=30", *settings)
    files = {
        "ca": authority.pem,
        "cakey": authority.key_pem(None),
        "index.txt": b"",
        "serial": b"77\n",
        "conf": "\n".join((*lines, "[any]", "commonName=supplied", "")).encode(),
    }
    for name, body in files.items():
        (workshop.path / name).write_bytes(body)
    return workshop


def encrypted(key: bytes, password: str, cipher: str) -> bytes:
    """A plain key, encrypted as PKCS#8."""
    return _re_encrypted(key, password, "pkcs8", "-topk8", "-v2", cipher)


def traditional(key: bytes, password: str, cipher: str) -> bytes:
    """A plain EC key, encrypted as OpenSSL did before PKCS#8."""
    return _re_encrypted(key, password, "ec", f"-{cipher}")


def _re_encrypted(key: bytes, password: str, *words: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        workshop = Workshop(Path(folder), {})
        (workshop.path / "in").write_bytes(key)
        return workshop.run(*words, "-in", "in", "-passout", "stdin", password=password)


def explicit_curve_leaf(authority: pki.Issued, password: str) -> tuple[bytes, bytes]:
    """Key and certificate on P-256, its parameters written out instead of named."""
    with tempfile.TemporaryDirectory() as folder:
        workshop = _authority(folder, authority, "sha256")
        curve = ("-name", "prime256v1", "-param_enc", "explicit")
        workshop.run("ecparam", "-genkey", "-noout", *curve, "-out", "key")
        workshop.run("req", "-new", "-key", "key", "-subj", "/CN=server", "-out", "csr")
        words = ("-batch", "-notext", "-startdate", f"{_YESTERDAY}Z", "-in", "csr", "-out", "crt")
        workshop.run(*_CA, *words)
        key = encrypted((workshop.path / "key").read_bytes(), password, "aes-256-cbc")
        return key, (workshop.path / "crt").read_bytes()
