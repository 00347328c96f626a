"""`csi-cinderlib adopt cinder` into the store on custom resources, and back, with the controller's rights and no more."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from csi_cinderlib.cli import main
from csi_cinderlib.persistence.kubernetes.resources import RESOURCES
from tests.cluster.bed.custom_resources import Namespace
from tests.component.adoption.openstack.databases import ADOPTABLE, id_of, restore

pytestmark = pytest.mark.cluster


@pytest.fixture
def arguments(namespace: Namespace, tmp_path: Path) -> Callable[..., list[str]]:
    """Returns the arguments of a command on the same plan."""
    kubeconfig = str(namespace.kubeconfigs["controller"])
    options = {"kubeconfig": kubeconfig, "namespace": namespace.name, "allow_unsealed": True}
    config = tmp_path / "config.yaml"
    config.write_text(
        yaml.safe_dump({"state_dir": str(tmp_path), "store": {"plugin": "kubernetes", "options": options}})
    )
    source = restore(tmp_path / "cinder.db", "train-sqlite")

    def of(option: str, *more: str) -> list[str]:
        url = ["adopt", "cinder", "--url", f"sqlite:///{source}", "--config", str(config)]
        return [*url, option, str(tmp_path / "plan.yaml"), *more]

    assert main(of("--plan", *map(id_of, ADOPTABLE), "--backend", "node1@lvm=local")) == 0
    return of


def objects(namespace: Namespace) -> int:
    return sum(len(namespace.objects(resource.plural)) for resource in RESOURCES.values())


def test_a_plan_is_carried_out_and_rolled_back(namespace: Namespace, arguments: Callable[..., list[str]]) -> None:
    assert objects(namespace) == 0
    assert main(arguments("--apply")) == 0
    assert len(namespace.objects("volumes")) == len(ADOPTABLE)
    assert main(arguments("--rollback")) == 0
    assert objects(namespace) == 0


@pytest.mark.parametrize(
    ("option", "point"),
    [("--apply", "adopt.record:3"), ("--rollback", "rollback.fenced:2"), ("--rollback", "rollback.record:3")],
)
def test_a_killed_run_is_completed_by_the_next_one(
    namespace: Namespace, arguments: Callable[..., list[str]], option: str, point: str
) -> None:
    if option == "--rollback":
        assert main(arguments("--apply")) == 0
    argv = [sys.executable, "-m", "csi_cinderlib", *arguments(option)]
    killed = subprocess.run(argv, check=False, env={**os.environ, "CINDERLIB_FAULT_POINT": point})
    assert killed.returncode == -signal.SIGKILL
    assert main(arguments(option)) == 0
    assert len(namespace.objects("volumes")) == (len(ADOPTABLE) if option == "--apply" else 0)
