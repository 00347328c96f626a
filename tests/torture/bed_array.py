"""An array whose driver misbehaves, with an audit log of all that was created and deleted, and by whom."""

from __future__ import annotations

from collections.abc import Iterator

from tests.support.fakes.array import SNAPSHOT, VOLUME
from tests.torture.backed_array import BackedArray
from tests.torture.bed import Bed
from tests.torture.plan import DRIVER_FAULTS, EXT4_GROWTH, FULL_STATE, KILLS, SIGSTOP, SYSCALL_KILLS
from tests.torture.truth import ATTACHED

TRAITS = ("unique-names", "refuses-unknown", "refuses-same-size")


class ArrayBed(Bed):
    """The driver BackedArrayDriver: nodes attach its volumes as files."""

    name = "array"
    disturbances = (KILLS, SYSCALL_KILLS, SIGSTOP, DRIVER_FAULTS, FULL_STATE, EXT4_GROWTH)

    def __init__(self) -> None:
        super().__init__()
        (self.pool / "luns").mkdir()
        self._file = self.pool / "luns" / "log"
        foreign = BackedArray(self._file, by="others")
        foreign.create(VOLUME, "volume-of-others", 1)

    @property
    def array(self) -> BackedArray:
        return BackedArray(self._file, by="the checker")

    def backend(self) -> dict[str, object]:
        faults = self.faults.popleft() if self.faults else ()
        if faults:
            self.faults_are_on = True
            self.truth.tell(f"faults of the driver: {', '.join(faults)}", "driver faults planned")
        return {
            "driver": "tests.torture.backed_driver.BackedArrayDriver",
            "options": {
                "nothing_array_file": str(self._file),
                "nothing_installation": "this",
                "nothing_traits": list(TRAITS),
                "nothing_faults": list(faults),
            },
        }

    def objects(self) -> dict[str, int]:
        array = self.array
        return {lun.name: lun.size for lun in (*array.luns(VOLUME), *array.luns(SNAPSHOT)) if lun.by == "this"}

    def problems(self) -> list[str]:
        array = self.array
        luns = [*array.luns(VOLUME), *array.luns(SNAPSHOT)]
        names = [lun.name for lun in luns]
        return [
            *(f"deleted a LUN of others: {event.name}" for event in array.foreign_deletions()),
            *self._wrong_mappings(array),
            *(
                f"there are several LUNs of the name {name}"
                for name in sorted({n for n in names if names.count(n) > 1})
            ),
        ]

    def _wrong_mappings(self, array: BackedArray) -> Iterator[str]:
        attached = {f"volume-{volume.id}" for volume in self.truth.existing() if volume.level >= ATTACHED}
        for lun in array.luns(VOLUME):
            if len(lun.hosts) != (lun.name in attached):
                wanted = "one host" if lun.name in attached else "nothing"
                yield f"{lun.name} is mapped to {', '.join(sorted(lun.hosts)) or 'nothing'}, and must be mapped to {wanted}"

    def backing_name(self, volume: str) -> str:
        array = self.array
        return ",".join(array.file(lun.id).name for lun in array.luns(VOLUME, name=volume))
