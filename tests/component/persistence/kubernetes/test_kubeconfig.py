"""Kubeconfigs as kubeadm, kind, k3s and people write them."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml

from csi_cinderlib.errors import ConfigurationError
from csi_cinderlib.persistence.kubernetes.rest import Access, Client, from_kubeconfig
from tests.support.fakes.canaries import STORED

PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
KEY = f"-----BEGIN PRIVATE KEY-----\n{STORED}\n-----END PRIVATE KEY-----\n"


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def kubeconfig(folder: Path, *, user: dict[str, Any], cluster: dict[str, Any] | None = None) -> Path:
    path = folder / "kubeconfig"
    text = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": "https://kubernetes.example:6443/", **(cluster or {})}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path.write_text(yaml.safe_dump(text))
    return path


def test_certificates_in_the_text_are_taken_and_win_over_files_as_with_kubectl(tmp_path: Path) -> None:
    user = {"client-certificate-data": encoded(PEM), "client-key-data": encoded(KEY), "client-key": "absent.key"}
    cluster = {"certificate-authority-data": encoded(PEM)}
    access = from_kubeconfig(kubeconfig(tmp_path, user=user, cluster=cluster))
    assert access == Access(
        url="https://kubernetes.example:6443", ca_data=PEM, client_certificate_data=PEM, client_key_data=KEY
    )
    assert STORED not in repr(access)


def test_relative_paths_start_at_the_kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = (
        {"certificate-authority": "ca.crt"},
        {
            "client-certificate": "pki/me.crt",
            "client-key": "pki/me.key",
            "tokenFile": "token",
        },
    )
    (tmp_path / "pki").mkdir()
    for name in ("ca.crt", "pki/me.crt", "pki/me.key", "token"):
        (tmp_path / name).touch()
    kubeconfig(tmp_path, cluster=files[0], user=files[1])
    monkeypatch.chdir(tmp_path.parent)
    access = from_kubeconfig(Path(tmp_path.name) / "kubeconfig")
    assert (access.ca_file, access.client_certificate) == (f"{tmp_path}/ca.crt", f"{tmp_path}/pki/me.crt")
    assert (access.client_key, access.token_file) == (f"{tmp_path}/pki/me.key", f"{tmp_path}/token")


def test_what_is_there_without_a_value_counts_as_absent(tmp_path: Path) -> None:
    user = dict.fromkeys(("token", "tokenFile", "exec", "username", "client-key", "client-key-data"))
    assert from_kubeconfig(kubeconfig(tmp_path, user=user)) == Access(url="https://kubernetes.example:6443")
    path = kubeconfig(tmp_path, user={})
    path.write_text(path.read_text().replace("user: {}", "user:"))
    assert from_kubeconfig(path) == Access(url="https://kubernetes.example:6443")


def test_absolute_paths_are_kept(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/token").touch()
    user = {"tokenFile": f"{tmp_path}/elsewhere/token"}
    assert from_kubeconfig(kubeconfig(tmp_path, user=user)).token_file == user["tokenFile"]


@pytest.mark.parametrize(
    ("user", "cluster", "message"),
    [
        ({"client-certificate": "absent.crt"}, {}, r"client-certificate .*/absent\.crt in .* is not a file"),
        ({"tokenFile": "absent"}, {}, r"tokenFile .*/absent in .* is not a file"),
        ({}, {"certificate-authority": "absent.crt"}, r"certificate-authority .*/absent\.crt"),
        ({"client-key-data": "%%%"}, {}, "client-key-data in .* is not PEM"),
        ({"client-key-data": encoded(STORED)}, {}, "client-key-data in .* is not PEM"),
        ({"client-key-data": 5}, {}, "client-key-data in .* is not PEM"),
        ({"exec": {"command": "aws"}}, {}, "unsupported keys in .*: exec; use"),
        ({"username": "me", "password": STORED}, {}, "unsupported keys in .*: password, username; use"),
        ({"token": STORED, "as": "somebody"}, {}, "unsupported keys in .*: as; use"),
        ({"token": STORED}, {"proxy-url": "http://proxy"}, "unsupported keys in .*: proxy-url; use"),
    ],
)
def test_what_cannot_be_honoured_is_named_without_secrets(
    tmp_path: Path, user: dict[str, Any], cluster: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        from_kubeconfig(kubeconfig(tmp_path, user=user, cluster=cluster))
    assert STORED not in str(caught.value)
    assert encoded(STORED) not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"users:\n- name: u\n  user: {{token: {STORED}\n", r"kubeconfig:4:1: "),
        ("", "cannot parse the kubeconfig"),
        ("current-context: x\ncontexts: []", "cannot parse the kubeconfig .*: .*no context 'x'"),
    ],
)
def test_what_is_no_kubeconfig_is_said_without_its_contents(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "kubeconfig").write_text(text)
    with pytest.raises(ConfigurationError, match=message) as caught:
        from_kubeconfig(tmp_path / "kubeconfig")
    assert STORED not in str(caught.value)


def test_a_key_from_the_text_lies_in_no_directory_and_is_gone_when_closed() -> None:
    client = Client(Access(url="https://kubernetes.example", client_certificate_data=PEM, client_key_data=KEY))
    files = [Path(client._pool.connection_pool_kw[name]) for name in ("cert_file", "key_file")]
    assert [file.read_text() for file in files] == [PEM, KEY]
    assert all(str(file.readlink()).startswith("/memfd:") for file in files)
    client.close()
    assert not any(file.exists() for file in files)
