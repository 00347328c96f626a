"""Run commands for os-brick, which takes such a function as `execute`.

os-brick's own function uses oslo.concurrency, which passes a `preexec_fn` to every child, so that each requires a full fork of
this process (6 to 13 ms at 120 MB instead of 0.9 ms). It also uses a privsep daemon, which is not needed as root.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from collections.abc import Sequence
from typing import Any

from csi_cinderlib.brick import iscsi_records, scsi
from csi_cinderlib.brick.tools import advice
from csi_cinderlib.errors import HostError
from csi_cinderlib.host import commands, kernel
from csi_cinderlib.observe import redact

DEFAULT_TIMEOUT = 600.0
"""Seconds; os-brick's default."""
_SECRET_FLAGS = frozenset({"--dhchap-secret", "--dhchap-ctrl-secret", "-S", "-C"})
"""Options of `nvme connect`."""
_KILL_GRACE = 2.0
"""Seconds to wait for a killed command. A command that hangs in the kernel is left behind."""
_SCSI_ID = "/lib/udev/scsi_id"
"""os-brick needs this udev program for Fibre Channel. A container has no udev, so this module implements it."""
_SEARCH_PATH = f"{os.environ.get('PATH', '')}:{commands.SEARCH_PATH}"


def execute(*cmd: object, **options: Any) -> tuple[str, str]:
    """Run a command with the options of os-brick's own `execute`.

    Returns:
        Standard output and standard error.

    Raises:
        oslo_concurrency.processutils.ProcessExecutionError: the command failed or is not installed (names the package).
        os_brick.exception.ExecutionTimeout: the command took too long.
    """
    if cmd[0] == _SCSI_ID:
        return _scsi_id(tuple(str(part) for part in cmd))
    argv = tuple(str(part) for part in cmd)
    if argv[0] == "iscsiadm" and os.geteuid() == 0:
        return _iscsiadm(argv, options)
    return _execute(argv, options)


def _execute(argv: tuple[str, ...], options: dict[str, Any]) -> tuple[str, str]:
    argv = _with_root(argv, options)
    attempts = int(options.get("attempts", 1))
    for attempt in range(attempts):
        if attempt:
            time.sleep(_pause(attempt, options))
        try:
            return _run(argv, options)
        except _execution_error():
            if attempt + 1 == attempts:
                raise
    raise ValueError("attempts must be at least 1")


def execute_flushing_briefly(*cmd: object, **options: Any) -> tuple[str, str]:
    """`execute`, but a failed flush is retried only for a few seconds, while udev or multipathd may use the device.

    os-brick would retry after 20 and 40 s, although the caller repeats the call anyway.
    """
    if cmd[0] in ("blockdev", "multipath"):
        options.update(attempts=4, interval=0.25)
    return execute(*cmd, **options)


_NO_SUCH_RECORD, _DATABASE_FAILED = 21, 6
"""iscsiadm's exit codes."""


def _iscsiadm(argv: tuple[str, ...], options: dict[str, Any]) -> tuple[str, str]:
    """Run iscsiadm without the passwords in its arguments; write them to its records instead."""
    shown, _ = _redacted(argv)
    try:
        update = iscsi_records.parse(argv)
        if not update.passwords:
            return _execute(argv, options)
        output = _execute(update.argv, options) if update.sets_more else ("", "")
        iscsi_records.store(update)
    except iscsi_records.NoRecord as error:
        raise _execution_error()(cmd=shown, exit_code=_NO_SUCH_RECORD, stdout="", stderr=str(error)) from None
    except (ValueError, OSError) as error:
        raise _execution_error()(cmd=shown, exit_code=_DATABASE_FAILED, stdout="", stderr=str(error)) from None
    return output


def _scsi_id(argv: tuple[str, ...]) -> tuple[str, str]:
    """The output of `scsi_id --page 0x83 --whitelisted DEVICE`, the disk's name in multipath."""
    try:
        if name := scsi.wwid(argv[-1]):
            return f"{name}\n", ""
        problem = f"{argv[-1]} has no SCSI name (VPD page 0x83)"
    except HostError as error:
        problem = str(error)
    raise _execution_error()(cmd=" ".join(argv), exit_code=1, stdout="", stderr=problem)


def _with_root(argv: tuple[str, ...], options: dict[str, Any]) -> tuple[str, ...]:
    helper = options.get("root_helper") or ""
    if not options.get("run_as_root") or os.geteuid() == 0 or not helper:
        return argv
    return (f"{helper} {argv[0]}",) if options.get("shell") else (*shlex.split(helper), *argv)


def _pause(attempt: int, options: dict[str, Any]) -> float:
    """Seconds before the next attempt, with os-brick's backoff."""
    return float(options.get("interval", 1) or 0) * float(options.get("backoff_rate", 2)) ** attempt


def _run(argv: tuple[str, ...], options: dict[str, Any]) -> tuple[str, str]:
    shown, secrets = _redacted(argv)
    try:
        with kernel.starting_a_child():
            child = subprocess.Popen(
                argv[0] if options.get("shell") else argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                shell=bool(options.get("shell")),
                cwd=options.get("cwd"),
                env=options.get("env_variables") or {**os.environ, "PATH": _SEARCH_PATH, "LC_ALL": "C"},
            )
    except OSError as error:
        problem = advice([argv[0]]) if isinstance(error, FileNotFoundError) else str(error)
        raise _execution_error()(cmd=shown, exit_code=127, stdout="", stderr=problem, description=problem) from None
    stdout, stderr, timed_out = _communicate(child, options)
    accepted = _accepted(options)
    if timed_out and options.get("raise_timeout", accepted is not None):
        raise _timeout_error()(stdout="", stderr=f"no response within {_timeout(options):g} s", cmd=shown)
    if accepted is not None and child.returncode not in accepted:
        raise _execution_error()(
            cmd=shown,
            exit_code=child.returncode,
            stdout=redact.without(stdout, secrets),
            stderr=redact.without(stderr, secrets),
        )
    return stdout, stderr


def _communicate(child: subprocess.Popen[bytes], options: dict[str, Any]) -> tuple[str, str, bool]:
    given = options.get("process_input")
    payload = os.fsencode(given) if isinstance(given, str) else given
    timed_out = False
    try:
        out, err = child.communicate(payload, timeout=_timeout(options))
    except subprocess.TimeoutExpired:
        timed_out = True
        child.kill()
        try:
            out, err = child.communicate(timeout=_KILL_GRACE)
        except subprocess.TimeoutExpired:  # it hangs in the kernel, or a child of it keeps its output open
            out, err = b"", b""
    return os.fsdecode(out), os.fsdecode(err), timed_out


def _timeout(options: dict[str, Any]) -> float:
    return float(options.get("timeout") or DEFAULT_TIMEOUT)


def _accepted(options: dict[str, Any]) -> Sequence[int] | None:
    """The exit codes of success; None accepts all."""
    accepted = options.get("check_exit_code")
    if accepted is False:
        return None
    if accepted is None or accepted is True:
        return (0,)
    return (accepted,) if isinstance(accepted, int) else tuple(accepted)


def _redacted(argv: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """The command without its CHAP passwords, and these passwords: iscsiadm takes them as `-n NAME -v VALUE`."""
    secrets = {
        argv[place + 1]
        for place in range(1, len(argv) - 1)
        if (argv[place] == "-v" and "password" in argv[place - 1]) or argv[place] in _SECRET_FLAGS
    }
    return " ".join(redact.HIDDEN if part in secrets else part for part in argv), tuple(secrets)


def _execution_error() -> Any:
    from oslo_concurrency.processutils import ProcessExecutionError

    return ProcessExecutionError


def _timeout_error() -> Any:
    from os_brick.exception import ExecutionTimeout

    return ExecutionTimeout
