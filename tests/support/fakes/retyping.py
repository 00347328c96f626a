"""A driver whose array keeps the properties of each volume, and changes them one by one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cinder import interface
from cinder.volume import volume_types

from csi_cinderlib.backend.retypes import Retypes
from tests.support.fakes.nothing import NothingDriver

Properties = dict[str, str]


def properties_of(kind: Any) -> Properties:
    """The extra specs and back-end QoS of Cinder's volume type, in the notation of classes."""
    if kind is None:
        return {}
    qos = volume_types.get_volume_type_qos_specs(kind.id)["qos_specs"] or {}
    specs = {f"extraSpecs/{key}": value for key, value in kind.extra_specs.items()}
    return specs | {f"qos/{key}": value for key, value in qos.get("specs", {}).items()}


@interface.volumedriver
class RetypingDriver(NothingDriver):
    """See the module. The method `retype_half` of `nothing_fail` fails after the first property was changed.

    Attributes:
        properties: those of each volume on the array, by its id.
        asked: the old type of the volume, the new type, Cinder's diff and the destination of each `retype`.
        fixed: properties that cannot be set in place, only removed.
        liar: it sets the first property before it refuses.
    """

    RETYPES = Retypes(online=("qos/*", "extraSpecs/vendor:*"), detached=("extraSpecs/slow:*",))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.properties: dict[str, Properties] = {}
        self.asked: list[tuple[Properties, Properties, Mapping[str, Any], Mapping[str, Any]]] = []
        self.fixed: set[str] = set()
        self.liar = False

    def create_volume(self, volume: Any) -> dict[str, Any]:
        self.properties[volume.id] = properties_of(volume.volume_type)
        return super().create_volume(volume)

    def retype(self, context: Any, volume: Any, new_type: Any, diff: Any, host: Any) -> tuple[bool, Any]:
        self.asked.append((properties_of(volume.volume_type), properties_of(new_type), diff, host))
        self._called("retype", volume.id)
        changed = {
            f"{prefix}{key}": new
            for prefix, kind in (("extraSpecs/", "extra_specs"), ("qos/", "qos_specs"))
            for key, (old, new) in sorted(diff[kind].items())
            if old != new and key != "consumer"
        }
        if self.fixed & {key for key, value in changed.items() if value is not None}:
            if self.liar:
                self.properties[volume.id].update(dict(list(changed.items())[:1]))
            return False, None
        for key, value in changed.items():
            if value is None:
                self.properties[volume.id].pop(key, None)
            else:
                self.properties[volume.id][key] = value
            self._called("retype_half", volume.id)
        return True, {"provider_id": f"modified {len(self.asked)}"}


class CarefulDriver(RetypingDriver):
    """Refuses before it changes anything."""

    RETYPES = Retypes(online=("qos/*",), detached=("extraSpecs/slow:*",), untouched=True)


class ExactDriver(RetypingDriver):
    """Its parameters are known by name."""

    RETYPES = Retypes(online=("qos/a", "qos/b"))
