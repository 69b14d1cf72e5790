"""Configuration files of CM that are odd and yet can be edited, and some that cannot be. Bytes, by name."""

from __future__ import annotations

from typing import Final

_HEAD: Final = b"# cm_server configuration\nlog_dir = /var/log/cm\n"
_TAIL: Final = b"thread_count = 1000\n"

EDITABLE: Final[dict[str, bytes]] = {
    "plain": _HEAD + b"enable_ssl = on\n" + _TAIL,
    "no spaces": _HEAD + b"enable_ssl=on\n" + _TAIL,
    "tabs": _HEAD + b"\tenable_ssl\t=\ton\n" + _TAIL,
    "trailing blanks": _HEAD + b"enable_ssl = on  \t \n" + _TAIL,
    "trailing comment": _HEAD + b"enable_ssl = on   # enable cma to cma ssl\n" + _TAIL,
    "comment without a blank": _HEAD + b"enable_ssl = on#comment\n" + _TAIL,
    "another word for on": _HEAD + b"enable_ssl = YES\n" + _TAIL,
    "commented twin before": _HEAD + b"#enable_ssl = off\nenable_ssl = on\n" + _TAIL,
    "commented twin after": _HEAD + b"enable_ssl = on\n # enable_ssl = off\n" + _TAIL,
    "name begins another name": _HEAD + b"enable_ssl_fallback = on\nenable_ssl = on\n" + _TAIL,
    "name ends another name": _HEAD + b"not_enable_ssl = off\nenable_ssl = on\n" + _TAIL,
    "carriage returns": _HEAD.replace(b"\n", b"\r\n") + b"enable_ssl = on\r\n" + _TAIL,
    "no final newline": _HEAD + b"enable_ssl = on\n" + _TAIL.rstrip(),
    "no final newline after it": _HEAD + b"enable_ssl = on",
    "no final newline and a comment": _HEAD + b"enable_ssl = on # ssl",
    "comments that are no UTF-8": b"# \xff\xfe \xb0\xa1\n" + b"enable_ssl = on\n# \x80\n",
    "empty lines": b"\n\n" + _HEAD + b"\n\nenable_ssl = on\n\n\n",
    "vertical tabs and form feeds": _HEAD + b"\x0benable_ssl =\x0c on\n" + _TAIL,
    "next line begins with a comment sign": _HEAD + b"enable_ssl = on\n#last\n",
    "unicode line ends in comments": _HEAD + "# a\u2028b\u0085c\n".encode() + b"enable_ssl = on\n",
}
"""SSL is on in each of them."""

NOT_EDITABLE: Final[dict[str, tuple[bytes, str]]] = {
    "twice": (b"enable_ssl = on\nenable_ssl = on\n", "stands 2 times"),
    "twice, unlike": (b"enable_ssl = on\nx = 1\nenable_ssl = off\n", "stands 2 times"),
    "without a value": (b"enable_ssl =\nx = 1\n", "has no value"),
    "a line too long": (b"enable_ssl = on #" + b"x" * 1100 + b"\n", "longer than 1023"),
    "a comment in place of the value": (b"enable_ssl = # to be set\nx = 1\n", "read alike"),
    "two words": (b"enable_ssl = off\\ x\n", "read alike"),
    "a blank that only Unicode knows": ("\u00a0enable_ssl = off\n".encode(), "read alike"),
    "a NUL byte": (b"enable_ssl = on\n#\0\n", "NUL"),
}
"""With the words of the cause."""
