"""The demo from start to end."""

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
"""How the volumes are used, and whether they grow in use: ext4 in use needs a capability that many containers lack."""


def run(*, as_json: bool = False) -> int:
    """Returns the exit code: 0 all went well, 1 something did not, 130 it was stopped."""
    signal.signal(signal.SIGTERM, _stopped)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that starts it in the background has it ignored
    report = Report(view(as_json=as_json))
    try:
        with sandbox() as box:
            _perform(box, report)
    except (KeyboardInterrupt, SystemExit):
        report.end("stopped; nothing is left behind")
        return 130
    except (DriverError, grpc.RpcError, OSError) as error:
        if isinstance(error, OSError) and standard_output.is_cause(error):
            raise
        print(f"csi-cinderlib demo: {words(error)}", file=sys.stderr)
        report.end("failed; nothing is left behind")
        return 1
    report.end("every checksum agrees, nothing is left behind")
    return 0


def _perform(box: Sandbox, report: Report) -> None:
    report.section("The driver")
    with report.step("start it") as step:
        answered, ready = box.driver.wait_until_ready()
        step.note = f"answers after {answered:.2f} s, ready after {ready:.2f} s"
    with report.step("ask who it is") as step:
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
                f"it ended with {code}, its socket {'still there' if box.driver.socket.exists() else 'gone'}"
            )


def _look_for_leftovers(box: Sandbox, report: Report) -> None:
    controller = csi_pb2_grpc.ControllerStub(box.driver.channel)
    with report.step("look for leftovers") as step:
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
        step.note = "no volume, snapshot, mount, loop device or data"


def _stopped(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(143)
