"""What a support bundle must not show."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.app import configured
from csi_cinderlib.app.object_reading import absent
from csi_cinderlib.app.object_states import Declared
from csi_cinderlib.commands import bundle, bundle_parts
from csi_cinderlib.config.settings import BackendSettings, Settings

HOLDER = """
import sys
from pathlib import Path
from csi_cinderlib.app import state_dir
with state_dir.hold(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""
HUAWEI = "cinder.volume.drivers.huawei.huawei_driver.HuaweiISCSIDriver"


def test_secrets_in_files_that_drivers_read_are_known(tmp_path: Path) -> None:
    file = tmp_path / "array.xml"
    file.write_text("<config><Storage><UserPassword>canary-5e55</UserPassword></Storage></config>")
    backend = BackendSettings(name="a", driver=HUAWEI, options={"cinder_huawei_conf_file": str(file)})
    source = bundle.Source(Settings(state_dir=tmp_path, backends=(backend,)))
    assert "canary-5e55" in set(bundle.secrets(source))


@pytest.mark.parametrize(
    "spec",
    [{"options": {"ratio": 1.5}}, {"driver": "x.Driver"}, {"name": "other"}],
    ids=["refused", "accepted", "name"],
)
def test_all_values_of_a_secret_are_hidden_whatever_the_object_says_now(spec: dict[str, Any]) -> None:
    """A driver may still run with the previous configuration."""
    found = {"metadata": {"name": "a", "uid": "u"}, "spec": {"secretRef": {"name": "s"}, **spec}}
    declared = [Declared("a", found, is_owner=True), Declared("b", {**found, "spec": {"secretRef": {"name": "gone"}}})]

    def secret(name: str) -> dict[str, bytes]:
        if name == "gone":
            raise absent(name)
        return {"san_ip": b"canary-5e55", "binary": b"\xffcanary-2"}

    assert {"canary-5e55", "\ufffdcanary-2"} <= set(configured.values_to_hide(declared, secret))


def test_the_bundle_shows_no_arguments_of_processes(tmp_path: Path) -> None:
    """A password of a Secret that has changed since is known to nobody but the driver."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path, "canary-5e55"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline()
            text = bundle_parts.processes(bundle.Source(Settings(state_dir=tmp_path)))
        finally:
            holder.communicate()
    assert f"== process {holder.pid}\n{sys.executable}\n" in str(text)
    assert "canary-5e55" not in str(text)
