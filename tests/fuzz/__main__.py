"""`make fuzz`: every call of every service, with requests that are right, odd, and none at all.

    python -m tests.fuzz [--requests N] [--seed N]

Exit code 1 if something was found: it prints what, and the seed that repeats it.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from csi_cinderlib.demo.sandbox import private_mounts
from tests.fuzz.bed import Bed
from tests.fuzz.run import Result, run


def main(arguments: Sequence[str]) -> int:
    options = _parse(arguments)
    if os.geteuid() != 0:
        print("fuzz: needs root, for loop devices and mounts", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, _stopped)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    private_mounts()
    bed = Bed()
    try:
        _tell(f"fuzz: {options.requests} requests, seed {options.seed}")
        result = run(bed, options.seed, options.requests, _tell)
        _report(result, options.seed)
    except (KeyboardInterrupt, SystemExit):
        _tell("fuzz: stopped")
        return 130
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):  # a second one must not interrupt the cleaning up
            signal.signal(number, signal.SIG_IGN)
        bed.close()
    return 1 if result.judge.findings else 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make fuzz", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--requests", type=int, default=1_000_000, help="how many")
    parser.add_argument("--seed", type=int, default=random.randrange(2**31), help="repeats the requests of a run")
    return parser.parse_args(arguments)


def _tell(line: str) -> None:
    print(line, flush=True)


def _report(result: Result, seed: int) -> None:
    for code, number in result.judge.codes.most_common():
        _tell(f"{number:9} {code}")
    _tell("succeeded: " + ", ".join(f"{method} {number}" for method, number in sorted(result.judge.done.items())))
    for said, number in result.judge.internal.most_common(40):
        _tell(f"{number:9} INTERNAL {said}")
    for finding, number in result.judge.findings.items():
        _tell(f"FINDING of seed {seed}, {number} times: {finding}")
    rate = result.requests / result.seconds
    _tell(
        f"fuzz: {result.requests} requests, {rate:.0f} a second, {len(result.judge.findings)} kinds of findings, seed {seed}"
    )


def _stopped(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(143)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
