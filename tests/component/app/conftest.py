"""Running back ends, for the tests of `app.backends` and `app.reconfiguration`."""

from __future__ import annotations

from tests.support.running import counted, run

__all__ = ["counted", "run"]
