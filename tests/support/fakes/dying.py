"""A driver that ends its process when it is loaded, as a library with a fault does."""

from __future__ import annotations

import os
from typing import Any

from tests.support.fakes.nothing import NothingDriver


class DyingDriver(NothingDriver):
    def __init__(self, *_arguments: Any, **_named: Any) -> None:
        os._exit(3)
