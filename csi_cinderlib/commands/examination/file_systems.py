"""File systems: the tools that make and grow them, and whether the running kernel mounts what they make."""

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
"""Each file system with the programs that it needs: to make it, then to grow it."""
Version = tuple[int, int]
_TRIAL_BYTES = {"ext4": 64 * 1024**2, "btrfs": 256 * 1024**2, "xfs": 1024**3}
_SECONDS = 30.0
_XFS_FEATURE = re.compile(r"\b([a-z0-9-]+)=(\d+)")

# The first Linux that mounts a file system with the feature, for writing. Sources: fs/ext4/ext4.h, fs/xfs/libxfs/xfs_format.h and
# fs/btrfs/ctree.h of each version. Older ones need no row: no supported kernel lacks them.
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
                f"install {lacking[0]}, or do not offer {name} in a StorageClass",
            )
        elif name in known:
            yield _compare(host, name)
        else:
            module = modules.look(host, name)
            if module.works:
                yield _compare(host, name)
            elif module.state is modules.State.UNKNOWN:
                yield unknown(name, f"the module {name} {module.detail}")
            else:
                yield note(
                    name,
                    f"the kernel cannot mount it: the module {name} {module.detail}",
                    f"do not offer {name} in a StorageClass",
                )


def _compare(host: Host, name: str) -> Finding:
    """What this mkfs makes by default against what the running kernel mounts."""
    release = (host.text("proc/sys/kernel/osrelease") or "").strip()
    tool = tools_version(name)
    try:
        made = features(name)
    except HostError as error:
        return unknown(name, f"{tool}; what it makes could not be tried: {error}")
    known = {entry.replace("-", "_") for entry in host.names(f"sys/fs/{name}/features")}
    young = {feature: since for feature, since in made.items() if feature not in known and since > version(release)}
    if not young:
        return ok(name, f"{tool}; Linux {release} has all features that it uses")
    listed = ", ".join(f"{feature} (Linux {since[0]}.{since[1]})" for feature, since in sorted(young.items()))
    advice = f"give mkfsOptions in the StorageClass: {' '.join(_SWITCHES[name](feature) for feature in sorted(young))}"
    if is_backported(release):
        detail = f"{tool} uses {listed}; whether this vendor's Linux {release} has that is not known"
        return unknown(name, detail, f"mount a new {name} once; if that fails, {advice}")
    return note(name, f"{tool} uses {listed}, which Linux {release} does not mount", advice)


def tools_version(name: str) -> str:
    """The first line of what its mkfs says about itself."""
    tool = dict(PROGRAMS)[name][0]
    try:
        ran = commands.run([tool, "--version" if name == "btrfs" else "-V"], timeout=_SECONDS)
    except HostError as error:
        return f"{tool} ({error})"
    lines = (ran.stdout + ran.stderr).strip().splitlines()
    return lines[0] if lines else tool


def version(release: str) -> Version:
    """Of "6.1.0-28-amd64" (6, 1); (0, 0) of what is no version."""
    found = re.match(r"(\d+)\.(\d+)", release)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def is_backported(release: str) -> bool:
    """Whether the vendor takes file systems of later versions into a kernel, so that its number says little."""
    return re.search(r"\.(el|amzn|uek|oe)\d|-default$|\.(azl|cm)\d", release) is not None


@functools.cache
def features(name: str) -> Mapping[str, Version]:
    """The features of a file system that `mkfs` makes by default, with the first Linux that mounts each. Raises HostError."""
    if name == "xfs":
        return xfs_features(_trial(name, "-N")[0])
    _, head = _trial(name)
    if name == "ext4":
        incompatible, read_only = struct.unpack_from("<II", head, 1024 + 0x60)
        return {**_named(incompatible, EXT4_INCOMPATIBLE), **_named(read_only, EXT4_READ_ONLY)}
    read_only, incompatible = struct.unpack_from("<QQ", head, 0x10000 + 0xB4)
    return {**_named(incompatible, _BTRFS_INCOMPATIBLE), **_named(read_only, _BTRFS_READ_ONLY)}


def xfs_features(text: str) -> Mapping[str, Version]:
    """By the summary that mkfs.xfs prints."""
    return {key: _XFS[key] for key, value in _XFS_FEATURE.findall(text) if value != "0" and key in _XFS}


def _named(bits: int, table: Mapping[int, tuple[str, Version]]) -> dict[str, Version]:
    return dict(row for bit, row in table.items() if bits & bit)


def _trial(name: str, *options: str) -> tuple[str, bytes]:
    """Make one in a file in memory, of which only the parts that mkfs writes exist; what it prints, and the first 128 KiB."""
    argv = [word for word in mkfsoptions.command(name, ()) if word != "-q" or name != "xfs"]
    with kernel.named(f"trying {argv[0]}"):
        file = os.memfd_create("mkfs-trial")
        try:
            os.ftruncate(file, _TRIAL_BYTES[name])
            path = f"/proc/self/fd/{file}"
            said = commands.run([argv[0], *options, *argv[1:], path], timeout=_SECONDS, files=[file])
            return said.stdout, os.pread(file, 128 * 1024, 0)
        finally:
            os.close(file)
