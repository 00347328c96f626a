"""The catalogue of Cinder's drivers, from the installed Cinder."""

from __future__ import annotations

import json
import subprocess
import sys

from scripts.generate.output import Output


def output() -> Output:
    """Inspect the drivers in another process, because loading Cinder changes the whole process (cinder/runtime.py)."""
    command = [sys.executable, "-W", "ignore", "-m", "csi_cinderlib.cinder.inspection"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    json.loads(text)  # a warning on standard output must not end up in the file
    return Output({"csi_cinderlib/backend/catalogue.json": text})
