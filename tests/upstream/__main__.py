"""`make upstream-test`: run Cinder's own driver tests on stock Cinder and on our runtime, and print where they differ.

python -m tests.upstream [PART...]     only the modules whose names contain a PART
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from tests.upstream import plan, report
from tests.upstream.comparison import Expectation
from tests.upstream.processes import run_modes

ROOT = Path(__file__).parents[2]
EXPECTED = Path(__file__).parent / "expected.toml"
RESULTS = ROOT / "build" / "upstream"


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="upstream-test", description="Compare stock Cinder with our runtime by Cinder's tests."
    )
    parser.add_argument("part", nargs="*", help="run only modules whose names contain it, `netapp` say")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where results are written (%(default)s)")
    args = parser.parse_args()
    names = plan.modules(plan.source_root(), args.part)
    if not names:
        parser.error(f"no module of Cinder's tests contains {' or '.join(args.part)}")
    shutil.rmtree(args.results, ignore_errors=True)
    args.results.mkdir(parents=True)
    return report.show(run_modes(names, args.results), Expectation.load(EXPECTED), whole=not args.part)


if __name__ == "__main__":
    sys.exit(main())
