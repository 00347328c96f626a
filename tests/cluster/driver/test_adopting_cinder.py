"""A volume of an OpenStack Cinder is adopted in the cluster and used by a pod, by the commands of the example."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.bed.installation import NAMESPACE, RELEASE, Installation
from tests.cluster.driver.test_examples import ADOPTED_VOLUMES, Reader, copied, steps
from tests.component.adoption.openstack.databases import change, id_of, restore

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

ID = id_of(2)
IN_CONTROLLER = ("-n", NAMESPACE, "exec", "-i", f"deployment/{RELEASE}-controller", "-c", "cinderlib", "--")
VOLUME = f"/var/lib/csi-cinderlib/volumes/volume-{ID}"
"""The adopted volume, in the directory of the chart's local back end."""


@pytest.fixture
def folder(installation: Installation, tmp_path: Path) -> Iterator[Path]:
    """The example's folder, with its variables set. The database and the data of the volume exist, and are removed afterwards."""
    database = restore(tmp_path / "cinder.db", "wallaby-sqlite")
    change(database, f"UPDATE volumes SET display_name = 'database' WHERE id = '{ID}'")
    cluster, kubectl = installation.cluster, installation.cluster.kubectl
    (tmp_path / "content").mkdir()
    (tmp_path / "content" / "hello").write_text("hello from OpenStack\n")
    folder = copied(installation, ADOPTED_VOLUMES)
    shutil.copytree(tmp_path / "content", folder / "content")
    shutil.copy(database, folder / "cinder.db")
    cluster.run("sh", "-ec", f"truncate -s 1G {VOLUME}; mkfs.ext4 -q -d {folder}/content {VOLUME}")
    cluster.run("sh", "-ec", f"kubectl {' '.join(IN_CONTROLLER)} sh -c 'cat > /tmp/cinder.db' < {folder}/cinder.db")
    values = {
        "CINDER_URL": "sqlite:////tmp/cinder.db",
        "VOLUME_ID": ID,
        "CINDER_HOST": "node1@lvm",
        "BACKEND": "local#volumes",
    }
    (folder / ".variables").write_text("".join(f"export {name}={value}\n" for name, value in values.items()))
    yield folder
    kubectl("delete", "pod,pvc,pv", "--all", "--timeout=90s")
    kubectl("-n", NAMESPACE, "delete", "volumes.cinderlib.io", ID, "--ignore-not-found", "--timeout=60s")
    cluster.run("rm", "-f", VOLUME)


def test_a_volume_of_cinder_is_used_by_a_pod_with_its_data(installation: Installation, folder: Path) -> None:
    reader = Reader(installation, folder)
    for step in steps((folder / "README.md").read_text()):
        reader.follow(step)
    failed, output = reader.enter("$adopt --rollback /tmp/adoption.plan")
    assert failed
    assert "has been used since it was adopted" in output
