"""What a support bundle takes from a cluster: what it may read, without what pods are given."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.commands import bundle, bundle_cluster
from csi_cinderlib.config.settings import Settings

CANARY = "tr0ub4dor-and-3"
STATUS = {"name": "cinderlib", "image": "csi-cinderlib:1", "ready": False, "restartCount": 1}
POD = {
    "metadata": {"name": "controller-1"},
    "spec": {"nodeName": "n1", "containers": [{"env": [{"name": "DATABASE", "value": CANARY}]}]},
    "status": {"phase": "Running", "containerStatuses": [STATUS]},
}
EVENT = {
    "metadata": {"name": "e"},
    "involvedObject": {"kind": "PersistentVolumeClaim", "name": "data"},
    "reason": "ProvisioningFailed",
    "message": f"the array refused password='{CANARY}'",
}


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        status, body = self._found(path)
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def _found(self, path: str) -> tuple[int, bytes]:
        if self.headers["Authorization"] != f"Bearer {CANARY}-token":
            return 401, b"{}"
        if path.endswith("/log"):
            return 200, f"line one\nlogin password='{CANARY}'\n{self.path}\n".encode()
        lists: dict[str, list[dict[str, Any]]] = {"pods": [POD], "events": [EVENT]}
        items = lists.get(path.rpartition("/")[2])
        if items is None:
            return 403, json.dumps({"reason": "Forbidden", "message": "not yours"}).encode()
        return 200, json.dumps({"items": items}).encode()

    def log_message(self, format: str, *args: Any) -> None:
        """Not of interest."""


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[bundle.Source]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    kubeconfig = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u", "namespace": "csi"}}],
        "clusters": [{"name": "k", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
        "users": [{"name": "u", "user": {"token": f"{CANARY}-token"}}],
    }
    (tmp_path / "kubeconfig").write_text(json.dumps(kubeconfig))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    yield bundle.Source(Settings(state_dir=tmp_path))
    server.shutdown()
    thread.join()
    server.server_close()


def collected(source: bundle.Source) -> dict[str, bytes]:
    found = {part.name: bundle.collect(part, source) for part in bundle_cluster.PARTS}
    assert {name: told.status for name, (told, _) in found.items()} == dict.fromkeys(found, "ok")
    return {name: data for name, (_, data) in found.items()}


def test_what_may_be_read_is_there_and_what_may_not_is_named(source: bundle.Source) -> None:
    objects = json.loads(collected(source)["kubernetes.json"])
    (pod,) = objects["pods"]
    assert (pod["name"], pod["node"], pod["containers"][0]["restartCount"]) == ("controller-1", "n1", 1)
    assert objects["events"][0]["about"] == "PersistentVolumeClaim/data"
    assert objects["storagebackends"] == "(the Kubernetes API returned 403 Forbidden: not yours)"


def test_logs_before_and_after_a_restart_are_there(source: bundle.Source) -> None:
    text = collected(source)["pod-logs.txt"].decode()
    assert text.index("== controller-1 cinderlib before its last restart") < text.index("== controller-1 cinderlib\n")
    assert "previous=true" in text
    assert "previous=false" in text


def test_no_secret_is_shown(source: bundle.Source) -> None:
    assert CANARY not in b"".join(collected(source).values()).decode()


def test_without_a_cluster_both_parts_are_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    source = bundle.Source(Settings(state_dir=tmp_path))
    assert [bundle.collect(part, source)[0].status for part in bundle_cluster.PARTS] == ["absent", "absent"]


def test_a_part_that_never_ends_is_left_out(tmp_path: Path) -> None:
    never = threading.Event()

    def wait(_source: bundle.Source) -> str:
        never.wait()
        return ""

    told, data = bundle.collect(
        bundle.Part("x.txt", "x", wait), bundle.Source(Settings(state_dir=tmp_path)), seconds=0.1
    )
    never.set()
    assert told.status == "failed"
    assert b"not finished" in data
