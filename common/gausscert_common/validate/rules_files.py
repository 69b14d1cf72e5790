"""Rules about files as such, keys, passwords and factor files."""

from __future__ import annotations

from typing import Final

from gausscert_common.validate.rule import ERROR, WARNING, Rule, table

FILES: Final = table(
    Rule(
        "FILE_MISSING",
        ERROR,
        "A file of the set is missing",
        "CM reads nine files by fixed names; without one cm_server exits or its peers cannot connect.",
        "put the file into the directory under exactly this name",
    ),
    Rule(
        "FILE_EMPTY",
        ERROR,
        "A file is empty",
        "Often the trace of a full disk or of a failed openssl command.",
        "make the file again",
    ),
    Rule(
        "FILE_TOO_LARGE",
        ERROR,
        "A file is too large",
        "A certificate, key or CRL of a set has at most 256 KiB.",
        "hand in the right file; remove certificates and CRLs that nobody needs",
    ),
    Rule(
        "FILE_UNKNOWN",
        WARNING,
        "A file is none of a bundle",
        "It is left alone and never sent to a node.",
        "rename it if it was meant to be part of the bundle",
    ),
    Rule(
        "FILE_NOT_REGULAR",
        ERROR,
        "A name of the set is a link, directory or device",
        "Links are not followed: what they point to may change between validation and use.",
        "put a copy of the file itself into the directory",
    ),
    Rule(
        "FILE_UNREADABLE",
        ERROR,
        "A file cannot be read",
        "The user who runs gausscert may not read it, or the disk fails.",
        "give yourself the right to read it, and nobody else",
    ),
    Rule(
        "FILE_MODE",
        ERROR,
        "A file of the set has another mode than 0400",
        "CM refuses a key or certificate that its owner may write or others may read (cs_ssl.cpp:1797-1813); "
        "`cm_ctl encrypt` leaves 0600.",
        "set the mode to 0400",
    ),
    Rule(
        "FILE_NOT_PEM",
        ERROR,
        "A file is not PEM",
        "CM reads PEM only: -----BEGIN ...-----, base64, -----END ...-----, each on a line of its own.",
        "export the file as PEM",
    ),
    Rule(
        "FILE_DER",
        ERROR,
        "A file is binary (DER) instead of PEM",
        "CM reads PEM only.",
        "convert it: openssl x509|pkey|crl -inform DER -in FILE -out NEW; for PKCS#12: openssl pkcs12",
    ),
    Rule(
        "FILE_BOM",
        ERROR,
        "A file begins with a byte order mark",
        "OpenSSL before 3.0, with which older CM is built, overlooks the first PEM block behind it.",
        "save the file without the mark: sed -i '1s/^\\xEF\\xBB\\xBF//' FILE",
    ),
    Rule(
        "FILE_CRLF",
        WARNING,
        "A file has line ends of Windows",
        "OpenSSL reads them, other tools may not.",
        "convert it: sed -i 's/\\r$//' FILE",
    ),
    Rule(
        "FILE_WRONG_CONTENT",
        ERROR,
        "A file does not hold what its name says",
        "It is PEM, but holds no block of the kind that CM looks for in it.",
        "check whether files were mixed up",
    ),
    Rule(
        "FILE_OTHER_BLOCKS",
        WARNING,
        "A file holds PEM blocks that CM does not look for in it",
        "CM ignores them here.",
        "remove them",
    ),
    Rule(
        "PEM_TRUNCATED",
        ERROR,
        "A PEM block has no end",
        "The file was cut off, or an END line does not fit its BEGIN line.",
        "copy the file again",
    ),
    Rule(
        "PEM_DAMAGED",
        ERROR,
        "A PEM block is damaged",
        "Its body is no base64, or has headers, empty lines or long lines where OpenSSL takes none; OpenSSL "
        "refuses the whole file.",
        "copy the file again",
    ),
    Rule(
        "PEM_DAMAGED_BEHIND",
        WARNING,
        "A file is damaged behind the block that CM reads",
        "CM takes the first certificate of a .crt and the first CRL of a .crl only (cs_ssl.cpp:952-979, "
        "1117-1152), but the copy may not be what it was meant to be.",
        "copy the file again",
    ),
    Rule(
        "PRIVATE_KEY_IN_CACERT",
        ERROR,
        "cacert.pem holds a private key",
        "cacert.pem goes to every node; whoever holds the CA's key can issue certificates for the cluster.",
        "remove the key from cacert.pem and keep it elsewhere",
    ),
    Rule(
        "PRIVATE_KEY_IN_CRT",
        WARNING,
        "A .crt file holds a private key",
        "CM takes the key from the .key file; certificates are often copied around with less care than keys.",
        "remove the key from the .crt file",
    ),
)

KEYS: Final = table(
    Rule(
        "KEY_UNREADABLE",
        ERROR,
        "A private key cannot be read",
        "It is damaged, or of a kind that neither gausscert nor CM knows.",
        "make the key again, or re-export it: openssl pkey -in OLD -aes256 -out NEW",
    ),
    Rule(
        "KEY_SEVERAL",
        ERROR,
        "A .key file holds several private keys",
        "CM takes the first one, whichever that is.",
        "leave only the key that belongs to the certificate",
    ),
    Rule(
        "KEY_MISMATCH",
        ERROR,
        "The key does not belong to the certificate",
        "CM: `Private key does not match the certificate public key`; cm_server exits.",
        "hand in the key with which the certificate was requested, or have a certificate issued for this key",
    ),
    Rule(
        "LEAF_NOT_FIRST",
        ERROR,
        "The leaf is not the first certificate in its .crt file",
        "CM takes the first certificate of the file only (cs_ssl.cpp:1117-1152).",
        "put the leaf first; better, leave only the leaf in the .crt and put the others into cacert.pem",
    ),
    Rule(
        "KEY_KIND_UNUSABLE",
        ERROR,
        "A leaf's key is neither RSA nor EC, or a CA's cannot be verified with",
        "CM's cipher list for TLS 1.2 names RSA and ECDSA only (cs_ssl.cpp:69-98); leaves of Ed25519 and "
        "Ed448 are untested with CM, and refused for that.",
        "use RSA of 2048 bits or more, or EC on P-256, P-384 or P-521",
    ),
    Rule(
        "KEY_CURVE_UNUSABLE",
        ERROR,
        "An EC key is on a curve that TLS peers refuse",
        "Only P-256, P-384 and P-521 are accepted everywhere in leaves; a curve that is written out instead "
        "of named is refused in any certificate (verify result 94).",
        "make the key on P-256, P-384 or P-521: openssl ecparam -genkey -name prime256v1",
    ),
    Rule(
        "KEY_WEAK",
        ERROR,
        "An RSA key is shorter than 2048 bits",
        "It can be broken, and newer OpenSSL refuses it.",
        "make a key of 2048 bits or more",
    ),
    Rule(
        "KEY_UNENCRYPTED",
        WARNING,
        "A private key is not encrypted",
        "CM accepts it, but the password and the factor files protect nothing then.",
        "encrypt it: openssl pkey -aes256 -in KEY -out NEW",
    ),
    Rule(
        "KEY_PASSWORD_WRONG",
        ERROR,
        "The password does not open the key",
        "CM: `Unable to get private key`; cm_server exits.",
        "give the password with which the key was encrypted",
    ),
    Rule(
        "KEY_CIPHER_UNSUPPORTED",
        ERROR,
        "A key is encrypted in a way that cannot be checked",
        "gausscert hands no key to the cluster of which it has not proven that the password opens it.",
        "encrypt the key with AES-256: openssl pkey -aes256 -in KEY -out NEW",
    ),
    Rule(
        "KEYS_SHARED",
        WARNING,
        "Server and client have the same key",
        "Who gets hold of one of them has both.",
        "use a key of its own for each",
    ),
    Rule(
        "KEY_FILE_READABLE",
        WARNING,
        "A key file can be read by group or others",
        "Everybody on this machine may copy the key.",
        "chmod 0400 the file, and consider the key as known to others",
    ),
)

PASSWORDS: Final = table(
    Rule(
        "PASSWORD_MISSING",
        ERROR,
        "There is neither a password nor factor files for a key",
        "CM reads the key's password from the factor files, even for a key that is not encrypted.",
        "give the password (--server-password-file, --client-password-file) or all four factor files",
    ),
    Rule(
        "PASSWORD_TOO_SHORT",
        ERROR,
        "A password is too short",
        "`cm_ctl encrypt` takes 8 to 15 bytes (cm_cipher.cpp:168-222).",
        "encrypt the key with another password: openssl pkey -aes256 -in KEY -out NEW",
    ),
    Rule(
        "PASSWORD_TOO_LONG",
        ERROR,
        "A password is too long",
        "`cm_ctl encrypt` takes 8 to 15 bytes (cm_cipher.cpp:168-222).",
        "encrypt the key with another password: openssl pkey -aes256 -in KEY -out NEW",
    ),
    Rule(
        "PASSWORD_TOO_SIMPLE",
        ERROR,
        "A password has too few kinds of characters",
        "`cm_ctl encrypt` wants three of A-Z, a-z, 0-9 and "
        "~!@#$%^&*()-_=+\\|[{}];:,<.>/? (cm_cipher.cpp:168-222).",
        "encrypt the key with another password: openssl pkey -aes256 -in KEY -out NEW",
    ),
    Rule(
        "PASSWORD_UNTYPABLE",
        ERROR,
        "A password holds control characters",
        "It cannot be entered at the prompt of `cm_ctl encrypt`; "
        "a stray line end of a password file is the usual reason.",
        "check the password file; else encrypt the key with another password",
    ),
)

FACTORS: Final = table(
    Rule(
        "FACTOR_FILES_PARTIAL",
        ERROR,
        "Only some of the four factor files are there",
        "CM needs .cipher and .rand for both keys.",
        "hand in all four, or none and both passwords",
    ),
    Rule(
        "FACTOR_FILE_LENGTH",
        ERROR,
        "A factor file has the wrong length",
        "It is cut off or no factor file. "
        "CM does not check this: it reads what it finds and fails to open the key.",
        "hand in the pair as `cm_ctl encrypt` wrote it, or the password",
    ),
    Rule(
        "FACTOR_BUILDS_DIFFER",
        ERROR,
        "Factor files of two builds of CM are mixed",
        "The released build writes 56 and 24 bytes, one without ENABLE_LIBPQ 104 and 40; "
        "a CM reads one of them.",
        "make all four on a node of this cluster, or hand in the passwords",
    ),
    Rule(
        "FACTOR_BUILD_WRONG",
        ERROR,
        "Factor files are of another build than the node's CM",
        "CM reads only the layout and key size it was built with.",
        "make them with this cluster's `cm_ctl encrypt`, or hand in the passwords",
    ),
    Rule(
        "FACTOR_FILES_UNREADABLE",
        ERROR,
        "A pair of factor files does not decrypt",
        "They are damaged, or .cipher and .rand come from different runs of encrypt; cm_server exits.",
        "hand in .cipher and .rand of one run, or the password",
    ),
    Rule(
        "FACTOR_FILES_SWAPPED",
        ERROR,
        "Factor files of server and client are swapped",
        "They decrypt to the password of the other key.",
        "exchange server.key.cipher and .rand with client.key.cipher and .rand",
    ),
    Rule(
        "FACTOR_PASSWORD_WRONG",
        ERROR,
        "The password in the factor files does not open the key",
        "CM: `Unable to get private key`; `cm_ctl encrypt` does not check this.",
        "make the factor files again with the key's password, or hand in the password",
    ),
    Rule(
        "FACTOR_FILE_TRAILING",
        WARNING,
        "Something follows the end of a factor file",
        "CM does not read so far, and the pair does open the key; an editor may have added a line end.",
        "make the factor files again",
    ),
    Rule(
        "FACTOR_CRC_WRONG",
        WARNING,
        "The checksum of a factor file is wrong",
        "CM never checks it, and the pair does open the key; something may have changed the file.",
        "make the factor files again",
    ),
)
