"""The plan of an adoption: which volumes, with which names and places, made from which state of the database. Pure.

It contains no password and no digest of one. The same database and the same options give the same plan.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import yaml

from csi_cinderlib.adoption import mapping
from csi_cinderlib.adoption.marks import Key
from csi_cinderlib.adoption.openstack.entries import Entry
from csi_cinderlib.adoption.openstack.records import Adopted, Names
from csi_cinderlib.errors import InvalidRequest

FORMAT, VERSION = "csi-cinderlib/adoption-plan", 3
_NAME = re.compile(r"[0-9a-f]{64}")
_HEAD = """\
# A plan of `csi-cinderlib adopt cinder`. Read it, then carry it out with --apply. Do not edit it: its checksum would be wrong.
# To leave a volume out, make a new plan with other filters.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedSnapshot:
    id: str
    name: str
    on_storage: str

    @property
    def key(self) -> Key:
        return "snapshot", self.id


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedVolume:
    """A volume.

    Attributes:
        gib: its size.
        host: Cinder's `host@backend#pool`.
        on_storage: its name on the array, unless the array assigns ids.
        source: digest of all rows of the database that concern it, without passwords.
    """

    id: str
    name: str
    project: str
    type: str
    gib: int
    host: str
    backend: str
    pool: str
    on_storage: str
    notes: tuple[str, ...] = ()
    snapshots: tuple[PlannedSnapshot, ...] = ()
    source: str

    @property
    def key(self) -> Key:
        return "volume", self.id

    @property
    def keys(self) -> tuple[Key, ...]:
        """The keys of its records, the volume first."""
        return (self.key, *(snapshot.key for snapshot in self.snapshots))


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedInitiator:
    """Data of a driver for an initiator, which belongs to all volumes of a back end."""

    initiator: str
    namespace: str
    key: str
    note: str = ""

    @property
    def id(self) -> str:
        """The id of its record."""
        return mapping.initiator_id(self.initiator, self.namespace, self.key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A plan.

    Attributes:
        database: the database for people, without a password.
        release: of OpenStack, with the schema.
        templates: of the names on the array.
        selection: the conditions by which the volumes were selected.
        backends: the back end and pool by Cinder's `host@backend#pool`.
        again: volumes that may be adopted although they were adopted before and deleted since.
        refused: reasons by id of the selected volumes that are left out, and of other rows.
        name: the checksum in its file, which names the adoption in the store and in the records. "" until it is written.
    """

    database: str
    release: str
    templates: Mapping[str, str]
    selection: Mapping[str, Sequence[str]]
    backends: Mapping[str, str]
    again: Sequence[str] = ()
    volumes: tuple[PlannedVolume, ...]
    initiators: tuple[PlannedInitiator, ...] = ()
    refused: Mapping[str, Sequence[str]]
    name: str = ""

    @property
    def keys(self) -> tuple[Key, ...]:
        """The keys of the records of all volumes and snapshots."""
        return tuple(key for volume in self.volumes for key in volume.keys)


def planned_volume(entry: Entry, adopted: Adopted, names: Names, notes: Sequence[str]) -> PlannedVolume:
    """The entry of a volume in a plan."""
    volume = adopted.volume
    return PlannedVolume(
        id=volume.id,
        name=volume.name,
        project=entry.project,
        type=entry.type_name,
        gib=int(volume.size),
        host=entry.host,
        backend=volume.backend,
        pool=volume.pool,
        on_storage=names.of(volume),
        notes=tuple(notes),
        snapshots=tuple(
            PlannedSnapshot(id=item.id, name=item.name, on_storage=names.of(item)) for item in adopted.snapshots
        ),
        source=entry.fingerprint,
    )


def written(plan: Plan) -> str:
    """The plan as YAML with its checksum."""
    body = json.loads(json.dumps(asdict(replace(plan, name=""))))
    del body["name"]
    body = {"format": FORMAT, "v": VERSION, "checksum": _checksum(body), **body}
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # ten times as fast, but optional in PyYAML
    return _HEAD + str(yaml.dump(body, Dumper=dumper, sort_keys=False, allow_unicode=True, width=120))


def parsed(text: str, name: str) -> Plan:
    """Read a plan.

    Args:
        name: the file for messages.

    Raises:
        InvalidRequest: it is not a plan, was edited, or is of another version.
    """
    body = _body(text, name)
    if (version := body.pop("v", None)) != VERSION:
        raise InvalidRequest(name, f"has the unsupported version {version!r}; make a new plan with this csi-cinderlib")
    checksum = body.pop("checksum", None)
    if checksum != _checksum(body):
        raise InvalidRequest(name, "was changed after it was written: its checksum does not match; make a new plan")
    try:
        return replace(_plan(body), name=str(checksum))
    except (TypeError, ValueError, KeyError, AttributeError):
        raise InvalidRequest(name, "is damaged; make a new plan") from None


def name_in(text: str, file: str) -> str:
    """The name of a plan of any version, for its rollback. Raises InvalidRequest.

    Args:
        file: the file for messages.
    """
    name = str(_body(text, file).get("checksum"))
    if not is_name(name):
        raise InvalidRequest(file, "has no checksum, which is the name of the plan")
    return name


def is_name(text: str) -> bool:
    """Whether the text is the name of a plan."""
    return bool(_NAME.fullmatch(text))


def _body(text: str, name: str) -> dict[str, Any]:
    try:
        body = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506  # a safe one
    except yaml.YAMLError:
        raise InvalidRequest(name, "is not YAML") from None
    if not isinstance(body, dict) or body.pop("format", None) != FORMAT:
        raise InvalidRequest(name, f"is not a plan of `csi-cinderlib adopt cinder` (format {FORMAT!r})")
    return body


def _plan(body: dict[str, Any]) -> Plan:
    volumes = tuple(
        PlannedVolume(
            **{
                **volume,
                "notes": tuple(volume["notes"]),
                "snapshots": tuple(PlannedSnapshot(**snapshot) for snapshot in volume["snapshots"]),
            }
        )
        for volume in body.pop("volumes")
    )
    initiators = tuple(PlannedInitiator(**item) for item in body.pop("initiators"))
    return Plan(volumes=volumes, initiators=initiators, **body)


def _checksum(body: Mapping[str, Any]) -> str:
    text = json.dumps({name: value for name, value in body.items() if name not in ("format", "v")}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
