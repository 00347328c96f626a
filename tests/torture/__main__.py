"""`make torture`: several clients call while the driver is killed and its storage fails; then everything is compared.

    python -m tests.torture [--minutes N] [--seed N] [--bed loopfile|array] [--disturbances NAME,...] [--keep]

Exit code 1 if a promise was broken: it prints which, the seed, and the last calls.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from csi_cinderlib.demo.sandbox import private_mounts
from tests.torture import plan
from tests.torture.bed import Bed
from tests.torture.bed_array import ArrayBed
from tests.torture.bed_loopfile import LoopFileBed
from tests.torture.run import Result, run

BEDS: dict[str, type[Bed]] = {bed.name: bed for bed in (LoopFileBed, ArrayBed)}
LAST_CALLS = 60


def main(arguments: Sequence[str]) -> int:
    options = _parse(arguments)
    if problem := _missing():
        print(f"torture: {problem}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, _stopped)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    private_mounts()
    bed = BEDS[options.bed]()
    try:
        _tell(f"torture: bed {options.bed}, seed {options.seed}, {', '.join(options.disturbances)}")
        result = run(bed, options.seed, options.disturbances, options.minutes * 60, _tell)
        _report(bed, result, options)
    except (KeyboardInterrupt, SystemExit):
        _tell("torture: stopped")
        return 130
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):  # a second one must not interrupt the cleaning up
            signal.signal(number, signal.SIG_IGN)
        bed.close(keep=options.keep)
    return 1 if result.findings else 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make torture", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=5.0, help="begin no further round after that time")
    parser.add_argument("--seed", type=int, default=random.randrange(2**31), help="repeats the plan of a run")
    parser.add_argument("--bed", choices=sorted(BEDS), default="loopfile", help="the back end")
    parser.add_argument("--disturbances", type=_names, default=(), help=f"some of: {', '.join(plan.DISTURBANCES)}")
    parser.add_argument("--keep", action="store_true", help="keep the directory, with the logs, for inspection")
    options = parser.parse_args(arguments)
    options.disturbances = options.disturbances or BEDS[options.bed].disturbances
    return options


def _names(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    if unknown := [name for name in names if name not in plan.DISTURBANCES]:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; known: {', '.join(plan.DISTURBANCES)}")
    return names


def _missing() -> str:
    if os.geteuid() != 0:
        return "needs root, for loop devices and mounts"
    return "" if shutil.which("strace") else "needs strace: install the Debian package of that name"


def _tell(line: str) -> None:
    print(line, flush=True)


def _report(bed: Bed, result: Result, options: argparse.Namespace) -> None:
    for name, number in sorted(bed.truth.counts.items()):
        _tell(f"{number:7} {name}")
    if result.findings:
        _tell("the last calls:")
        _tell("\n".join((bed.root / "calls.log").read_text().splitlines()[-LAST_CALLS:]))
        if options.keep:
            _tell(f"kept: {bed.root}")
    for finding in result.findings:
        _tell(f"FINDING in round {result.rounds} of seed {options.seed}: {finding}")
    _tell(f"torture: {result.rounds} rounds, {len(result.findings)} findings, seed {options.seed}")


def _stopped(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(143)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
