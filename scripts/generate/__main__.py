"""The command line: `python -m scripts.generate TARGET...`, run by `make proto`, `make docs` and `make chart`."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence
from pathlib import Path

from scripts.generate.output import ROOT, Output

TARGETS = {
    "protos": "the gRPC stubs, from proto/",
    "catalogue": "the catalogue of drivers, from the installed Cinder",
    "docs": "the reference pages and JSON schemas, from the code and the catalogue",
    "chart": "the chart's definitions and README, and the snapshots of its tests",
}


def main(arguments: Sequence[str] | None = None) -> None:
    listing = "\n".join(f"  {name:<11}{meaning}" for name, meaning in TARGETS.items())
    parser = argparse.ArgumentParser(
        prog="python -m scripts.generate",
        description=f"Write generated files.\n\ntargets:\n{listing}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("targets", nargs="+", choices=TARGETS, metavar="TARGET", help="one or more of these")
    parser.add_argument("--root", type=Path, default=ROOT, help="write to this directory instead of the repository")
    args = parser.parse_args(arguments)
    for target in args.targets:
        output(target).write(args.root)


def output(target: str) -> Output:
    """Import one generator and run it: `protos` must work while the stubs that the others import are missing or broken."""
    generated: Output = importlib.import_module(f"scripts.generate.{target}").output()
    return generated


if __name__ == "__main__":
    main()
