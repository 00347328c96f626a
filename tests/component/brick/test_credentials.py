"""Which connectors of os-brick read credentials, and which of them do so after the volume is attached."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

from csi_cinderlib.brick import credentials, loading
from csi_cinderlib.observe import redact

READ = {
    "iscsi": {"auth_password", "discovery_auth_password"},
    "rbd": {"keyring"},
    "scaleio": {"serverPassword", "serverToken"},
    "vmware": {"vmware_host_password"},
}
"""By module of os-brick's connectors: what they read of secret names. A new one has to be put into the right class of `credentials`."""


def secret_names(module: str, tmp_path: Path) -> set[str]:
    loading.connector_class("iscsi", lock_dir=tmp_path)
    file = importlib.util.find_spec(f"os_brick.initiator.connectors.{module}")
    assert file
    assert file.origin
    names = set()
    for item in ast.walk(ast.parse(Path(file.origin).read_text())):
        if isinstance(item, ast.Subscript) and isinstance(item.slice, ast.Constant):
            names.add(str(item.slice.value))
        if isinstance(item, ast.Call) and isinstance(item.func, ast.Attribute) and item.func.attr in ("get", "pop"):
            names |= {str(value.value) for value in item.args[:1] if isinstance(value, ast.Constant)}
    return {name for name in names if redact.is_secret_key(name)}


@pytest.mark.parametrize("module", sorted({path.partition(".")[0] for path in loading.CONNECTORS.values()}))
def test_every_credential_that_a_connector_reads_is_known(module: str, tmp_path: Path) -> None:
    expected = READ.get(module, set()) | (
        {"SP_AUTH_TOKEN"} if module == "storpool" else set()
    )  # of the host's own file
    assert secret_names(module, tmp_path) == expected


def test_only_connectors_that_call_their_storage_to_detach_ask_again() -> None:
    assert {protocol for protocol in loading.CONNECTORS if credentials.are_asked_again(protocol)} == {"scaleio", "vmdk"}
    assert credentials.are_asked_again("unheard-of")
