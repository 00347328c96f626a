"""`make bench`: the figures of this machine against the budgets. Ratios to the calibration of the same minute are what to compare
between machines; the absolute figures swing with the load."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import sys
import tempfile
from pathlib import Path

from csi_cinderlib.demo.sandbox import private_mounts, sweep
from tests.bench import stores
from tests.bench.controllers import controllers
from tests.bench.hangs import hangs
from tests.bench.library import measure as library
from tests.bench.rows import GROUPS, Row
from tests.bench.scale import scale

OWN = {**GROUPS, "scale": scale, "controllers": controllers, "hangs": hangs}
LINE = "{:<46} {:>10} {:>9} {:>9}  {:<7} {:>10} {:>7}  {}"


def main() -> int:
    """0, however it went: a benchmark is read, not passed."""
    parser = argparse.ArgumentParser(prog="bench", description="Measure against the budgets.")
    names = [*OWN, *stores.groups(), *library.groups()]
    parser.add_argument("group", nargs="*", choices=[*names, []], metavar="GROUP", help=f"of {', '.join(names)} (all)")
    parser.add_argument("--large", action="store_true", help="stores with up to 100,000 volumes, too: takes minutes")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    args = parser.parse_args()
    if os.geteuid() == 0:
        private_mounts()
    if not args.json:
        print(
            f"Python {platform.python_version()}, Linux {platform.release()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}\n"
        )
        print(LINE.format("what", "measured", "budget", "aim", "verdict", "floor", "ratio", "floor is"))
    groups = {**OWN, **stores.groups(large=args.large), **library.groups()}
    for group in args.group or groups:
        directory = Path(tempfile.mkdtemp(prefix="csi-cinderlib-bench-"))
        try:
            for row in groups[group](directory):
                _show(row, as_json=args.json)
        finally:
            sweep(directory)
    return 0


def _show(row: Row, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({**dataclasses.asdict(row), "verdict": _verdict(row)}), flush=True)
        return
    floor = _number(row.calibration, row.unit) if row.calibration else ""
    ratio = f"{row.value / row.calibration:.2f}" if row.calibration else ""
    figures = ["" if number is None else _number(number, row.unit) for number in (row.value, row.budget, row.aim)]
    print(LINE.format(row.what, *figures, _verdict(row), floor, ratio, row.calibrated_by), flush=True)


def _number(value: float, unit: str) -> str:
    return f"{value:.2f} {unit}" if value < 10 else f"{value:.0f} {unit}"


def _verdict(row: Row) -> str:
    if row.budget is None:
        return ""

    def reached(goal: float | None) -> bool:
        if goal is None:
            return False
        return row.value >= goal if row.more_is_better else row.value <= goal

    return "aim" if reached(row.aim) else "budget" if reached(row.budget) else "MISSED"


if __name__ == "__main__":
    sys.exit(main())
