"""`gausscert-agent`: the entry point. What is heavy is imported where it is needed; nothing but
`import_path` before that has done its work."""

from __future__ import annotations

import os
import sys
from typing import Final, NoReturn

from gausscert_common import import_path

_UMASK: Final = 0o077
"""No file for others, whatever it is."""


def main() -> NoReturn:
    """The outermost loop: what goes wrong in it ends with a documented code. Only a bug is told with its
    traceback, for the agent's log; a refusal, a failure and a Ctrl-C never are."""
    import_path.keep_own()
    from gausscert_common.errors import GausscertError, InvalidInput, NodeRefusal, Reason

    from gausscert_agent import telling

    try:
        sys.exit(_run())
    except KeyboardInterrupt:
        sys.exit(telling.REFUSED)
    except GausscertError as error:
        telling.tell(error)
        refused = isinstance(error, InvalidInput | NodeRefusal) or error.reason is Reason.AUDIT_BROKEN
        sys.exit(telling.REFUSED if refused else telling.FAILED)
    except Exception:  # noqa: BLE001 - the outermost loop: a bug ends with the code for one
        telling.bug()
        sys.exit(telling.FAILED)


def _run() -> int:
    from gausscert_common import hardening

    from gausscert_agent import serving

    os.umask(_UMASK)
    hardening.harden()
    order = serving.as_order(sys.argv[1:])
    if order is None:
        from gausscert_agent import verbs

        return verbs.run()
    serving.serve(*order)
    return 0


if __name__ == "__main__":
    main()
