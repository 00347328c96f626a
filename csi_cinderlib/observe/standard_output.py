"""Handles a closed standard output, and distinguishes its errors from those of other files."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper

NAME = "standard output"


def reopen() -> None:
    """Open replacements for closed standard streams before other files get their descriptors. Printing then fails."""
    for number, flags in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, flags), True)  # the kernel assigns the lowest free number
    sys.stdin = sys.stdin or os.fdopen(0, closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)
    if isinstance(sys.stdout, TextIOWrapper):  # names on arrays may have characters that the locale lacks
        sys.stdout.reconfigure(errors="backslashreplace")


def discard() -> None:
    """Discard the remaining and all further output. Otherwise the process would fail again at its end, or wait for a reader."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def named() -> Iterator[None]:
    """Add a file name to write errors in the block, as errors of other files have."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, NAME) from None


def is_cause(error: OSError) -> bool:
    return bool(error.filename == NAME)
