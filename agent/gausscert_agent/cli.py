"""`gausscert-agent`: the entry point. What is heavy is imported where it is needed."""

from __future__ import annotations

import sys
from typing import NoReturn

from gausscert_common.errors import GausscertError, InvalidInput, NodeRefusal

from gausscert_agent import serving, telling


def main() -> NoReturn:
    """The outermost loop, nothing escapes it as a traceback."""
    try:
        sys.exit(_run())
    except KeyboardInterrupt:
        sys.exit(telling.REFUSED)
    except GausscertError as error:
        telling.tell(error)
        sys.exit(telling.REFUSED if isinstance(error, InvalidInput | NodeRefusal) else telling.FAILED)


def _run() -> int:
    order = serving.as_order(sys.argv[1:])
    if order is None:
        from gausscert_agent import verbs

        return verbs.run()
    serving.serve(*order)
    return 0


if __name__ == "__main__":
    main()
