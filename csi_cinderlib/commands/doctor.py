"""`csi-cinderlib doctor`: does this host have what a node needs?"""

from __future__ import annotations

import enum
import importlib.metadata
import os
import platform
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from csi_cinderlib import __version__
from csi_cinderlib.brick import tools
from csi_cinderlib.commands import output
from csi_cinderlib.config.near import unknown
from csi_cinderlib.errors import HostError, InvalidRequest
from csi_cinderlib.host import commands

FILE_SYSTEMS = (
    ("ext4", ("mkfs.ext4", "resize2fs")),
    ("xfs", ("mkfs.xfs", "xfs_growfs")),
    ("btrfs", ("mkfs.btrfs", "btrfs")),
)
_VERSION_OPTIONS = {
    "mkfs.ext4": "-V",
    "mkfs.xfs": "-V",
    "resize2fs": "",
    "xfs_growfs": "-V",
    "mount.nfs": "-V",
}
_LINE = re.compile(r'^\s*(?P<key>[\w-]+)\s+"?(?P<value>[^"\s{}]+)"?\s*$')
_OPEN = re.compile(r"^\s*(?P<section>[\w-]+)\s*\{\s*(?P<rest>.*)$")


class Level(enum.StrEnum):
    OK = "ok"
    NOTE = "note"
    BAD = "BAD"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. NOTE is for what only some deployments need."""

    level: Level
    what: str
    detail: str


@click.command()
@click.option(
    "--protocol",
    "protocols",
    multiple=True,
    metavar="NAME",
    help=f"Fail unless this protocol works here: {', '.join(tools.PROTOCOLS)}. May be repeated.",
)
@click.option("--multipath", is_flag=True, help="Fail unless multipathing works here.")
def command(protocols: Sequence[str], multipath: bool) -> int:
    """Print what was found; 1 when something that must work cannot."""
    for protocol in protocols:
        if protocol not in tools.PROTOCOLS:
            raise InvalidRequest("--protocol", unknown("protocol", protocol, tools.PROTOCOLS))
    bad = False
    for finding in examine(required=frozenset(protocols), multipath=multipath):
        output.print_text(f"{finding.level:<5} {finding.what:<18} {finding.detail}")
        bad |= finding.level is Level.BAD
    return int(bad)


def examine(*, required: frozenset[str], multipath: bool, root: Path = Path("/")) -> Iterator[Finding]:
    """Look at everything; `root` is where the host's /etc, /dev and /proc are."""
    yield from _versions()
    yield _privileges()
    yield _loop_devices(root)
    yield from _file_systems(root)
    for protocol in tools.PROTOCOLS:
        yield _protocol(protocol, needed=protocol in required, multipath=multipath)
    yield from _identities(root, required)
    yield from _multipath(root, needed=multipath)
    yield from _activation(_root_of_host(root))


def _versions() -> Iterator[Finding]:
    yield Finding(
        Level.OK, "csi-cinderlib", f"{__version__}, Python {platform.python_version()}, Linux {platform.release()}"
    )
    for package, role in (("os-brick", "nodes"), ("cinder", "controllers")):
        try:
            yield Finding(Level.OK, package, importlib.metadata.version(package))
        except importlib.metadata.PackageNotFoundError:
            yield Finding(Level.NOTE, package, f"is not installed in {sys.prefix}; {role} need it")


def _privileges() -> Finding:
    if os.geteuid() != 0:
        return Finding(Level.BAD, "privileges", "a node must be root; this is user " + str(os.geteuid()))
    return Finding(Level.OK, "privileges", "root")


def _loop_devices(root: Path) -> Finding:
    if (root / "dev/loop-control").exists():
        return Finding(Level.OK, "loop devices", "/dev/loop-control")
    return Finding(Level.NOTE, "loop devices", "no /dev/loop-control: volumes in files cannot be used (modprobe loop)")


def _file_systems(root: Path) -> Iterator[Finding]:
    known = (root / "proc/filesystems").read_text().split()
    for name, needed in FILE_SYSTEMS:
        if lacking := tools.missing(needed):
            yield Finding(Level.NOTE, name, f"needs {tools.advice(lacking)}")
        elif name not in known:
            yield Finding(
                Level.NOTE, name, "is not known to the running kernel yet; it may load the module when needed"
            )
        else:
            yield _runs(name, needed[0], Level.NOTE)


def _protocol(protocol: str, *, needed: bool, multipath: bool) -> Finding:
    level = Level.BAD if needed else Level.NOTE
    programs = tools.needed(protocol, multipath=multipath)
    if lacking := tools.missing(programs):
        return Finding(level, protocol, f"needs {tools.advice(lacking)}")
    return _runs(protocol, programs[0], level)


def _runs(what: str, tool: str, level: Level) -> Finding:
    """The first line of what the tool says about itself; a finding of that level when it does not run."""
    option = _VERSION_OPTIONS.get(tool, "--version")
    if not option:
        return Finding(Level.OK, what, tool)
    try:
        ran = commands.run([tool, option], timeout=10)
    except HostError as error:
        return Finding(level, what, str(error))
    lines = (ran.stdout + ran.stderr).strip().splitlines()
    return Finding(Level.OK, what, lines[0] if lines else tool)


def _identities(root: Path, required: frozenset[str]) -> Iterator[Finding]:
    """The names by which arrays know this host."""
    for protocol, path, maker in (
        ("iscsi", "etc/iscsi/initiatorname.iscsi", "iscsi-iname, or the package open-iscsi"),
        ("nvmeof", "etc/nvme/hostnqn", "nvme gen-hostnqn"),
    ):
        level = Level.BAD if protocol in required else Level.NOTE
        try:
            lines = [
                line for line in (root / path).read_text().splitlines() if line.strip() and not line.startswith("#")
            ]
        except OSError as error:
            yield Finding(level, f"{protocol} name", f"/{path}: {error.strerror}; made by {maker}")
            continue
        yield Finding(
            Level.OK if lines else level,
            f"{protocol} name",
            lines[0] if lines else f"/{path} names none; made by {maker}",
        )


def _multipath(root: Path, *, needed: bool) -> Iterator[Finding]:
    level = Level.BAD if needed else Level.NOTE
    yield _multipathd(level)
    path = _root_of_host(root) / "etc/multipath.conf"
    try:
        clauses = multipath_advice(path.read_text(errors="replace"))
    except FileNotFoundError:
        yield Finding(level, "multipath.conf", "does not exist: no multipathing")
        return
    for clause in clauses:
        yield Finding(level, "multipath.conf", clause)
    if not clauses:
        yield Finding(Level.OK, "multipath.conf", "nothing in it hurts")


def _root_of_host(root: Path) -> Path:
    """Where the configuration of the host's own programs is, also from inside the node's container."""
    return tools.HOST_ROOT if tools.of_host("multipath") else root


def _multipathd(level: Level) -> Finding:
    if lacking := tools.missing(tools.MULTIPATH):
        return Finding(level, "multipathd", f"needs {tools.advice(lacking)}")
    try:
        said = commands.run(["multipathd", "show", "daemon"], timeout=10).stdout.strip()
    except HostError as error:
        return Finding(level, "multipathd", f"does not answer, so it does not run ({error})")
    return Finding(Level.OK, "multipathd", said)


def multipath_advice(text: str) -> tuple[str, ...]:
    """One clause for each setting of multipath.conf's [defaults] that makes volumes go wrong; none when all is well."""
    values, crowded = _multipath_defaults(text)
    clauses = [f"line {number}: only one keyword a line is understood" for number in crowded]
    if values.get("find_multipaths", "strict") in ("no", "off", "greedy"):
        clauses.append(
            f"find_multipaths {values['find_multipaths']} lets multipathd take disks that have one path only; use yes or strict"
        )
    if values.get("recheck_wwid", "no") == "no":
        clauses.append("recheck_wwid yes is missing: a reused LUN could be taken for the old volume")
    if values.get("skip_kpartx", "no") == "no":
        clauses.append(
            "skip_kpartx yes is missing: partitions inside a raw block volume would be mapped and hold it open"
        )
    return tuple(clauses)


def _multipath_defaults(text: str) -> tuple[Mapping[str, str], tuple[int, ...]]:
    """The settings of the section `defaults`, and the lines on which more stands than the program reads."""
    section, depth = "", 0
    values: dict[str, str] = {}
    crowded: list[int] = []
    for number, raw in enumerate(text.splitlines(), 1):
        line = re.sub(r"[#!].*", "", raw)
        if opened := _OPEN.match(line):
            depth += 1
            section = opened["section"] if depth == 1 else section
            crowded += [number] if opened["rest"].strip() else []
        elif line.strip() == "}":
            depth -= 1
        elif depth == 1 and section == "defaults" and (setting := _LINE.match(line)):
            values[setting["key"]] = setting["value"]
    return values, tuple(crowded)


_REJECTS_ALL = re.compile(r"r(?P<mark>[^\w\s])\.\*(?P=mark)")
"""An item of LVM's filters that no device passes."""


def _activation(host: Path) -> Iterator[Finding]:
    """What on the host takes what tenants wrote on raw volumes for its own."""
    if host == tools.HOST_ROOT and not tools.sees_host():
        yield Finding(
            Level.NOTE, "LVM, md, udisks", "were not looked at: this container does not see the host (hostPID)"
        )
        return
    udisksd = ("lib/udisks2/udisksd", "libexec/udisks2/udisksd")
    for what, programs, advice, page in (
        ("LVM", ("sbin/lvm",), _lvm_advice, "docs/how-to/harden-a-host.md#lvm"),
        ("md", ("sbin/mdadm",), _md_advice, "docs/how-to/harden-a-host.md#md-software-raid"),
        ("udisks", udisksd, _udisks_advice, "docs/how-to/harden-a-host.md#automounters-and-udev-rules"),
    ):
        if not any((host / "usr" / program).exists() or (host / program).exists() for program in programs):
            yield Finding(Level.OK, what, "is not installed on the host")
        elif clause := advice(host):
            yield Finding(Level.NOTE, what, f"{clause}: see {page}")
        else:
            yield Finding(Level.OK, what, "leaves volumes of tenants alone")


def _lvm_advice(host: Path) -> str:
    folder = host / "etc/lvm"
    text = "\n".join(_text(folder / name) for name in ("lvm.conf", "lvmlocal.conf"))
    listed = (folder / "devices/system.devices").exists()
    return lvm_advice(text, has_devices_file=listed)


def lvm_advice(text: str, *, has_devices_file: bool) -> str:
    """Why LVM would activate volume groups of tenants; "" when its configuration keeps it from that.

    Args:
        text: lvm.conf and after it lvmlocal.conf, which counts.
        has_devices_file: there is /etc/lvm/devices/system.devices.
    """
    uses = r"(?:devices/)?use_devicesfile\s*=\s*(\d)"
    # Without a setting the distribution's default counts, which the file shows as a comment.
    told = re.findall(rf"^\s*{uses}", text, re.MULTILINE) or re.findall(rf"^\s*#\s*{uses}", text, re.MULTILINE)
    if has_devices_file and told and told[-1] == "1":
        return ""
    filters = re.findall(r"^\s*(?:devices/)?global_filter\s*=\s*(\[[^\]]*\]|\"[^\"]*\")", text, re.MULTILINE)
    items = re.findall(r'"([^"]*)"', filters[-1]) if filters else []
    if items and _REJECTS_ALL.fullmatch(items[-1]):
        return ""
    return "looks for volume groups on all devices: list its own in a devices file, or end global_filter with r|.*|"


def _md_advice(host: Path) -> str:
    return md_advice("\n".join(_text(host / name) for name in ("etc/mdadm/mdadm.conf", "etc/mdadm.conf")))


def md_advice(text: str) -> str:
    """Why mdadm would assemble arrays of tenants; "" when mdadm.conf forbids all that it does not name. Keywords need three letters."""
    words = re.findall(r"^auto?\s+(\S+)", text, re.MULTILINE | re.IGNORECASE)
    return "" if words[:1] == ["-all"] else "assembles arrays on disks that appear: write `AUTO -all` into mdadm.conf"


def _udisks_advice(_host: Path) -> str:
    return "lets users mount what is on disks that appear: remove it, or mask udisks2.service"


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
