"""Secrets of a back end that are in files, and options whose values are secret."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import pytest

from csi_cinderlib.backend import catalogue, secret_values
from csi_cinderlib.config import option_paths
from csi_cinderlib.config.settings import BackendSettings
from csi_cinderlib.model.verbatim import Verbatim
from csi_cinderlib.observe import redact

HUAWEI = "cinder.volume.drivers.huawei.huawei_driver.HuaweiISCSIDriver"
ETERNUS = "cinder.volume.drivers.fujitsu.eternus_dx.eternus_dx_iscsi.FJDXISCSIDriver"
RBD = "cinder.volume.drivers.rbd.RBDDriver"
CANARY = "canary-5e55"
XML = f"<config><Storage><UserName>admin</UserName><UserPassword>{CANARY}</UserPassword></Storage></config>"
ENCODED = XML.replace(CANARY, "!$$$" + base64.b64encode(CANARY.encode()).decode())
SECRET_HELP = re.compile(r"\b(password|passphrase|secret|token|credentials?)\b", re.IGNORECASE)
NOT_SECRET_BY_HELP = {
    "datacore_iscsi_chap_storage",  # a path, as are those that `option_paths` knows
    "extra_capabilities",
}


@pytest.mark.parametrize(
    ("driver", "option", "content"),
    [
        (HUAWEI, "cinder_huawei_conf_file", XML),
        (HUAWEI, "cinder-huawei-conf-file", f'<?xml version="1.0" encoding="UTF-8"?>{ENCODED}'),
        (HUAWEI, "cinder_huawei_conf_file", f"\ufeff{XML}"),
        (ETERNUS, "cinder_eternus_config_file", f"<FUJITSU><EternusPassword>{CANARY}</EternusPassword></FUJITSU>"),
        (RBD, "rbd_keyring_conf", f"[client.cinder]\n  key = {CANARY}\n"),
    ],
)
def test_a_password_in_a_file_of_the_driver_is_known(tmp_path: Path, driver: str, option: str, content: str) -> None:
    (tmp_path / "file").write_text(content)
    for value in (str(tmp_path / "file"), Verbatim(f"{tmp_path}/file"), "file"):
        settings = BackendSettings(name="a", driver=driver, options={option: value}, directory=str(tmp_path))
        assert CANARY in set(secret_values.of(settings))
        with redact.hiding(secret_values.of(settings)):
            assert redact.text(f"login admin/{CANARY}") == "login admin/***"


@pytest.mark.parametrize("content", [b"", b"<a", b"\xff\xfe\x00", b"plain text", b"<a>" * 2000])
def test_a_file_that_is_no_xml_has_no_secrets(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    settings = BackendSettings(name="a", driver=HUAWEI, options={"cinder_huawei_conf_file": f"{tmp_path}/file"})
    assert list(secret_values.of(settings)) == []


@pytest.mark.parametrize("path", ["/none/file", "relative", "/etc", "a\0b"])
def test_a_file_that_cannot_be_read_has_no_secrets(path: str) -> None:
    settings = BackendSettings(name="a", driver=HUAWEI, options={"cinder_huawei_conf_file": path})
    assert list(secret_values.of(settings)) == []


def test_every_secret_option_of_the_catalogue_is_known_by_its_name() -> None:
    known = catalogue.load()
    options = {option.name: option for driver in known.drivers for option in (*driver.options, *known.common)}
    text = {name: option for name, option in options.items() if option.type == "text"}
    secret = {name for name, option in text.items() if option.secret or SECRET_HELP.search(option.help)}
    secret -= (
        option_paths.PATHS | NOT_SECRET_BY_HELP | {"replication_device"}
    )  # whose own keys say which of its values are
    assert {name for name in secret if not redact.is_secret_key(name)} == set()
    assert {"lightos_jwt", "san_password", "pure_api_token", "zadara_access_key"} <= secret


def test_the_path_of_a_key_is_no_secret_but_a_key_is() -> None:
    key = "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA\n-----END RSA PRIVATE KEY-----"
    assert list(redact.secrets_in({"san_private_key": "/run/secrets/key", "fujitsu_passwordless": "True"})) == []
    assert list(redact.secrets_in({"chap_password_len": "12345"})) == []
    assert key in list(redact.secrets_in({"san_private_key": key}))
    assert "/pass/word" in list(redact.secrets_in({"san_password": "/pass/word"}))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (CANARY, f"Valid values are [fast, slow], but found '{CANARY}'"),
        (f"backend_id:array2,san_login:{CANARY}", f"login of {CANARY} refused"),
        (f"192.0.2.1, {CANARY}", f"no route to {CANARY}"),
        (f"https://admin:{CANARY}@array:8443", f"refused for {CANARY}"),
    ],
    ids=["text", "mapping", "list", "address"],
)
def test_what_comes_from_a_secret_is_hidden_whatever_the_name_of_the_option(value: str, message: str) -> None:
    settings = BackendSettings(name="a", driver=RBD, options={"mode": value}, origins={"mode": "secret s, key mode"})
    assert CANARY not in redact.without(message, secret_values.of(settings))
    assert CANARY not in redact.of_backend(ValueError(message), secret_values.of_options(settings))
    assert CANARY in redact.without(
        message, secret_values.of(BackendSettings(name="a", driver=RBD, options={"x": "y"}))
    )
