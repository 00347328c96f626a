"""How volumes are shown in lists. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence

from csi_cinderlib.model.answers import VolumeState
from csi_cinderlib.model.records import Attachment, Status, Volume
from csi_cinderlib.model.requests import Condition
from csi_cinderlib.model.size import GiB
from csi_cinderlib.persistence.api import Page

MAX_MESSAGE = 256
_HEALTHY = Condition(abnormal=False, message="the volume is available")


def states(
    page: Page[Volume], attachments: Iterable[Attachment], *, failure: Mapping[str, str]
) -> tuple[VolumeState, ...]:
    """The volumes of a page in id order.

    A volume that is only being made is left out: nobody knows its id yet, and its size is not yet true. So is one that is kept
    for its snapshots only.
    """
    attached: dict[str, list[Attachment]] = {}
    for attachment in attachments:
        attached.setdefault(attachment.volume_id, []).append(attachment)
    records = [record for record in page.records if record.status not in (Status.CREATING, Status.DELETED)]
    records += [_unreadable(id) for id in page.corrupt]
    records.sort(key=lambda record: record.id)
    return tuple(state(record, attached.get(record.id, ()), failure=failure) for record in records)


def state(record: Volume, attachments: Sequence[Attachment], *, failure: Mapping[str, str]) -> VolumeState:
    return VolumeState(record=record, nodes=published(attachments), condition=condition(record, failure))


def published(attachments: Iterable[Attachment]) -> tuple[str, ...]:
    """The nodes that may reach the volume.

    One being attached was never answered, so nobody relies on it. One being detached may still be reachable there.
    """
    return tuple(sorted({item.node_id for item in attachments if item.status is not Status.CREATING}))


def condition(record: Volume, failure: Mapping[str, str]) -> Condition:
    """Abnormal when somebody should look: an operation failed, or the back end is out of reach."""
    if record.status is Status.ERROR or record.message:
        return _abnormal(record.message or f"the volume is {record.status}")
    if why := failure.get(record.backend):
        return _abnormal(f"back end {record.backend!r} is not ready: {why}")
    if record.status is not Status.AVAILABLE:
        return Condition(abnormal=False, message=f"the volume is {record.status}")
    return _HEALTHY


def _abnormal(message: str) -> Condition:
    """Shortened: an array's error of several pages would be repeated for each volume of a list."""
    return Condition(abnormal=True, message=textwrap.shorten(message, MAX_MESSAGE, placeholder=" ..."))


def _unreadable(id: str) -> Volume:
    return Volume(id=id, backend="", size=GiB(0), status=Status.ERROR, message="the volume's record cannot be read")
