"""What a value must be beyond its type."""

from __future__ import annotations

import re
from ipaddress import ip_address

from csi_cinderlib.config.near import unknown
from csi_cinderlib.config.settings import BackendSettings, Settings
from csi_cinderlib.errors import ConfigurationError

LOG_FORMATS = ("auto", "json", "text")
LOG_LEVELS = ("debug", "info", "warning", "error")

_DRIVER_NAME = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9.-]{0,61}[a-zA-Z0-9])?")  # spec: GetPluginInfoResponse.name
BACKEND_NAME = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}"
)  # a section of the driver's configuration, and part of host@backend#pool
_CLASS_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
_RESERVED = ("DEFAULT", "backend_defaults")


def settings(it: Settings) -> None:
    """Raises ConfigurationError for the first value that cannot be used."""
    _require(
        _DRIVER_NAME.fullmatch(it.driver_name),
        "driver_name",
        "must be at most 63 letters, digits, dots and dashes, as in csi.example.org",
    )
    _choice("log.format", it.log.format, LOG_FORMATS)
    _choice("log.level", it.log.level, LOG_LEVELS)
    _require(1 <= it.workers <= 1024, "workers", "must be from 1 to 1024")
    _require(1 <= it.page_limit <= 10_000, "page_limit", "must be from 1 to 10000")
    _require(it.max_volumes_per_node >= 0, "max_volumes_per_node", "must not be negative")
    for key, address in (("metrics_address", it.metrics_address), ("health_address", it.health_address)):
        _require(not address or _is_address(address), key, "must be HOST:PORT, as in 0.0.0.0:9090")
    _metrics(it)
    _require(not it.kubelet_directory or it.kubelet_directory.startswith("/"), "kubelet_directory", "must be absolute")
    for path in it.local_paths:
        _require(path.startswith("/") and ".." not in path.split("/"), "local_paths", f"{path!r} must be absolute")
        _require("*" not in path[:-1], "local_paths", f"{path!r} may have * at its end only")
    for settings in it.backends:
        backend(settings)


def backend(it: BackendSettings) -> None:
    """Raises ConfigurationError."""
    path = f"backends.{it.name}"
    named = BACKEND_NAME.fullmatch(it.name) and it.name not in _RESERVED
    reserved = " or ".join(_RESERVED)
    _require(named, path, f"the name must be letters, digits, dots, dashes and underscores, and not {reserved}")
    _require(
        _CLASS_PATH.fullmatch(it.driver),
        f"{path}.driver",
        f"must be the path of a class, package.module.Class, not {it.driver!r}",
    )
    _require(it.max_concurrent_calls >= 0, f"{path}.max_concurrent_calls", "must not be negative")
    _require(it.stats_seconds >= 0, f"{path}.stats_seconds", "must not be negative")


def _metrics(it: Settings) -> None:
    for key in ("metrics_certificate_file", "metrics_key_file", "metrics_token_file"):
        _require(it.metrics_address or not getattr(it, key), key, "protects nothing without metrics_address")
    both = bool(it.metrics_certificate_file) == bool(it.metrics_key_file)
    _require(both, "metrics_key_file", "goes with metrics_certificate_file: set both or none")
    _require(
        not it.metrics_token_file or it.metrics_certificate_file or _is_loopback(it.metrics_address),
        "metrics_token_file",
        "without TLS the token would cross the network in plain text: set metrics_certificate_file, or listen at 127.0.0.1",
    )


def _is_loopback(address: str) -> bool:
    """Whether only this host's own programs reach that `HOST:PORT`; False when only a name server knows."""
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_address(text: str) -> bool:
    _, colon, port = text.rpartition(":")
    return bool(colon) and port.isdecimal() and int(port) < 65536


def _choice(path: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ConfigurationError(path, unknown("value", value, choices))


def _require(holds: object, path: str, problem: str) -> None:
    if not holds:
        raise ConfigurationError(path, problem)
