"""`make fuzz SECONDS=60`: the seconds are divided among the targets, each in a process of its own.

python -m fuzz --seconds 60                   # all
python -m fuzz --seconds 300 --only wire      # one; what is new and worth keeping goes to --keep
python -m fuzz --replay FILE --only wire      # one input, with its traceback
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from fuzz import targets

FOUND = Path("fuzz-found")
"""Where inputs that crashed are written; ignored by git, kept until somebody has looked."""


def main() -> int:
    """1 if anything crashed."""
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="for all of them together")
    parser.add_argument("--only", choices=targets.TARGETS, nargs="+", default=list(targets.TARGETS))
    parser.add_argument("--keep", type=Path, help="write new inputs that reach new code below this directory")
    parser.add_argument("--replay", type=Path, help="one input instead")
    options = parser.parse_args()
    if options.replay:
        for name in options.only:
            targets.TARGETS[name](options.replay.read_bytes())
        return 0
    share = max(1, options.seconds // len(options.only))
    failed = [name for name in options.only if not _run(name, share, options.keep)]
    for name in failed:
        _say(f"{name}: crashed; the input is in {FOUND}/{name}-*")
    return 1 if failed else 0


def _run(name: str, seconds: int, keep: Path | None) -> bool:
    FOUND.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as forgotten:
        new = keep / name if keep else Path(forgotten)
        new.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            [
                *(sys.executable, "-m", "fuzz.child", name, f"-max_total_time={seconds}"),
                *("-max_len=8192", "-timeout=10", "-rss_limit_mb=1024", f"-artifact_prefix={FOUND}/{name}-"),
                *("-print_final_stats=1", str(new), str(targets.CORPUS / name)),
            ],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    count = [line.split()[-1] for line in done.stderr.splitlines() if "number_of_executed_units" in line]
    _say(f"{name}: {count[0] if count else 'no'} inputs in {seconds} s")
    if done.returncode:
        _say(f"{done.stdout[-4000:]}\n{done.stderr[-2000:]}")
    return done.returncode == 0 and bool(count)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
