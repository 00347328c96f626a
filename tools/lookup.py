"""Finds tools for the tests. Builds and fetches nothing."""

from __future__ import annotations

from pathlib import Path

from tools.catalogue import SETS, TOOLS, Tool


class Missing(Exception):
    """A tool that cannot be built on this machine, according to `make tools`. The message gives the reason."""


class NotBuilt(Exception):
    """A tool that has not been built yet."""


def reason_file(tool: Tool) -> Path:
    """The file in which `make tools` records why the tool cannot be built."""
    return tool.folder.with_name(f"{tool.folder.name}.missing")


def folder(name: str) -> Path:
    """The folder of a tool.

    Raises:
        Missing: it could not be had: there is no Go, or no network.
        NotBuilt: the make target that makes it has not been run, or failed.
    """
    tool = TOOLS[name]
    if tool.folder.exists():
        return tool.folder
    if reason_file(tool).exists():
        raise Missing(f"{name} is missing: {reason_file(tool).read_text()}")
    target = "tools" if tool in SETS["test"] else "cluster-test"
    raise NotBuilt(f"{name} is not in {tool.folder.parent}: run `make {target}`")


def program(name: str) -> Path:
    """The path of a program. Raises what `folder` raises."""
    return folder(name) / name


def link_programs(target: Path, *names: str) -> Path:
    """Fill the folder `target` with links to these programs, and return it. Raises what `folder` raises."""
    programs = [program(name) for name in names]
    target.mkdir(parents=True, exist_ok=True)
    for path in programs:
        link = target / path.name
        link.unlink(missing_ok=True)
        link.symlink_to(path)
    return target
