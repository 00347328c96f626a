"""Parts of a support bundle. Each part is collected separately, within a time limit, and redacted."""

from __future__ import annotations

import json
import os
import platform
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

from csi_cinderlib import __version__
from csi_cinderlib.app import configured
from csi_cinderlib.backend import secret_values
from csi_cinderlib.config import live
from csi_cinderlib.config.settings import Settings
from csi_cinderlib.errors import ConfigurationError, DriverError
from csi_cinderlib.observe import redact

SECONDS = 60.0
"""Time limit of one part. A part that exceeds it is omitted; its thread continues."""
LONGEST = 8 << 20
"""Bytes of one part. Only the end of a longer part is kept."""


class Absent(Exception):
    """There is nothing to collect; the message gives the reason."""


@dataclass(frozen=True, slots=True)
class Source:
    """Input of all parts.

    Attributes:
        settings: the settings, or only the state directory if the configuration cannot be read.
        trouble: why the configuration cannot be read; "" if it can.
        words: options of this command line that select the configuration, for other commands.
    """

    settings: Settings
    trouble: str = ""
    words: tuple[str, ...] = ()


Content = str | Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Part:
    """One member of the bundle.

    Attributes:
        collect: returns the content. Its exceptions are recorded in the manifest.
    """

    name: str
    what: str
    collect: Callable[[Source], Content]


@dataclass(frozen=True, slots=True)
class Collected:
    """A part's entry in the manifest.

    Attributes:
        status: ok, absent (there is nothing to collect) or failed.
    """

    name: str
    what: str
    status: str
    reason: str = ""
    bytes: int = 0
    seconds: float = 0.0


def collect(part: Part, source: Source, *, seconds: float = SECONDS) -> tuple[Collected, bytes]:
    """Collect a part. Returns its entry and its redacted content, or the reason if the status is not ok."""
    began = time.monotonic()
    status, reason, data = "ok", "", b""
    try:
        data = _shown(_within(seconds, lambda: part.collect(source)))
    except Absent as error:
        status, reason = "absent", redact.text(str(error))
    except Exception as error:  # a failing part must not affect the others
        name = "" if isinstance(error, DriverError) else f"{type(error).__name__}: "
        status, reason = "failed", redact.text(f"{name}{error}")
    if status != "ok":
        data = f"{status}: {reason}\n".encode(errors="replace")
    taken = round(time.monotonic() - began, 2)
    return Collected(part.name, part.what, status, reason, len(data), taken), data


def _within(seconds: float, work: Callable[[], Content]) -> Content:
    """Run the work in a thread, within the limit. Raises TimeoutError, or what the work raises."""
    answer: list[Content] = []
    failure: list[Exception] = []

    def run() -> None:
        try:
            answer.append(work())
        except Exception as error:
            failure.append(error)

    thread = threading.Thread(target=run, name="bundle", daemon=True)
    thread.start()
    thread.join(seconds)
    if failure:
        raise failure[0]
    if not answer:
        raise TimeoutError(f"not finished after {seconds:.0f} s")
    return answer[0]


def _shown(content: Content) -> bytes:
    """The redacted content. In JSON, only values are redacted, so that it stays valid."""
    if isinstance(content, str):
        text = redact.text(content[-LONGEST:])
    else:
        text = redact.known(json.dumps(redact.mapping(content), indent=2, ensure_ascii=False, default=str)) + "\n"
    return text.encode(errors="replace")


def secrets(source: Source) -> Iterator[str]:
    """Every secret value in the configuration, for `redact`."""
    settings = source.settings
    known = configured.backends(settings)
    yield from known.secrets
    for backend in known.found.backends:
        yield from secret_values.of(backend)
    yield from redact.secrets_in(settings.cinder_defaults)
    yield from redact.secrets_in(settings.store.options)
    yield from (key.key for key in settings.sealing_keys)
    with suppress(ConfigurationError):
        yield from (key.key for key in live.sealing_keys(settings))
    if settings.metrics_token_file:
        with suppress(OSError):
            yield Path(settings.metrics_token_file).read_text(errors="replace").strip()


def plain(value: object) -> Any:
    """Settings as JSON types."""
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return value if value is None or isinstance(value, bool | int | float) else str(value)


def settings(source: Source) -> Content:
    """The settings in effect for this command, with the back ends of the directory."""
    shown = plain(source.settings)
    del shown["sealing_keys"]
    shown["sealing_key_ids"] = [key.id for key in source.settings.sealing_keys]
    known = configured.backends(source.settings)
    found = known.found
    shown["backends"] = plain([configured.shown(backend) for backend in found.backends])
    shown["back_ends_of_objects"] = str(known.failure or "known")
    shown["unreadable"] = {str(path): str(error) for path, error in found.unreadable.items()}
    variables = sorted(name for name in os.environ if name.startswith(("CINDERLIB_", "CSI_")))
    return {"problem": source.trouble, "settings": shown, "environment_variables": variables}


def versions(_source: Source) -> Content:
    """Versions of this program, its platform and its packages."""
    from importlib.metadata import distributions

    packages = {str(each.metadata["Name"]): each.version for each in distributions()}
    release = Path("/etc/os-release")
    return {
        "csi-cinderlib": __version__,
        "python": sys.version,
        "kernel": " ".join(os.uname()),
        "libc": " ".join(platform.libc_ver()),
        "host": socket.gethostname(),
        "os_release": release.read_text(errors="replace").splitlines() if release.exists() else [],
        "packages": dict(sorted(packages.items())),
    }


def state_directory(source: Source) -> Content:
    """Names, sizes and modes of the files, without their contents."""
    base = source.settings.state_dir
    if not base.is_dir():
        raise Absent(f"{base} is not a directory")
    usage = os.statvfs(base)
    lines = [f"{base}: {usage.f_bavail * usage.f_frsize} bytes and {usage.f_favail} inodes free"]
    lines += _listed(base, 5000)
    return "\n".join(lines) + "\n"


def _listed(base: Path, limit: int) -> Iterable[str]:
    """Lines of a file listing. Other file systems are skipped, because a hung share would block."""
    device = base.stat().st_dev
    for directory, names, files in os.walk(base):
        kept = []
        for name in sorted(names + files):
            path = Path(directory, name)
            try:
                found = path.lstat()
            except OSError as error:
                yield f"{path}: {error.strerror}"
                continue
            yield f"{found.st_mode:06o} {found.st_uid}:{found.st_gid} {found.st_size:>14} {int(found.st_mtime)} {path}"
            limit -= 1
            if name in names and found.st_dev == device:
                kept.append(name)
        names[:] = kept
        if limit <= 0:
            yield "(list truncated)"
            return


def run_tool(argv: Sequence[str], seconds: float) -> str:
    """The command line and its output, even if the command fails."""
    from csi_cinderlib.host import commands

    try:
        output = commands.run(argv, timeout=seconds, ok=range(256))
        text = output.stdout + output.stderr
    except DriverError as error:
        text = f"({error})\n"
    return f"$ {' '.join(argv)}\n{text}\n"
