"""The control plane's own identities. Pure."""

from __future__ import annotations

from typing import Final

from gausscert_common.identity import Role

from gausscert_coordinator.schemas.parts import CREDENTIAL
from gausscert_coordinator.schemas.words import (
    Schema,
    every,
    flag,
    hexadecimal,
    maybe,
    moment,
    obj,
    part,
    text,
    whole,
    word,
)

STATES: Final = ("ok", "expiring", "expired", "revoked", "superseded")

ISSUED: Final[dict[str, Schema]] = {
    "identity": text("A URI, as in the certificate."),
    "cert": text("The file."),
    "key": text("The file."),
    "ca": text("The file."),
    "fingerprint": text("SHA-256 over the DER encoding."),
    "not_after": moment(""),
}

DOCUMENTS: Final[dict[str, tuple[str, dict[str, Schema]]]] = {
    "pki-init": (
        "gausscert pki init.",
        {
            "cluster": text(),
            "ca": text("The file."),
            "key": text("The file."),
            "encrypted": flag("The key has a passphrase."),
        },
    ),
    "pki-issue": ("gausscert pki issue.", ISSUED),
    "pki-renew": (
        "gausscert pki renew.",
        {
            "issued": maybe(obj("The files; null where agents were renewed.", **ISSUED)),
            "nodes": every(
                obj(
                    node=text(),
                    credential=maybe(obj("The agent's own, as it is now; null: not renewed.", **CREDENTIAL)),
                    error=maybe(part("error")),
                )
            ),
        },
    ),
    "pki-revoke": (
        "gausscert pki revoke: what was revoked, and which agents refuse it.",
        {
            "revoked": every(
                obj(
                    identity=text("A URI."),
                    serial=text("Hex."),
                    fingerprint=hexadecimal("Of the certificate."),
                )
            ),
            "nodes": every(
                obj(
                    node=text(),
                    added=whole("How many credentials were new to it."),
                    total=whole("How many it refuses now."),
                    error=maybe(part("error")),
                )
            ),
        },
    ),
    "pki-list": (
        "gausscert pki list: everything the CA has issued and, if asked, what the agents have.",
        {
            "identities": every(
                obj(
                    identity=text("A URI."),
                    role=word(Role),
                    name=text(),
                    serial=text("Hex."),
                    fingerprint=hexadecimal("Of the certificate."),
                    not_before=moment(""),
                    not_after=moment(""),
                    days_left=whole("Whole days; negative: it has expired."),
                    revoked=flag("It is on the deny list of this directory."),
                    state=word(STATES, "superseded: a newer one of the same identity is there."),
                )
            ),
            "agents": every(
                obj(
                    node=text(),
                    certificates=every(
                        obj(
                            **CREDENTIAL,
                            days_left=whole("Whole days; negative: it has expired."),
                            known=flag("It is among the identities."),
                        )
                    ),
                    error=maybe(part("error")),
                )
            ),
        },
    ),
}
