"""Rules about certificates, their chains, revocation lists and the live set."""

from __future__ import annotations

from typing import Final

from gausscert_common.validate.rule import ERROR, WARNING, Rule, table

CERTIFICATES: Final = table(
    Rule(
        "CERTIFICATE_UNREADABLE",
        ERROR,
        "A certificate cannot be read",
        "It is damaged or breaks X.509; one such block makes OpenSSL refuse a whole cacert.pem.",
        "copy the certificate again, or have it issued again",
    ),
    Rule(
        "CERTIFICATE_EXPIRED",
        ERROR,
        "A leaf is expired",
        "cm_server starts, logs it, and every handshake fails (verify result 10).",
        "have a new certificate issued; check the clocks",
    ),
    Rule(
        "CERTIFICATE_NOT_YET_VALID",
        ERROR,
        "A leaf is not yet valid",
        "cm_server starts and logs nothing, and every handshake fails (verify result 9).",
        "wait, or have it issued with an earlier begin; check the clocks",
    ),
    Rule(
        "CERTIFICATE_EXPIRING",
        WARNING,
        "A leaf expires soon",
        "It has fewer days left than ssl_cert_expire_alert_threshold; CM logs it every day from now on.",
        "have a longer-lived certificate issued",
    ),
    Rule(
        "CA_EXPIRED",
        ERROR,
        "A CA certificate of the chain is expired",
        "Every handshake fails (verify result 10).",
        "use a new CA, or have the CA certificate renewed",
    ),
    Rule(
        "CA_NOT_YET_VALID",
        ERROR,
        "A CA certificate of the chain is not yet valid",
        "Every handshake fails (verify result 9).",
        "wait, or use another CA; check the clocks",
    ),
    Rule(
        "CA_EXPIRING",
        WARNING,
        "A CA certificate of the chain expires soon",
        "It has fewer days left than ssl_cert_expire_alert_threshold; all leaves end with it.",
        "use a new CA",
    ),
    Rule(
        "CA_UNUSED_EXPIRED",
        WARNING,
        "An expired certificate in cacert.pem that no leaf needs",
        "CM walks over all of cacert.pem and logs it as expired every day (cs_ssl.cpp:1321-1371).",
        "remove it from cacert.pem",
    ),
    Rule(
        "CERTIFICATE_SERIAL_NOT_POSITIVE",
        WARNING,
        "A certificate has a serial number of zero or less",
        "RFC 5280 section 4.1.2.2 wants a positive one; libraries begin to refuse others.",
        "have it issued again with a random serial number",
    ),
    Rule(
        "SIGNATURE_WEAK",
        ERROR,
        "A certificate or CRL is signed with MD5 or SHA-1",
        "Such signatures can be forged, and OpenSSL refuses them at its default security level.",
        "have it signed with SHA-256",
    ),
    Rule(
        "SIGNATURE_ALGORITHM_UNKNOWN",
        ERROR,
        "A certificate or CRL is signed in a way that cannot be checked",
        "gausscert hands nothing to the cluster whose signature it could not verify.",
        "have it signed by an RSA or EC key with SHA-256 or better",
    ),
    Rule(
        "LEAF_PURPOSE",
        ERROR,
        "A leaf must not be used both as server and as client",
        "server.crt also dials out between cm_servers, client.crt also serves the agents' heartbeat mesh: "
        "with one purpose only there is no primary (verify result 26).",
        "have it issued with extendedKeyUsage serverAuth and clientAuth, or without extendedKeyUsage; "
        "nsCertType must say both, too, or be left out",
    ),
    Rule(
        "LEAF_KEY_USAGE",
        ERROR,
        "A leaf's keyUsage excludes digitalSignature",
        "CM's ciphers all use ephemeral keys signed by the certificate's key (RFC 8446 section 4.4.2.2).",
        "have it issued with keyUsage digitalSignature, or without keyUsage",
    ),
    Rule(
        "CRITICAL_EXTENSION_UNKNOWN",
        ERROR,
        "A certificate has a critical extension that OpenSSL does not know",
        "Verification fails with result 34 (RFC 5280 section 4.2).",
        "have it issued without this extension, or with it as not critical",
    ),
    Rule(
        "CERTIFICATE_PROXY",
        ERROR,
        "A certificate is a proxy certificate",
        "CM does not allow them (RFC 3820; verify result 40).",
        "use a certificate of the CA itself",
    ),
    Rule(
        "CRT_SEVERAL",
        WARNING,
        "A .crt file holds several certificates",
        "CM takes the first one only and never sends the others (cs_ssl.cpp:1117-1152).",
        "leave only the leaf; intermediates belong into cacert.pem",
    ),
    Rule(
        "SERIAL_REUSED",
        WARNING,
        "A serial number of this issuer is used twice",
        "RFC 5280 section 4.1.2.2: issuer and serial name one certificate. A CRL cannot tell the two apart.",
        "have the certificate issued with a random serial number",
    ),
)

CHAINS: Final = table(
    Rule(
        "LEAF_NOT_SIGNED_BY_CA",
        ERROR,
        "A leaf is not signed by a CA in cacert.pem",
        "Peers refuse it (verify result 7, 20 or 21).",
        "put the CA that issued it into cacert.pem, or have it issued by the CA that is there",
    ),
    Rule(
        "LEAF_SELF_SIGNED",
        WARNING,
        "A leaf is self-signed",
        "It lies in cacert.pem itself, so peers accept it, but it never changes without cacert.pem.",
        "use a CA and leaves issued by it",
    ),
    Rule(
        "LEAF_NAMED_LIKE_CA",
        ERROR,
        "A leaf has the same subject as its CA",
        "OpenSSL takes it for a self-signed certificate and refuses it (verify result 18).",
        "have it issued with a subject of its own",
    ),
    Rule(
        "INTERMEDIATE_ONLY_IN_CRT",
        ERROR,
        "An intermediate CA is only in the .crt file",
        "CM ignores everything but the first certificate of a .crt "
        "(cs_ssl.cpp:1117-1152), so there is no chain.",
        "put the intermediate into cacert.pem, beside the root",
    ),
    Rule(
        "ROOT_MISSING",
        ERROR,
        "The root of a chain is missing from cacert.pem",
        "CM does not accept partial chains (verify result 2).",
        "put the self-signed root into cacert.pem, beside the intermediates",
    ),
    Rule(
        "CHAIN_SIGNATURE_WRONG",
        ERROR,
        "A CA certificate is not signed by the CA it names",
        "Peers refuse the chain (verify result 7); usually the upper CA was made anew under the same name.",
        "put the CA certificate into cacert.pem that really signed it",
    ),
    Rule(
        "CHAIN_TOO_DEEP",
        ERROR,
        "A chain has too many certificates",
        "CM verifies at most 10 intermediates (cs_ssl.cpp:44).",
        "use a shorter chain",
    ),
    Rule(
        "CHAIN_PATH_LENGTH",
        ERROR,
        "A chain is longer than one of its CAs allows",
        "pathLenConstraint limits the CAs below (RFC 5280 section 4.2.1.9; verify result 25).",
        "issue the leaves from a higher CA, or renew the CA with a larger pathLenConstraint",
    ),
    Rule(
        "CA_DN_AMBIGUOUS",
        ERROR,
        "Several CAs in cacert.pem have one subject and different keys",
        "Without an authority key identifier OpenSSL takes one by order, and a leaf fails (verify result 7).",
        "leave one of them, or use a CA with another subject and leaves with an authority key identifier",
    ),
    Rule(
        "CA_SAME_NAME",
        WARNING,
        "A CA has the name of one of the live set, and another key",
        "OpenSSL looks for an issuer by name. In a cacert.pem with both it tells them apart only where leaves"
        " have an authority key identifier; without, a leaf fails (verify result 7), so that such a file"
        " cannot make old and new nodes, or a client that has the old CA, trust each other.",
        "nothing for this replacement; give the next CA a subject of its own, or its leaves an authority key"
        " identifier",
    ),
    Rule(
        "AKID_MISMATCH",
        ERROR,
        "An authority key identifier names another CA certificate",
        "The subject fits, but OpenSSL does not take the CA (RFC 5280 section 4.2.1.1; verify result 20).",
        "put the CA certificate into cacert.pem from which it was issued",
    ),
    Rule(
        "CA_NOT_A_CA",
        ERROR,
        "A certificate that signs others is no CA",
        "basicConstraints says CA:FALSE, or there is neither basicConstraints nor a keyUsage "
        "(RFC 5280 section 4.2.1.9; verify result 24 or 79).",
        "make the CA with -addext basicConstraints=critical,CA:TRUE and issue the leaves from it",
    ),
    Rule(
        "CA_WITHOUT_BASIC_CONSTRAINTS",
        WARNING,
        "A CA has no basicConstraints",
        "OpenSSL accepts it because of its keyUsage or nsCertType, and so does CM; other software does not "
        "(RFC 5280 section 4.2.1.9).",
        "make the next CA with -addext basicConstraints=critical,CA:TRUE",
    ),
    Rule(
        "CHAIN_NAME_CONSTRAINT",
        ERROR,
        "A name is one that a CA above must not certify",
        "Peers obey the nameConstraints of every CA (RFC 5280 section 4.2.1.10; verify result 47 or 48); "
        "without DNS name a leaf's common name counts as one.",
        "have the certificate issued with names that the CA permits, or by another CA",
    ),
    Rule(
        "CHAIN_NAME_CONSTRAINT_UNJUDGED",
        WARNING,
        "Some nameConstraints were not judged",
        "Only those of DNS names, IP addresses and directory names are; the rehearsal on the node decides.",
        "nothing, if the rehearsal succeeds; else as with CHAIN_NAME_CONSTRAINT",
    ),
    Rule(
        "CA_CANNOT_SIGN",
        ERROR,
        "A CA's keyUsage excludes keyCertSign",
        "OpenSSL does not take it as issuer (RFC 5280 section 4.2.1.3; verify result 20 or 32).",
        "make the CA with keyUsage keyCertSign and cRLSign, or without keyUsage",
    ),
    Rule(
        "CA_PURPOSE",
        ERROR,
        "A CA's extendedKeyUsage excludes TLS server or client",
        "OpenSSL checks the purpose in every certificate of the chain (verify result 26).",
        "make the CA without extendedKeyUsage",
    ),
    Rule(
        "LEAF_OUTLIVES_CA",
        WARNING,
        "A leaf is valid longer than its CA",
        "It ends with the CA, whatever its own date says.",
        "plan the next replacement by the CA's date",
    ),
)

CRLS: Final = table(
    Rule(
        "CRL_UNREADABLE",
        ERROR,
        "A CRL cannot be read",
        "CM loads a CRL merely because the file exists; a damaged one makes TLS set-up fail.",
        "fetch the CRL again, or leave the file out",
    ),
    Rule(
        "CRL_SEVERAL",
        WARNING,
        "A .crl file holds several CRLs",
        "CM reads the first one only (cs_ssl.cpp:952-979).",
        "leave only the CRL of the CA that issued the leaves",
    ),
    Rule(
        "CRL_FOREIGN",
        ERROR,
        "A CRL is not of the CA that issued the leaf it guards",
        "Every handshake fails: no CRL for the leaf (verify result 3).",
        "hand in the CRL of the issuing CA as the first one in the file, or leave the file out",
    ),
    Rule(
        "CRL_SIGNATURE_WRONG",
        ERROR,
        "A CRL is not signed by the CA it names",
        "Every handshake fails (verify result 8); usually it is of an older CA of the same name.",
        "hand in a CRL signed by this CA, or leave the file out",
    ),
    Rule(
        "CRL_LEFT_OVER",
        ERROR,
        "A CRL of the live set does not fit the new CA",
        "CM would go on using it, and every handshake would fail (verify result 3 or 8).",
        "hand in a CRL of the new CA under this name, or drop the live one with --drop-crls",
    ),
    Rule(
        "CRL_CA_CANNOT_SIGN",
        ERROR,
        "The CA of a CRL must not sign CRLs",
        "Its keyUsage excludes cRLSign (RFC 5280 section 4.2.1.3; verify result 35).",
        "make the CA with keyUsage keyCertSign and cRLSign, or leave the CRL out",
    ),
    Rule(
        "CRL_SCOPE",
        ERROR,
        "A CRL is not for such certificates",
        "Its issuingDistributionPoint leaves the leaves out (RFC 5280 section 5.2.5; verify result 3 or 44).",
        "hand in the complete CRL of the CA, or leave the file out",
    ),
    Rule(
        "CRL_CRITICAL_EXTENSION_UNKNOWN",
        ERROR,
        "A CRL has a critical extension that OpenSSL does not know",
        "Every handshake fails (RFC 5280 section 5.2; verify result 36).",
        "have the CRL issued without this extension, or leave the file out",
    ),
    Rule(
        "CRL_EXPIRED",
        ERROR,
        "A CRL is expired",
        "Every handshake fails (verify result 12).",
        "fetch a current CRL, or leave the file out",
    ),
    Rule(
        "CRL_NOT_YET_VALID",
        ERROR,
        "A CRL is not yet valid",
        "Every handshake fails (verify result 11).",
        "fetch the CRL again; check the clocks",
    ),
    Rule(
        "CRL_EXPIRING",
        WARNING,
        "A CRL expires within a week",
        "From then on every handshake fails, and CM reads a new CRL only after a restart.",
        "hand in a CRL with a later next update, or leave the file out",
    ),
    Rule(
        "LEAF_REVOKED",
        ERROR,
        "A leaf is revoked",
        "Its CA says so in the CRL; peers refuse it (verify result 23).",
        "have a new certificate issued",
    ),
)

LIVE: Final = table(
    Rule(
        "SET_UNCHANGED",
        ERROR,
        "The bundle is what is live already",
        "Replacing it would cost a restart and change nothing.",
        "nothing to do; check whether this is the right directory",
    ),
)
