"""Versions of this program and its libraries, and the programs that each protocol needs."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from collections.abc import Iterator

from csi_cinderlib import __version__
from csi_cinderlib.brick import tools
from csi_cinderlib.commands.examination.findings import Finding, note, ok, problem
from csi_cinderlib.errors import HostError
from csi_cinderlib.host import commands

_SECONDS = 10.0
_VERSION_OPTIONS = {"mount.nfs": "-V", "blockdev": "--version", "mount": "--version"}


def versions() -> Iterator[Finding]:
    yield ok("csi-cinderlib", f"{__version__}, Python {platform.python_version()}, Linux {platform.release()}")
    for package, role in (("os-brick", "nodes"), ("cinder", "controllers")):
        try:
            yield ok(package, importlib.metadata.version(package))
        except importlib.metadata.PackageNotFoundError:
            yield note(package, f"is not installed in {sys.prefix}", f"required on {role} only")


def protocols(required: frozenset[str], *, multipath: bool) -> Iterator[Finding]:
    """Check the common protocols and the required ones."""
    for protocol in (*tools.PROTOCOLS, *sorted(required - set(tools.PROTOCOLS))):
        yield _protocol(protocol, required=protocol in required, multipath=multipath)


def _protocol(protocol: str, *, required: bool, multipath: bool) -> Finding:
    programs, what = tools.needed(protocol, multipath=multipath), f"{protocol} programs"
    if lacking := tools.missing(programs):
        packages = [tools.PACKAGES.get(tool, tool) for tool in lacking]
        return problem(what, f"needs {tools.advice(lacking)}", f"install {' and '.join(packages)}", required=required)
    if not programs:
        return ok(what, "needs no programs on the host")
    try:
        return ok(what, first_line(programs[0]))
    except HostError as error:
        return problem(what, str(error), f"check that {programs[0]} runs on this host", required=required)


def first_line(tool: str) -> str:
    """The first line of a program's version output. Raises HostError if it does not run."""
    ran = commands.run([tool, _VERSION_OPTIONS.get(tool, "--version")], timeout=_SECONDS)
    lines = (ran.stdout + ran.stderr).strip().splitlines()
    return lines[0] if lines else tool
