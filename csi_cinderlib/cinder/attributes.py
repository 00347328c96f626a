"""Attributes that a driver may lack."""

from __future__ import annotations

import inspect
from typing import Any


def optional(driver: object, name: str, default: Any = None) -> Any:
    """`getattr` without the driver's own `__getattr__`: that of SolidFire raises NotImplementedError, which no default catches."""
    try:
        inspect.getattr_static(driver, name)
    except AttributeError:
        return default
    return getattr(driver, name)
