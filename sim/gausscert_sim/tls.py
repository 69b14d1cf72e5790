"""Certificates as CM loads them: its checks, its order, its error texts (facts sections 2, 4, 17)."""

from __future__ import annotations

import os
import ssl
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from gausscert_sim import cm_cipher, pem

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CIPHERS: Final = (
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-AES128-GCM-SHA256:@SECLEVEL=0"
)
"""cs_ssl.cpp:69-98; the security level is forced to 0 with OpenSSL 3 (cs_ssl.cpp:1264-1267)."""

CM_FORBIDDEN: Final = stat.S_IRWXG | stat.S_IRWXO | stat.S_IXUSR | stat.S_IWUSR
"""cm_ssl_verify_file_stat: only 0400 and 0000 pass (cs_ssl.cpp:1797-1813)."""
DCC_FORBIDDEN: Final = stat.S_IRWXG | stat.S_IRWXO | stat.S_IXUSR
"""DCC and the agents' heartbeat let 0600 pass (facts section 2)."""


class TlsFailure(Exception):
    """CM could not load its certificates; the text is CM's own."""


class PasswordFailure(TlsFailure):
    """The factor files do not give a password."""


class ModeFailure(TlsFailure):
    """A file has a mode that CM refuses."""


def names(role: str) -> tuple[str, str, str]:
    """The files whose mode CM checks, for "server" or "client", in CM's order."""
    return f"{role}.key", f"{role}.crt", "cacert.pem"


def check_modes(directory: Path, role: str, forbidden: int) -> None:
    """Refuse a file with one of the forbidden mode bits; a missing one passes here.

    Raises:
        ModeFailure: With CM's puzzling text, which does not mention the owner's write bit.
    """
    for name in names(role):
        path = directory / name
        try:
            status = path.stat()
        except FileNotFoundError:
            continue
        if not stat.S_ISREG(status.st_mode) or status.st_mode & forbidden:
            raise ModeFailure(
                f'[cm_ssl_verify_file_stat] SSL server certificate file "{path.resolve()}" has execute, '
                "group or world access permission."
            )


def key_password(directory: Path, role: str, layout: cm_cipher.Layout) -> bytes:
    """What the factor files give as password.

    Raises:
        PasswordFailure: They are missing, short, or do not decrypt.
    """
    bodies = []
    for suffix in ("cipher", "rand"):
        path = directory / f"{role}.key.{suffix}"
        try:
            bodies.append(path.read_bytes())
        except OSError as cause:
            raise PasswordFailure(f'could not open file "{path}": {cause.strerror}') from cause
    try:
        return cm_cipher.decrypt(bodies[0], bodies[1], layout)
    except cm_cipher.DecryptionFailed as cause:
        raise PasswordFailure(f"could not read file: {cause}") from cause


def acceptor(directory: Path, password: bytes, role: str = "server", *, crl: bool = True) -> ssl.SSLContext:
    """The side that accepts: asks for a certificate, verifies it if one comes (facts section 4).

    Args:
        directory: Where the set lies.
        password: Of the key.
        role: "server" or "client": whose files to use.
        crl: Whether to use `<role>.crl` if it exists; DCC never does (facts section 1).

    Raises:
        TlsFailure: A file cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_OPTIONAL
    return _load(context, directory, role, password, crl=crl)


def connector(directory: Path, password: bytes, role: str = "client", *, crl: bool = True) -> ssl.SSLContext:
    """The side that connects: verifies the chain, never a host name (facts section 4).

    Args: as `acceptor`.

    Raises:
        TlsFailure: A file cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    return _load(context, directory, role, password, crl=crl)


def client_context(directory: Path, layout: cm_cipher.Layout) -> ssl.SSLContext:
    """What cm_ctl and cm_agent do anew for every connection (ctl_common.cpp:325-369).

    Raises:
        TlsFailure: A file cannot be used.
    """
    password = key_password(directory, "client", layout)
    check_modes(directory, "client", CM_FORBIDDEN)
    return connector(directory, password)


def failure_text(error: OSError) -> str:
    """CM's line for a handshake that failed (cs_ssl.cpp:1085-1095)."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"SSL verify certificate failed: result code is {error.verify_code}, {error.verify_message}"
    reason = getattr(error, "reason", None) or type(error).__name__
    return f"SSL connect failed: SSL error {error.errno or 1}, {reason}"


def _load(
    context: ssl.SSLContext, directory: Path, role: str, password: bytes, *, crl: bool
) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    _load_authority(context, directory / "cacert.pem")
    _load_pair(context, directory / f"{role}.crt", directory / f"{role}.key", password)
    if crl:
        _load_crl(context, directory / f"{role}.crl")
    return context


def _load_authority(context: ssl.SSLContext, path: Path) -> None:
    try:
        context.load_verify_locations(cafile=str(path))
    except (OSError, ValueError) as cause:
        raise TlsFailure("Load CA certificate file failed") from cause


def _load_pair(context: ssl.SSLContext, certificate: Path, key: Path, password: bytes) -> None:
    try:
        first = pem.first_certificate(certificate.read_bytes())
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem.der(first))
    except (OSError, ValueError) as cause:
        raise TlsFailure("Unable to get certificate") from cause
    try:
        with _memory_file(first) as alone:
            context.load_cert_chain(alone, str(key), password=lambda: password)
    except (OSError, ValueError) as cause:
        if getattr(cause, "reason", None) == "KEY_VALUES_MISMATCH":
            raise TlsFailure("Private key does not match the certificate public key") from cause
        raise TlsFailure("Unable to get private key") from cause


def _load_crl(context: ssl.SSLContext, path: Path) -> None:
    """Picked up merely because it exists; only the first list counts, for leaves alone."""
    if not path.exists():
        return
    try:
        first = pem.blocks(path.read_bytes(), "X509 CRL")[0]
        with _memory_file(first) as alone:
            context.load_verify_locations(cafile=alone)
    except (OSError, IndexError) as cause:
        raise TlsFailure("Load Certificate revocation list failed") from cause
    context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF


@contextmanager
def _memory_file(body: bytes) -> Iterator[str]:
    """A path to bytes that lie on no disk, for an API that insists on a path."""
    descriptor = os.memfd_create("gausscert-sim", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, body)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
