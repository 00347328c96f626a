"""The attachments of listed volumes. They are read with the list, as cinderlib does: one query for each page, not for each volume.

So a listed volume shows the connections that it had when it was listed, like every other field, until its record is read again. A
change by this process is always shown.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from csi_cinderlib.cinderlib.current_store import CurrentStore
from csi_cinderlib.errors import CorruptRecord
from csi_cinderlib.model.records import Attachment, Volume
from csi_cinderlib.persistence.iteration import walk_all


class ListedAttachments:
    """The attachments of the volumes of a page.

    Args:
        volumes: of the page.

    Raises:
        CorruptRecord: an attachment cannot be read.
    """

    def __init__(self, store: CurrentStore, volumes: Sequence[Volume]) -> None:
        self._store = store
        self._state = store.attachments_state
        found: defaultdict[str, list[Attachment]] = defaultdict(list)
        for attachment in walk_all(store, Attachment, {"volume_id": tuple(volume.id for volume in volumes)}):
            found[attachment.volume_id].append(attachment)
        self._of = {volume.id: (volume.revision, tuple(found.get(volume.id, ()))) for volume in volumes}

    def of(self, volume: Volume) -> Sequence[Attachment] | None:
        """The attachments of one of the volumes.

        Returns:
            None if they must be read again: the record was, or this process has changed an attachment.
        """
        revision, attachments = self._of[volume.id]
        return attachments if revision == volume.revision and self._state == self._store.attachments_state else None


def read(store: CurrentStore, volumes: Sequence[Volume]) -> ListedAttachments | None:
    """None if there is no volume, or an attachment cannot be read: each volume then looks for its own."""
    try:
        return ListedAttachments(store, volumes) if volumes else None
    except CorruptRecord:
        return None
