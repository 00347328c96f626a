"""The mark of a store that was restored from an older copy. Its records do not show that a back end is empty.

The copy lacks volumes that were created after it was made. Only the arrays know of them, so an operator compares these and then removes
the mark.
"""

from __future__ import annotations

from contextlib import suppress

from csi_cinderlib.errors import CorruptRecord, NotFound
from csi_cinderlib.model.records import OWN_KEYS, KeyValue
from csi_cinderlib.persistence.api import Store

KEY = f"{OWN_KEYS}restored"
ID = "restored"
"""Its id in the list of orphans."""


def since(store: Store) -> str | None:
    """When the restore was noted; "" if that cannot be read, None if there was none."""
    try:
        return store.get(KeyValue, KEY).value
    except NotFound:
        return None
    except CorruptRecord:
        return ""


def confirm(store: Store) -> bool:
    """An operator has compared all arrays with the records. Returns whether there was a mark. Raises CorruptRecord."""
    with suppress(NotFound):
        store.remove(store.get(KeyValue, KEY))
        return True
    return False
