"""Run as a program: waits for one byte on standard input, then becomes the program in its arguments.

The pid stays the same. If input ends instead, the agent is gone and nothing is to be run. One byte is
read and no other, so the program finds the rest of its input. A shell could do this, but then a shell
would stand between us and cm_ctl.
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Wait, then become the program."""
    if not os.read(0, 1):
        sys.exit(1)
    # As it was handed over: Python itself may have added LC_CTYPE to its own (PEP 538).
    with open("/proc/self/environ", "rb") as opened:
        given = dict(line.split(b"=", 1) for line in opened.read().split(b"\0") if b"=" in line)
    os.execve(sys.argv[1], sys.argv[1:], given)  # noqa: S606 - an argument list, and that is the point


if __name__ == "__main__":
    main()
