"""The simulated cm_ctl: real texts and exit codes, the misleading ones included."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Final, NoReturn

from gausscert_sim import settings
from gausscert_sim.ctl_options import parse
from gausscert_sim.ctl_output import Output, refuse

MODULES: Final = {
    "encrypt": "ctl_encrypt",
    "set": "ctl_conf",
    "list": "ctl_conf",
    "reload": "ctl_conf",
    "view": "ctl_view",
    "query": "ctl_query",
    "stop": "ctl_stop",
    "start": "ctl_start",
    "check": "ctl_check",
    "pause": "ctl_pause",
    "resume": "ctl_pause",
}
"""Loaded when asked for: most commands need no TLS, and cm_ctl is called often."""

_HELP: Final = """cm_ctl of a simulated CM: for tests and demonstrations, it controls no database.

Usage:
  cm_ctl start [-n NODEID] [-t SECS]
  cm_ctl stop [-n NODEID] [-t SECS] [-m SHUTDOWN-MODE]
  cm_ctl query [-v -C [-d] [-i]] [-l FILENAME]
  cm_ctl view [-v | -N | -n NODEID] [-l FILENAME]
  cm_ctl check -B BINNAME -T DATAPATH
  cm_ctl set --param --agent | --server [-n NODEID] -k [PARAMETER]="[value]"
  cm_ctl reload --param --agent | --server [-n NODEID]
  cm_ctl list --param --agent | --server [-n NODEID]
  cm_ctl encrypt [-M MODE] -D DATADIR
  cm_ctl pause
  cm_ctl resume

Options:
  -D DATADIR       an existing directory
  -l FILENAME      report into a file
  -n NODEID        one node
  -t SECS          how long to wait
  -V, --version    the version
  -?, -h, --help   this text
"""
_FAILED: Final = 255


def main() -> NoReturn:
    """Run one command and exit with its code."""
    arguments = sys.argv[1:]
    config = _settings()
    if os.getuid() == 0 and not (config and config.allow_root):
        refuse("current user is the root user (uid = 0), exit.", 1)
    if arguments[:1] and arguments[0] in ("-h", "--help", "-?"):
        sys.stdout.write(_HELP)
        sys.exit(0)
    if arguments[:1] and arguments[0] in ("-V", "--version"):
        sys.stdout.write(f"cm_ctl {settings.VERSION}\n")
        sys.exit(0)
    if config is None:
        refuse("Get GAUSSHOME failed, please check the environment variable.", 1)
    _check_static_config(config)
    if any("%" in argument for argument in arguments):
        sys.stdout.write("input constains invalid character.")
        sys.exit(_FAILED)
    os.umask(0o077)
    sys.exit(_run(config, arguments))


def _settings() -> settings.Settings | None:
    try:
        return settings.load(settings.home_from_environment())
    except settings.NoHome:
        return None


def _check_static_config(config: settings.Settings) -> None:
    path = config.local.program(settings.STATIC_CONFIG)
    if not os.access(path, os.R_OK):
        refuse(f"cm_ctl: could not open the cluster static config file: {path}", _FAILED)


def _run(config: settings.Settings, arguments: list[str]) -> int:
    output = Output(config)
    output.note(f"cmd: cm_ctl {' '.join(arguments)}")
    options = parse(arguments, output)
    module = importlib.import_module(f"gausscert_sim.{MODULES[options.command]}")
    status: int = module.run(config, options, output)
    return status
