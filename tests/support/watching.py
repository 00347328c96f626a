"""Fake drivers that are watched, or fail, while a back end works."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

AWAY = ConnectionRefusedError("the array is away")


def observe(driver: Any, method: str, look: Callable[..., object]) -> list[Any]:
    """What is to be seen, with the driver's arguments, when the driver is called."""
    original, seen = getattr(driver, method), []

    def called(*arguments: Any, **named: Any) -> Any:
        seen.append(look(*arguments))
        return original(*arguments, **named)

    setattr(driver, method, called)
    return seen


def failing(driver: Any, method: str, *errors: Exception) -> None:
    """The next calls fail, each with one of these; the last one for ever."""
    left = list(errors)

    def fail(*_arguments: Any, **_named: Any) -> Any:
        raise left.pop(0) if len(left) > 1 else left[0]

    setattr(driver, method, fail)


def cinders(name: str, **values: str) -> Exception:
    """An exception of Cinder's, which is imported only once its runtime is there."""
    from cinder import exception

    error: Exception = getattr(exception, name)(**values)
    return error
