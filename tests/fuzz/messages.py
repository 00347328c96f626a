"""Requests from their descriptors: each field holds what is right, is left out, or holds something odd."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from tests.fuzz import contexts
from tests.fuzz.world import GIB, NAMES, SLOTS, Slot, World

TEXTS: Sequence[str] = (
    "", " ", "x", "/", "..", "../..", "\0", "a\0b", "\n", "\x7f", "\x9b", "é" * 64, "é" * 65, "\U0001f4be" * 32, "\u202e", "\ufeff",
    "x" * 128, "x" * 129, "x" * 255, "x" * 256, "x" * 5000, "-rf", "--help", "%s%n", "{0}", "$(id)", "sha256-x", "x.new", "x.json",
    ".", "cl1.", "cl1.x", "cl1.eJyrViouSVWyUlCqBQAU3wPz", "00000000-0000-0000-0000-000000000000", "a:b", "a/b",
)  # fmt: skip
NUMBERS: Sequence[int] = (
    0,
    1,
    -1,
    2,
    511,
    512,
    4096,
    2**31 - 1,
    -(2**31),
    GIB - 1,
    GIB,
    GIB + 1,
    2**40,
    2**62,
    2**63 - 1,
    -(2**63),
)
KEYS: Sequence[str] = (
    "", "x", "fsType", "csi.storage.k8s.io/fstype", "csi.storage.k8s.io/pvc/name", "backend", "pool", "type", "mkfsOptions",
    "qos/", "qos/maxIOPS", "extraSpecs/", "extraSpecs/multiattach", "connection", "é" * 100, "\0", "x" * 4096,
)  # fmt: skip
VALUES: Sequence[str] = (
    *TEXTS, "ext4", "xfs", "btrfs", "zfs", "local", "-i 65536", "-F", "'", "-O ^has_journal", "<is> True", "true", "y" * 3000,
)  # fmt: skip
FLAGS: Sequence[str] = (
    "noatime",
    "ro",
    "rw",
    "ro,rw",
    "bind",
    "",
    "-o",
    "x=y",
    "\0",
    "norecovery",
    "discard",
    "data=journal",
    "z" * 4096,
)
SPEC = "extraSpecs/provisioning:type"
Maker = Callable[["Requests", random.Random, Slot], Any]


class Requests:
    """Makes requests about the objects of a world."""

    def __init__(self, world: World, foreign_paths: Sequence[str]) -> None:
        self.world = world
        self._foreign_paths = foreign_paths

    def make(self, rng: random.Random, method: MethodDescriptor, oddness: float) -> Message:
        """A request of that method.

        Args:
            oddness: how probably a field is not what it should be.
        """
        return self._message(rng, method.input_type, self.world.slots[rng.randrange(SLOTS)], oddness)

    def _message(self, rng: random.Random, kind: Descriptor, slot: Slot, oddness: float) -> Message:
        message: Message = GetMessageClass(kind)()
        for field in kind.fields:
            if rng.random() < oddness:
                self._put_odd(rng, message, field, slot)
            else:
                self._put_right(rng, message, field, slot, oddness)
        return message

    def _put_right(
        self, rng: random.Random, message: Message, field: FieldDescriptor, slot: Slot, oddness: float
    ) -> None:
        name = field.name
        if maker := _RIGHT.get(f"{message.DESCRIPTOR.name}.{name}") or _RIGHT.get(name):
            _put(message, field, maker(self, rng, slot))
        elif (
            name in _ABSENT
            or field.message_type is None
            or _is_map(field)
            or (field.containing_oneof is not None and name != ("mount" if slot.fs_type else "block"))
        ):
            return
        elif field.is_repeated:
            getattr(message, name).append(self._message(rng, field.message_type, slot, oddness))
        else:
            getattr(message, name).CopyFrom(self._message(rng, field.message_type, slot, oddness))

    def _put_odd(self, rng: random.Random, message: Message, field: FieldDescriptor, slot: Slot) -> None:
        if rng.random() < 0.2:
            return  # left out
        name = field.name
        if name == "publish_context":
            getattr(message, name)["connection"] = self._context(rng, slot)
        elif _is_map(field):
            for _ in range(rng.choice((1, 1, 2, 8))):
                getattr(message, name)[rng.choice(KEYS)] = rng.choice(VALUES)
        elif field.message_type is not None:
            parts = [
                self._message(rng, field.message_type, slot, rng.choice((0.3, 1.0)))
                for _ in range(rng.choice((1, 1, 2, 40)) if field.is_repeated else 1)
            ]
            _put(message, field, parts)
        elif field.is_repeated:
            _put(message, field, [self._scalar(rng, field, slot) for _ in range(rng.choice((1, 2, 30)))])
        else:
            _put(message, field, self._scalar(rng, field, slot))

    def _scalar(self, rng: random.Random, field: FieldDescriptor, slot: Slot) -> Any:
        match field.cpp_type:
            case FieldDescriptor.CPPTYPE_STRING:
                return self._text(rng, field.name, slot)
            case FieldDescriptor.CPPTYPE_INT64:
                return rng.choice(NUMBERS)
            case FieldDescriptor.CPPTYPE_INT32:
                return rng.choice([number for number in NUMBERS if -(2**31) <= number < 2**31])
            case FieldDescriptor.CPPTYPE_ENUM:
                return rng.choice((*range(12), -1, 99, 2**31 - 1))
            case FieldDescriptor.CPPTYPE_BOOL:
                return rng.random() < 0.5
            case _:
                raise NotImplementedError(f"{field.full_name}: extend the fuzzer by this type")

    def _text(self, rng: random.Random, name: str, slot: Slot) -> str:
        if name.endswith("path"):
            return self._path(rng, slot)
        if name == "mount_flags":
            return rng.choice(FLAGS)
        if rng.random() < 0.5:
            return rng.choice(TEXTS)
        other = self.world.slots[rng.randrange(SLOTS)]
        kind = rng.choice(("volume", "snapshot", "group"))
        return rng.choice((self.world.id(kind, other.name), self.world.node_id, other.name, other.fs_type))

    def _path(self, rng: random.Random, slot: Slot) -> str:
        kubelet, other = self.world.kubelet, self.world.slots[rng.randrange(SLOTS)]
        paths = (
            *TEXTS, *self._foreign_paths, slot.staging, slot.target, other.staging, other.target, f"{slot.target}/", f"/{slot.target}",
            f"{slot.target}//below", f"{slot.target}/../mount", f"{slot.staging}/./x", str(kubelet), f"{kubelet}/", f"{kubelet}x",
            f"{kubelet}/{'x' * 255}", f"{kubelet}/{'x' * 256}", f"{kubelet}/{'é' * 128}/x", f"{kubelet}/{'x/' * 2100}", "/" * 4095,
            f"{kubelet}/\ufdd0", f"{kubelet}/a b", f"{kubelet}/{'y' * 200}/{'z' * 200}", f"{kubelet}/\t", f"{kubelet}/back\\slash",
            "/proc/self/mem", "/dev/null", "/sys", "relative/path", f"{kubelet}/pods", f"{kubelet}/canary/below", f"{kubelet}/canary",
        )  # fmt: skip
        return rng.choice(paths)

    def _context(self, rng: random.Random, slot: Slot) -> str:
        other = self.world.slots[rng.randrange(SLOTS)]
        return contexts.distort(rng, self.context(slot), self.context(other))

    def context(self, slot: Slot) -> str:
        return self.world.context(self.volume_id(slot))

    def volume_id(self, slot: Slot) -> str:
        return self.world.id("volume", slot.name)


def _snapshot_name(rng: random.Random) -> str:
    return f"snapshot-{rng.randrange(NAMES)}"


_RIGHT: Mapping[str, Maker] = {
    "CreateVolumeRequest.name": lambda _, _rng, slot: slot.name,
    "CreateSnapshotRequest.name": lambda _, rng, _slot: _snapshot_name(rng),
    "CreateVolumeGroupSnapshotRequest.name": lambda _, rng, _slot: f"group-{rng.randrange(NAMES)}",
    "CapacityRange.required_bytes": lambda _, _rng, slot: slot.size,
    "AccessMode.mode": lambda _, _rng, _slot: 1,
    "MountVolume.fs_type": lambda _, _rng, slot: slot.fs_type,
    "ControllerModifyVolumeRequest.mutable_parameters": lambda _, rng, _slot: {SPEC: rng.choice(("thin", ""))},
    "volume_id": lambda self, _, slot: self.volume_id(slot),
    "source_volume_id": lambda self, _, slot: self.volume_id(slot),
    "source_volume_ids": lambda self, _, slot: [self.volume_id(slot)],
    "snapshot_id": lambda self, rng, _: self.world.id("snapshot", _snapshot_name(rng)),
    "group_snapshot_id": lambda self, rng, _: self.world.id("group", f"group-{rng.randrange(NAMES)}"),
    "node_id": lambda self, _rng, _slot: self.world.node_id,
    "staging_target_path": lambda _, _rng, slot: slot.staging,
    "target_path": lambda _, _rng, slot: slot.target,
    "volume_path": lambda _, _rng, slot: slot.target,
    "publish_context": lambda self, _, slot: {"connection": self.context(slot)} if self.context(slot) else {},
}
"""By the message's name and the field's, or by the latter alone."""
_ABSENT = frozenset({"volume_content_source", "accessibility_requirements", "accessible_topology"})
"""Messages that most requests do without."""


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _put(message: Message, field: FieldDescriptor, value: Any) -> None:
    if _is_map(field):
        getattr(message, field.name).update(value)
    elif field.is_repeated:
        getattr(message, field.name).extend(value)
    elif field.message_type is not None:
        getattr(message, field.name).CopyFrom(value[0])
    else:
        setattr(message, field.name, value)
