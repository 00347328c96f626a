"""Failures of a build. Tests are skipped only if this machine lacks something that the tool needs."""

from __future__ import annotations

_NETWORK_FAILURES = (
    "module lookup disabled by GOPROXY=off",
    "dial tcp",
    "proxyconnect tcp",
    "no such host",
    "network is unreachable",
    "connection refused",
    "connection reset by peer",
    "i/o timeout",
    "TLS handshake timeout",
    "Client.Timeout exceeded",
    "502 Bad Gateway",
    "503 Service Unavailable",
    "504 Gateway Timeout",
)
"""Messages of `go mod download` when a server cannot be reached."""
_OTHER_FAILURES = ("checksum mismatch", "SECURITY ERROR", "unknown revision", "missing go.sum entry", "404 Not Found")
"""These are errors of this project, even if other errors occurred as well."""


class Unobtainable(Exception):
    """The tool cannot be built on this machine: no Go, no network, or not Debian on x86-64. Its tests are skipped."""


class BuildFailed(Exception):
    """The build failed for another reason, so `make test` fails as well."""


def network_failure(text: str) -> str:
    """The line of a download's output that shows a missing network; "" if another error occurred as well."""
    if any(sign in text for sign in _OTHER_FAILURES):
        return ""
    lines = (line.strip() for line in text.splitlines())
    return next((line for line in lines if any(sign in line for sign in _NETWORK_FAILURES)), "")
