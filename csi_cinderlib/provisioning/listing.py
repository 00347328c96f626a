"""List calls: page tokens, page sizes and the state of volumes. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence

from csi_cinderlib.errors import OperationPending
from csi_cinderlib.model.answers import VolumeState
from csi_cinderlib.model.records import Attachment, Status, Volume
from csi_cinderlib.model.requests import Condition
from csi_cinderlib.model.size import GiB
from csi_cinderlib.persistence.api import Page

MAX_MESSAGE = 256
_AFTER = "after:"
_UNLISTED = (Status.CREATING, Status.IMPORTING, Status.ADOPTING, Status.DELETED)
_HEALTHY = Condition(abnormal=False, message="the volume is available")


def states(
    page: Page[Volume], attachments: Iterable[Attachment], *, failure: Mapping[str, str]
) -> tuple[VolumeState, ...]:
    """The volumes of a page, sorted by id.

    Volumes in creation are left out: no caller knows their ids yet, and their sizes are not final. Deleted volumes that are kept
    for their snapshots are left out, too.
    """
    attached: dict[str, list[Attachment]] = {}
    for attachment in attachments:
        attached.setdefault(attachment.volume_id, []).append(attachment)
    records = [record for record in page.records if record.status not in _UNLISTED]
    records += [_unreadable(id) for id in page.corrupt]
    records.sort(key=lambda record: record.id)
    return tuple(state(record, attached.get(record.id, ()), failure=failure) for record in records)


def state(record: Volume, attachments: Sequence[Attachment], *, failure: Mapping[str, str]) -> VolumeState:
    return VolumeState(record=record, nodes=published(attachments), condition=condition(record, failure))


def published(attachments: Iterable[Attachment]) -> tuple[str, ...]:
    """The nodes that may reach the volume.

    An attachment in creation is not included: its call was never answered, so no caller relies on it. An attachment in deletion is
    included: the node may still reach the volume.
    """
    return tuple(sorted({item.node_id for item in attachments if item.status is not Status.CREATING}))


def condition(record: Volume, failure: Mapping[str, str]) -> Condition:
    """Abnormal if an operation failed or the back end is not ready."""
    if record.status is Status.ERROR or record.message:
        return _abnormal(record.message or f"the volume is {record.status}")
    if why := failure.get(record.backend):
        return _abnormal(f"back end {record.backend!r} is not ready: {why}")
    if record.status is not Status.AVAILABLE:
        return Condition(abnormal=False, message=f"the volume is {record.status}")
    return _HEALTHY


def _abnormal(message: str) -> Condition:
    """Shortens the message: a long error of an array would be repeated for each volume of a list."""
    return Condition(abnormal=True, message=textwrap.shorten(message, MAX_MESSAGE, placeholder=" ..."))


def _unreadable(id: str) -> Volume:
    return Volume(id=id, backend="", size=GiB(0), status=Status.ERROR, message="the volume's record cannot be read")


def decode_token(token: str) -> str:
    """The id after which the page starts.

    Raises:
        OperationPending: this driver did not issue the token (spec: ABORTED, "start over").
    """
    if not token:
        return ""
    after = token.removeprefix(_AFTER)
    if after == token or not after:
        raise OperationPending(
            f"starting_token {token[:64]!r} was not issued by this driver; list again from the start"
        )
    return after


def encode_token(next: str) -> str:
    return _AFTER + next if next else ""


def limit_page(limit: int, most: int) -> int:
    """The number of entries of a page, at most `most`: a response must fit into a gRPC message."""
    return min(limit, most) if limit else most
