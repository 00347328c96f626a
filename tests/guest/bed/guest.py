"""Boot a User-Mode-Linux guest on the host's own root file system, run one command in it as root, and take it down.

The guest sees the host's files read-only under a tmpfs overlay; only `shares` and `disks` are written through. Whatever
happens, also to this process, the guest ends and nothing of it stays on the host.
"""

from __future__ import annotations

import contextlib
import os
import select
import shlex
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.guest.bed import kernel as kernels

HERE = Path(__file__).resolve().parent
LOG_LINES = 40


class GuestFailure(Exception):
    """The guest itself failed: it died, or ran out of time. Carries the end of its kernel log."""


def _to_stdout(text: bytes) -> None:
    sys.stdout.buffer.write(text)
    sys.stdout.flush()


class Guest:
    """One guest, booted by entering the context.

    Args:
        command: an argv, run in the working directory of this process.
        disks: /dev/ubda, /dev/ubdb ...: a host file, or a size ("6G") for a fresh sparse file that goes with the guest.
        shares: host folders that the guest sees at the same path and may write to.
        env: added to the command's environment.
        timeout: seconds from boot to power off.
        memory: what the guest has; the host pays for what it touches.
        output: gets the command's output as it comes.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        disks: Sequence[str | Path] = (),
        shares: Sequence[Path] = (),
        env: Mapping[str, str] | None = None,
        timeout: float = 300,
        memory: str = "1G",
        output: Callable[[bytes], None] = _to_stdout,
        kernel: kernels.Kernel | None = None,
        interactive: bool = False,
    ) -> None:
        self.command = [str(word) for word in command]
        self.env = dict(env or {})
        self.timeout = timeout
        self.memory = memory
        self.kernel = kernel or default_kernel()
        self._disks, self._shares, self._output, self._interactive = disks, shares, output, interactive
        self._exit = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as undo:
            self._folder = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="guest.")))
            self._control = self._folder / "control"
            self._control.mkdir()
            (self._folder / "memory").mkdir()
            self._write_orders()
            self._deadline = time.monotonic() + self.timeout
            self._boot(undo)
            self._exit = undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self._exit.close()

    def kill(self) -> None:
        """Cut its power: SIGKILL, and wait until it is gone."""
        self._process.kill()
        self._process.wait()
        while os.read(self._console, 65536):  # its end closes the console: then the disk files are nobody's
            pass

    def wait(self) -> int:
        """Stream the output until the command ends, and return its exit code.

        Raises:
            GuestFailure: the guest ran out of time, or died before the command ended.
        """
        if self._read_until(lambda: False):
            return self._exit_code()
        self.kill()
        raise GuestFailure(f"the guest ran out of time after {self.timeout:.0f} s\n{self.kernel_log()}")

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Stream the output until the condition holds; it is asked several times a second.

        Raises:
            GuestFailure: the guest ended, or ran out of time, before that.
        """
        if self._read_until(condition) or not condition():
            raise GuestFailure(f"the guest did not get there\n{self.kernel_log()}")

    def _read_until(self, condition: Callable[[], bool]) -> bool:
        """Pass output on until the condition holds or time is up (False), or the guest is gone (True)."""
        while not condition() and (left := self._deadline - time.monotonic()) > 0:
            if not select.select([self._console], [], [], min(left, 0.2))[0]:
                continue
            text = os.read(self._console, 65536)
            if not text:
                return True
            self._output(text)
        return False

    def kernel_log(self) -> str:
        """The end of what the kernel said."""
        lines = (self._folder / "kernel.log").read_text(errors="replace").splitlines()[-LOG_LINES:]
        return "\n".join(["--- end of the guest's kernel log", *lines, "---"])

    def _exit_code(self) -> int:
        self._process.wait()
        try:
            return int((self._control / "exit-code").read_text())
        except (OSError, ValueError):
            raise GuestFailure(f"the guest died before its command ended\n{self.kernel_log()}") from None

    def _write_orders(self) -> None:
        shares = [self._control, *(path.resolve() for path in self._shares)]
        (self._control / "shares").write_text("".join(f"{path}\n" for path in shares))
        exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in self.env.items())
        (self._control / "command").write_text(
            f"{exports}cd {shlex.quote(str(Path.cwd()))} 2>/dev/null || cd /\nexec {shlex.join(self.command)}\n"
        )
        if self._interactive:
            (self._control / "interactive").touch()

    def _disk_files(self) -> list[Path]:
        files = []
        for index, disk in enumerate(self._disks):
            file = disk.resolve() if isinstance(disk, Path) else self._folder / "disks" / f"disk{index}"
            file.parent.mkdir(exist_ok=True)
            if isinstance(disk, str):
                subprocess.run(["truncate", "-s", disk, file], check=True)
            files.append(file)
        return files

    def _boot(self, undo: contextlib.ExitStack) -> None:
        core = undo.enter_context(_Core())
        log = os.open(self._folder / "kernel.log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        undo.callback(os.close, log)
        self._console, console = os.pipe()
        undo.callback(os.close, self._console)
        terminal = "fd:0,fd:1" if self._interactive else f"null,fd:{console}"
        disks = self._disk_files()
        writable = dict.fromkeys([self._control, *self._shares, *(file.parent for file in disks)])
        try:
            self._process = subprocess.Popen(
                [
                    # The guest goes when the thread that started it goes, however that happens.
                    *("setpriv", "--pdeathsig", "KILL", "taskset", "--cpu-list", str(core.number)),
                    *("unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "--propagation", "private", "--"),
                    *map(str, (HERE / "jail", self._folder / "memory", self.memory, *writable, "--")),
                    *self._kernel_command(disks, terminal, log),
                ],
                stdin=None if self._interactive else subprocess.DEVNULL,
                stdout=None if self._interactive else log,
                stderr=log,
                pass_fds=[console, log],
                env={"PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin", "HOME": os.environ.get("HOME", "/root")},
                start_new_session=not self._interactive,
            )
        finally:
            os.close(console)

    def _kernel_command(self, disks: Sequence[Path], terminal: str, log: int) -> list[str]:
        return [
            *(str(self.kernel.program), f"mem={self.memory}", *self.kernel.arguments),
            *("rootfstype=hostfs", "rootflags=/", "ro", f"init={HERE}/init-first"),
            *(f"uml_dir={self._folder}/memory/", f"con0=null,fd:{log}", f"con1={terminal}", "con=null", "ssl=null"),
            *("noreboot", "panic=-1", "selinux=0", "pty.legacy_count=0"),
            *(f"ubd{index}={file},,disk{index}" for index, file in enumerate(disks)),
            *(f"GUEST_CONTROL={self._control}", f"GUEST_MODULES={self.kernel.modules}"),
        ]


class _Core:
    """Claims a CPU that no other guest on this host uses, or shares one when all are taken."""

    def __enter__(self) -> Self:
        self._claim = socket.socket(socket.AF_UNIX)
        for self.number in kernels.cores():
            with contextlib.suppress(OSError):  # abstract names vanish with their owner, however it ends
                self._claim.bind(f"\0csi-cinderlib-guest-core-{self.number}")
                return self
        self.number = kernels.cores()[os.getpid() % len(kernels.cores())]
        return self

    def __exit__(self, *_: object) -> None:
        self._claim.close()


_choice = threading.Lock()
_chosen: list[kernels.Kernel] = []


def default_kernel() -> kernels.Kernel:
    """The kernel that guests boot here, found once. Raises kernels.Unavailable."""
    with _choice:
        if not _chosen:
            _chosen.append(kernels.choose(_boots))
        return _chosen[0]


def _boots(kernel: kernels.Kernel) -> str:
    try:
        return "" if run(["true"], kernel=kernel, timeout=240) == 0 else "`true` failed in it"
    except GuestFailure as failure:
        return str(failure).splitlines()[0]


def run(command: Sequence[str | Path], **options: object) -> int:
    """Boot a guest, run the command, and return its exit code; arguments as for `Guest`. Raises GuestFailure."""
    with Guest(command, **options) as guest:  # type: ignore[arg-type]  # the same keywords
        return guest.wait()
