"""Whether files on NFS are in use: NFS 4 refuses leases on every file, so that a refusal proves nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from csi_cinderlib.cinder.runtime import load_cinder
from tests.guest.inside.shell import run

pytestmark = pytest.mark.guest("contract-files")


@pytest.mark.parametrize(("version", "source"), [("4.2", "127.0.0.1:/volumes"), ("3", "127.0.0.1:/srv/nfs/volumes")])
def test_a_file_on_nfs_is_in_use_only_while_it_is_open(
    version: str, source: str, tmp_path: Path, nfs_share: str
) -> None:
    load_cinder()
    from csi_cinderlib.drivers import usage

    run("mount", "-t", "nfs", "-o", f"vers={version}", source, tmp_path)
    file = tmp_path / f"disk{version}.img"
    file.write_bytes(b"x" * 4096)
    try:
        assert usage.look(str(file)) == usage.Usage("", is_seen=False)
        with file.open("r+b"):
            assert usage.look(str(file)).problem == "in use: open in another process on this host"
        assert usage.look(str(file)).problem == ""
    finally:
        file.unlink()
        run("umount", tmp_path)
