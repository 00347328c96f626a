"""Parts of a support bundle about the running process, its records and its host."""

from __future__ import annotations

import os
import stat
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from csi_cinderlib.commands import bundle, running
from csi_cinderlib.commands.bundle import Absent, Content, Part, Source
from csi_cinderlib.errors import DriverError

TOOL_SECONDS = 10.0
MOST_PROBLEMS = 200
"""Maximum number of records with an error that are listed."""
LOG_LINES = 20_000
_TOOLS = (
    ("uptime",),
    ("free", "-m"),
    ("df", "--local", "--print-type"),
    ("lsblk", "--output", "NAME,MAJ:MIN,TYPE,SIZE,FSTYPE,MOUNTPOINTS"),
    ("multipath", "-ll"),
    ("iscsiadm", "--mode", "session"),
    ("nvme", "list-subsys"),
    ("losetup", "--list"),
    ("dmesg", "--level", "err,warn", "--ctime"),
)
_PER_THREAD = ("wchan", "syscall", "stack")


def _ask(source: Source, path: str) -> dict[str, Any]:
    """Raises Absent if no process runs, Silent if it does not respond."""
    try:
        return running.request(source.settings, "GET", path)
    except running.NotRunning as error:
        raise Absent(str(error)) from None


def status(source: Source) -> Content:
    """The status that the process reports."""
    return _ask(source, "/status")


def stacks(source: Source) -> Content:
    """Stacks of the process, and of each driver's process that answers."""
    found: dict[str, Any] = {"process": _ask(source, "/stacks")["stacks"], "drivers": {}}
    for backend in _ask(source, "/status").get("backends", []):
        name = str(backend["name"])
        try:
            found["drivers"][name] = _ask(source, f"/backends/{quote(name, safe='')}/stacks")["stacks"]
        except DriverError as error:
            found["drivers"][name] = str(error)
    return found


def metrics(source: Source) -> Content:
    """The current metrics, as a scrape returns them."""
    try:
        return str(_ask(source, "/metrics")["text"])
    except running.NotAccepted:
        raise Absent("metrics_address is not set, or the process has not read it yet") from None


def processes(source: Source) -> Content:
    """Processes and threads from /proc, which also shows hung ones.

    Of command lines only the program: a driver passes passwords to tools, and may run with those of a Secret that has changed since.
    """
    lines: list[str] = []
    for pid in _family(_holder(source)):
        lines += [f"== process {pid}", _read(f"/proc/{pid}/cmdline").partition("\0")[0], _read(f"/proc/{pid}/status")]
        lines += [f"open files: {_count(f'/proc/{pid}/fd')}"]
        for task in sorted(_names(f"/proc/{pid}/task"), key=int):
            where = f"/proc/{pid}/task/{task}"
            lines.append(f"-- thread {task} {_read(f'{where}/comm')}")
            lines += [f"{name}: {_read(f'{where}/{name}')}" for name in _PER_THREAD]
    return "\n".join(lines) + "\n"


def _holder(source: Source) -> int:
    """PID of the process that holds the lock of the state directory, even if it does not respond. Raises Absent."""
    from csi_cinderlib.app.state_dir import LOCK
    from csi_cinderlib.host import processes as known

    path = source.settings.state_dir / LOCK
    with suppress(OSError):
        held = known.parse(path.read_text(errors="replace"))
        if held is not None and held.can_be_told and known.exists(held):
            return held.pid
    raise Absent(f"no process on this host holds the lock {path}")


def _family(pid: int) -> Iterator[int]:
    """The process and its descendants."""
    yield pid
    for task in _names(f"/proc/{pid}/task"):
        for child in _read(f"/proc/{pid}/task/{task}/children").split():
            if child.isdecimal():
                yield from _family(int(child))


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)  # noqa: PTH208 - names alone
    except OSError:
        return []


def _count(directory: str) -> str:
    return str(len(_names(directory)))


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace").strip()
    except OSError as error:
        return f"({error.strerror})"


def records(source: Source) -> Content:
    """Number of records by kind, back end and status, and their errors. Full records are omitted, because they contain credentials."""
    from csi_cinderlib.app import stores

    numbers: Counter[str] = Counter()
    problems: list[dict[str, str]] = []
    with stores.looked_at(source.settings) as (where, store):
        if store is None:
            raise Absent(f"no metadata store at {where}")
        for kind, record in stores.everything(store):
            status = "unreadable" if isinstance(record, str) else str(getattr(record, "status", ""))
            backend = "" if isinstance(record, str) else str(getattr(record, "backend", ""))
            numbers[" ".join(filter(None, (kind, backend, status)))] += 1
            message = "" if isinstance(record, str) else str(getattr(record, "message", ""))
            if (message or isinstance(record, str)) and len(problems) < MOST_PROBLEMS:
                id = record if isinstance(record, str) else record.id
                problems.append({"kind": kind, "id": id, "status": status, "message": message})
    return {"store": where, "numbers": dict(sorted(numbers.items())), "problems": problems}


def doctor(source: Source) -> Content:
    """Output of the `doctor` command, run as a separate process because it may take long."""
    from csi_cinderlib.commands.doctor import command

    words = source.words if any(option.name == "config" for option in command.params) else ()
    return bundle.run_tool([sys.executable, "-m", "csi_cinderlib", "doctor", *words], bundle.SECONDS / 2)


def host(_source: Source) -> Content:
    """Devices, sessions and mounts of this host."""
    found = [bundle.run_tool(argv, TOOL_SECONDS / 2) for argv in _TOOLS]
    return "\n".join([*found, f"/proc/self/mountinfo\n{_read('/proc/self/mountinfo')}", _read("/proc/loadavg")]) + "\n"


def log(source: Source) -> Content:
    """The end of the process's log, from its file or from the journal."""
    pid = _holder(source)
    output = f"/proc/{pid}/fd/2"
    target = os.stat(output)  # noqa: PTH116 - of what the link leads to
    if stat.S_ISREG(target.st_mode):
        with open(output, "rb") as file:  # noqa: PTH123
            file.seek(max(0, target.st_size - bundle.LONGEST))
            return file.read(bundle.LONGEST).decode(errors="replace")
    found = bundle.run_tool(
        ["journalctl", "--no-pager", "--output=short-iso", f"--lines={LOG_LINES}", f"_PID={pid}"], TOOL_SECONDS
    )
    if len(found.splitlines()) < 4:
        raise Absent(
            f"the log of process {pid} is neither a file nor in the journal; add the log from where its output is collected"
        )
    return found


PARTS = (
    Part("status.json", "Status of the process: version, mode, leadership, readiness, back ends", status),
    Part("stacks.json", "Stacks of all threads of the process and of the drivers' processes", stacks),
    Part("processes.txt", "Processes and their threads, as the kernel reports them", processes),
    Part("metrics.txt", "The metrics, if metrics_address is set", metrics),
    Part("settings.json", "The settings and the back ends' options, without secrets", bundle.settings),
    Part("versions.json", "Versions of the driver, of Python, of the kernel and of all packages", bundle.versions),
    Part("records.json", "Number of records by kind, back end and status, and their error messages", records),
    Part("state-directory.txt", "Names and sizes of the files in the state directory", bundle.state_directory),
    Part("doctor.txt", "Findings of `csi-cinderlib doctor` on this host", doctor),
    Part("host.txt", "Devices, sessions, mounts and kernel warnings of this host", host),
    Part("log.txt", "The end of the log, from its file or the journal", log),
)
