"""The chart as helm renders it."""

from __future__ import annotations

import importlib.util
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

Json = dict[str, Any]
ROOT = Path(__file__).resolve().parents[2]


def script(name: str) -> ModuleType:
    """One of the scripts as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / f"scripts/{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def snapshots() -> ModuleType:
    """scripts/chart_snapshots.py."""
    return script("chart_snapshots")


@pytest.fixture(scope="session")
def helm(snapshots: ModuleType) -> str:
    """The path of a helm; without one, tests skip with the reason."""
    try:
        return str(snapshots.helm())
    except subprocess.CalledProcessError as problem:
        pytest.skip(f"helm cannot be built: {problem.stderr.strip()[-500:]}")


class Refused(Exception):
    """What helm said."""


Render = Callable[..., list[Json]]


@pytest.fixture(scope="session")
def render(helm: str, snapshots: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Render:
    """Render the chart with these values (a mapping, or the name of a value set) into its objects. Raises Refused."""
    folder = tmp_path_factory.mktemp("values")

    def objects(values: Json | str = "default", *arguments: str, **options: Any) -> list[Json]:
        path = snapshots.VALUES / f"{values}.yaml"
        if not isinstance(values, str):
            path = folder / "values.yaml"
            path.write_text(yaml.safe_dump(values))
        try:
            text = snapshots.render(helm, *arguments, values=[path], **options)
        except subprocess.CalledProcessError as problem:
            raise Refused(problem.stderr) from None
        return [found for found in yaml.safe_load_all(text) if found]

    return objects


def one(objects: list[Json], kind: str, name: str = "") -> Json:
    """The only object of that kind whose name ends like that."""
    (found,) = [item for item in objects if item["kind"] == kind and item["metadata"]["name"].endswith(name)]
    return found


def pod(objects: list[Json], role: str) -> Json:
    """The pod's spec of `controller` or `node`."""
    workload = one(objects, "Deployment" if role == "controller" else "DaemonSet")
    spec: Json = workload["spec"]["template"]["spec"]
    return spec


def container(objects: list[Json], role: str, name: str = "cinderlib") -> Json:
    (found,) = [item for item in pod(objects, role)["containers"] if item["name"] == name]
    return dict(found)
