"""Whether a copy is as empty as its source, a volume that was never formatted, and so may get a file system as a new volume does.

The "never formatted" mark leaves a volume before any node can write to it, and comes back only if no node could. A source that
has the mark after it was copied was therefore empty when it was copied. To find the mark before the copy would prove nothing.
"""

from __future__ import annotations

from csi_cinderlib.errors import CorruptRecord, NotFound
from csi_cinderlib.model.records import Snapshot, Source, SourceKind, Volume
from csi_cinderlib.persistence.api import Store


def is_blank(store: Store, source: Source | None) -> bool:
    """Whether a copy that the driver has finished is proven to be of an empty source. In doubt it is not.

    Raises:
        StoreUnavailable.
    """
    if source is None:
        return False
    try:
        if source.kind is SourceKind.SNAPSHOT:
            return store.get(Snapshot, source.id).blank
        return store.get(Volume, source.id).blank
    except (NotFound, CorruptRecord):
        return False
