"""Which options to mkfs a StorageClass may give: what shapes the file system, nothing that forces or names files."""

from __future__ import annotations

import getopt
from collections.abc import Sequence
from dataclasses import dataclass

from csi_cinderlib.errors import InvalidRequest

FIELD = "parameters.mkfsOptions"


@dataclass(frozen=True, slots=True)
class _Tool:
    """A mkfs: its command with our defaults, and the options that may be added (in getopt's notation)."""

    argv: tuple[str, ...]
    short: str
    long: tuple[str, ...] = ()


# -m 0: the superuser's share of 5 % serves no container. Discarding is pointless on a volume that was never written, and
# takes minutes on some arrays. Missing on purpose: -F and -f (force), and what reads files or other devices of the host.
TOOLS = {
    "ext4": _Tool(
        ("mkfs.ext4", "-q", "-m", "0", "-E", "nodiscard"), "b:C:DE:g:G:i:I:J:KL:m:M:N:O:qr:T:U:v"
    ),
    "xfs": _Tool(("mkfs.xfs", "-q", "-K"), "b:d:i:Kl:L:m:n:qs:"),
    "btrfs": _Tool(
        ("mkfs.btrfs", "-q", "-K"),
        "b:d:Km:L:Mn:O:qR:s:U:v",
        (
            "byte-count=", "checksum=", "csum=", "data=", "features=", "label=", "metadata=", "mixed", "nodesize=",
            "nodiscard", "quiet", "runtime-features=", "sectorsize=", "uuid=", "verbose",
        ),
    ),
}  # fmt: skip
_FREE_TEXT = ("-L", "-M", "--label")
_ELSEWHERE = ("device=", "logdev=", "rtdev=", "name=", "file=", "root=", "rootdir=")


def command(fs_type: str, options: Sequence[str]) -> list[str]:
    """The command that makes such a file system, less the device.

    Raises:
        InvalidRequest: an unknown file system, or an option that its mkfs does not know or that may not be given.
    """
    tool = TOOLS.get(fs_type)
    if tool is None:
        raise InvalidRequest("fs_type", f"{fs_type!r} is not one of {', '.join(sorted(TOOLS))}")
    check(fs_type, options)
    return [*tool.argv, *options]


def check(fs_type: str, options: Sequence[str]) -> None:
    """Raises InvalidRequest, naming the option, when mkfs of this (known) file system may not be given one of these."""
    tool = TOOLS[fs_type]
    try:
        parsed, rest = getopt.gnu_getopt(list(options), tool.short, list(tool.long))
    except getopt.GetoptError as error:
        raise InvalidRequest(FIELD, f"{error.msg} for {tool.argv[0]}, or not allowed here") from None
    if rest:
        raise InvalidRequest(FIELD, f"{rest[0]!r} is no option of {tool.argv[0]}; the device is named by the driver")
    for name, value in parsed:
        is_path = value.startswith("/") and name not in _FREE_TEXT
        if is_path or any(word.startswith(_ELSEWHERE) for word in value.split(",")):
            raise InvalidRequest(FIELD, f"{name} {value}: files and other devices of the host may not be named")
