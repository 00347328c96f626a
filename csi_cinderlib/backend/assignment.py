"""Everything that a driver's process is told when it starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from csi_cinderlib.config.settings import BackendSettings, LogSettings
from csi_cinderlib.model.records import NOTHING, VolumeType
from csi_cinderlib.persistence.api import Traits


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """Everything that a driver's process is told.

    Attributes:
        owner: the controller's name in records under way.
        cinder_defaults: options of Cinder's section [DEFAULT].
        traits: the store's.
        measured: whether anybody asked for figures.
        is_first: this back end had no other process before.
    """

    settings: BackendSettings
    volume_types: Mapping[str, VolumeType] = field(default_factory=dict)
    state_dir: Path
    owner: str
    cinder_defaults: Mapping[str, object] = field(default=NOTHING, repr=False)
    traits: Traits
    log: LogSettings
    measured: bool = False
    is_first: bool = True
