"""cm_ctl's command line: what it accepts and how it refuses the rest."""

from __future__ import annotations

import getopt
import sys
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gausscert_sim.ctl_output import Output

_SHORT: Final = "aACcdFiNpRrsSvwxB:D:I:k:l:M:m:n:T:t:z:"
_LONG: Final = (
    "agent",
    "server",
    "param",
    "node=",
    "timeout=",
    "mode=",
    "pgdata=",
    "bin_name=",
    "data_path=",
)
_SAME: Final = {"--node": "-n", "--timeout": "-t", "--mode": "-m", "--pgdata": "-D"} | {
    "--bin_name": "-B",
    "--data_path": "-T",
}
_CONF: Final = frozenset(("-n", "--param", "--agent", "--server"))
ACCEPTED: Final[Mapping[str, frozenset[str]]] = {
    "encrypt": frozenset(("-M", "-D")),
    "set": _CONF | {"-k"},
    "list": _CONF,
    "reload": _CONF,
    "view": frozenset(("-v", "-N", "-n", "-l", "-c")),
    "query": frozenset(f"-{flag}" for flag in "zlvCwsSdiFxprnDRtaA"),
    "stop": frozenset(("-n", "-t", "-m", "-z", "-D", "-I")),
    "start": frozenset(("-n", "-t", "-m", "-z", "-D", "-I")),
    "check": frozenset(("-B", "-T")),
    "pause": frozenset(),
    "resume": frozenset(),
}
"""Options of each simulated command."""
_FORBIDDEN: Final = frozenset("|;&$<>`\\'\"{}()[]~*?!\n")


class Options(NamedTuple):
    """A command and its options."""

    command: str
    values: Mapping[str, str]

    def has(self, name: str) -> bool:
        """Whether an option was given."""
        return name in self.values

    def text(self, name: str) -> str:
        """An option's argument, or ""."""
        return self.values.get(name, "")

    def number(self, name: str) -> int:
        """An option's argument as C's atoi sees it; 0 without one."""
        text = self.text(name).strip()
        return int(text) if text.isdecimal() else 0


def parse(arguments: Sequence[str], output: Output) -> Options:
    """Read the command line, in CM's order of checks.

    Raises:
        SystemExit: With 1; the reason was said.
    """
    try:
        pairs, words = getopt.gnu_getopt(list(arguments), _SHORT, list(_LONG))
    except getopt.GetoptError as cause:
        sys.stderr.write(f"cm_ctl: {cause.msg}\n")
        output.advise()
        sys.exit(1)
    values = {_SAME.get(name, name): value for name, value in pairs}
    for value in values.values():
        _check_mode(values, output)
        _check_security(values, value)
    command = _command(words, output)
    if not values.keys() <= ACCEPTED[command]:
        wrong = ",".join(sorted(name.lstrip("-") for name in values.keys() - ACCEPTED[command]))
        output.say("Commands and options do not match.\n")
        output.note(f'These options "{wrong}" are not incorrect or not matched with the command.')
        output.advise()
        sys.exit(1)
    return Options(command, values)


def _command(words: Sequence[str], output: Output) -> str:
    if not words:
        output.say("option requires an argument, NO_COMMAND only support 'V' and 'h'.")
    elif len(words) > 1:
        output.say(f'too many command-line arguments (first is "{words[1]}").')
    elif words[0] not in ACCEPTED:
        output.say(f'unrecognized operation mode "{words[0]}".')
    else:
        return words[0]
    output.advise()
    sys.exit(1)


def _check_mode(values: Mapping[str, str], output: Output) -> None:
    """-M takes exactly server or client (cm_ctl.cpp:1531-1550)."""
    mode = values.get("-M")
    if mode is None or mode in ("server", "client"):
        return
    if mode in ("", "-D"):
        output.say('-M is invalid, try "cm_ctl --help" for more information.')
    else:
        output.say(f'mode "{mode}" is not support, try "cm_ctl --help" for more information.')
    sys.exit(1)


def _check_security(values: Mapping[str, str], value: str) -> None:
    if value == values.get("-D") and (wrong := sorted(_FORBIDDEN & set(value))):
        sys.stdout.write(f'invalid token "{wrong[0]}" in input: ({value})\n')
        sys.exit(1)
