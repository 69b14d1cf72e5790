"""One target under atheris: `python -m fuzz.child NAME libFuzzer's arguments`.

Nothing of ours is imported before it is instrumented, or the fuzzer would be blind to it.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(
    include=["gausscert_agent", "gausscert_common", "gausscert_coordinator", "fuzz"]
):
    from fuzz import targets

if __name__ == "__main__":
    name, *arguments = sys.argv[1:]
    atheris.Setup([sys.argv[0], *arguments], targets.TARGETS[name])
    atheris.Fuzz()
