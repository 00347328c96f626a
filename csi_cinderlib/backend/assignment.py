"""The data that a driver process receives at start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from csi_cinderlib.config.settings import BackendSettings, LogSettings
from csi_cinderlib.model.records import NOTHING
from csi_cinderlib.persistence.api import Traits


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """The data that a driver process receives at start.

    Attributes:
        cinder_defaults: options of Cinder's section [DEFAULT].
        traits: of the metadata store.
        measured: whether metrics are enabled.
        is_first: whether this is the first process of the back end.
    """

    settings: BackendSettings
    state_dir: Path
    cinder_defaults: Mapping[str, object] = field(default=NOTHING, repr=False)
    traits: Traits
    log: LogSettings
    measured: bool = False
    is_first: bool = True
