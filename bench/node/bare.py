"""The bare parts: the least that anybody must do who does it at all. They use the agent's system call for the
exchange, for Python has none, and nothing else of it."""

from __future__ import annotations

import hashlib
import os
import shutil
import ssl
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from gausscert_agent import syscalls

from bench.node.material import PASSWORD

if TYPE_CHECKING:
    from collections.abc import Mapping

ROLES = ("server", "client")
_PROBE = b"proof of possession"
_SPKI = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def validate(files: Mapping[str, bytes]) -> None:
    """The fast path: both keys open, belong to their certificates, which belong to the CA; possession is
    proven by a signature instead of the primality test."""
    authority = x509.load_pem_x509_certificate(files["cacert.pem"])
    for role in ROLES:
        certificate = x509.load_pem_x509_certificate(files[f"{role}.crt"])
        key = serialization.load_pem_private_key(
            files[f"{role}.key"], PASSWORD.encode(), unsafe_skip_rsa_key_validation=True
        )
        public = certificate.public_key()
        assert public.public_bytes(*_SPKI) == key.public_key().public_bytes(*_SPKI)
        certificate.verify_directly_issued_by(authority)
        if isinstance(key, rsa.RSAPrivateKey) and isinstance(public, rsa.RSAPublicKey):
            signed = key.sign(_PROBE, padding.PKCS1v15(), hashes.SHA256())
            public.verify(signed, _PROBE, padding.PKCS1v15(), hashes.SHA256())
        elif isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(public, ec.EllipticCurvePublicKey):
            public.verify(key.sign(_PROBE, ec.ECDSA(hashes.SHA256())), _PROBE, ec.ECDSA(hashes.SHA256()))
        else:
            raise TypeError(type(key))


def handshake(directory: Path) -> None:
    """One mutual handshake of both certificates in memory, with what it takes to load them."""
    _shake(
        _context(ssl.PROTOCOL_TLS_SERVER, directory, "server"),
        _context(ssl.PROTOCOL_TLS_CLIENT, directory, "client"),
    )


def _shake(server: ssl.SSLContext, client: ssl.SSLContext) -> None:
    """Whether or not the two trust each other: a refusal costs what a handshake costs."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    waiting = [
        client.wrap_bio(to_client, to_server),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    while waiting:
        for end in tuple(waiting):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLError:
                return
            waiting.remove(end)


def _context(protocol: int, directory: Path, role: str) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(directory / "cacert.pem")
    context.load_cert_chain(directory / f"{role}.crt", directory / f"{role}.key", PASSWORD)
    return context


def look_at_processes() -> int:
    """What every process of the machine that has a program is the program of: its executable and how it was
    called. How many there are."""
    seen = 0
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        try:
            os.readlink(f"/proc/{pid}/exe")
            with open(f"/proc/{pid}/cmdline", "rb", buffering=0) as file:
                file.read()
        except OSError:
            continue
        seen += 1
    return seen


_ROLES_BOTH_WAYS = (("server", "client"), ("server", "server"), ("client", "client"))
_VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
_ITERATIONS = 10_000
"""Of PBKDF2 in factor files (facts section 3)."""


def rehearse(one: Path, other: Path, cipher: bytes) -> None:
    """What the promise of Prepare needs: the set on itself, and against the live one both ways, each in CM's
    three pairs of certificates and both versions of TLS; and before that each key password out of its factor
    files. Every key is opened once for accepting and once for connecting."""
    for _ in (one, other):
        for _ in ROLES:
            hashlib.pbkdf2_hmac("sha256", PASSWORD.encode(), cipher, _ITERATIONS, 32)
    contexts = {
        (directory, protocol, role): _context(protocol, directory, role)
        for directory in (one, other)
        for protocol in (ssl.PROTOCOL_TLS_SERVER, ssl.PROTOCOL_TLS_CLIENT)
        for role in ROLES
    }
    for accepting, connecting in ((one, one), (one, other), (other, one)):
        for server_role, client_role in _ROLES_BOTH_WAYS:
            for version in _VERSIONS:
                server = contexts[accepting, ssl.PROTOCOL_TLS_SERVER, server_role]
                client = contexts[connecting, ssl.PROTOCOL_TLS_CLIENT, client_role]
                for context in (server, client):
                    context.maximum_version = ssl.TLSVersion.MAXIMUM_SUPPORTED
                    context.minimum_version = version
                    context.maximum_version = version
                _shake(server, client)


_RECORD_BYTES = 1024
"""Two sectors, as a record of the agent's journal has."""


class Sets:
    """A directory with a live set and a stage, as bare as can be.

    Args:
        root: An existing directory.
        files: The files of a set.
    """

    def __init__(self, root: Path, files: Mapping[str, bytes]) -> None:
        self.path = Path(tempfile.mkdtemp(dir=root, prefix="bare-"))
        self._files = files
        self._parent = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        self.write("live")
        self.write("stage")

    def close(self) -> None:
        """Remove it."""
        os.close(self._parent)
        shutil.rmtree(self.path)

    def write(self, name: str) -> None:
        """A new set: write all, fsync all, then the directory and its parent: 11 fsyncs."""
        os.mkdir(name, 0o700, dir_fd=self._parent)
        directory = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=self._parent)
        written = []
        for file_name, body in self._files.items():
            descriptor = os.open(file_name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400, dir_fd=directory)
            os.write(descriptor, body)
            written.append(descriptor)
        for descriptor in written:
            os.fsync(descriptor)
            os.close(descriptor)
        os.fsync(directory)
        os.close(directory)
        os.fsync(self._parent)

    def remove(self, name: str) -> None:
        """Not a part of anything that is measured."""
        shutil.rmtree(self.path / name)

    def exchange(self) -> None:
        """Live and stage swap places, durably: 1 fsync."""
        syscalls.exchange(self._parent, "live", "stage")
        os.fsync(self._parent)

    def record(self) -> None:
        """A record in place, durably: 1 fdatasync, as whoever votes must have before he answers."""
        with (self.path / "record").open(
            "r+b" if (self.path / "record").exists() else "w+b", buffering=0
        ) as file:
            file.write(b"record ".ljust(_RECORD_BYTES, b"."))
            os.fdatasync(file.fileno())

    def point(self) -> None:
        """The same where directories cannot be exchanged: a link replaced by a rename, 1 fsync."""
        link, other = "..data", "..new"
        target = "stage" if self._target(link) == "live" else "live"
        os.symlink(target, other, dir_fd=self._parent)
        os.rename(other, link, src_dir_fd=self._parent, dst_dir_fd=self._parent)
        os.fsync(self._parent)

    def digest(self, which: str = "live") -> str:
        """Read a set."""
        found = hashlib.sha256()
        for name in self._files:
            found.update((self.path / which / name).read_bytes())
        return found.hexdigest()

    def _target(self, link: str) -> str:
        try:
            return os.readlink(link, dir_fd=self._parent)
        except FileNotFoundError:
            return ""
