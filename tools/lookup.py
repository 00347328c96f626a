"""Where a tool is, for the tests; nothing is built or fetched here."""

from __future__ import annotations

from pathlib import Path

from tools.catalogue import TOOLS, Tool


class Missing(Exception):
    """A tool that this machine cannot have, as `make tools` found out; the message says why."""


class NotBuilt(Exception):
    """A tool that nobody has tried to make."""


def reason_file(tool: Tool) -> Path:
    """Where `make tools` writes why it could not have the tool."""
    return tool.folder.with_name(f"{tool.folder.name}.missing")


def folder(name: str) -> Path:
    """The folder of a tool.

    Raises:
        Missing: it could not be had: there is no Go, or no network.
        NotBuilt: `make tools` has not been run, or failed.
    """
    tool = TOOLS[name]
    if tool.folder.exists():
        return tool.folder
    if reason_file(tool).exists():
        raise Missing(f"{name} is missing: {reason_file(tool).read_text()}")
    raise NotBuilt(f"{name} is not in {tool.folder.parent}: run `make tools`")


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
