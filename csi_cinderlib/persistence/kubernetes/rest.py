"""A small client for the Kubernetes API, with plain dictionaries over HTTPS.

The `kubernetes` package is not used because its generated types take 22 MB and up to a second to import. A node, which writes a single
object, must avoid this cost. A call that may have taken effect is never retried here.
"""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlencode

import urllib3

from csi_cinderlib.config import document, scalars
from csi_cinderlib.errors import ConfigurationError, DriverError, StoreUnavailable

IN_CLUSTER = Path("/var/run/secrets/kubernetes.io/serviceaccount")
CONNECT_SECONDS = 3.0
READ_SECONDS = 10.0
THROTTLED_SECONDS = 5.0
"""Total time of retries if the server returns 429. The call was not carried out, so a retry is safe."""
TOKEN_SECONDS = 60.0
"""Interval for reading the service account token again, which is rotated on disk."""

_METADATA_ALONE = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"

KUBECONFIG_KEY = "store.options.kubeconfig"
_UNSUPPORTED = frozenset(
    {"exec", "auth-provider", "username", "password", "as", "as-uid", "as-groups", "as-user-extra"}
    | {"proxy-url", "tls-server-name"}
)
"""Unsupported keys of a kubeconfig for login and connection, which must not be ignored silently."""

Json = dict[str, Any]


class ApiError(DriverError):
    """The API server rejected a call.

    Args:
        status: the HTTP status code.
        reason: reason of Kubernetes: "Conflict", "AlreadyExists", "NotFound", "Expired", "Forbidden" ...
    """

    def __init__(self, status: int, reason: str, message: str, body: Json | None = None) -> None:
        super().__init__(f"the Kubernetes API returned {status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.body = body or {}


@dataclass(frozen=True, slots=True)
class Access:
    """The address of an API server and the credentials for it.

    Attributes:
        token_file: read again periodically; takes precedence over `token`.
        ca_file: the certificate authority. If `ca_data` is empty as well, the system's authorities are used.
        ca_data: the same as PEM text. It takes precedence over the file, as do those of the client certificate and key.
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
    """The access of a pod (service account token, certificate authority, environment).

    Raises:
        ConfigurationError: this process does not run in a pod.
    """
    host = os.environ.get("KUBERNETES_SERVICE_HOST")
    if not host or not (IN_CLUSTER / "token").exists():
        raise ConfigurationError(KUBECONFIG_KEY, "must be set: this process does not run in a pod")
    host = f"[{host}]" if ":" in host else host
    return Access(
        url=f"https://{host}:{os.environ.get('KUBERNETES_SERVICE_PORT', '443')}",
        token_file=str(IN_CLUSTER / "token"),
        ca_file=str(IN_CLUSTER / "ca.crt"),
        namespace=(IN_CLUSTER / "namespace").read_text().strip(),
    )


def from_kubeconfig(path: Path) -> Access:
    """The access of the current context of a kubeconfig: a token or a client certificate, inline or in files, without login plugins.

    Raises:
        ConfigurationError: the kubeconfig cannot be read, uses unsupported keys, or refers to a missing file.
    """
    try:
        config: Any = scalars.guessed(document.read(path))
    except ConfigurationError as problem:
        raise ConfigurationError(KUBECONFIG_KEY, str(problem)) from None
    try:
        context = _named(config, "context", config["current-context"])
        cluster = _named(config, "cluster", context["cluster"])
        user = _named(config, "user", context["user"])
        url = str(cluster["server"]).rstrip("/")
    except (KeyError, TypeError) as problem:
        raise ConfigurationError(KUBECONFIG_KEY, f"cannot parse the kubeconfig {path}: {problem}") from None
    if unsupported := sorted(key for holder in (user, cluster) for key in _UNSUPPORTED if holder.get(key)):
        raise ConfigurationError(
            KUBECONFIG_KEY,
            f"unsupported keys in {path}: {', '.join(unsupported)}; use a service account token",
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
    """The file under a key, or "". As with kubectl, a relative path starts at the directory of the kubeconfig."""
    if not holder.get(key) or holder.get(f"{key}-data"):
        return ""
    found = kubeconfig.absolute().parent / str(holder[key])
    if not found.is_file():
        raise ConfigurationError(KUBECONFIG_KEY, f"{key} {found} in {kubeconfig} is not a file")
    return str(found)


def _pem(kubeconfig: Path, holder: Json, key: str) -> str:
    """The PEM text under a key, decoded from base64, or ""."""
    try:
        text = base64.b64decode(holder.get(key) or "", validate=True).decode()
    except (ValueError, TypeError):
        text = "unreadable"
    if text and "-----BEGIN" not in text:
        raise ConfigurationError(KUBECONFIG_KEY, f"{key} in {kubeconfig} is not PEM in base64")
    return text


def _named(config: Json, kind: str, name: str) -> Json:
    for item in config[f"{kind}s"]:
        if item["name"] == name:
            found: Json = item[kind] or {}
            return found
    raise KeyError(f"no {kind} {name!r}")


class Stream:
    """The events of a watch, in the form `{"type": ..., "object": ...}`. Ends when the server ends it.

    Raises:
        StoreUnavailable: the connection broke, or carried nothing for too long.
    """

    def __init__(self, response: urllib3.BaseHTTPResponse) -> None:
        self._response = response

    def __iter__(self) -> Iterator[Json]:
        try:
            for line in self._response:
                if line.strip():
                    yield json.loads(line)
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as problem:
            raise StoreUnavailable(f"a watch of the Kubernetes API broke: {type(problem).__name__}") from None

    def stop(self) -> None:
        """End the stream, from any thread. Idempotent."""
        with suppress(OSError, ValueError, RuntimeError):  # it has ended
            self._response.shutdown()
        with suppress(OSError, ValueError, RuntimeError, urllib3.exceptions.HTTPError):
            self._response.close()


class Client:
    """A client of the API server. Thread-safe.

    Args:
        connections: limit of open connections; as many as calling threads.
        read_seconds: timeout for an answer of the server.
    """

    def __init__(self, access: Access, *, connections: int = 32, read_seconds: float = READ_SECONDS) -> None:
        self._access = access
        self._token = (0.0, access.token)
        self.calls = 0
        """Number of requests, for tests and metrics."""
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
        """Path of an in-memory file with these contents, for the TLS library. Only this process can read it, and `close` removes it."""
        if not data:
            return ""
        file = os.fdopen(os.memfd_create("kubeconfig"), "w")
        file.write(data)
        file.flush()
        self._in_memory.append(file)
        return f"/proc/self/fd/{file.fileno()}"

    def get(self, path: str, **query: str) -> Json:
        return self._call("GET", path, query=query)

    def follow(self, path: str, version: str, seconds: int, **query: str) -> Stream:
        """Watch the objects of a list for changes after that resource version, for at most that time.

        Raises:
            ApiError: status 410 if the server no longer has these changes.
            StoreUnavailable: the server does not respond.
        """
        query |= {
            "watch": "1",
            "resourceVersion": version,
            "timeoutSeconds": str(seconds),
            "allowWatchBookmarks": "true",
        }
        timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=seconds + READ_SECONDS)
        response = self._send("GET", path, None, query, "application/json", timeout=timeout)
        if response.status >= 400:
            self._read(response)
        return Stream(response)

    def look(self, path: str) -> tuple[Json, str]:
        """Like `get`, and also return the time of the server (header Date), or ""."""
        response = self._send("GET", path, None, None, "application/json")
        return self._read(response), response.headers.get("Date", "")

    def metadata(self, path: str) -> Json:
        """Get only the metadata of an object, so that the data of a Secret is not transferred."""
        return self._read(self._send("GET", path, None, None, "application/json", accept=_METADATA_ALONE))

    def text(self, path: str, **query: str) -> str:
        """Get a text, for example a log. Raises the errors of `get`."""
        response = self._send("GET", path, None, query, "application/json")
        if response.status >= 400:
            self._read(response)
        return response.data.decode(errors="replace")

    def post(self, path: str, body: Json) -> Json:
        return self._call("POST", path, body)

    def patch(self, path: str, operations: list[Json]) -> Json:
        """Apply a JSON patch (RFC 6902), which is atomic."""
        return self._call("PATCH", path, operations, kind="application/json-patch+json")

    def merge(self, path: str, changes: Json) -> Json:
        """Apply a JSON merge patch (RFC 7396); fields that it does not contain are unchanged."""
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
        """Raises ApiError if the server rejects the call, StoreUnavailable if it is unavailable or does not respond."""
        deadline = time.monotonic() + THROTTLED_SECONDS
        while True:
            response = self._send(verb, path, body, query, kind)
            wait = float(response.headers.get("Retry-After", 1))
            if response.status != 429 or time.monotonic() + wait > deadline:
                return self._read(response)
            time.sleep(wait)

    def _send(
        self,
        verb: str,
        path: str,
        body: Json | list[Json] | None,
        query: Mapping[str, str] | None,
        kind: str,
        *,
        accept: str = "application/json",
        timeout: urllib3.Timeout | None = None,
    ) -> urllib3.BaseHTTPResponse:
        headers = {"Accept": accept, "Content-Type": kind}
        if token := self._bearer():
            headers["Authorization"] = f"Bearer {token}"
        self.calls += 1
        streamed: dict[str, Any] = {"timeout": timeout, "preload_content": False} if timeout else {}
        try:
            return self._pool.request(
                verb,
                self._access.url + path + _encode(query),
                body=None if body is None else json.dumps(body, separators=(",", ":")),
                headers=headers,
                **streamed,
            )
        except urllib3.exceptions.HTTPError as problem:
            raise StoreUnavailable(f"the Kubernetes API did not respond: {type(problem).__name__}") from None

    def _bearer(self) -> str:
        read_at, token = self._token
        if self._access.token_file and time.monotonic() - read_at > TOKEN_SECONDS:
            try:
                token = Path(self._access.token_file).read_text().strip()
            except OSError as problem:
                if not token:
                    raise StoreUnavailable(f"cannot read the service account token: {problem}") from None
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
            raise StoreUnavailable(f"the Kubernetes API returned {response.status} {reason}: {message}")
        raise ApiError(response.status, reason, message, dict(body))


def _encode(query: Mapping[str, str] | None) -> str:
    return f"?{urlencode(query)}" if query else ""
