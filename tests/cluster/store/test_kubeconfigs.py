"""A kubeconfig as kubeadm, kind and k3s write it: certificates in the text, and a server that is verified."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from csi_cinderlib.errors import StoreUnavailable
from csi_cinderlib.persistence.kubernetes.rest import Client, from_kubeconfig
from tests.cluster.bed.apiserver import ApiServer

pytestmark = pytest.mark.cluster

DATA = ("certificate-authority", "client-certificate", "client-key")


def openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """One that lets in whoever has a certificate of `ca.crt` in its folder; `me.crt` and `me.key` are an administrator's."""
    folder = tmp_path_factory.mktemp("certificates")
    new = ("req", "-newkey", "rsa:2048", "-nodes")
    openssl(*new, "-x509", "-days", 2, "-subj", "/CN=ca", "-keyout", folder / "ca.key", "-out", folder / "ca.crt")
    openssl(*new, "-subj", "/O=system:masters/CN=me", "-keyout", folder / "me.key", "-out", folder / "me.csr")
    signed = ("-CA", folder / "ca.crt", "-CAkey", folder / "ca.key", "-CAcreateserial", "-days", 2)
    openssl("x509", "-req", "-in", folder / "me.csr", *signed, "-out", folder / "me.crt")
    server = ApiServer(folder, arguments=[f"--client-ca-file={folder / 'ca.crt'}"], durable=False)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def kubeconfig(server: ApiServer, path: Path, given: dict[str, Any]) -> Path:
    holders = {"certificate-authority": "cluster", "client-certificate": "user", "client-key": "user"}
    made: dict[str, dict[str, Any]] = {"cluster": {"server": server.url}, "user": {}}
    for key, value in given.items():
        made[holders[key.removesuffix("-data")]][key] = value
    text = {
        "clusters": [{"name": "c", "cluster": made["cluster"]}],
        "users": [{"name": "u", "user": made["user"]}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path.write_text(yaml.safe_dump(text))
    return path


@pytest.mark.parametrize(
    "in_text", [DATA, (), DATA[:1], DATA[1:2], DATA[2:]], ids=lambda names: "+".join(names) or "files"
)
def test_certificates_of_a_kubeconfig_verify_the_server_and_let_in(server: ApiServer, in_text: tuple[str, ...]) -> None:
    files = dict(zip(DATA, ("certificates/apiserver.crt", "me.crt", "me.key"), strict=True))
    given = {
        f"{name}-data" if name in in_text else name: (
            base64.b64encode((server.folder / file).read_bytes()).decode() if name in in_text else file
        )
        for name, file in files.items()
    }
    client = Client(from_kubeconfig(kubeconfig(server, server.folder / "kubeconfig", given)))
    review = client.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", {})
    assert review["status"]["userInfo"]["username"] == "me"
    client.close()


def test_a_server_of_another_authority_is_not_trusted(server: ApiServer) -> None:
    authority = base64.b64encode((server.folder / "ca.crt").read_bytes()).decode()
    path = kubeconfig(server, server.folder / "wrong.kubeconfig", {"certificate-authority-data": authority})
    with pytest.raises(StoreUnavailable, match="SSLError"):
        Client(from_kubeconfig(path)).get("/version")
