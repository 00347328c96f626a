"""ControllerModifyVolume: which changes there are to make, and that none is made by half. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from csi_cinderlib.errors import Unsupported
from csi_cinderlib.model.records import Volume
from csi_cinderlib.provisioning import volume_types


def changes(volume: Volume, mutable_parameters: Mapping[str, str]) -> dict[str, str]:
    """What is to be changed; keys that are not named stay as they are.

    Raises:
        InvalidRequest: names an unknown key, before anything is changed.
    """
    volume_types.mutable_qos(mutable_parameters)
    return {key: value for key, value in mutable_parameters.items() if volume.mutable_parameters.get(key) != value}


def check_none(volume: Volume, changed: Mapping[str, str]) -> None:
    """QoS is given to a volume when it is made; drivers that change it later do so by retype, which is not carried out here.

    Raises:
        Unsupported: names the keys; nothing was changed.
    """
    if changed:
        raise Unsupported(
            f"back end {volume.backend!r} cannot change {', '.join(sorted(changed))} of volume {volume.id!r}, which exists"
        )
