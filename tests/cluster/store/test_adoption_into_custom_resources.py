"""`csi-cinderlib adopt` into the store on custom resources, with the controller's rights and no more."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from csi_cinderlib.adoption.resources import PLURALS
from csi_cinderlib.cli import main
from csi_cinderlib.model.records import OWN_KEYS
from csi_cinderlib.persistence import transfer
from csi_cinderlib.persistence.api import KINDS
from csi_cinderlib.persistence.codec import kind_name
from csi_cinderlib.persistence.iteration import walk_all
from csi_cinderlib.persistence.kubernetes.resources import RESOURCES
from csi_cinderlib.persistence.kubernetes.rest import ApiError
from tests.cluster.bed.apiserver import ApiServer
from tests.cluster.bed.custom_resources import Namespace
from tests.component.adoption.databases import RECORDED, change, id_of, sqlite_file
from tests.support.repeating import until

pytestmark = pytest.mark.cluster

Capture = pytest.CaptureFixture[str]
GROUP = "ember-csi.io"
EMBER = RECORDED / "ember-3.1.0.json"


@pytest.fixture
def config(namespace: Namespace, tmp_path: Path) -> Path:
    options = {
        "kubeconfig": str(namespace.kubeconfigs["controller"]),
        "namespace": namespace.name,
        "allow_unsealed": True,
    }
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump({"state_dir": str(tmp_path), "store": {"plugin": "kubernetes", "options": options}}))
    return file


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "old").mkdir()
    return sqlite_file(tmp_path / "old")


def arguments(source: Path, config: Path, *more: str) -> list[str]:
    return ["adopt", "cinderlib", "--url", f"sqlite:///{source}", "--config", str(config), *more]


def stored(namespace: Namespace) -> list[Any]:
    """The records without the marks of the adoption."""
    store = namespace.store(None)
    kinds: Iterable[Any] = KINDS  # mypy cannot take a union of types for the type variable
    found = [record for kind in kinds for record in walk_all(store, kind)]
    store.close()
    return [record for record in found if not record.id.startswith(OWN_KEYS)]


def counts(namespace: Namespace) -> Counter[str]:
    return Counter(kind_name(type(record)) for record in stored(namespace))


def checksum(namespace: Namespace) -> str:
    return f"{transfer.Content.of(stored(namespace)).total:064x}"


EXPECTED = Counter({"volume": 6, "snapshot": 1, "attachment": 2, "initiator-data": 1, "key-value": 1})


def test_a_dry_run_writes_nothing_and_a_run_writes_what_it_has_counted(
    namespace: Namespace, config: Path, source: Path, capsys: Capture
) -> None:
    assert main(arguments(source, config)) == 0
    announced = re.search(r"^checksum: ([0-9a-f]{64})$", capsys.readouterr().out, re.MULTILINE)
    assert announced
    assert not any(namespace.objects(resource.plural) for resource in RESOURCES.values())
    assert main(arguments(source, config, "--write")) == 0
    assert f"adopted: 11 records, verified ({', '.join(_words())}), checksum {announced[1]}" in capsys.readouterr().err
    assert (counts(namespace), checksum(namespace)) == (EXPECTED, announced[1])


def _words() -> list[str]:
    return ["6 volume", "1 snapshot", "2 attachment", "1 initiator-data", "1 key-value"]


def test_a_repeated_run_writes_nothing_and_brings_nothing_back(
    namespace: Namespace, config: Path, source: Path, capsys: Capture
) -> None:
    assert main(arguments(source, config, "--write")) == 0
    store = namespace.store(None)
    removed = next(record for record in stored(namespace) if record.id == id_of(source, "failed extension"))
    store.remove(removed)
    store.close()
    assert main(arguments(source, config, "--write")) == 0
    assert "these records were adopted" in capsys.readouterr().out
    change(source, "INSERT INTO cinderlib_persistence_key_value VALUES ('later', 'x')")
    assert main(arguments(source, config, "--write")) == 0
    assert f"left out: volume {removed.id}" in capsys.readouterr().out
    assert counts(namespace) == EXPECTED - Counter(["volume"]) + Counter(["key-value"])


@pytest.mark.parametrize("point", ["adopt.record", "adopt.record:4", "adopt.record:11", "adopt.verified"])
def test_a_run_after_a_killed_one_completes_it(
    namespace: Namespace, config: Path, source: Path, capsys: Capture, point: str
) -> None:
    argv = [sys.executable, "-m", "csi_cinderlib", *arguments(source, config, "--write")]
    killed = subprocess.run(argv, check=False, env={**os.environ, "CINDERLIB_FAULT_POINT": point})
    assert killed.returncode == -signal.SIGKILL
    assert main(arguments(source, config, "--write")) == 0
    assert counts(namespace) == EXPECTED
    found = checksum(namespace)
    assert main(arguments(source, config)) == 0
    assert f"checksum: {found}\n" in capsys.readouterr().out


@pytest.fixture
def ember(api_server: ApiServer, namespace: Namespace) -> Iterator[str]:
    """A namespace with the recorded objects of Ember-CSI. Their definitions are removed afterwards."""
    api_server.apply(*map(_definition, PLURALS))
    api_server.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=100s")
    items = json.loads(EMBER.read_text())["items"]
    kept = ("name", "annotations", "labels")
    for item in items:
        metadata = {name: item["metadata"][name] for name in kept if name in item["metadata"]}
        path = f"/apis/{GROUP}/v1/namespaces/{namespace.name}/{PLURALS[item['kind']]}"
        until(partial(_is_served, api_server, path))
        api_server.admin.post(path, {**item, "metadata": metadata})
    yield namespace.name
    api_server.kubectl("delete", "crd", *(f"{plural}.{GROUP}" for plural in PLURALS.values()), "--timeout=100s")


def _is_served(api_server: ApiServer, path: str) -> bool:
    with suppress(ApiError):
        api_server.admin.get(path)
        return True
    return False


def _definition(kind: str) -> dict[str, Any]:
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    names = {"plural": PLURALS[kind], "singular": kind.lower(), "kind": kind, "listKind": f"{kind}List"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURALS[kind]}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": names,
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }


def test_the_objects_of_ember_are_read_from_the_api_and_stay_as_they_are(
    api_server: ApiServer, ember: str, namespace: Namespace, config: Path, tmp_path: Path
) -> None:
    before = [namespace.objects(plural, group=f"{GROUP}/v1") for plural in PLURALS.values()]
    reader = api_server.write_kubeconfig(tmp_path / "admin.kubeconfig", api_server.admin_token)
    argv = ["adopt", "ember", "--kubeconfig", str(reader), "--namespace", ember, "--config", str(config)]
    assert main(argv) == 0
    assert not stored(namespace)
    assert main([*argv, "--write"]) == 0
    assert counts(namespace) == Counter({"volume": 6, "snapshot": 1, "attachment": 2, "key-value": 1})
    assert main([*argv, "--write"]) == 0
    assert [namespace.objects(plural, group=f"{GROUP}/v1") for plural in PLURALS.values()] == before
