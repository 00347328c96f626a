"""What a support bundle must not show."""

from __future__ import annotations

from pathlib import Path

from csi_cinderlib.commands import bundle
from csi_cinderlib.config.settings import BackendSettings, Settings

HUAWEI = "cinder.volume.drivers.huawei.huawei_driver.HuaweiISCSIDriver"


def test_secrets_in_files_that_drivers_read_are_known(tmp_path: Path) -> None:
    file = tmp_path / "array.xml"
    file.write_text("<config><Storage><UserPassword>canary-5e55</UserPassword></Storage></config>")
    backend = BackendSettings(name="a", driver=HUAWEI, options={"cinder_huawei_conf_file": str(file)})
    source = bundle.Source(Settings(state_dir=tmp_path, backends=(backend,)))
    assert "canary-5e55" in set(bundle.secrets(source))
