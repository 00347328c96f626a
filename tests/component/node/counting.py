"""A volume's life on a node in a process of its own, which notes what each call asks of the kernel and prints it as JSON.

In its own process, because a hook for audit events is never removed.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from csi_cinderlib.model.capability import Capability
from csi_cinderlib.model.connection import Formatting
from csi_cinderlib.model.requests import NodePublishVolume, StageVolume
from tests.component.node.bed import BLOCK, Node, Volume, mount_capability


class Listener:
    """Hears which files are opened, which programs are started, and what is synced."""

    def __init__(self) -> None:
        self._opened: list[str] | None = None
        self._started: list[str] = []
        self._synced: list[str] = []
        self._fsync: Callable[[int], None] = os.fsync
        sys.addaudithook(self._hear)
        os.fsync = self._note_fsync  # type: ignore[assignment] # only descriptors are synced here

    def listen(self, call: Callable[[], object]) -> dict[str, list[str]]:
        """`opened`: paths of files and directories. `started`: names of programs. `synced`: names, with a slash after those of directories."""
        opened: list[str] = []
        self._opened, self._started, self._synced = opened, [], []
        try:
            call()
        finally:
            self._opened = None
        return {"opened": opened, "started": self._started, "synced": self._synced}

    def _hear(self, event: str, arguments: tuple[object, ...]) -> None:
        if self._opened is None:
            return
        if event in ("open", "os.listdir"):
            self._opened.append(str(arguments[0]))
        elif event == "subprocess.Popen":
            self._started.append(Path(str(arguments[0])).name)

    def _note_fsync(self, fd: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{fd}"))  # noqa: PTH115 - not to be counted as an open
        self._synced.append(path.name + "/" * path.is_dir())
        self._fsync(fd)


def live(node: Node, volume: Volume, capability: Capability, listener: Listener) -> dict[str, object]:
    """Each call of a life, without what the bed itself asks of the mount table."""
    staging_path, target = node.staging_path(volume), node.target()
    context = {"connection": node.sealer.seal(volume.connection.to_bytes())}
    stage = StageVolume(volume_id=volume.id, staging_path=staging_path, capability=capability, publish_context=context)
    publish = NodePublishVolume(
        volume_id=volume.id, staging_path=staging_path, target_path=target, capability=capability
    )
    heard: dict[str, object] = {"stage": listener.listen(lambda: node.staging.stage(stage))}
    record = node.records.find(volume.id)
    assert record
    assert record.device
    return {
        **heard,
        "device": record.device.path,
        "publish": listener.listen(lambda: node.publishing.publish(publish)),
        "stats": listener.listen(lambda: node.statistics.stats(volume.id, target, staging_path)),
        "unpublish": listener.listen(lambda: node.publishing.unpublish(volume.id, target)),
        "unstage": listener.listen(lambda: node.staging.unstage(volume.id, staging_path)),
    }


def main(base: str, kind: str) -> None:
    node, listener = Node(Path(base)), Listener()
    capability = BLOCK if kind == "block" else mount_capability(kind)
    rule = Formatting.FORBIDDEN if capability.is_block else Formatting.NEVER_FORMATTED  # as the controller has it
    live(node, node.volume("warm", formatting=rule), capability, listener)  # what is imported and looked up once
    print(json.dumps([live(node, node.volume(formatting=rule), capability, listener) for _ in range(2)]))


if __name__ == "__main__":
    main(*sys.argv[1:])
