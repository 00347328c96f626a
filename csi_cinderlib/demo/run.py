"""Runs the demo."""

from __future__ import annotations

import signal
import sys
from types import FrameType

import grpc

from csi_cinderlib.csi.v1 import csi_pb2, csi_pb2_grpc
from csi_cinderlib.demo.life import Life
from csi_cinderlib.demo.report import Report, view, words
from csi_cinderlib.demo.sandbox import Sandbox, sandbox
from csi_cinderlib.errors import DriverError, PreconditionFailed
from csi_cinderlib.observe import standard_output

LIVES = (("ext4", False), ("xfs", True), ("block", True))
"""Kinds of volumes, and whether they grow in use: growing ext4 in use needs a capability that many containers lack."""


def run(*, as_json: bool = False) -> int:
    """Returns the exit code: 0 for success, 1 for a failure, 130 if it was interrupted."""
    signal.signal(signal.SIGTERM, _stopped)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for background processes
    report = Report(view(as_json=as_json))
    try:
        with sandbox() as box:
            _perform(box, report)
    except (KeyboardInterrupt, SystemExit):
        report.end("interrupted; everything was removed")
        return 130
    except (DriverError, grpc.RpcError, OSError) as error:
        if isinstance(error, OSError) and standard_output.is_cause(error):
            raise
        print(f"csi-cinderlib demo: {words(error)}", file=sys.stderr)
        report.end("failed; everything was removed")
        return 1
    report.end("all checksums are correct, everything was removed")
    return 0


def _perform(box: Sandbox, report: Report) -> None:
    report.section("The driver")
    with report.step("start it") as step:
        answered, ready = box.driver.wait_until_ready()
        step.note = f"answers after {answered:.2f} s, ready after {ready:.2f} s"
    with report.step("query its name and version") as step:
        info = csi_pb2_grpc.IdentityStub(box.driver.channel).GetPluginInfo(csi_pb2.GetPluginInfoRequest())
        step.note = f"{info.name} {info.vendor_version}"
    for kind, grows_in_use in LIVES:
        report.section("A raw block volume" if kind == "block" else f"A volume with {kind}")
        Life(box.driver.channel, box.root / kind, report, kind=kind, grows_in_use=grows_in_use).live()
    report.section("The end")
    _look_for_leftovers(box, report)
    with report.step("stop the driver (SIGTERM)") as step:
        code = box.driver.stop()
        step.note = f"exit code {code}"
        if code != 0 or box.driver.socket.exists():
            raise PreconditionFailed(
                f"the driver ended with {code}; its socket {'still exists' if box.driver.socket.exists() else 'was removed'}"
            )


def _look_for_leftovers(box: Sandbox, report: Report) -> None:
    controller = csi_pb2_grpc.ControllerStub(box.driver.channel)
    with report.step("check for leftovers") as step:
        left = box.leftovers()
        left += [
            f"volume {entry.volume.volume_id}" for entry in controller.ListVolumes(csi_pb2.ListVolumesRequest()).entries
        ]
        left += [
            f"snapshot {entry.snapshot.snapshot_id}"
            for entry in controller.ListSnapshots(csi_pb2.ListSnapshotsRequest()).entries
        ]
        left += [f"file {path}" for path in (box.root / "volumes").rglob("*") if path.is_file() and path.name[0] != "."]
        if left:
            raise PreconditionFailed(f"left behind: {', '.join(left)}")
        step.note = "no volumes, snapshots, mounts, loop devices or data"


def _stopped(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(143)
