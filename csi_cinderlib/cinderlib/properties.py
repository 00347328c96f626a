"""The connector properties of this host, with the arguments of os-brick's function."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import cast

from csi_cinderlib import brick
from csi_cinderlib.brick.execute import execute as run_command
from csi_cinderlib.cinderlib.results import ConnectorProperties

Execute = Callable[..., tuple[str, str]]
"""As os-brick's: takes a command, and the options `run_as_root` and `root_helper`."""


def get_connector_properties(
    root_helper: str = "sudo",
    my_ip: str = "",
    multipath: bool = False,
    enforce_multipath: bool = False,
    host: str | None = None,
    execute: Execute | None = None,
) -> ConnectorProperties:
    """The connector properties of this host, with the keys of os-brick: initiator names, WWPNs, NQN, addresses ...

    As os-brick does, creates /etc/nvme/hostnqn and /etc/nvme/hostid if nvme-cli is installed but has not created them.

    Args:
        root_helper: a command prefix to read files as root; not needed by root.
        my_ip: the address of this host for the storage; by default that of the default route.
        multipath: attach with all paths.
        enforce_multipath: refuse an attachment with a single path if multipathd is not running.
        host: the host name; by default this host's.
        execute: runs the command that reads a file as root; by default it is run in a child process.
    """
    if not brick.missing_tools(["nvme"]):
        with contextlib.suppress(OSError):  # a driver that needs the name reports it
            brick.ensure_nvme_identity()
    found = brick.all_properties(
        host=host or "",
        ip=my_ip or "",
        multipath=multipath,
        enforce_multipath=enforce_multipath,
        read=reader(root_helper, execute or run_command),
    )
    return cast("ConnectorProperties", found)


def reader(root_helper: str, execute: Execute) -> Callable[[Path], str]:
    """Reads a file of this host, as root if this user may not; /etc/iscsi and the system UUID are root's on most systems."""

    def read(path: Path) -> str:
        try:
            return path.read_text(errors="replace").strip("\0\n ")
        except PermissionError:
            return _output(execute, root_helper, path) if root_helper else ""
        except OSError:
            return ""

    return read


def _output(execute: Execute, root_helper: str, path: Path) -> str:
    try:
        output, _ = execute("cat", str(path), run_as_root=True, root_helper=root_helper)
    except Exception:  # the helper is missing, or refuses; the file may not exist
        return ""
    return output.strip("\0\n ")
