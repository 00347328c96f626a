"""Copies and pickles of other libraries' exceptions that have a `resource`, as `multiprocessing.Pool` makes them.

`resource` cannot be pickled, and Python calls the constructor of an exception with its `args`, which many classes do not support. A pool
then waits for ever, or raises another error. The registry of `copyreg` is Python's own extension point for such classes.
"""

from __future__ import annotations

import copyreg
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any

from csi_cinderlib import errors

_State = tuple[Any, ...]
_WITH_STATE = 3


def enable(kind: type[Exception]) -> None:
    """Support copies and pickles of exceptions of this class that have a `resource`."""
    if not issubclass(kind, errors.Restorable) and kind not in copyreg.dispatch_table:
        copyreg.pickle(kind, _reduced)


def _reduced(error: Exception) -> _State:
    kind: Any = type(error)
    if kind.__reduce__ is Exception.__reduce__ and isinstance(kind.__init__, FunctionType):
        return errors.restored, (kind, error.args, errors.without_process(vars(error)))
    reduced: Any = error.__reduce__()
    if len(reduced) != _WITH_STATE or not isinstance(reduced[2], dict):  # no state, or one in a form of its own
        return tuple(reduced)
    return _remade, (*reduced[:2], errors.without_process(reduced[2]))


def _remade(make: Callable[..., Exception], args: _State, attributes: Mapping[str, Any]) -> Exception:
    return errors.with_attributes(make(*args), attributes)
