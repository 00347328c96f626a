"""A small client of the Kubernetes API: plain dictionaries over HTTPS, errors in our words.

Why not the `kubernetes` package: its generated types cost 22 MB and up to a second at import, and a node, which writes one object,
must not carry them. Five verbs on custom resources need none of it. Nothing here retries a call that may have taken effect.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import urllib3
import yaml

from csi_cinderlib.errors import ConfigurationError, DriverError, StoreUnavailable

IN_CLUSTER = Path("/var/run/secrets/kubernetes.io/serviceaccount")
CONNECT_SECONDS = 3.0
READ_SECONDS = 10.0
THROTTLED_SECONDS = 5.0
"""How long a call waits, in all, for a server that answers 429 (it was not carried out: trying again is safe)."""
TOKEN_SECONDS = 60.0
"""Service account tokens are rotated on disk; read again this often."""

Json = dict[str, Any]


class ApiError(DriverError):
    """The API server refused a call.

    Args:
        status: the HTTP status code.
        reason: Kubernetes' reason: "Conflict", "AlreadyExists", "NotFound", "Expired", "Forbidden" ...
    """

    def __init__(self, status: int, reason: str, message: str, body: Json | None = None) -> None:
        super().__init__(f"the Kubernetes API answered {status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.body = body or {}


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach an API server, and as whom.

    Attributes:
        token_file: read again while running; wins over `token`.
        ca_file: the certificate authority; "" with `insecure` only.
    """

    url: str
    token: str = field(default="", repr=False)
    token_file: str = ""
    ca_file: str = ""
    client_certificate: str = ""
    client_key: str = field(default="", repr=False)
    insecure: bool = False
    namespace: str = "default"


def in_cluster() -> Access:
    """The access that a pod is given (service account token, certificate authority, environment).

    Raises:
        ConfigurationError: this process runs in no pod.
    """
    host = os.environ.get("KUBERNETES_SERVICE_HOST")
    if not host or not (IN_CLUSTER / "token").exists():
        raise ConfigurationError("store.options.kubeconfig", "is not given, and this process does not run in a pod")
    host = f"[{host}]" if ":" in host else host
    return Access(
        url=f"https://{host}:{os.environ.get('KUBERNETES_SERVICE_PORT', '443')}",
        token_file=str(IN_CLUSTER / "token"),
        ca_file=str(IN_CLUSTER / "ca.crt"),
        namespace=(IN_CLUSTER / "namespace").read_text().strip(),
    )


def from_kubeconfig(path: Path) -> Access:
    """The access of a kubeconfig's current context: tokens and client certificates in files; no login plugins.

    Raises:
        ConfigurationError: it cannot be read, or wants something else.
    """
    key = "store.options.kubeconfig"
    try:
        config = yaml.safe_load(path.read_text())
        context = _named(config, "context", config["current-context"])
        cluster = _named(config, "cluster", context["cluster"])
        user = _named(config, "user", context["user"])
    except (OSError, yaml.YAMLError, KeyError, TypeError) as problem:
        raise ConfigurationError(key, f"{path} cannot be read as a kubeconfig: {problem}") from None
    if unsupported := {"exec", "auth-provider"} & set(user):
        raise ConfigurationError(key, f"{path} logs in by {', '.join(unsupported)}; use a service account's token")
    return Access(
        url=cluster["server"].rstrip("/"),
        token=user.get("token", ""),
        token_file=user.get("tokenFile", ""),
        ca_file=cluster.get("certificate-authority", ""),
        client_certificate=user.get("client-certificate", ""),
        client_key=user.get("client-key", ""),
        insecure=bool(cluster.get("insecure-skip-tls-verify")),
        namespace=context.get("namespace", "default"),
    )


def _named(config: Json, kind: str, name: str) -> Json:
    for item in config[f"{kind}s"]:
        if item["name"] == name:
            found: Json = item[kind]
            return found
    raise KeyError(f"no {kind} {name!r}")


class Client:
    """Calls the API server; thread-safe.

    Args:
        connections: kept open at most: as many as threads that call.
    """

    def __init__(self, access: Access, *, connections: int = 32) -> None:
        self._access = access
        self._token = (0.0, access.token)
        self.calls = 0
        """How many requests were sent; for tests and metrics."""
        if access.insecure:
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        self._pool = urllib3.PoolManager(
            num_pools=2,
            maxsize=connections,
            timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS),
            retries=False,
            cert_reqs="CERT_NONE" if access.insecure else "CERT_REQUIRED",
            ca_certs=access.ca_file or None,
            cert_file=access.client_certificate or None,
            key_file=access.client_key or None,
        )

    def get(self, path: str, **query: str) -> Json:
        return self._call("GET", path, query=query)

    def post(self, path: str, body: Json) -> Json:
        return self._call("POST", path, body)

    def patch(self, path: str, operations: list[Json]) -> Json:
        """A JSON patch (RFC 6902): the server applies all of it or nothing."""
        return self._call("PATCH", path, operations, kind="application/json-patch+json")

    def merge(self, path: str, changes: Json) -> Json:
        """A JSON merge patch (RFC 7396): what it does not name stays as it is."""
        return self._call("PATCH", path, changes, kind="application/merge-patch+json")

    def delete(self, path: str, body: Json | None = None, **query: str) -> Json:
        return self._call("DELETE", path, body, query=query)

    def close(self) -> None:
        self._pool.clear()

    def _call(
        self,
        verb: str,
        path: str,
        body: Json | list[Json] | None = None,
        *,
        query: Mapping[str, str] | None = None,
        kind: str = "application/json",
    ) -> Json:
        """Raises ApiError when the server refuses, StoreUnavailable when it cannot serve now or does not answer."""
        deadline = time.monotonic() + THROTTLED_SECONDS
        while True:
            response = self._send(verb, path, body, query, kind)
            wait = float(response.headers.get("Retry-After", 1))
            if response.status != 429 or time.monotonic() + wait > deadline:
                return self._read(response)
            time.sleep(wait)

    def _send(
        self, verb: str, path: str, body: Json | list[Json] | None, query: Mapping[str, str] | None, kind: str
    ) -> urllib3.BaseHTTPResponse:
        headers = {"Accept": "application/json", "Content-Type": kind}
        if token := self._bearer():
            headers["Authorization"] = f"Bearer {token}"
        self.calls += 1
        try:
            return self._pool.request(
                verb,
                self._access.url + path + _encode(query),
                body=None if body is None else json.dumps(body, separators=(",", ":")),
                headers=headers,
            )
        except urllib3.exceptions.HTTPError as problem:
            raise StoreUnavailable(f"the Kubernetes API did not answer: {type(problem).__name__}") from None

    def _bearer(self) -> str:
        read_at, token = self._token
        if self._access.token_file and time.monotonic() - read_at > TOKEN_SECONDS:
            try:
                token = Path(self._access.token_file).read_text().strip()
            except OSError as problem:
                if not token:
                    raise StoreUnavailable(f"the service account token cannot be read: {problem}") from None
            self._token = (time.monotonic(), token)
        return token

    @staticmethod
    def _read(response: urllib3.BaseHTTPResponse) -> Json:
        try:
            body = json.loads(response.data)
        except ValueError:
            body = {"message": response.data[:200].decode(errors="replace")}
        if response.status < 400:
            return dict(body)
        reason, message = str(body.get("reason", "")), str(body.get("message", "")).strip()
        if response.status == 429 or response.status >= 500:
            raise StoreUnavailable(f"the Kubernetes API answered {response.status} {reason}: {message}")
        raise ApiError(response.status, reason, message, dict(body))


def _encode(query: Mapping[str, str] | None) -> str:
    return f"?{urlencode(query)}" if query else ""
