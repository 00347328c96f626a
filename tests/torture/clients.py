"""Clients that call as the sidecars and the kubelet do: in their order, and again until a call succeeds."""

from __future__ import annotations

import random

from csi_cinderlib.csi.v1 import csi_pb2
from tests.torture import data
from tests.torture.bed import Bed
from tests.torture.calls import Caller, Unfinished, Unhealthy, capability, create_request
from tests.torture.plan import Action
from tests.torture.truth import ABSENT, ATTACHED, CREATED, GIB, PUBLISHED, STAGED, Finding, Snapshot, Volume

GIVES_UP = 0.3
"""How often an unanswered step up is followed by the step down, and not by the same call."""
VOLUMES = 4
"""Of each client at one time."""
OUTLIVED = 0.5
"""How often a volume is deleted before its snapshots, where they outlive it."""
SNAPSHOTS = 2
"""Of each volume at one time."""


def _written(source: Snapshot | Volume | None) -> int:
    return source.volume.written if isinstance(source, Snapshot) else source.written if source else 0


class Client(Caller):
    """The sidecars and the kubelet, for some volumes. Everything that it does for one volume is in its order."""

    def __init__(self, bed: Bed, name: str, chance: random.Random) -> None:
        super().__init__(bed, chance)
        self.name = name
        self.volumes: list[Volume] = []
        self.grows_ext4 = False
        self._names = 0
        self.node_id = ""

    def act(self, action: Action) -> None:
        """Do it, as far as it can be done now."""
        try:
            if action.name == "create":
                self._begin(action.kind, None, {})
                return
            if not self.volumes:
                return
            volume = self.volumes[int(action.pick * len(self.volumes))]
            with volume.guard:
                self._act_on(volume, action)
        except Unfinished as error:
            self.bed.truth.tell(f"{self.name} turns to something else: {error}")

    def settle(self) -> None:
        """Finish whatever is under way. Raises Finding."""
        for volume in list(self.volumes):
            with volume.guard:
                self._finish(volume)

    def verify(self, volume: Volume) -> None:
        """Bring it up, if need be, and compare its data; leave it as it was."""
        with volume.guard:
            level = volume.level
            self.bring(volume, PUBLISHED)
            self._compare(volume)
            self.bring(volume, level)

    def verify_snapshot(self, snapshot: Snapshot) -> None:
        """Restore it, compare, and delete what was restored."""
        volume = self._begin(snapshot.volume.kind, snapshot, snapshot.contents)
        self.verify(volume)
        self.delete(volume)

    def verify_all(self) -> None:
        """Compare the data of all volumes and snapshots. Raises Finding."""
        for volume in list(self.volumes):
            if not volume.is_gone:
                self.verify(volume)
        for snapshot in [snapshot for volume in list(self.volumes) for snapshot in volume.snapshots]:
            self.verify_snapshot(snapshot)

    def clear(self) -> None:
        """Delete everything."""
        for volume in list(self.volumes):
            self.delete(volume)

    # --- one volume

    def _act_on(self, volume: Volume, action: Action) -> None:
        self._finish(volume)
        self._finish_copies(volume)
        if volume not in self.volumes:
            return
        if volume.is_gone and action.name not in ("restore", "delete", "delete snapshot"):
            return
        if action.name in ("up", "down"):
            wanted = max(volume.level, action.level) if action.name == "up" else min(volume.level, action.level)
            self.bring(volume, max(CREATED, wanted))
        elif action.name == "write" and volume.level == PUBLISHED:
            data.write(volume, self.bed.target(volume.name), self.chance)
        elif action.name == "verify" and volume.level == PUBLISHED:
            self._compare(volume)
        elif action.name == "snapshot" and volume.can_be_copied and len(volume.snapshots) < SNAPSHOTS:
            self._snapshot(volume)
        elif action.name == "restore" and volume.snapshots:
            snapshot = volume.snapshots[-1]
            self._begin(volume.kind, snapshot, snapshot.contents, size=snapshot.size)
        elif action.name == "clone" and volume.can_be_copied:
            self._begin(volume.kind, volume, volume.contents, size=volume.size)
        elif action.name == "grow" and volume.size < 3 and self._can_grow(volume):
            volume.wanted = volume.size + 1
            self._grow(volume)
        elif action.name == "modify" and self.bed.modifies:
            volume.wants_thick = bool(action.level % 2)
            self._modify(volume)
        elif action.name == "delete":
            self.delete(volume)
        elif action.name == "delete snapshot" and volume.snapshots:
            self._delete_snapshot(volume.snapshots[-1])

    def _finish(self, volume: Volume) -> None:
        if volume.reached == ABSENT and not volume.is_gone:
            self._finish_delete(volume)
            return
        if volume.is_gone:
            for snapshot in [snapshot for snapshot in volume.snapshots if snapshot.deleting]:
                self._delete_snapshot(snapshot)
            return
        gives_up = self.hurry and volume.reached > max(volume.level, CREATED) and self.chance.random() < GIVES_UP
        if volume.undoing or gives_up:
            self._step_down(volume)
        self.bring(volume, volume.reached)
        for snapshot in list(volume.snapshots):
            if snapshot.deleting:
                self._delete_snapshot(snapshot)
            elif not snapshot.exists:
                self._finish_snapshot(snapshot)
        self._grow(volume)
        self._modify(volume)

    def _begin(self, kind: str, source: Snapshot | Volume | None, contents: dict[str, str], size: int = 1) -> Volume:
        if len(self.volumes) >= VOLUMES and self.hurry:
            raise Unfinished("it has enough volumes")
        self._names += 1
        size = max(size, source.size) if source else size
        volume = Volume(f"{self.name}-{self._names}", kind, size=size, source=source, contents=dict(contents))
        volume.written = _written(source)
        self.volumes.append(volume)
        self.bed.truth.add(volume)
        with volume.guard:
            self.bring(volume, CREATED)
        return volume

    def _finish_copies(self, source: Snapshot | Volume) -> None:
        """A copy that was not made yet needs its source as it was when the copy was asked for."""
        for volume in [volume for volume in self.volumes if volume.source is source]:
            self.bring(volume, CREATED)

    def bring(self, volume: Volume, level: int) -> None:
        """To that level, step by step."""
        if volume.undoing:
            self._step_down(volume)
        while volume.reached > max(level, CREATED):
            self._step_down(volume)
        while volume.level < level:
            try:
                self._step_up(volume)
            except Unhealthy as error:
                self._unstage_unhealthy(volume, error)

    def _compare(self, volume: Volume) -> None:
        """The data of a published volume. Raises Finding."""
        target = self.bed.target(volume.name)
        try:
            data.verify(volume, target)
        except data.Stopped as error:
            self._unstage_unhealthy(volume, error)
            self.bring(volume, PUBLISHED)
            try:
                data.verify(volume, target)
            except data.Stopped:
                if not self.hurry:
                    raise Finding(f"{volume.name}: its file system does not work after it was staged anew") from None

    def _unstage_unhealthy(self, volume: Volume, error: Exception) -> None:
        """As after a write that found no room in a full pool."""
        self.bed.truth.tell(f"{volume.name} is staged anew: {error}", "volumes staged anew")
        while volume.reached > ATTACHED:
            self._step_down(volume)

    def _step_up(self, volume: Volume) -> None:
        step = volume.level + 1
        volume.reached = max(volume.reached, step)
        (self._create, self._published, self._stage, self._publish)[step - 1](volume)
        volume.level = step

    def _step_down(self, volume: Volume) -> None:
        step = volume.reached
        volume.undoing = True
        volume.level = min(volume.level, step - 1)
        (self._detach, self._unstage, self._unpublish)[step - 2](volume)
        volume.reached = step - 1
        volume.undoing = False

    def _create(self, volume: Volume) -> None:
        answer = self.call("CreateVolume", create_request(volume)).volume
        if answer.capacity_bytes != volume.size * GIB:
            self.bed.truth.find(f"{volume.name}: created with {answer.capacity_bytes} bytes, not {volume.size} GiB")
        volume.id = answer.volume_id
        volume.source = None

    def _published(self, volume: Volume) -> dict[str, str]:
        """The attacher's call, whose answer the orchestrator remembers; asked again, it is the same."""
        volume.was_attached = True
        self.node_id = self.node_id or self.call("NodeGetInfo", csi_pb2.NodeGetInfoRequest()).node_id
        request = csi_pb2.ControllerPublishVolumeRequest(
            volume_id=volume.id, node_id=self.node_id, volume_capability=capability(volume.kind)
        )
        return dict(self.call("ControllerPublishVolume", request).publish_context)

    def _stage(self, volume: Volume) -> None:
        staging = self.bed.staging(volume.name)
        staging.mkdir(exist_ok=True)
        request = csi_pb2.NodeStageVolumeRequest(
            volume_id=volume.id,
            publish_context=self._published(volume),
            staging_target_path=str(staging),
            volume_capability=capability(volume.kind),
        )
        self.call("NodeStageVolume", request)
        volume.has_format = True

    def _publish(self, volume: Volume) -> None:
        target = self.bed.target(volume.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        request = csi_pb2.NodePublishVolumeRequest(
            volume_id=volume.id,
            publish_context=self._published(volume),
            staging_target_path=str(self.bed.staging(volume.name)),
            target_path=str(target),
            volume_capability=capability(volume.kind),
        )
        self.call("NodePublishVolume", request)

    def _unpublish(self, volume: Volume) -> None:
        request = csi_pb2.NodeUnpublishVolumeRequest(volume_id=volume.id, target_path=str(self.bed.target(volume.name)))
        self.call("NodeUnpublishVolume", request)

    def _unstage(self, volume: Volume) -> None:
        staging = self.bed.staging(volume.name)
        request = csi_pb2.NodeUnstageVolumeRequest(volume_id=volume.id, staging_target_path=str(staging))
        self.call("NodeUnstageVolume", request)
        try:
            staging.rmdir()
        except OSError as error:
            raise Finding(f"{volume.name}: unstaged, and its staging path is not free: {error.strerror}") from None

    def _detach(self, volume: Volume) -> None:
        request = csi_pb2.ControllerUnpublishVolumeRequest(volume_id=volume.id, node_id=self.node_id)
        self.call("ControllerUnpublishVolume", request)

    # --- growth

    def _can_grow(self, volume: Volume) -> bool:
        """Ext4 in use grows only with a capability that many containers lack."""
        return volume.kind != "ext4" or (self.grows_ext4 and volume.level < STAGED)

    def _grow(self, volume: Volume) -> None:
        if volume.wanted != volume.size:
            request = csi_pb2.ControllerExpandVolumeRequest(
                volume_id=volume.id,
                capacity_range=csi_pb2.CapacityRange(required_bytes=volume.wanted * GIB),
                volume_capability=capability(volume.kind),
            )
            answered = self.call("ControllerExpandVolume", request).capacity_bytes
            if answered != volume.wanted * GIB:
                self.bed.truth.find(f"{volume.name}: expanded to {answered} bytes, not {volume.wanted} GiB")
            volume.size = volume.wanted
            volume.unstaged_growth = volume.level >= STAGED
        if volume.unstaged_growth and volume.level >= STAGED:
            try:
                self._grow_on_node(volume)
            except Unhealthy as error:  # it grows when it is staged again
                self._unstage_unhealthy(volume, error)
        volume.unstaged_growth = False

    def _grow_on_node(self, volume: Volume) -> None:
        path = self.bed.target(volume.name) if volume.level == PUBLISHED else self.bed.staging(volume.name)
        request = csi_pb2.NodeExpandVolumeRequest(
            volume_id=volume.id,
            volume_path=str(path),
            staging_target_path=str(self.bed.staging(volume.name)),
            volume_capability=capability(volume.kind),
        )
        self.call("NodeExpandVolume", request)

    def _modify(self, volume: Volume) -> None:
        if volume.wants_thick == volume.thick:
            return
        kind = "thick" if volume.wants_thick else "thin"
        request = csi_pb2.ControllerModifyVolumeRequest(
            volume_id=volume.id, mutable_parameters={"extraSpecs/provisioning:type": kind}
        )
        volume.thick = None
        self.call("ControllerModifyVolume", request)
        volume.thick = volume.wants_thick
        self.bed.truth.tell(f"{volume.name} is {kind}", f"volumes made {kind}")

    # --- deletion and snapshots

    def delete(self, volume: Volume) -> None:
        """From now on its data is not promised any more; that of its snapshots is where they outlive it."""
        with volume.guard:
            self._finish(volume)
            self._finish_copies(volume)
            if volume not in self.volumes:
                return
            if volume.is_gone or not (self.bed.snapshots_outlive and self.hurry and self.chance.random() < OUTLIVED):
                for snapshot in list(volume.snapshots):
                    self._delete_snapshot(snapshot)
            if volume.is_gone:
                return
            self.bring(volume, CREATED)
            volume.undoing, volume.level, volume.reached = True, ABSENT, ABSENT
            self._finish_delete(volume)

    def _finish_delete(self, volume: Volume) -> None:
        self.call("DeleteVolume", csi_pb2.DeleteVolumeRequest(volume_id=volume.id))
        volume.is_gone, volume.undoing = True, False
        if volume.snapshots:
            self.bed.truth.tell(f"{volume.name} is outlived by its snapshots", "volumes outlived by snapshots")
        self._forget_if_over(volume)

    def _forget_if_over(self, volume: Volume) -> None:
        if volume.is_gone and not volume.snapshots:
            self.volumes.remove(volume)
            self.bed.truth.forget(volume)

    def _snapshot(self, volume: Volume) -> None:
        self._names += 1
        snapshot = Snapshot(
            f"{self.name}-s{self._names}", volume, dict(volume.contents), volume.size, volume.has_format
        )
        volume.snapshots.append(snapshot)
        self._finish_snapshot(snapshot)

    def _finish_snapshot(self, snapshot: Snapshot) -> None:
        """Data that was written since the first attempt may be in it, or not: what it holds for certain is of before."""
        request = csi_pb2.CreateSnapshotRequest(name=snapshot.name, source_volume_id=snapshot.volume.id)
        answer = self.call("CreateSnapshot", request).snapshot
        snapshot.id, snapshot.exists = answer.snapshot_id, True
        if not answer.ready_to_use:
            self.bed.truth.find(f"snapshot {snapshot.name} is not ready to use")

    def _delete_snapshot(self, snapshot: Snapshot) -> None:
        self._finish_copies(snapshot)
        if not snapshot.exists:
            self._finish_snapshot(snapshot)
        snapshot.deleting = True
        self.call("DeleteSnapshot", csi_pb2.DeleteSnapshotRequest(snapshot_id=snapshot.id))
        snapshot.volume.snapshots.remove(snapshot)
        self._forget_if_over(snapshot.volume)
