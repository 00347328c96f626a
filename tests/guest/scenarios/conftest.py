"""The storage of a guest: set up when a test first asks for it, taken down at the end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from csi_cinderlib.cinder.runtime import Runtime
from tests.guest.inside import ceph as ceph_cluster
from tests.guest.inside import iscsi, lio, lvm, multipath, network, nfs


@pytest.fixture(scope="session")
def group() -> Iterator[str]:
    """An LVM volume group on /dev/ubda."""
    with lvm.volume_group() as name:
        yield name


@pytest.fixture(scope="session")
def thin_group() -> Iterator[str]:
    """The same, for a driver that fills it with a thin pool."""
    with lvm.volume_group("/dev/ubda", lvm.THIN) as name:
        yield name


@pytest.fixture(scope="session")
def thick_group() -> Iterator[str]:
    with lvm.volume_group("/dev/ubda", lvm.THICK) as name:
        yield name


@pytest.fixture(scope="session")
def lio_target() -> None:
    """The kernel's target is ready for the driver's own tool."""
    lio.prepare()
    lio.quick_tool()


@pytest.fixture(scope="session")
def initiator() -> Iterator[str]:
    """iscsid runs; the initiator's name."""
    with iscsi.initiator() as name:
        yield name


@pytest.fixture(scope="session")
def addresses() -> Iterator[list[str]]:
    """Two addresses that can be cut one by one."""
    with network.networks() as found:
        yield found


@pytest.fixture
def multipathd() -> Iterator[None]:
    with multipath.daemon():
        yield


@pytest.fixture(scope="session")
def nfs_share() -> Iterator[str]:
    with nfs.server() as share:
        yield share


@pytest.fixture(scope="session")
def ceph() -> Iterator[ceph_cluster.Ceph]:
    with ceph_cluster.cluster() as found:
        yield found


@pytest.fixture(scope="session")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    """Cinder, once in a guest: importing it takes some seconds."""
    made = Runtime(tmp_path_factory.mktemp("state"))
    made.start()
    yield made
    made.close()
