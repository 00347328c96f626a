"""The command line: `python -m scripts.former_names CLONE` writes csi_cinderlib/config/former.json."""

from __future__ import annotations

import argparse
from pathlib import Path

from csi_cinderlib.backend import catalogue
from csi_cinderlib.config.former import FILE
from scripts.former_names.history import Clone
from scripts.former_names.known import RELEASES
from scripts.former_names.table import Table


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m scripts.former_names", description=__doc__)
    parser.add_argument("clone", type=Path, help="directory of a Git clone of Cinder, with all tags; bare or not")
    clone = Clone(parser.parse_args().clone)
    releases = [clone.release(tag) for tag in RELEASES]
    FILE.write_text(Table(releases, catalogue.load()).to_json())


if __name__ == "__main__":
    main()
