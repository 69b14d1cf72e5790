"""What several documents have in common. Pure."""

from __future__ import annotations

from typing import Final

from gausscert_common.findings import Severity
from gausscert_common.model import CertificateKind, ServedState, SetState, Side, SslValue
from gausscert_common.protocol.exclusion import Return
from gausscert_common.protocol.words import Phase, RestartScope, SslWish

from gausscert_coordinator.schemas.words import (
    Schema,
    by_name,
    code,
    every,
    flag,
    hexadecimal,
    maybe,
    moment,
    number,
    obj,
    part,
    text,
    whole,
    word,
)

_SET: Final = tuple(
    kind
    for kind in CertificateKind
    if kind not in (CertificateKind.CREDENTIAL, CertificateKind.CREDENTIAL_CA)
)

CERTIFICATE: Final[dict[str, Schema]] = {
    "file": text(
        'Its name in the set, or "served by cm_server" if it was seen in a handshake; a path for what belongs'
        " to the control plane."
    ),
    "index": whole("Its place in the file, from 0."),
    "kind": word(_SET),
    "subject": text("RFC 4514; the issuer for a CRL."),
    "issuer": text("RFC 4514."),
    "serial": text('Hex without leading zeros; "" for a CRL without a number.'),
    "fingerprint": hexadecimal("SHA-256 over the DER encoding."),
    "not_before": moment("thisUpdate for a CRL."),
    "not_after": moment("nextUpdate for a CRL."),
}

CREDENTIAL: Final[dict[str, Schema]] = {
    **CERTIFICATE,
    "file": text("Its path on the node."),
    "kind": word((CertificateKind.CREDENTIAL, CertificateKind.CREDENTIAL_CA)),
}
"""An agent's own certificate, or one of a CA that it trusts; neither has anything to do with the set."""

SERVED: Final[dict[str, Schema]] = {
    "cm_node_id": whole("CM's number of the node whose cm_server this is."),
    "target": text('"address:port".'),
    "state": word(ServedState, "How it answered."),
    "fingerprint": hexadecimal('Of the leaf; "" without one.'),
    "chain_verified": flag("Whether the chain verifies against the CA that it must."),
    "not_after": maybe(moment("Of the leaf.")),
    "cause": text("Why there is no leaf, or the chain does not verify."),
}

REFUSAL: Final[dict[str, Schema]] = {
    "connecting": word(Side, "The set of the side that connects."),
    "refusing": word(Side, "The set of the side that refuses."),
    "cause": text("In plain words."),
    "detail": text("In OpenSSL's."),
    "links": every(text(), "Which connections of CM fail: cm_agent to cm_server, and so on."),
    "versions": every(text(), "Of TLS."),
}

OPTIONS: Final[dict[str, Schema]] = {
    "enable_ssl": word(SslWish),
    "restart": word(RestartScope),
    "drop_crls": flag("--drop-crls"),
    "take_over": flag("--take-over"),
    "accept_state": flag("--accept-state"),
    "exclude": every(text(), "Nodes that are left out."),
}

PARTS: Final[dict[str, Schema]] = {
    "finding": obj(
        "One thing wrong, or worth knowing.",
        code=code("Which; docs/findings.md has all of them."),
        severity=word(Severity, "An error refuses the way forward, a warning does not."),
        node=text('"" when it is of no single node.'),
        file=text('"" when it is of no single file.'),
        cause=text("What is wrong, for a person."),
        remedy=text("What to do, for a person."),
    ),
    "error": obj(
        "Why something was not done.",
        reason=code("Which; docs/errors.md has all of them."),
        message=text("What happened, for a person."),
        node=text('A node, several with commas, or "".'),
        file=text('Or "".'),
        remedy=text("What to do, for a person."),
        findings=every(part("finding"), "What was found wrong, where something was judged."),
    ),
    "certificate": obj("One certificate or CRL.", **CERTIFICATE),
    "certificate_set": obj(
        "The files of one directory that together make a set.",
        state=word(SetState),
        digest=hexadecimal('Of the whole set; "" for none.'),
        bundle_digest=hexadecimal("Of the PEM files alone: equal on all nodes that have the same bundle."),
        files=every(obj(name=text(), mode=text('Octal, such as "0400".'), size=whole("Bytes."))),
        certificates=every(part("certificate")),
    ),
    "served": obj("What one cm_server shows in a handshake.", **SERVED),
    "cluster_state": obj(
        "`cm_ctl query`, read.",
        cluster_state=text('CM\'s word, such as "Normal"; "" where query failed.'),
        server_roles=by_name(text(), "The role of each cm_server, by CM's number of the node."),
        cause=text("Why query failed."),
    ),
    "enable_ssl": obj(
        "The switches in both files; missing: no such line, absent: no such file or part.",
        server=word(SslValue, "cm_server.conf"),
        agent=word(SslValue, "cm_agent.conf"),
    ),
    "in_flight": obj(
        "A transaction that has begun on some node and is not over.",
        transaction_id=text(),
        holder=text("Who began it, as far as the nodes know."),
        since=maybe(moment("When.")),
        phases=by_name(word(Phase), "Of each node that takes part in it."),
        lease_left_s=number("How much longer its coordinator holds a node; 0: it is in doubt, or waits."),
        waits=flag("It is committed, and waits for excluded nodes."),
        excluded=by_name(word(Return), "Nodes that it was begun without."),
        held_by=text('Who has the fence now, if that is somebody else; else "".'),
    ),
    "refusal": obj("A handshake that fails.", **REFUSAL),
}
