"""Entry point of `python -m csi_cinderlib`."""

from csi_cinderlib.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
