"""The chart as helm renders it."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.generate import chart
from tools import lookup

Json = dict[str, Any]
ROOT = Path(__file__).resolve().parents[2]
NAMES = chart.value_sets()
"""The value sets."""


@pytest.fixture(scope="session")
def helm() -> str:
    return str(lookup.program("helm"))


class Refused(Exception):
    """What helm said."""


Render = Callable[..., list[Json]]


@pytest.fixture(scope="session")
def render(helm: str, tmp_path_factory: pytest.TempPathFactory) -> Render:
    """Render the chart with these values (a mapping, or the name of a value set) into its objects.

    Raises:
        Refused: helm did; with what it said.
    """
    folder = tmp_path_factory.mktemp("values")
    texts: dict[str, str] = {}

    def text_of(name: str) -> str:
        if name not in texts:
            texts[name] = chart.snapshot(helm, name)
        return texts[name]

    def rendered(values: Json | str = "default", *, release: str = chart.RELEASE) -> list[Json]:
        if isinstance(values, str):
            return objects(text_of(values))
        path = folder / "values.yaml"
        path.write_text(yaml.safe_dump(values))
        try:
            return objects(chart.render(helm, values=[path], release=release))
        except subprocess.CalledProcessError as problem:
            raise Refused(problem.stderr) from None

    return rendered


class _Loader(yaml.CSafeLoader):
    """Refuses a key that is there twice, as the API server does."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        found: dict[Hashable, Any] = super().construct_mapping(node, deep)
        for key, times in Counter(key.value for key, _ in node.value).items():
            if times > 1:
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} is there twice", node.start_mark)
        return found


def objects(text: str) -> list[Json]:
    """What YAML documents hold.

    Raises:
        yaml.YAMLError: they are not valid, or a key is there twice.
    """
    return [found for found in yaml.load_all(text, Loader=_Loader) if found]


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
