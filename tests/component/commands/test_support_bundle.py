"""A support bundle whose configuration cannot be read."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from csi_cinderlib import cli


def test_a_bundle_with_a_broken_configuration_names_the_problem_and_the_state_directory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, state, bundle = tmp_path / "config.yaml", tmp_path / "state", tmp_path / "bundle.tar.gz"
    config.write_text("backends: [unfinished")
    words = ["--config", str(config), "--state-dir", str(state), "-o", str(bundle)]
    assert cli.main(["support-bundle", *words]) == 0
    problem, covered, *_ = capsys.readouterr().err.splitlines()
    assert problem.startswith(f"cannot read the configuration: {config}")
    assert covered.startswith(f"the bundle covers state directory {state} ")
    with tarfile.open(bundle) as tar:
        found = next(tar.extractfile(member) for member in tar if member.name.endswith("/MANIFEST.json"))
        assert found is not None
        manifest = json.loads(found.read())
    assert str(config) in manifest["problem"]
    assert manifest["state_directory"] == str(state)
