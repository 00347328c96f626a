"""Selects volumes by project, type, host, state and id. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields

from csi_cinderlib.adoption.openstack.entries import Entry
from csi_cinderlib.adoption.openstack.source import Source
from csi_cinderlib.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class Selection:
    """Conditions that are combined by AND; the values of one of them by OR. An empty one selects all.

    Attributes:
        hosts: Cinder's `host@backend#pool`, or a beginning of it that ends before @ or #.
    """

    projects: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()

    @property
    def given(self) -> dict[str, list[str]]:
        """The conditions that are not empty."""
        values = {field.name: sorted(set(getattr(self, field.name))) for field in fields(self)}
        return {name: value for name, value in values.items() if value}

    def of(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        return (entry for entry in entries if self._has(entry))

    def _has(self, entry: Entry) -> bool:
        return (
            _among(self.projects, entry.project)
            and _among(self.types, entry.type_name)
            and (not self.hosts or any(_is_at(entry.host, host) for host in self.hosts))
            and _among(self.states, entry.status)
            and _among(self.ids, entry.id)
        )


def _among(wanted: Sequence[str], value: str) -> bool:
    return not wanted or value in wanted


def _is_at(host: str, wanted: str) -> bool:
    return host == wanted or host.startswith((f"{wanted}@", f"{wanted}#"))


def check_ids(selection: Selection, source: Source) -> None:
    """Raises InvalidRequest if a given id is not that of a volume."""
    known = {str(row["id"]) for row in source.tables["volumes"]}
    for id in selection.ids:
        if id in source.deleted:
            raise InvalidRequest("ID", f"volume {id} is deleted in Cinder; a deleted volume cannot be adopted")
        if id not in known:
            raise InvalidRequest("ID", f"the database has no volume {id!r}; ids are complete UUIDs")
