"""A controller without its socket, as a process that a test may kill: does what it is told, and tells what is there then.

    python -m tests.program.crash.controller_process WARM_UP_DIR

reads jobs as JSON lines from stdin: {"state_dir", "actions", "kill_at", "array"}. Each runs in a process of its own, forked when Cinder is
imported already, which takes longer than all else. ACTIONS is a list of lists: what to do, and its arguments. ARRAY names the traits
and faults of a fake array (`tests.support.fakes.group_array`) instead of the files. The answer is one
JSON line: {"status": what waitpid said, "states": what is there after each action, "error"}.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from csi_cinderlib import faultpoints
from csi_cinderlib.cinder.runtime import Runtime
from csi_cinderlib.concurrency import KeyedLocks
from csi_cinderlib.config.settings import BackendSettings
from csi_cinderlib.errors import AlreadyExists, DriverError
from csi_cinderlib.lifecycle.local import LocalBackend
from csi_cinderlib.lifecycle.registry import Backends
from csi_cinderlib.model import nodes
from csi_cinderlib.model.capability import AccessMode, Capability, Mount
from csi_cinderlib.model.connection import Connection
from csi_cinderlib.model.records import Attachment, Group, GroupSnapshot, KeyValue, Snapshot, Source, SourceKind, Volume
from csi_cinderlib.model.requests import CreateSnapshot, CreateVolume, ExpandVolume, ModifyVolume, PublishVolume
from csi_cinderlib.model.size import GiB, SizeRange, to_bytes
from csi_cinderlib.persistence.plugins import open_store
from csi_cinderlib.provisioning import installation
from csi_cinderlib.provisioning.attachments import Attachments
from csi_cinderlib.provisioning.contexts import Contexts
from csi_cinderlib.provisioning.groups import Groups
from csi_cinderlib.provisioning.orphans import Orphans
from csi_cinderlib.provisioning.snapshots import Snapshots
from csi_cinderlib.provisioning.volumes import Volumes
from csi_cinderlib.sealing import Sealer
from tests.support.fakes.array import SNAPSHOT, VOLUME, Array, Lun

DRIVER = "csi_cinderlib.drivers.loopfile.LoopFileDriver"
ARRAY_DRIVER = "tests.support.fakes.group_array.GroupArrayDriver"
NAMESPACE = "4a5b3c5e-8d0c-4b60-9f2e-0d5f8c1e7a11"
"""So that the states of two runs can be compared."""
MOUNT = Capability(Mount(), AccessMode.SINGLE_NODE_WRITER)


class Controller:
    """All of it on one back end and SQLite: loop files, or a fake array with these traits and faults."""

    def __init__(self, state_dir: Path, array: Mapping[str, list[str]] | None = None) -> None:
        self.files = state_dir / "files"
        self.files.mkdir(parents=True, exist_ok=True)
        self.array = Array(state_dir / "array.log")
        self.store = open_store("sql", {}, state_dir=state_dir)
        runtime = Runtime(state_dir, owner="me")
        settings = BackendSettings(name="files", driver=DRIVER, options={"loopfile_directories": f"pool:{self.files}"})
        self._assigns_ids = "assigned-ids" in (array or {}).get("traits", ())
        if array is not None:
            own = {f"nothing_{name}": value for name, value in array.items()}
            options = {"nothing_array_file": str(state_dir / "array.log"), **own}
            settings = BackendSettings(name="array", driver=ARRAY_DRIVER, options=options)
        backend = LocalBackend(settings, store=self.store, runtime=runtime, owner="me")
        backend.start()
        backends, locks = Backends([backend]), KeyedLocks()
        with suppress(AlreadyExists):
            self.store.add(KeyValue(id=installation.KEY, value=NAMESPACE))
        self.ids = installation.namespace(self.store)
        self.volumes = Volumes(self.store, backends, locks, ids=self.ids)
        self.snapshots = Snapshots(self.store, backends, locks, ids=self.ids)
        self.attachments = Attachments(
            self.store, backends, locks, ids=self.ids, contexts=Contexts(Sealer(), nodes=self.store)
        )
        self.groups = Groups(self.store, backends, locks, ids=self.ids)
        self.orphans = Orphans(self.store, backends, locks, grace=timedelta(0))
        self.formatting: dict[str, str] = {}

    def create(self, name: str, gib: int = 1, source: str = "", kind: str = "") -> None:
        derive = self.ids.snapshot_id if kind == SourceKind.SNAPSHOT else self.ids.volume_id
        origin = Source(SourceKind(kind), derive(source)) if source else None
        size = SizeRange(to_bytes(GiB(gib)))
        self.volumes.create(CreateVolume(name=name, size=size, capabilities=(MOUNT,), source=origin))

    def delete(self, name: str) -> None:
        self.volumes.delete(self.ids.volume_id(name))

    def expand(self, name: str, gib: int) -> None:
        self.volumes.expand(ExpandVolume(volume_id=self.ids.volume_id(name), size=SizeRange(to_bytes(GiB(gib)))))

    def modify(self, name: str, parameter: str) -> None:
        key, _, value = parameter.partition("=")
        self.volumes.modify(ModifyVolume(volume_id=self.ids.volume_id(name), mutable_parameters={key: value}))

    def snapshot(self, name: str, volume: str) -> None:
        self.snapshots.create(CreateSnapshot(name=name, volume_id=self.ids.volume_id(volume)))

    def delete_snapshot(self, name: str) -> None:
        self.snapshots.delete(self.ids.snapshot_id(name))

    def group(self, name: str, *volumes: str) -> None:
        self.groups.create(name, [self.ids.volume_id(volume) for volume in volumes], {})

    def delete_group(self, name: str) -> None:
        self.groups.delete(self.ids.group_snapshot_id(name), [])

    def publish(self, name: str, node: str) -> None:
        request = PublishVolume(volume_id=self.ids.volume_id(name), node_id=_node(node), capability=MOUNT)
        context = self.attachments.publish(request)
        connection = Connection.from_bytes(Sealer().open(context["connection"]))
        if "device_path" in connection.data:
            assert Path(str(connection.data["device_path"])).is_file()
        self.formatting[node] = str(connection.formatting)

    def unpublish(self, name: str, node: str) -> None:
        self.attachments.unpublish(self.ids.volume_id(name), _node(node) if node else "")

    def settle(self) -> None:
        for settled in self.orphans.settle():
            assert not settled.error, settled

    def attempt(self, name: str, *arguments: Any) -> None:
        """An action that may be refused."""
        with suppress(DriverError):
            getattr(self, name)(*arguments)

    def state(self) -> dict[str, Any]:
        """What is there, without what differs from run to run."""
        return {
            "volumes": [
                {
                    **_shown(one, "name", "status", "size", "blank", "owner", "message"),
                    "type": dict(one.type.extra_specs) if one.type else {},
                    "unfinished": one.modification is not None,
                }
                for one in self._all(Volume)
            ],
            "snapshots": [_shown(one, "name", "status", "size", "owner", "message") for one in self._all(Snapshot)],
            "attachments": [_shown(one, "id", "status", "blank", "owner", "message") for one in self._all(Attachment)],
            "groups": [_shown(one, "name", "status", "owner", "message") for one in self._all(GroupSnapshot)],
            "cinder groups": [_shown(one, "name", "status") for one in self._all(Group)],
            "array": {f"{lun.kind} {lun.name}": [lun.size, sorted(lun.hosts)] for lun in self._luns()},
            "invisible": self._invisible(),
            "files": {path.name: path.stat().st_size for path in self._paths()},
            "allocated": {path.name: path.stat().st_blocks * 512 for path in self._paths()},
            "formatting": dict(self.formatting),
        }

    def _luns(self) -> list[Lun]:
        return [*self.array.luns(VOLUME), *self.array.luns(SNAPSHOT)]

    def _invisible(self) -> list[str]:
        """Names of what the array has, and neither a record knows nor the list of orphans shows."""
        records = (*self._all(Volume), *self._all(Snapshot))
        if self._assigns_ids:
            known = {record.provider.location for record in records}
        else:
            known = {f"{type(record).__name__.lower()}-{record.id}" for record in records}
        listed = " ".join(f"{orphan.kind}-{orphan.id} {orphan.reason}" for orphan in self.orphans.find())
        return [lun.name for lun in self._luns() if not {lun.id, lun.name} & known and lun.name not in listed]

    def _paths(self) -> list[Path]:
        return sorted(path for path in self.files.rglob("*") if path.is_file() and path.name != ".lock")

    def _all(self, kind: Any) -> tuple[Any, ...]:
        return self.store.page(kind, where={}, limit=1000).records


def _node(name: str) -> str:
    return nodes.encode({"host": name, "initiator": f"iqn.{name}"})


def _shown(record: object, *fields: str) -> Mapping[str, object]:
    return {name: getattr(record, name) for name in fields}


def act(
    state_dir: Path, actions: list[list[Any]], array: Mapping[str, list[str]] | None = None
) -> list[dict[str, Any]]:
    controller = Controller(state_dir, array)
    states = []
    for name, *arguments in actions:
        step: Callable[..., None] = getattr(controller, name)
        step(*arguments)
        states.append(controller.state())
    controller.store.close()
    return states


def child(job: Mapping[str, Any], answers: int) -> None:
    """Never returns."""
    try:
        os.environ["CINDERLIB_FAULT_POINT"] = job["kill_at"]
        importlib.reload(faultpoints)
        answer: Mapping[str, Any] = {"states": act(Path(job["state_dir"]), job["actions"], job["array"])}
    except BaseException:
        answer = {"error": traceback.format_exc()}
    with os.fdopen(answers, "w") as pipe:
        json.dump(answer, pipe)
    os._exit(0)


def main(warm_up: str) -> None:
    act(Path(warm_up), [["create", "v"], ["delete", "v"]])
    for line in sys.stdin:
        reading, writing = os.pipe()
        pid = os.fork()
        if not pid:
            child(json.loads(line), writing)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            answer = pipe.read()
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        print(json.dumps({"status": status, "states": [], "error": "", **json.loads(answer or "{}")}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
