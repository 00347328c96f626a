"""Drivers that contact their storage when they are loaded."""

from __future__ import annotations

from typing import Any

from tests.support.fakes.nothing import NothingDriver


class HeldDriver(NothingDriver):
    """Waits when it is loaded as long as the file `nothing_held` exists."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._called("__init__")


class QuotingDriver(NothingDriver):
    """Fails when it is loaded, and quotes its secrets."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        raise ValueError(
            f"the array refuses {self.configuration.nothing_password} and {self.configuration.nothing_sesame}"
        )
