"""Relative paths in options start at the directory of the file that configures the back end."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.backend import catalogue
from csi_cinderlib.config import cinder_conf
from csi_cinderlib.config import option_paths as paths
from csi_cinderlib.config.settings import BackendSettings
from csi_cinderlib.errors import ConfigurationError
from csi_cinderlib.model.verbatim import Verbatim

LIKE_A_PATH = re.compile(
    r"(_file|_path|_dir|_cafile|_cert|_cert_key|_shares_config|_target_config|_conf|_cfg|_base|_private_key|_privkey)$"
)
NO_PATHS = {
    "nas_share_path",  # on the server
    "java_path",  # programs that may be found by PATH
    "naviseccli_path",
}


def completed(directory: str, **options: object) -> dict[str, object]:
    return paths.completed(BackendSettings(name="a", driver="x.Y", options=options, directory=directory), options)


@pytest.mark.parametrize(
    ("option", "given", "read"),
    [
        ("nfs_shares_config", "shares", "/etc/here/shares"),
        ("nfs_shares_config", "../shares", "/etc/here/../shares"),
        ("nfs_shares_config", "/srv/shares", "/srv/shares"),
        ("nfs_shares_config", "", ""),
        ("san_private_key", "~/.ssh/id", "~/.ssh/id"),
        ("lvm_conf_file", "None", "None"),
        ("volumes_dir", Verbatim("$state_path/volumes"), "$state_path/volumes"),
        ("nfs_shares_config", Verbatim("shares"), "/etc/here/shares"),
        ("nfs_mount_options", "ro", "ro"),
        ("replication_device", [{"conf": "b.conf", "user": "u"}], [{"conf": "/etc/here/b.conf", "user": "u"}]),
        ("replication_device", {"conf": "b.conf"}, {"conf": "/etc/here/b.conf"}),
        ("replication_device", "conf:b.conf", "conf:b.conf"),
    ],
)  # fmt: skip
def test_a_path_is_completed(option: str, given: object, read: object) -> None:
    assert completed("/etc/here", **{option: given}) == {option: read}


def test_a_directory_with_a_dollar_sign_is_meant_literally_in_a_cinder_conf() -> None:
    value: Any = completed("/etc/$here", nfs_shares_config=Verbatim("shares"))["nfs_shares_config"]
    assert isinstance(value, Verbatim)
    assert (value, value.resolved) == ("/etc/$$here/shares", "/etc/$here/shares")


@pytest.mark.parametrize("directory", ["", "."])
def test_relative_paths_are_refused_where_no_directory_is_known(directory: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        completed(directory, nfs_shares_config="shares", san_private_key="key", volumes_dir="/v")
    assert str(caught.value).splitlines() == [
        "backends.a.options.nfs_shares_config: must be an absolute path",
        "backends.a.options.san_private_key: must be an absolute path",
    ]


def test_a_cinder_conf_knows_its_directory(tmp_path: Path) -> None:
    file = tmp_path / "cinder.conf"
    file.write_text("[DEFAULT]\nenabled_backends = a\n[a]\nvolume_driver = x.Y\nnfs_shares_config = shares\n")
    (backend,) = cinder_conf.read(file).backends
    assert paths.completed(backend, backend.options)["nfs_shares_config"] == f"{tmp_path}/shares"


def test_every_option_of_the_catalogue_that_is_called_like_a_path_is_known() -> None:
    known = catalogue.load()
    options = {option.name: option for driver in known.drivers for option in (*driver.options, *known.common)}
    called = {name for name, option in options.items() if option.type == "text" and LIKE_A_PATH.search(name)}
    assert called - paths.PATHS - NO_PATHS == set()
    assert paths.PATHS - options.keys() == set()
