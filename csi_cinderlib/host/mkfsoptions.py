"""Which options to mkfs a StorageClass may give: what shapes the file system, nothing that forces or names files."""

from __future__ import annotations

import getopt
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from csi_cinderlib.errors import InvalidRequest
from csi_cinderlib.host.commands import Output

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
_NOISE = ("mke2fs 1.", "Warning:", "WARNING:", "NOTE:")
_NAMES = re.compile(r"^(?:ERROR: |mkfs\.\w+: |/\S+: )+")
"""Of programs and devices, which the caller knows."""
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
    for name, value in split(fs_type, options):
        if fs_type == "btrfs" and name in ("-U", "--uuid"):
            raise InvalidRequest(
                FIELD, f"{name}: a node mounts only one btrfs of each UUID, and all volumes would have this one"
            )
        is_path = value.startswith("/") and name not in _FREE_TEXT
        if is_path or any(word.startswith(_ELSEWHERE) for word in value.split(",")):
            raise InvalidRequest(FIELD, f"{name} {value}: files and other devices of the host may not be named")


def split(fs_type: str, options: Sequence[str]) -> list[tuple[str, str]]:
    """Each option with its value, or "". Raises InvalidRequest when one is not known or not allowed."""
    tool = TOOLS[fs_type]
    try:
        parsed, rest = getopt.gnu_getopt(list(options), tool.short, list(tool.long))
    except getopt.GetoptError as error:
        raise InvalidRequest(FIELD, f"{error.msg} for {tool.argv[0]}, or not allowed here") from None
    if rest:
        raise InvalidRequest(
            FIELD, f"{rest[0]!r} is not an option of {tool.argv[0]}; the driver itself names the device"
        )
    return parsed


def complaint(output: Output) -> str:
    """What a mkfs that failed says against it, on one line; some print warnings before it and a page of usage after it."""
    lines = [line.strip() for line in (output.stderr + "\n" + output.stdout).splitlines()]
    useful = itertools.dropwhile(lambda line: not line or line.startswith(_NOISE), lines)
    first = next(useful, "")
    rest = itertools.takewhile(lambda line: line[:1].islower(), useful)  # the same sentence, broken
    return (
        _NAMES.sub("", " ".join((first, *rest))).removesuffix("  Aborting.").rstrip(".:") or f"exit code {output.code}"
    )
