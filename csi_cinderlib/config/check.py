"""Checks of values beyond their types."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_address

from csi_cinderlib.config import former
from csi_cinderlib.config.near import unknown
from csi_cinderlib.config.settings import BackendSettings, Settings
from csi_cinderlib.errors import Problems

LOG_FORMATS = ("auto", "json", "text")
LOG_LEVELS = ("debug", "info", "warning", "error")

_DRIVER_NAME = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9.-]{0,61}[a-zA-Z0-9])?")  # spec: GetPluginInfoResponse.name
BACKEND_NAME = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}"
)  # a section of the driver's configuration, and part of host@backend#pool
_CLASS_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
_DOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_RESERVED = ("DEFAULT", "backend_defaults")


def settings(it: Settings) -> None:
    """Raises ConfigurationError with all invalid values."""
    wrong = Problems()
    is_name = _DRIVER_NAME.fullmatch(it.driver_name)
    _require(
        wrong,
        is_name,
        "driver_name",
        "must be at most 63 letters, digits, dots and dashes, for example csi.example.org",
    )
    _choice(wrong, "log.format", it.log.format, LOG_FORMATS)
    _choice(wrong, "log.level", it.log.level, LOG_LEVELS)
    _require(wrong, 1 <= it.workers <= 1024, "workers", "must be between 1 and 1024")
    _require(wrong, 1 <= it.page_limit <= 10_000, "page_limit", "must be between 1 and 10000")
    _require(wrong, it.max_volumes_per_node >= 0, "max_volumes_per_node", "must not be negative")
    for key, address in (("metrics_address", it.metrics_address), ("health_address", it.health_address)):
        _require(wrong, not address or _is_address(address), key, "must be HOST:PORT, for example 0.0.0.0:9090")
    _metrics(wrong, it)
    is_absolute = not it.kubelet_directory or it.kubelet_directory.startswith("/")
    _require(wrong, is_absolute, "kubelet_directory", "must be absolute")
    for path in it.local_paths:
        is_absolute = path.startswith("/") and ".." not in path.split("/")
        _require(wrong, is_absolute, "local_paths", f"must hold absolute paths without '..' (got {path!r})")
        _require(wrong, "*" not in path[:-1], "local_paths", f"must have * only at the end of a path (got {path!r})")
    for settings in it.backends:
        with wrong:
            backend(settings)
    wrong.raise_all()


def backend(it: BackendSettings) -> None:
    """Raises ConfigurationError with all invalid values."""
    wrong, path = Problems(), f"backends.{it.name}"
    named = BACKEND_NAME.fullmatch(it.name) and it.name not in _RESERVED
    reserved = " or ".join(_RESERVED)
    _require(
        wrong,
        named,
        path,
        f"the name must be 1 to 63 letters, digits, dots, dashes and underscores, begin with a letter or digit, and not be {reserved}",
    )
    is_path = _CLASS_PATH.fullmatch(it.driver)
    if not is_path:
        hint = former.or_likely(it.driver)
        wrong.add(f"{path}.driver", f"must be the path of a class, package.module.Class (got {it.driver!r}){hint}")
    _require(wrong, it.max_concurrent_calls >= 0, f"{path}.max_concurrent_calls", "must not be negative")
    _require(wrong, it.stats_seconds >= 0, f"{path}.stats_seconds", "must not be negative")
    _topology(wrong, path, it.topology)
    wrong.raise_all()


def _topology(wrong: Problems, path: str, topology: Mapping[str, str]) -> None:
    """Segments become labels of Kubernetes nodes, which refuses others only when a volume exists already."""
    for key, value in topology.items():
        prefix, slash, name = key.rpartition("/")
        is_key = _LABEL.fullmatch(name) and (not slash or (len(prefix) <= 253 and _DOMAIN.fullmatch(prefix)))
        _require(wrong, is_key, f"{path}.topology", f"must have names of labels as keys (got {key!r})")
        is_value = value and _LABEL.fullmatch(value)
        _require(wrong, is_value, f"{path}.topology.{key}", f"must be the value of a label (got {value!r})")


def _metrics(wrong: Problems, it: Settings) -> None:
    for key in ("metrics_certificate_file", "metrics_key_file", "metrics_token_file"):
        is_used = it.metrics_address or not getattr(it, key)
        _require(wrong, is_used, key, "has no effect without metrics_address; set metrics_address or remove it")
    both = bool(it.metrics_certificate_file) == bool(it.metrics_key_file)
    _require(wrong, both, "metrics_key_file", "needs metrics_certificate_file; set both or none")
    _require(
        wrong,
        not it.metrics_token_file or it.metrics_certificate_file or _is_loopback(it.metrics_address),
        "metrics_token_file",
        "without TLS the token is sent in plain text; set metrics_certificate_file, or listen at 127.0.0.1",
    )


def _is_loopback(address: str) -> bool:
    """Whether only programs of this host reach that `HOST:PORT`. Host names other than localhost are not resolved."""
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_address(text: str) -> bool:
    _, colon, port = text.rpartition(":")
    return bool(colon) and port.isdecimal() and int(port) < 65536


def _choice(wrong: Problems, path: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        wrong.add(path, unknown("value", value, choices))


def _require(wrong: Problems, holds: object, path: str, problem: str) -> None:
    if not holds:
        wrong.add(path, problem)
