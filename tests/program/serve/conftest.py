"""Serving processes, and calls to them over their sockets."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from csi_cinderlib.csi.v1 import csi_pb2, csi_pb2_grpc
from csi_cinderlib.demo.process import DriverProcess
from tests.support.fuse_share import Share, shared
from tests.support.node_site import Site

Start = Callable[..., DriverProcess]
RETRIED = (
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,  # by gRPC, of a call that arrives in the moment in which its server stops
)
"""Codes after which the sidecars repeat a call (external-provisioner's isFinalError)."""
BLOCK = csi_pb2.VolumeCapability(
    block=csi_pb2.VolumeCapability.BlockVolume(),
    access_mode=csi_pb2.VolumeCapability.AccessMode(mode=csi_pb2.VolumeCapability.AccessMode.SINGLE_NODE_WRITER),
)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts drivers on own state directories; ends them afterwards."""
    with ExitStack() as ending:

        def starter(
            *arguments: str, name: str = "state", config: str = "", environment: dict[str, str] | None = None
        ) -> DriverProcess:
            state_dir = tmp_path / name
            state_dir.mkdir(exist_ok=True)
            if config:
                (state_dir / "config.yaml").write_text(config)
                arguments = (*arguments, "--config", str(state_dir / "config.yaml"))
            driver = DriverProcess(state_dir, arguments, environment)
            ending.callback(driver.stop)
            return driver

        yield starter


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A node's volumes in files."""
    site = Site(tmp_path)
    yield site
    site.detach()
    site.clear()


@pytest.fixture
def share(site: Site) -> Iterator[Share]:
    """A share for some of them, which may hang in the end."""
    with shared(site.base) as share:
        yield share
        share.die()
        site.detach(besides=share.path)
        site.clear()


@dataclass
class Calls:
    """A controller's calls as the sidecars make them."""

    driver: DriverProcess
    timeout: float = 60.0

    @property
    def stub(self) -> Any:
        return csi_pb2_grpc.ControllerStub(self.driver.channel)

    def create(self, name: str, **parameters: str) -> str:
        request = csi_pb2.CreateVolumeRequest(name=name, volume_capabilities=[BLOCK], parameters=parameters)
        return str(self.stub.CreateVolume(request, timeout=self.timeout).volume.volume_id)

    def delete(self, volume_id: str) -> None:
        self.stub.DeleteVolume(csi_pb2.DeleteVolumeRequest(volume_id=volume_id), timeout=self.timeout)

    def publish(self, volume_id: str, node_id: str) -> dict[str, str]:
        request = csi_pb2.ControllerPublishVolumeRequest(volume_id=volume_id, node_id=node_id, volume_capability=BLOCK)
        return dict(self.stub.ControllerPublishVolume(request, timeout=self.timeout).publish_context)

    def unpublish(self, volume_id: str, node_id: str) -> None:
        request = csi_pb2.ControllerUnpublishVolumeRequest(volume_id=volume_id, node_id=node_id)
        self.stub.ControllerUnpublishVolume(request, timeout=self.timeout)

    def volumes(self) -> dict[str, Any]:
        """Entries of the list by volume id."""
        found = self.stub.ListVolumes(csi_pb2.ListVolumesRequest(), timeout=self.timeout).entries
        return {entry.volume.volume_id: entry for entry in found}


def whole_log(driver: DriverProcess) -> str:
    """All that it wrote. On a busy machine what is waited for may be out of the end of it before anybody has looked."""
    return (driver.state_dir / "driver.log").read_text(errors="replace")


def until(holds: Callable[[], bool], *drivers: DriverProcess, seconds: float = 60.0) -> None:
    """Wait until it holds; the drivers' logs tell why it did not."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "\n".join(driver.log() for driver in drivers)
        time.sleep(0.05)
