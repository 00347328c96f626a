"""The bed itself: what the tests stand on must hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster.bed import programs
from tests.cluster.bed.apiserver import ApiServer

pytestmark = pytest.mark.cluster


def test_an_api_server_starts_gives_service_account_tokens_enforces_rbac_and_leaves_no_process(tmp_path: Path) -> None:
    try:
        server = ApiServer(tmp_path / "api", durable=False)
    except programs.CannotBuild as problem:
        pytest.skip(str(problem))
    server.start()
    try:
        token = server.service_account_token("storage", "controller")
        assert server.kubectl("auth", "can-i", "list", "secrets", "-A").strip() == "yes"
        with pytest.raises(RuntimeError, match="forbidden"):
            server.kubectl("get", "secrets", "-A", token=token)
    finally:
        server.stop()
    assert server._server is None
    assert server._etcd is None
