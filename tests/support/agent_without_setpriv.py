"""`gausscert-agent` as on a machine without setpriv(1): its children outlive it.

python agent_without_setpriv.py serve --config FILE
"""

from __future__ import annotations

from gausscert_agent import cli
from gausscert_agent.drivers import process


def no_wrapper(path: str = "") -> tuple[str, ...]:
    """What `find_wrapper` answers there."""
    return ()


if __name__ == "__main__":
    process.find_wrapper = no_wrapper
    cli.main()
