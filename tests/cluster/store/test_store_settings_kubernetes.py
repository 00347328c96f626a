"""A cluster whose definitions are missing, or are not ours, or that does not let us in: refused at start, with what to do."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.persistence.kubernetes.resources import VERSION, controller_rules, definitions
from csi_cinderlib.sealing import generate_key
from tests.cluster.bed.apiserver import ApiServer

pytestmark = pytest.mark.cluster

COMMANDS = ("serve", "check")
KEY = generate_key()


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """An API server without our definitions; tests add none."""
    yield from running(tmp_path_factory.mktemp("bare"))


@pytest.fixture
def another(tmp_path: Path) -> Iterator[ApiServer]:
    """One of a test's own: a cluster at times takes minutes to let a new definition go."""
    yield from running(tmp_path / "another")


def running(folder: Path) -> Iterator[ApiServer]:
    server = ApiServer(folder, durable=False)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def account(server: ApiServer, folder: Path, *, rights: bool = True) -> tuple[Path, str]:
    """The kubeconfig of a service account with the controller's rights, or with none; and its token."""
    namespace = "storage" if rights else "nothing"
    token = server.service_account_token(namespace, "controller")
    if rights:
        objects: list[dict[str, Any]] = [
            {"kind": "Role", "rules": controller_rules()},
            {
                "kind": "RoleBinding",
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "controller"},
                "subjects": [{"kind": "ServiceAccount", "name": "controller", "namespace": namespace}],
            },
        ]
        metadata = {"name": "controller", "namespace": namespace}
        server.apply(
            *({"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": metadata, **content} for content in objects)
        )
    return server.write_kubeconfig(folder / "kubeconfig", token), token


def refused(folder: Path, kubeconfig: Path, token: str, *words: str, namespace: str = "storage") -> None:
    """Every command ends with 2 and these words; neither the token nor the sealing key is in what it says."""
    options = {"kubeconfig": str(kubeconfig), "namespace": namespace}
    settings = {
        "mode": "controller",
        "store": {"plugin": "kubernetes", "options": options},
        "backends": {"a": {"driver": "tests.support.fakes.nothing.NothingDriver"}},
        "sealing_keys": [{"id": "k1", "key": KEY}],
        "log": {"level": "debug"},
    }
    config = folder / "config.json"
    config.write_text(json.dumps(settings))
    for command in COMMANDS:
        argv = [
            sys.executable,
            "-m",
            "csi_cinderlib",
            command,
            "--config",
            str(config),
            "--state-dir",
            str(folder / "s"),
        ]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=100, check=False)
        output = done.stdout + done.stderr
        assert done.returncode == 2, output
        for word in words:
            assert word in output
        for secret in (token, KEY):
            assert secret not in output


def test_missing_definitions_are_named_with_what_installs_them(bare: ApiServer, tmp_path: Path) -> None:
    refused(tmp_path, *account(bare, tmp_path), "are not installed", "csi-cinderlib crds | kubectl apply -f -")


def test_definitions_of_another_version_are_said_to_be_that(another: ApiServer, tmp_path: Path) -> None:
    others = json.loads(json.dumps(definitions()).replace(f'"name": "{VERSION}"', '"name": "v9"'))
    another.apply(*others)
    another.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=100s")
    refused(
        tmp_path, *account(another, tmp_path), "installed in version v9", f"required: {VERSION}", "csi-cinderlib crds"
    )


def test_an_account_without_rights_is_named(another: ApiServer, tmp_path: Path) -> None:
    another.apply(*definitions())
    another.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=100s")
    kubeconfig, token = account(another, tmp_path, rights=False)
    refused(tmp_path, kubeconfig, token, "system:serviceaccount:nothing:controller", "cannot list", namespace="nothing")


def test_a_token_that_is_none_is_refused(bare: ApiServer, tmp_path: Path) -> None:
    token = "no-token-canary"
    refused(tmp_path, bare.write_kubeconfig(tmp_path / "kubeconfig", token), token, "401 Unauthorized")


def test_a_kubeconfig_that_is_not_there_is_named(tmp_path: Path) -> None:
    refused(tmp_path, tmp_path / "absent", "absent-token", "store.options.kubeconfig", "cannot be read")
