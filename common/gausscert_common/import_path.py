"""Whose libraries a command of gausscert imports: its own, and nobody else's.

OM writes `export PYTHONPATH=$GPHOME/lib` into the profile of the cluster's user, and OM's own cryptography,
cffi and idna lie there, of other versions and made for another Python. What PYTHONPATH names comes before
what a program was installed with, and before the standard library, too (sys.path). So nothing is imported
here that could be found there.
"""

from __future__ import annotations

import os
import sys

VARIABLE = "PYTHONPATH"
_OURS = ("gausscert_common", "gausscert_agent", "gausscert_coordinator", "gausscert_sim", "gausscert")
"""Packages; only who works on gausscert finds them by PYTHONPATH."""


def keep_own() -> None:
    """Take out of the search path what PYTHONPATH has put there, and that variable out of the environment:
    every child would have it. For entry points, before they import anything that was installed."""
    named = os.environ.pop(VARIABLE, "")
    if named:
        sys.path[:] = without(sys.path, named, _installed())


def without(path: list[str], named: str, kept: tuple[str, ...]) -> list[str]:
    """A search path without what PYTHONPATH names.

    Args:
        path: As it is.
        named: The variable's value.
        kept: What Python has put there by itself. Where PYTHONPATH names it, too, it is there only once.
    """
    foreign = {os.path.abspath(each) for each in named.split(os.pathsep)} - set(map(os.path.abspath, kept))
    foreign = {each for each in foreign if not _is_ours(each)}
    return [each for each in path if os.path.abspath(each) not in foreign]


def _is_ours(directory: str) -> bool:
    return any(os.path.isdir(os.path.join(directory, name)) for name in _OURS)


def _installed() -> tuple[str, ...]:
    """Python's own directories, and where it was installed to what it has besides."""
    standard = os.path.dirname(os.__file__)
    found = (standard, os.path.join(standard, "lib-dynload"))
    site = sys.modules.get("site")  # which has made sys.path (site); none under python -S
    if site is None:
        return found
    users = (site.getusersitepackages(),) if site.ENABLE_USER_SITE else ()
    return (*found, *site.getsitepackages(), *users)
