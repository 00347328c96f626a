"""How making a tool can end when it does not succeed: only what the machine lacks lets tests be skipped."""

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
"""What `go mod download` says when a server cannot be reached."""
_OTHER_FAILURES = ("checksum mismatch", "SECURITY ERROR", "unknown revision", "missing go.sum entry", "404 Not Found")
"""These are errors of ours, whatever else went wrong beside them."""


class Unobtainable(Exception):
    """This machine cannot have the tool: no Go, no network, or not a Debian on x86-64. Its tests are skipped."""


class BuildFailed(Exception):
    """The tool could be had, but making it failed. So does `make test`."""


def network_failure(text: str) -> str:
    """The line of a download's output that tells of a missing network; "" when something else went wrong as well."""
    if any(sign in text for sign in _OTHER_FAILURES):
        return ""
    lines = (line.strip() for line in text.splitlines())
    return next((line for line in lines if any(sign in line for sign in _NETWORK_FAILURES)), "")
