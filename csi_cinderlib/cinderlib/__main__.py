"""Run a program that was written for cinderlib, unmodified, with this library."""

from __future__ import annotations

import os
import runpy
import sys

from csi_cinderlib.cinderlib.alias import install_as_cinderlib

USAGE = """\
usage: python -m csi_cinderlib.cinderlib PROGRAM [ARGUMENT...]
       python -m csi_cinderlib.cinderlib -m MODULE [ARGUMENT...]

Run a Python program or module in which `import cinderlib` returns csi-cinderlib's library.
"""


def main(arguments: list[str]) -> int:
    """Run the program in this process, as Python does."""
    is_module = arguments[:1] == ["-m"]
    rest = arguments[1:] if is_module else arguments
    if not rest or rest[0].startswith("-"):
        is_help = rest[:1] in (["-h"], ["--help"])
        (sys.stdout if is_help else sys.stderr).write(USAGE)
        return 0 if is_help else 2
    install_as_cinderlib()
    sys.argv[:] = rest
    if is_module:
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
        return 0
    if not os.path.exists(rest[0]):  # noqa: PTH110  # as given
        sys.stderr.write(f"cannot run {rest[0]}: no such file\n")
        return 2
    sys.path[0] = os.path.dirname(os.path.realpath(rest[0]))  # noqa: PTH120  # as Python sets it
    runpy.run_path(rest[0], run_name="__main__")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
