"""A change of the chart shows in what it renders."""

from __future__ import annotations

import subprocess

import pytest

from scripts.generate import chart
from tests.chart.conftest import NAMES, ROOT


@pytest.mark.parametrize("name", NAMES)
def test_the_chart_renders_what_was_reviewed(name: str, helm: str) -> None:
    reviewed = (ROOT / chart.SNAPSHOTS / f"{name}.yaml").read_text()
    assert chart.snapshot(helm, name) == reviewed, "if this is meant: make chart"


def test_there_is_a_snapshot_for_each_value_set_and_no_other() -> None:
    assert sorted(path.stem for path in (ROOT / chart.SNAPSHOTS).glob("*.yaml")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_helm_finds_nothing_to_complain_about(name: str, helm: str) -> None:
    done = subprocess.run(
        [
            helm,
            "lint",
            "--strict",
            str(chart.CHART),
            f"--kube-version={chart.KUBERNETES}",
            f"--values={chart.VALUES / name}.yaml",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("version", ["1.29.9"])
def test_a_cluster_that_is_too_old_is_refused(version: str, helm: str) -> None:
    with pytest.raises(subprocess.CalledProcessError) as refused:
        chart.render(helm, kubernetes=version)
    assert "requires kubeVersion: >=1.30" in refused.value.stderr
