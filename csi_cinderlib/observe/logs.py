"""Logs as events with values: `log.info("volume deleted", volume=id)`, written as JSON lines or as text.

An event is a short, stable phrase in lower case; all variable data are values with keys. The cause of a failure has the key `reason`.

Built on `logging` of the standard library: records of Cinder, os-brick and the drivers pass the same redaction (most leaks come from
them), and a node process starts twice as fast as with a logging library.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import IO

from csi_cinderlib.errors import ConfigurationError
from csi_cinderlib.observe import redact
from csi_cinderlib.observe.controls import CONTROLS

LEVELS: Mapping[str, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
NOISY = (
    "alembic",
    "oslo_concurrency",
    "oslo_messaging",
    "oslo_policy",
    "oslo_service",
    "stevedore",
    "urllib3",
    "kubernetes",
    "sqlalchemy",
    "grpc",
)
"""Verbose libraries, of which only warnings are logged."""

_START, _BREAK = "\x1e", "\x1f"
"""Record and unit separators of ASCII. They mark log lines that another process relays."""
LONGEST_LINE = 1 << 20
"""Limit for lines of another process: an endless line must not fill the memory of this process."""
_request_id: ContextVar[str] = ContextVar("request_id", default="")


class Logger:
    """Writes events. The event is a fixed phrase; variable data are values with keys."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def debug(self, event: str, /, **values: object) -> None:
        self._write(logging.DEBUG, event, values)

    def info(self, event: str, /, **values: object) -> None:
        self._write(logging.INFO, event, values)

    def warning(self, event: str, /, **values: object) -> None:
        self._write(logging.WARNING, event, values)

    def error(self, event: str, /, **values: object) -> None:
        self._write(logging.ERROR, event, values)

    def exception(self, event: str, error: BaseException, /, **values: object) -> None:
        """An unexpected error, with its traceback."""
        self._write(logging.ERROR, event, values, error)

    def enabled(self, level: str) -> bool:
        return self._logger.isEnabledFor(LEVELS[level])

    def _write(self, level: int, event: str, values: Mapping[str, object], error: BaseException | None = None) -> None:
        if self._logger.isEnabledFor(level):
            message = _Message(event, _shown(values))
            extra = {"event": event, "values": message.values}
            self._logger.log(level, "%s", message, extra=extra, exc_info=error, stacklevel=3)


class _Message:
    """An event with its values, for handlers that are not configured here: a program that uses the library has its own."""

    def __init__(self, event: str, values: Mapping[str, object]) -> None:
        self.event, self.values = event, values

    def __str__(self) -> str:
        return " ".join((self.event, *_pairs(self.values))).translate(CONTROLS)


def _shown(values: Mapping[str, object]) -> dict[str, object]:
    """Plain data without secrets, computed in the thread that logs: handlers may run in another one, without its `redact.hiding`."""
    shown: dict[str, object] = {}
    for key, value in values.items():
        try:
            shown |= redact.mapping({key: value})
            json.dumps(shown[key])
        except Exception as error:  # a log call must not fail: a recursive value, or one whose text cannot be computed
            shown[key] = f"({type(value).__name__} not shown: {type(error).__name__})"
    return shown


def logger(name: str) -> Logger:
    """The logger of a module: `log = logs.logger(__name__)`."""
    return Logger(name)


@contextmanager
def request(id: str) -> Iterator[None]:
    """Add the request id to every line that this thread logs in the block."""
    token = _request_id.set(id)
    try:
        yield
    finally:
        _request_id.reset(token)


def request_id() -> str:
    """The id of the current request of this thread; "" outside a request."""
    return _request_id.get()


def configure(
    *, format: str = "auto", level: str = "info", stream: IO[str] | None = None, relayed: bool = False
) -> None:
    """Send all logs of this process to `stream` (default: standard error), and remove other handlers of the root logger.

    Args:
        format: "json", "text", or "auto": text on a terminal, JSON elsewhere.
        level: "debug", "info", "warning" or "error".
        relayed: another process of this driver reads the stream and passes each line to `relay`.

    Raises:
        ConfigurationError: the format or level is unsupported.
    """
    target = sys.stderr if stream is None else stream
    if level not in LEVELS:
        raise ConfigurationError("log.level", f"unsupported log level {level!r}; supported: {', '.join(LEVELS)}")
    if format not in ("auto", "json", "text"):
        raise ConfigurationError("log.format", f"unsupported log format {format!r}; supported: auto, json, text")
    formatter = TextFormatter() if resolve(format, target) == "text" else JsonFormatter()
    handler = logging.StreamHandler(target)
    handler.setFormatter(_Relayed(formatter) if relayed else formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    set_level(level)


def set_level(level: str) -> None:
    """Set the log level, one of LEVELS. It may change at any time."""
    logging.getLogger().setLevel(LEVELS[level])
    for name in NOISY:
        logging.getLogger(name).setLevel(max(logging.WARNING, LEVELS[level]))


def level() -> str:
    """The current log level of this process."""
    number = logging.getLogger().level
    return next((name for name, value in LEVELS.items() if value >= number), "error")


def resolve(format: str, stream: IO[str]) -> str:
    """ "json" or "text"."""
    return format if format != "auto" else "text" if stream.isatty() else "json"


def lines(stream: IO[str]) -> Iterator[str]:
    """Lines of another process. A line that is too long is omitted: a part of it could end within a password."""
    is_inside = False
    while part := stream.readline(LONGEST_LINE):
        is_long = len(part) == LONGEST_LINE and not part.endswith("\n")
        if is_long and not is_inside:
            yield f"(line omitted: longer than {LONGEST_LINE} characters)"
        if not is_long and not is_inside:
            yield part.rstrip("\n")
        is_inside = is_long


def relay(line: str, source: Logger, **values: object) -> None:
    """Log a line of output of another process of this driver: a log line unchanged, any other line as an event.

    Args:
        source: logs other lines as the event "output" with `values`.
    """
    if not line.startswith(_START):
        if line.strip():
            source.info("output", **values, line=line)
        return
    relayed = redact.known(line.removeprefix(_START).replace(_BREAK, "\n"))
    logging.getLogger().handle(logging.makeLogRecord({"relayed": relayed, "levelno": logging.INFO}))


class _Relayed(logging.Formatter):
    """Writes each record as one marked line, including its traceback, so that `relay` can recognize it."""

    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__()
        self._formatter = formatter

    def format(self, record: logging.LogRecord) -> str:
        return _START + self._formatter.format(record).replace("\n", _BREAK)


class JsonFormatter(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        if relayed := getattr(record, "relayed", ""):
            return str(relayed).translate(CONTROLS)
        line: dict[str, object] = {"time": _timestamp(record), "level": record.levelname.lower(), "logger": record.name}
        return json.dumps({**line, **_content(self, record)}, default=str, ensure_ascii=False).translate(CONTROLS)


class TextFormatter(logging.Formatter):
    """A readable line: time, level, event, values."""

    def format(self, record: logging.LogRecord) -> str:
        if relayed := getattr(record, "relayed", ""):
            return str(relayed).translate(CONTROLS)
        content = _content(self, record)
        event, trace = content.pop("event"), content.pop("exception", None)
        values = " ".join(_pairs(content))
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        line = f"{clock}.{int(record.msecs):03d} {record.levelname:<7} {event}{'  ' + values if values else ''}"
        return (f"{line}\n{trace}" if trace else line).translate(CONTROLS)


def _content(formatter: logging.Formatter, record: logging.LogRecord) -> dict[str, object]:
    argument = record.args[0] if isinstance(record.args, tuple) and record.args else None
    own = argument if isinstance(argument, _Message) else None
    content: dict[str, object] = {"event": own.event if own else _foreign(record)}
    if id := _request_id.get():
        content["request"] = id
    content.update(own.values if own else {})
    if record.exc_info and record.exc_info[0]:
        content["exception"] = redact.text(formatter.formatException(record.exc_info))
    return content


def _foreign(record: logging.LogRecord) -> str:
    """The message of another library. `logging` would write arguments that do not fit the message without redaction."""
    try:
        return redact.text(record.getMessage())
    except Exception as error:
        return redact.text(f"{record.msg} (arguments not shown: {type(error).__name__})")


def _timestamp(record: logging.LogRecord) -> str:
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03d}Z"


def _pairs(values: Mapping[str, object]) -> Iterator[str]:
    return (f"{key}={_brief(value)}" for key, value in values.items())


def _brief(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    shown = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    is_plain = shown.isprintable() and shown and " " not in shown
    return shown if is_plain or not isinstance(value, str) else json.dumps(shown, ensure_ascii=False)
