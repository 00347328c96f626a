"""File systems: the tools that create and grow them, and whether the running kernel supports the created file systems."""

from __future__ import annotations

import functools
import os
import re
import struct
from collections.abc import Iterator, Mapping

from csi_cinderlib.brick import tools
from csi_cinderlib.commands.examination import modules
from csi_cinderlib.commands.examination.findings import Finding, note, ok, unknown
from csi_cinderlib.commands.examination.host import Host
from csi_cinderlib.errors import HostError
from csi_cinderlib.host import commands, kernel, mkfsoptions

PROGRAMS = (
    ("ext4", ("mkfs.ext4", "resize2fs")),
    ("xfs", ("mkfs.xfs", "xfs_growfs")),
    ("btrfs", ("mkfs.btrfs", "btrfs")),
)
"""Programs of each file system: to create it, then to grow it."""
Version = tuple[int, int]
_TRIAL_BYTES = {"ext4": 64 * 1024**2, "btrfs": 256 * 1024**2, "xfs": 1024**3}
_SECONDS = 30.0
_XFS_FEATURE = re.compile(r"\b([a-z0-9-]+)=(\d+)")

# The first Linux version that mounts a file system with the feature read-write. Sources: fs/ext4/ext4.h,
# fs/xfs/libxfs/xfs_format.h and fs/btrfs/ctree.h of each version. Older features are omitted: all supported kernels have them.
EXT4_INCOMPATIBLE: Mapping[int, tuple[str, Version]] = {
    0x2000: ("metadata_csum_seed", (4, 4)),
    0x4000: ("large_dir", (4, 13)),
    0x8000: ("inline_data", (3, 8)),
    0x10000: ("encrypt", (4, 1)),
    0x20000: ("casefold", (5, 2)),
}
EXT4_READ_ONLY: Mapping[int, tuple[str, Version]] = {
    0x400: ("metadata_csum", (3, 18)),
    0x2000: ("project", (4, 5)),
    0x8000: ("verity", (5, 4)),
    0x10000: ("orphan_present", (5, 15)),
}
_BTRFS_INCOMPATIBLE: Mapping[int, tuple[str, Version]] = {
    0x200: ("no_holes", (3, 14)),
    0x400: ("metadata_uuid", (5, 0)),
    0x800: ("raid1c34", (5, 5)),
    0x1000: ("zoned", (5, 12)),
    0x4000: ("raid_stripe_tree", (6, 7)),
    0x10000: ("simple_quota", (6, 7)),
}
_BTRFS_READ_ONLY: Mapping[int, tuple[str, Version]] = {
    0x1: ("free_space_tree", (4, 5)),
    0x4: ("verity", (5, 15)),
    0x8: ("block_group_tree", (6, 1)),
}
_XFS: Mapping[str, Version] = {
    "finobt": (3, 16),
    "sparse": (4, 2),
    "rmapbt": (4, 8),
    "reflink": (4, 9),
    "bigtime": (5, 10),
    "inobtcount": (5, 10),
    "nrext64": (5, 19),
    "exchange": (6, 10),
    "parent": (6, 10),
    "metadir": (6, 13),
}
_SWITCHES = {
    "ext4": lambda name: f"-O ^{name}",
    "xfs": lambda name: (
        f"-{'i' if name in ('sparse', 'nrext64', 'exchange') else 'n' if name == 'parent' else 'm'} {name}=0"
    ),
    "btrfs": lambda name: f"-O ^{name.replace('_', '-')}",
}


def examine(host: Host) -> Iterator[Finding]:
    known = (host.text("proc/filesystems") or "").split()
    for name, programs in PROGRAMS:
        if lacking := tools.missing(programs):
            yield note(
                name,
                f"needs {tools.advice(lacking)}",
                f"install {lacking[0]}, or do not use {name} in a StorageClass",
            )
        elif name in known:
            yield _compare(host, name)
        else:
            module = modules.look(host, name)
            if module.works:
                yield _compare(host, name)
            elif module.state is modules.State.UNKNOWN:
                yield unknown(name, f"module {name} {module.detail}")
            else:
                yield note(
                    name,
                    f"not supported by the kernel: module {name} {module.detail}",
                    f"do not use {name} in a StorageClass",
                )


def _compare(host: Host, name: str) -> Finding:
    """Compare the default features of the local mkfs with those of the running kernel."""
    release = (host.text("proc/sys/kernel/osrelease") or "").strip()
    tool = tools_version(name)
    try:
        enabled = features(name)
    except HostError as error:
        return unknown(name, f"{tool}; cannot create a test file system: {error}")
    known = {entry.replace("-", "_") for entry in host.names(f"sys/fs/{name}/features")}
    young = {feature: since for feature, since in enabled.items() if feature not in known and since > version(release)}
    if not young:
        return ok(name, f"{tool}; Linux {release} supports all features that it enables")
    listed = ", ".join(f"{feature} (Linux {since[0]}.{since[1]})" for feature, since in sorted(young.items()))
    advice = f"set mkfsOptions in the StorageClass: {' '.join(_SWITCHES[name](feature) for feature in sorted(young))}"
    if is_backported(release):
        detail = f"{tool} enables {listed}; this vendor's Linux {release} may not support that"
        return unknown(name, detail, f"mount a new {name} file system once; if that fails, {advice}")
    return note(name, f"{tool} enables {listed}, which Linux {release} does not support", advice)


def tools_version(name: str) -> str:
    """The first line of the mkfs program's version output."""
    tool = dict(PROGRAMS)[name][0]
    try:
        ran = commands.run([tool, "--version" if name == "btrfs" else "-V"], timeout=_SECONDS)
    except HostError as error:
        return f"{tool} ({error})"
    lines = (ran.stdout + ran.stderr).strip().splitlines()
    return lines[0] if lines else tool


def version(release: str) -> Version:
    """(6, 1) for "6.1.0-28-amd64"; (0, 0) for text that is not a version."""
    found = re.match(r"(\d+)\.(\d+)", release)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def is_backported(release: str) -> bool:
    """Whether the vendor backports file systems of later versions, so that the kernel's version is not conclusive."""
    return re.search(r"\.(el|amzn|uek|oe)\d|-default$|\.(azl|cm)\d", release) is not None


@functools.cache
def features(name: str) -> Mapping[str, Version]:
    """The features that `mkfs` enables by default, with the first Linux version that supports each. Raises HostError."""
    if name == "xfs":
        return xfs_features(_trial(name, "-N")[0])
    _, head = _trial(name)
    if name == "ext4":
        incompatible, read_only = struct.unpack_from("<II", head, 1024 + 0x60)
        return {**_named(incompatible, EXT4_INCOMPATIBLE), **_named(read_only, EXT4_READ_ONLY)}
    read_only, incompatible = struct.unpack_from("<QQ", head, 0x10000 + 0xB4)
    return {**_named(incompatible, _BTRFS_INCOMPATIBLE), **_named(read_only, _BTRFS_READ_ONLY)}


def xfs_features(text: str) -> Mapping[str, Version]:
    """The features in the summary that mkfs.xfs prints."""
    return {key: _XFS[key] for key, value in _XFS_FEATURE.findall(text) if value != "0" and key in _XFS}


def _named(bits: int, table: Mapping[int, tuple[str, Version]]) -> dict[str, Version]:
    return dict(row for bit, row in table.items() if bits & bit)


def _trial(name: str, *options: str) -> tuple[str, bytes]:
    """Create a file system in a sparse file in memory. Returns the output of mkfs and the first 128 KiB of the file."""
    argv = [word for word in mkfsoptions.command(name, ()) if word != "-q" or name != "xfs"]
    with kernel.named(f"trying {argv[0]}"):
        file = os.memfd_create("mkfs-trial")
        try:
            os.ftruncate(file, _TRIAL_BYTES[name])
            path = f"/proc/self/fd/{file}"
            output = commands.run([argv[0], *options, *argv[1:], path], timeout=_SECONDS, files=[file])
            return output.stdout, os.pread(file, 128 * 1024, 0)
        finally:
            os.close(file)
