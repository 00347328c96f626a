"""Child processes, with argument lists only, never a shell, and always with a timeout."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from csi_cinderlib.errors import HostError
from csi_cinderlib.host import kernel
from csi_cinderlib.model.records import EMPTY

SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Searched after PATH, as services often run without the sbin directories."""

_KILL_GRACE = 2.0
"""Seconds to wait for a killed process. A process that hangs in the kernel is left behind."""

PACKAGES = {
    "fallocate": "util-linux",
    "btrfs": "btrfs-progs",
    "cryptsetup": "cryptsetup-bin",
    "e2fsck": "e2fsprogs",
    "e2undo": "e2fsprogs",
    "iscsiadm": "open-iscsi",
    "mkfs.btrfs": "btrfs-progs",
    "mkfs.ext4": "e2fsprogs",
    "mkfs.xfs": "xfsprogs",
    "mount.nfs": "nfs-common",
    "multipath": "multipath-tools",
    "multipathd": "multipath-tools",
    "nvme": "nvme-cli",
    "resize2fs": "e2fsprogs",
    "xfs_growfs": "xfsprogs",
}
"""The Debian package of each tool that this program may start."""


@dataclass(frozen=True, slots=True)
class Output:
    """The output of a command (undecodable bytes replaced) and its exit code. stdout may hold a secret, so it has no repr."""

    stdout: str = field(repr=False)
    stderr: str
    code: int


def find_tool(name: str) -> str:
    """The full path of a tool.

    Raises:
        HostError: it is not installed; names the Debian package.
    """
    path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:{SEARCH_PATH}")
    if path:
        return path
    package = PACKAGES.get(name)
    hint = f"; on Debian and Ubuntu install the package {package}" if package else ""
    raise HostError(f"{name} is not installed on this host{hint}")


def run(
    argv: Sequence[str],
    *,
    timeout: float,
    input: bytes | None = None,
    ok: Collection[int] = (0,),
    files: Sequence[int] = (),
    environment: Mapping[str, str] = EMPTY,
) -> Output:
    """Run a command to its end.

    Args:
        argv: the tool's name and its arguments.
        timeout: seconds, after which the command and its children are killed.
        input: written to its standard input, which is otherwise empty.
        ok: exit codes that are not errors.
        files: open files that the command inherits.
        environment: variables in addition to those of this process.

    Raises:
        HostError: the command is not installed, timed out or failed; shows the command and its stderr.
    """
    tool = find_tool(argv[0])
    shown = shlex.join(argv)
    try:
        # No preexec_fn, user or group: they make Python use fork instead of vfork, which is ten times slower in a large process.
        with kernel.starting_a_child():
            process = subprocess.Popen(
                [tool, *argv[1:]],
                stdin=subprocess.DEVNULL if input is None else subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                pass_fds=files,
                env={**os.environ, "LC_ALL": "C", **environment},
            )
    except OSError as error:
        raise HostError(f"cannot start {shown}: {error.strerror}") from error
    try:
        out, err = process.communicate(input, timeout)
    except subprocess.TimeoutExpired:
        _kill(process)
        raise HostError(f"{shown}: killed after a timeout of {timeout:g} s") from None
    except BaseException:
        _kill(process)
        raise
    output = Output(out.decode(errors="replace"), err.decode(errors="replace"), process.returncode)
    if output.code not in ok:
        raise HostError(f"{shown}: {_outcome(output)}")
    return output


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # its own session, which includes its children
    try:
        process.communicate(timeout=_KILL_GRACE)
    except (subprocess.TimeoutExpired, ValueError):
        process.poll()


def _outcome(output: Output) -> str:
    ended = f"exit code {output.code}" if output.code >= 0 else f"killed by {signal.Signals(-output.code).name}"
    said = (output.stderr.strip() or output.stdout.strip())[-2000:]
    return f"{ended}: {said}" if said else ended
