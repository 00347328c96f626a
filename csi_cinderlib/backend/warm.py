"""Imported by the process that drivers' processes are forked from, and by nobody else: what they share."""

from __future__ import annotations

import gc

from csi_cinderlib.backend import driver_process  # noqa: F401  # with all that it imports
from csi_cinderlib.backend.runtime import load_cinder

load_cinder()
gc.collect()
gc.freeze()  # a collection in a forked process would write to the shared pages, and so copy them
