"""Just etcd and kube-apiserver on loopback, with RBAC, service account tokens and admission: the bed for the CRD store.

Ready in 3 s. Everything lies in one folder, and two processes, ended by their ids, are all that runs.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from csi_cinderlib.persistence.kubernetes.rest import Access, ApiError, Client
from tests.support.ports import free_port
from tools import lookup

READY_SECONDS = 180.0
STOP_SECONDS = 60.0
KUBECTL_SECONDS = 120.0
_LOOK_SECONDS = 20.0
"""After which a look whether the server is ready has had no answer."""


class DidNotStart(RuntimeError):
    """etcd or kube-apiserver ended, or did not become ready in time; with the end of its log."""


@dataclass
class ApiServer:
    """A running API server.

    Attributes:
        folder: an empty folder for certificates, data and logs (`etcd.log`, `kube-apiserver.log`).
        arguments: more arguments to kube-apiserver.
        ports: where free ports come from. They are chosen by the first `start`, and stay.
        url: the server's address, set by `start`; its certificate is made by itself, so clients do not verify it.
        admin_token: a bearer token in group system:masters.
    """

    folder: Path
    arguments: Sequence[str] = ()
    durable: bool = True
    ports: Callable[[], int] = free_port
    url: str = ""
    admin_token: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)
    _etcd: subprocess.Popen[bytes] | None = None
    _server: subprocess.Popen[bytes] | None = None
    _etcd_ports: tuple[int, int] = (0, 0)
    _port: int = 0

    def __post_init__(self) -> None:
        self.bin = lookup.link_programs(self.folder / "bin", "etcd", "kube-apiserver", "kubectl")
        key = self.folder / "service-account.key"
        subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
        tokens = self.folder / "tokens.csv"
        tokens.touch(mode=0o600)
        tokens.write_text(f'{self.admin_token},admin,admin,"system:masters"\n')

    @property
    def etcd_url(self) -> str:
        return f"http://127.0.0.1:{self._etcd_ports[0]}"

    @property
    def etcd_data(self) -> Path:
        return self.folder / "etcd"

    @property
    def pids(self) -> list[int]:
        """Of what runs."""
        return [process.pid for process in (self._etcd, self._server) if process is not None]

    def start(self) -> None:
        """Returns when it is ready; nothing runs when it raises.

        Raises:
            DidNotStart: or has ended again.
        """
        if self._port:
            self._start_on_ports()
            return
        self._choose_ports()
        try:
            self._start_on_ports()
        except DidNotStart as problem:
            if "address already in use" not in str(problem):
                raise
            self._choose_ports()
            self._start_on_ports()

    def _choose_ports(self) -> None:
        self._etcd_ports = (self.ports(), self.ports())
        self._port = self.ports()
        self.url = f"https://127.0.0.1:{self._port}"

    def _start_on_ports(self) -> None:
        try:
            self.start_etcd()
            self.start_server()
        except BaseException:
            self.stop()
            raise

    def start_etcd(self) -> None:
        client, peer = (f"http://127.0.0.1:{port}" for port in self._etcd_ports)
        self._etcd = self._spawn(
            "etcd",
            f"--data-dir={self.etcd_data}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            "--log-level=warn",
            *(() if self.durable else ("--unsafe-no-fsync",)),
        )

    def start_server(self) -> None:
        key = self.folder / "service-account.key"
        self._server = self._spawn(
            "kube-apiserver",
            f"--etcd-servers={self.etcd_url}",
            f"--secure-port={self._port}",
            "--bind-address=127.0.0.1",
            f"--cert-dir={self.folder / 'certificates'}",
            f"--token-auth-file={self.folder / 'tokens.csv'}",
            "--authorization-mode=Node,RBAC",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--enable-admission-plugins=NodeRestriction",
            "--endpoint-reconciler-type=none",
            "--profiling=false",
            *self.arguments,
        )
        self._wait_until_ready()

    def _spawn(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [self.bin / name, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={"PATH": os.environ.get("PATH", ""), "HOME": str(self.folder)},
            )

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not self._ready():
            for name, process in (("etcd", self._etcd), ("kube-apiserver", self._server)):
                if process is None or process.poll() is not None:
                    raise DidNotStart(f"{name} has ended:\n{self._end_of_log(name)}")
            if time.monotonic() > deadline:
                log = self._end_of_log("kube-apiserver")
                raise DidNotStart(f"kube-apiserver did not become ready in {READY_SECONDS} s:\n{log}")
            time.sleep(0.2)

    def _ready(self) -> bool:
        try:
            return self._try_kubectl("get", "--raw", "/readyz", seconds=_LOOK_SECONDS).returncode == 0
        except subprocess.TimeoutExpired:
            return False

    def _end_of_log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()[-3000:]

    def stop_server(self, *, signal_number: int = signal.SIGTERM) -> None:
        self._server = self._end(self._server, signal_number)

    def stop_etcd(self, *, signal_number: int = signal.SIGTERM) -> None:
        self._etcd = self._end(self._etcd, signal_number)

    def stop(self) -> None:
        self.stop_server()
        self.stop_etcd()

    @staticmethod
    def _end(process: subprocess.Popen[bytes] | None, signal_number: int) -> None:
        if process is None:
            return
        process.send_signal(signal_number)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def write_kubeconfig(self, path: Path, token: str) -> Path:
        """A kubeconfig with that bearer token."""
        path.touch(mode=0o600)
        path.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "clusters": [{"name": "c", "cluster": {"server": self.url, "insecure-skip-tls-verify": True}}],
                    "users": [{"name": "u", "user": {"token": token}}],
                    "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                    "current-context": "x",
                }
            )
        )
        return path

    def _try_kubectl(
        self, *arguments: str, token: str = "", text: str = "", seconds: float = KUBECTL_SECONDS
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                self.bin / "kubectl",
                f"--server={self.url}",
                "--insecure-skip-tls-verify",
                f"--token={token or self.admin_token}",
                *arguments,
            ],
            input=text,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
            env={"HOME": str(self.folder), "PATH": os.environ.get("PATH", "")},
        )

    def kubectl(self, *arguments: str, token: str = "", text: str = "") -> str:
        """What kubectl prints, as the administrator or with another token.

        Raises:
            RuntimeError: it failed; with what it said.
        """
        done = self._try_kubectl(*arguments, token=token, text=text)
        if done.returncode:
            raise RuntimeError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def apply(self, *objects: dict[str, Any]) -> None:
        """Apply these objects as the administrator."""
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        self.kubectl("apply", "-f", "-", text=text)
        shutil.rmtree(self.folder / ".kube", ignore_errors=True)  # kubectl's memory of which kinds there are

    @property
    def admin(self) -> Client:
        """A client with every right: quicker than kubectl by far."""
        return Client(Access(url=self.url, token=self.admin_token, insecure=True))

    def service_account_token(self, namespace: str, name: str) -> str:
        """A token of that service account (made first if absent), as a pod would get it."""
        core = "/api/v1/namespaces"
        accounts = f"{core}/{namespace}/serviceaccounts"
        for path, metadata in ((core, {"name": namespace}), (accounts, {"name": name})):
            with suppress(ApiError):  # it exists
                self.admin.post(path, {"metadata": metadata})
        token: str = self.admin.post(f"{accounts}/{name}/token", {"spec": {}})["status"]["token"]
        return token
