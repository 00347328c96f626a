"""Makes `serve` fail as soon as it reads its settings, for the test of a demo whose driver does not start."""

import sys

if "serve" in sys.argv or "serve" in sys.orig_argv:
    sys.stderr.write("this installation is deliberately broken\n")
    raise SystemExit(2)
