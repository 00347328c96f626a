"""Portals' networks, to be cut one by one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.guest.inside.shell import modprobe, run


def address(number: int) -> str:
    return f"10.9.{number}.1"


@contextmanager
def networks(count: int = 2) -> Iterator[list[str]]:
    """Interfaces path1, path2 ..., each with an address of its own; yields the addresses."""
    modprobe("dummy", numdummies=0)
    for number in range(1, count + 1):
        run("ip", "link", "add", f"path{number}", "type", "dummy")
        run("ip", "link", "set", f"path{number}", "up")
        heal(number)
    try:
        yield [address(number) for number in range(1, count + 1)]
    finally:
        for number in range(1, count + 1):
            run("ip", "link", "del", f"path{number}")


def cut(number: int) -> None:
    """Take the address away: packets to it go nowhere, connections hang as on a pulled cable."""
    run("ip", "addr", "del", f"{address(number)}/24", "dev", f"path{number}")


def heal(number: int) -> None:
    run("ip", "addr", "add", f"{address(number)}/24", "dev", f"path{number}")


@contextmanager
def silent(*numbers: int) -> Iterator[None]:
    for number in numbers:
        cut(number)
    try:
        yield
    finally:
        for number in numbers:
            heal(number)
