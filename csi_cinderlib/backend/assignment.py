"""Everything that a driver's process is told when it starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from csi_cinderlib.config.settings import BackendSettings, LogSettings
from csi_cinderlib.model.records import NOTHING
from csi_cinderlib.persistence.api import Traits


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """Everything that a driver's process is told.

    Attributes:
        cinder_defaults: options of Cinder's section [DEFAULT].
        traits: the store's.
        measured: whether anybody asked for figures.
        is_first: this back end had no other process before.
    """

    settings: BackendSettings
    state_dir: Path
    cinder_defaults: Mapping[str, object] = field(default=NOTHING, repr=False)
    traits: Traits
    log: LogSettings
    measured: bool = False
    is_first: bool = True
