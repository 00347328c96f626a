"""Drivers that write into a configured file get a copy of it."""

from __future__ import annotations

import io
import logging
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.cinder import private_files
from csi_cinderlib.cinder.runtime import Runtime, load_cinder
from csi_cinderlib.config.settings import BackendSettings
from csi_cinderlib.errors import BackendUnavailable, ConfigurationError
from csi_cinderlib.model.verbatim import Verbatim
from tests.support.local_backends import MakeBackend

HUAWEI = "cinder.volume.drivers.huawei.huawei_driver.HuaweiISCSIDriver"
XML = """<?xml version="1.0" encoding="UTF-8"?>
<config>
  <Storage>
    <Product>V3</Product><Protocol>iSCSI</Protocol>
    <RestURL>https://127.0.0.1:1/rest/</RestURL>
    <UserName>operator</UserName><UserPassword>canary-5e55</UserPassword>
  </Storage>
  <LUN><LUNType>Thin</LUNType><StoragePool>pool one</StoragePool></LUN>
  <iSCSI><DefaultTargetIP>192.0.2.1</DefaultTargetIP></iSCSI>
</config>
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "array.xml"
    path.write_text(XML)
    return path


def test_huaweis_driver_leaves_the_configured_file_alone(make: MakeBackend, file: Path) -> None:
    with pytest.raises(BackendUnavailable):  # there is no array
        make("array", driver=HUAWEI, cinder_huawei_conf_file=str(file))
    assert file.read_text() == XML
    assert "canary" not in "".join(path.read_text() for path in file.parent.rglob("*") if path != file)


def test_huaweis_driver_reads_its_copy_and_each_change(runtime: Runtime, file: Path) -> None:
    from cinder.volume.drivers.huawei import huawei_conf

    class Configuration:
        def safe_get(self, name: str) -> None:
            return None

    settings = BackendSettings(name="a", driver=HUAWEI, options={"cinder-huawei-conf-file": Verbatim(str(file))})
    files = private_files.PrivateFiles(settings)
    files.refresh()
    options: Any = Configuration()
    options.cinder_huawei_conf_file = files.options()["cinder_huawei_conf_file"]
    reader = huawei_conf.HuaweiConf(options)
    reader.update_config_value()
    assert (options.san_user, options.san_password) == ("operator", "canary-5e55")
    assert "!$$$" in Path(options.cinder_huawei_conf_file).read_text()  # it does write

    file.write_text(XML.replace("canary-5e55", "canary-6e66"))
    files.refresh()
    reader.update_config_value()
    assert options.san_password == "canary-6e66"
    files.close()
    files.close()


def test_a_file_that_cannot_be_read_is_named_by_its_key_and_its_own_path(make: MakeBackend, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make("array", driver=HUAWEI, cinder_huawei_conf_file=f"{tmp_path}/none.xml")
    assert caught.value.key == "backends.array.options.cinder_huawei_conf_file"
    assert caught.value.problem == f"cannot read {tmp_path}/none.xml: No such file or directory"


def test_a_password_of_the_file_is_hidden_also_after_a_change(make: MakeBackend, file: Path, log: io.StringIO) -> None:
    backend = make("array", driver=HUAWEI, cinder_huawei_conf_file=str(file), start=False)
    driver: Any = backend.verbs
    driver._refresh_files()
    file.write_text(XML.replace("canary-5e55", "canary-6e66"))
    driver._refresh_files()
    for password in ("canary-5e55", "canary-6e66"):
        logging.getLogger("driver").warning("login operator/%s refused", password)
    assert log.getvalue().count("login operator/*** refused") == 2
    assert "canary" not in log.getvalue()


def test_no_copy_stays_after_the_back_end(make: MakeBackend, file: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        with pytest.raises(BackendUnavailable):
            make("array", driver=HUAWEI, cinder_huawei_conf_file=str(file))
    assert len(list(Path("/proc/self/fd").iterdir())) <= before


def test_fusionstorages_driver_does_not_rewrite_cinders_own_file() -> None:
    load_cinder()
    from cinder.volume.drivers.fusionstorage import constants

    assert not Path(constants.CONF_PATH).exists()
