"""Back ends that accept no volumes take none over either, also if they are closed while the records are written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from csi_cinderlib.cli import main
from tests.component.adoption.openstack.databases import Run, id_of

LOOP = "csi_cinderlib.drivers.loopfile.LoopFileDriver"


def configure(tmp_path: Path, **more: bool) -> list[str]:
    backend = {"driver": LOOP, "options": {"loopfile_directories": [str(tmp_path / "volumes")]}, **more}
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps({"backends": {"lvm": backend}, "state_dir": str(tmp_path / "state")}))
    return ["--config", str(config)]


@pytest.mark.parametrize(("closed", "why"), [("paused", "it is paused"), ("drained", "it is drained")])
def test_a_closed_back_end_takes_nothing_over(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], closed: str, why: str
) -> None:
    planning = ["adopt", "cinder", "--url", run.url, id_of(1), "--plan", str(run.plan_file)]
    carrying_out = ["adopt", "cinder", "--url", run.url, "--apply", str(run.plan_file)]
    assert main([*planning, *configure(tmp_path)]) == 0
    assert main([*carrying_out, *configure(tmp_path, **{closed: True})]) == 1
    printed = capsys.readouterr().err
    assert f"back end 'lvm' accepts no new volumes: {why}" in printed
    assert "nothing written" in printed
    run.plan_file.unlink()
    assert main([*planning, *configure(tmp_path, **{closed: True})]) == 1
