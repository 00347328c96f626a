"""A small client of the Kubernetes API: plain dictionaries over HTTPS, errors in our words.

Why not the `kubernetes` package: its generated types cost 22 MB and up to a second at import, and a node, which writes one object,
must not carry them. Five verbs on custom resources need none of it. Nothing here retries a call that may have taken effect.
"""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlencode

import urllib3

from csi_cinderlib.config.load import read_yaml
from csi_cinderlib.errors import ConfigurationError, DriverError, StoreUnavailable

IN_CLUSTER = Path("/var/run/secrets/kubernetes.io/serviceaccount")
CONNECT_SECONDS = 3.0
READ_SECONDS = 10.0
THROTTLED_SECONDS = 5.0
"""How long a call waits, in all, for a server that answers 429 (it was not carried out: trying again is safe)."""
TOKEN_SECONDS = 60.0
"""Service account tokens are rotated on disk; read again this often."""

KUBECONFIG_KEY = "store.options.kubeconfig"
_UNSUPPORTED = frozenset(
    {"exec", "auth-provider", "username", "password", "as", "as-uid", "as-groups", "as-user-extra"}
    | {"proxy-url", "tls-server-name"}
)
"""Of a kubeconfig: ways to log in and to connect that must not be ignored silently."""

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
        ca_file: the certificate authority; with `ca_data` "", too, that of the system.
        ca_data: the same as PEM text; wins over the file, as those of the client's certificate and key do.
    """

    url: str
    token: str = field(default="", repr=False)
    token_file: str = ""
    ca_file: str = ""
    ca_data: str = ""
    client_certificate: str = ""
    client_certificate_data: str = ""
    client_key: str = ""
    client_key_data: str = field(default="", repr=False)
    insecure: bool = False
    namespace: str = "default"


def in_cluster() -> Access:
    """The access that a pod is given (service account token, certificate authority, environment).

    Raises:
        ConfigurationError: this process runs in no pod.
    """
    host = os.environ.get("KUBERNETES_SERVICE_HOST")
    if not host or not (IN_CLUSTER / "token").exists():
        raise ConfigurationError(KUBECONFIG_KEY, "is not given, and this process does not run in a pod")
    host = f"[{host}]" if ":" in host else host
    return Access(
        url=f"https://{host}:{os.environ.get('KUBERNETES_SERVICE_PORT', '443')}",
        token_file=str(IN_CLUSTER / "token"),
        ca_file=str(IN_CLUSTER / "ca.crt"),
        namespace=(IN_CLUSTER / "namespace").read_text().strip(),
    )


def from_kubeconfig(path: Path) -> Access:
    """The access of a kubeconfig's current context: a token or a client certificate, in files or in the text; no login plugins.

    Raises:
        ConfigurationError: it cannot be read, wants something else, or names a file that is not there.
    """
    try:
        config: Any = read_yaml(path)
    except ConfigurationError as problem:
        raise ConfigurationError(KUBECONFIG_KEY, str(problem)) from None
    try:
        context = _named(config, "context", config["current-context"])
        cluster = _named(config, "cluster", context["cluster"])
        user = _named(config, "user", context["user"])
        url = str(cluster["server"]).rstrip("/")
    except (KeyError, TypeError) as problem:
        raise ConfigurationError(KUBECONFIG_KEY, f"{path} cannot be read as a kubeconfig: {problem}") from None
    if unsupported := sorted(key for holder in (user, cluster) for key in _UNSUPPORTED if holder.get(key)):
        raise ConfigurationError(
            KUBECONFIG_KEY,
            f"{path} has {', '.join(unsupported)}, which is not supported; use a service account's token",
        )
    return Access(
        url=url,
        token=user.get("token") or "",
        token_file=_file(path, user, "tokenFile"),
        ca_file=_file(path, cluster, "certificate-authority"),
        ca_data=_pem(path, cluster, "certificate-authority-data"),
        client_certificate=_file(path, user, "client-certificate"),
        client_certificate_data=_pem(path, user, "client-certificate-data"),
        client_key=_file(path, user, "client-key"),
        client_key_data=_pem(path, user, "client-key-data"),
        insecure=bool(cluster.get("insecure-skip-tls-verify")),
        namespace=context.get("namespace") or "default",
    )


def _file(kubeconfig: Path, holder: Json, key: str) -> str:
    """The file that is named there, "" if none is; a relative path starts at the kubeconfig's directory, as with kubectl."""
    if not holder.get(key) or holder.get(f"{key}-data"):
        return ""
    found = kubeconfig.absolute().parent / str(holder[key])
    if not found.is_file():
        raise ConfigurationError(KUBECONFIG_KEY, f"{kubeconfig} names as {key} {found}, which is no file")
    return str(found)


def _pem(kubeconfig: Path, holder: Json, key: str) -> str:
    """The PEM text that stands there in base64, "" if there is none."""
    try:
        text = base64.b64decode(holder.get(key) or "", validate=True).decode()
    except (ValueError, TypeError):
        text = "unreadable"
    if text and "-----BEGIN" not in text:
        raise ConfigurationError(KUBECONFIG_KEY, f"{kubeconfig} holds {key} that is no PEM text in base64")
    return text


def _named(config: Json, kind: str, name: str) -> Json:
    for item in config[f"{kind}s"]:
        if item["name"] == name:
            found: Json = item[kind] or {}
            return found
    raise KeyError(f"no {kind} {name!r}")


class Client:
    """Calls the API server; thread-safe.

    Args:
        connections: kept open at most: as many as threads that call.
        read_seconds: how long the server may take to answer.
    """

    def __init__(self, access: Access, *, connections: int = 32, read_seconds: float = READ_SECONDS) -> None:
        self._access = access
        self._token = (0.0, access.token)
        self.calls = 0
        """How many requests were sent; for tests and metrics."""
        self._in_memory: list[IO[str]] = []
        if access.insecure:
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        self._pool = urllib3.PoolManager(
            num_pools=2,
            maxsize=connections,
            timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=read_seconds),
            retries=False,
            cert_reqs="CERT_NONE" if access.insecure else "CERT_REQUIRED",
            ca_certs=access.ca_file or None,
            ca_cert_data=access.ca_data or None,
            cert_file=self._path(access.client_certificate_data) or access.client_certificate or None,
            key_file=self._path(access.client_key_data) or access.client_key or None,
        )

    def _path(self, data: str) -> str:
        """Of a file of these contents, as the TLS library wants one: in memory, readable by this process only, gone with it or `close`."""
        if not data:
            return ""
        file = os.fdopen(os.memfd_create("kubeconfig"), "w")
        file.write(data)
        file.flush()
        self._in_memory.append(file)
        return f"/proc/self/fd/{file.fileno()}"

    def get(self, path: str, **query: str) -> Json:
        return self._call("GET", path, query=query)

    def text(self, path: str, **query: str) -> str:
        """What is not JSON, a log say. Raises as `get`."""
        response = self._send("GET", path, None, query, "application/json")
        if response.status >= 400:
            self._read(response)
        return response.data.decode(errors="replace")

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
        while self._in_memory:
            self._in_memory.pop().close()

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
