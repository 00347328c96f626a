"""The mkfs options that a StorageClass may set: format parameters, but no force options and no file names."""

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
    """A mkfs: its command with our defaults, and the allowed options in getopt notation."""

    argv: tuple[str, ...]
    short: str
    long: tuple[str, ...] = ()


# -m 0: containers do not use the 5 % reserved for the superuser. Discard is pointless on a new volume and takes minutes on some
# arrays. Deliberately missing: -F and -f (force), and options that read files or other devices of the host.
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
"""Names of programs and devices, which the caller's message already contains."""
_FREE_TEXT = ("-L", "-M", "--label")
_ELSEWHERE = ("device=", "logdev=", "rtdev=", "name=", "file=", "root=", "rootdir=")


def command(fs_type: str, options: Sequence[str]) -> list[str]:
    """The command that creates such a file system, without the device.

    Raises:
        InvalidRequest: the file system or an option is not supported.
    """
    tool = TOOLS.get(fs_type)
    if tool is None:
        raise InvalidRequest("fs_type", f"unsupported file system {fs_type!r}; supported: {', '.join(sorted(TOOLS))}")
    check(fs_type, options)
    return [*tool.argv, *options]


def check(fs_type: str, options: Sequence[str]) -> None:
    """Raises InvalidRequest, naming the option, if one is not allowed for this (supported) file system."""
    for name, value in split(fs_type, options):
        if fs_type == "btrfs" and name in ("-U", "--uuid"):
            raise InvalidRequest(
                FIELD,
                f"{name} is not allowed: all volumes would have this UUID, and a node can mount only one btrfs with it",
            )
        is_path = value.startswith("/") and name not in _FREE_TEXT
        if is_path or any(word.startswith(_ELSEWHERE) for word in value.split(",")):
            raise InvalidRequest(
                FIELD, f"{name} {value} is not allowed: options must not name files or devices of the host"
            )


def split(fs_type: str, options: Sequence[str]) -> list[tuple[str, str]]:
    """Each option with its value, or "". Raises InvalidRequest if an option is not supported."""
    tool = TOOLS[fs_type]
    try:
        parsed, rest = getopt.gnu_getopt(list(options), tool.short, list(tool.long))
    except getopt.GetoptError as error:
        raise InvalidRequest(FIELD, f"{error.msg} for {tool.argv[0]}, or the option is not allowed") from None
    if rest:
        raise InvalidRequest(
            FIELD, f"{rest[0]!r} is not an option of {tool.argv[0]}; the driver adds the device itself"
        )
    return parsed


def complaint(output: Output) -> str:
    """The error message of a failed mkfs on one line, without the warnings before it and the usage text after it."""
    lines = [line.strip() for line in (output.stderr + "\n" + output.stdout).splitlines()]
    useful = itertools.dropwhile(lambda line: not line or line.startswith(_NOISE), lines)
    first = next(useful, "")
    rest = itertools.takewhile(lambda line: line[:1].islower(), useful)  # the same sentence, wrapped
    return (
        _NAMES.sub("", " ".join((first, *rest))).removesuffix("  Aborting.").rstrip(".:") or f"exit code {output.code}"
    )
