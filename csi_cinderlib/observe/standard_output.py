"""Standard output that is closed, and its errors, told from those of other files."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper

NAME = "standard output"


def reopen() -> None:
    """Take the places of standard streams that are closed, before another file gets their numbers. What is printed then fails."""
    for number, flags in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, flags), True)  # it gets the lowest number that is free
    sys.stdin = sys.stdin or os.fdopen(0, closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)
    if isinstance(sys.stdout, TextIOWrapper):  # a locale may lack characters that names on arrays have
        sys.stdout.reconfigure(errors="backslashreplace")


def discard() -> None:
    """Write what is left, and all that comes, nowhere: at its end, the process would fail again, or wait for a reader."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def named() -> Iterator[None]:
    """Give an error of what is written inside the file name that errors of other files have."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, NAME) from None


def is_cause(error: OSError) -> bool:
    return bool(error.filename == NAME)
