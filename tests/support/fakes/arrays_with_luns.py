"""Arrays with LUNs of other owners, which can be imported."""

from __future__ import annotations

from typing import Any

from tests.support.fakes.nothing import NothingDriver


class OwnNames(NothingDriver):
    """Gives a LUN that it manages a name of its own, finds only the names of others, and gives a LUN back under a new name."""

    luns: dict[str, str]
    late: Exception | None = None

    def manage_existing_get_size(self, volume: Any, existing_ref: Any) -> int:
        name = existing_ref.get("source-name", "")
        if name not in self.luns or name.startswith("own-"):
            raise RuntimeError(f"LUN {name!r} does not exist")
        return 1

    def manage_existing(self, volume: Any, existing_ref: Any) -> None:
        self.luns[f"own-{volume.id}"] = self.luns.pop(existing_ref["source-name"])
        if self.late is not None:
            raise self.late

    def unmanage(self, volume: Any) -> None:
        self.luns[f"given-{volume.id}"] = self.luns.pop(f"own-{volume.id}")


class Listing(NothingDriver):
    """Lists LUNs with names and ids, and snapshots with the LUN that they belong to."""

    luns: tuple[dict[str, str], ...] = ()
    own_names: tuple[tuple[str, str], ...] = ()
    """The names that the array gave to volumes of this driver, and their ids."""
    takes_any = False
    snapshots_of: tuple[tuple[str, str], ...] = ()
    taken: list[Any]

    def get_manageable_volumes(self, *_arguments: Any) -> list[dict[str, Any]]:
        known = [{"reference": {"source-name": name}, "size": 1, "cinder_id": id} for name, id in self.own_names]
        return [*known, *({"reference": lun, "size": 1, "safe_to_manage": True} for lun in self.luns)]

    def manage_existing_get_size(self, volume: Any, existing_ref: Any) -> int:
        if self.luns and existing_ref not in self.luns and not self.takes_any:
            raise RuntimeError(f"{existing_ref} is not in the form of the list")
        return 1

    def manage_existing(self, volume: Any, existing_ref: Any) -> dict[str, str]:
        self.taken = [dict(existing_ref)]
        return {"provider_id": "x"}

    def get_manageable_snapshots(self, *_arguments: Any) -> list[dict[str, Any]]:
        return [
            {
                "reference": {"source-name": name},
                "source_reference": {"source-name": of},
                "size": 1,
                "safe_to_manage": True,
            }
            for name, of in self.snapshots_of
        ]

    def manage_existing_snapshot_get_size(self, snapshot: Any, existing_ref: Any) -> int:
        return 1

    def manage_existing_snapshot(self, snapshot: Any, existing_ref: Any) -> None:
        self.taken = [snapshot.volume.name, dict(existing_ref)]
