"""The Python snippets of the documentation in cinderlib's source distribution, which is read when the tests run."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(r"^( *)\.\. code-block:: ?(?:python)?\n\s*\n((?:\1 +\S.*\n|[ ]*\n)+)", re.MULTILINE)
_LVM = re.compile(r"volume_driver='cinder\.volume\.drivers\.lvm\.LVMVolumeDriver',")
_LVM_OPTION = re.compile(r"^ *(?:volume_group|target_protocol|target_helper)=.*\n", re.MULTILINE)
_PRINT = re.compile(r"^( *)print (\S.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Correction:
    """A change of a snippet that fails with cinderlib, too, or needs a server."""

    page: str
    old: str
    new: str
    reason: str


CORRECTIONS = (
    Correction(
        "topics/tracking.rst", "% (vol.id, vol.status)\n", "% (vol.id, vol.status))\n", "a parenthesis is missing"
    ),
    Correction(
        "topics/connections.rst",
        "storage.Volume.get_by_id",
        "cl.Volume.get_by_id",
        "a driver has no `Volume` in cinderlib",
    ),
    Correction(
        "topics/connections.rst",
        "conn.extend()",
        "conn.extend_volume(connection_info['conn']['data'])",
        "os-brick's connectors have no `extend`",
    ),
    Correction(
        "topics/serialization.rst",
        "in cinderlib.Backend.backends:",
        "in cinderlib.Backend.backends.values():",
        "the keys of `backends` are names",
    ),
    Correction("topics/metadata.rst", "'cinderlib.txt', 'r'", "'lvm.txt', 'r'", "the page has written another file"),
    Correction(
        "topics/metadata.rst", "backends[0].volumes", "backends.volumes", "the file has one back end, not a list"
    ),
    Correction(
        "topics/metadata.rst",
        "mysql+pymysql://user:password@IP/cinder?charset=utf8",
        "sqlite:///new.sqlite",
        "needs a server; tests of the stores use MySQL",
    ),
)


def snippets(documentation: Path, page: str, volumes: Path) -> list[str]:
    """The snippets of a page, in order, with the LVM back end replaced by the file driver.

    Raises:
        ValueError: a correction does not apply.
    """
    text = (documentation / page).read_text()
    for correction in CORRECTIONS:
        if correction.page != page:
            continue
        if correction.old not in text:
            raise ValueError(f"{page} does not contain {correction.old!r}")
        text = text.replace(correction.old, correction.new)
    return [_runnable(textwrap.dedent(block), volumes) for _, block in _BLOCK.findall(text)]


def _runnable(code: str, volumes: Path) -> str:
    driver = f"volume_driver='csi_cinderlib.drivers.loopfile.LoopFileDriver', loopfile_directories=[{str(volumes)!r}],"
    return _PRINT.sub(r"\1print(\2)", _LVM_OPTION.sub("", _LVM.sub(driver, code)))
