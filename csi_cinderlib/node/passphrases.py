"""The keys of encrypted volumes: from the Secret, and in the key slots of a header."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from csi_cinderlib.errors import HostError, InvalidRequest, PreconditionFailed, WrongKey
from csi_cinderlib.faultpoints import reach
from csi_cinderlib.host import devices, luks_header
from csi_cinderlib.host.luks_header import Header
from csi_cinderlib.model.encryption import ENCRYPTION
from csi_cinderlib.model.requests import SIDECARS, StageVolume
from csi_cinderlib.node.header_check import check_header, check_owner
from csi_cinderlib.node.stage_record import StageRecord
from csi_cinderlib.observe import logs
from csi_cinderlib.pages import HEADER_PAGE, KEYS_PAGE

PASSPHRASE = "passphrase"  # noqa: S105  # the name of the key in the Secret
PREVIOUS = "previousPassphrase"
_SECRET = f"{SIDECARS}node-stage-secret-name"
_log = logs.logger(__name__)


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys in the node-stage Secret.

    Attributes:
        current: the bytes of `passphrase`, exactly as in the Secret.
        previous: the bytes of `previousPassphrase`: a key to replace, also that of the source of a copy. None if there is none.
    """

    current: bytes = field(repr=False)
    previous: bytes | None = field(default=None, repr=False)


def keys_of(request: StageVolume, encryption: str) -> Keys | None:
    """The keys of an encrypted volume; None for a volume in plain. Pure.

    Args:
        encryption: what the controller has recorded. The context of a PersistentVolume cannot change it.

    Raises:
        PreconditionFailed: the PersistentVolume was made for an encrypted volume, but the record is of one in plain.
        InvalidRequest: the Secret has no key.
    """
    if not encryption:
        if told := request.volume_context.get(ENCRYPTION):
            raise PreconditionFailed(
                f"volume {request.volume_id}: the PersistentVolume has encryption {told!r}, but the controller's record has none; "
                f"it was not staged in plain. See {HEADER_PAGE}"
            )
        return None
    current, previous = request.secrets.get(PASSPHRASE, ""), request.secrets.get(PREVIOUS, "")
    if not current:
        raise InvalidRequest(
            f"secrets[{PASSPHRASE}]",
            f"must not be empty: volume {request.volume_id} is encrypted; name the Secret with its key in the StorageClass "
            f"({_SECRET})",
        )
    return Keys(current.encode(), previous.encode() if previous not in ("", current) else None)


@contextmanager
def checked_header(record: StageRecord) -> Iterator[Header]:
    """A copy of the header on the volume's device, which is one of this driver and of this volume. No key was derived.

    Raises:
        UnsafeToFormat: see `check_header` and `check_owner`.
        HostError: it cannot be read.
    """
    assert record.device
    with luks_header.read(record.device.path) as header:
        check_header(record.volume_id, luks_header.metadata(header))
        check_owner(record.volume_id, luks_header.uuid_of(header), record.connection.header)
        yield header


def verified_key(record: StageRecord, keys: Keys, header: Header) -> bytes:
    """The key that opens the header. With a previous key, the header is changed from that one to the current one, also on the device.

    The new key slot is added and tried before the old one is removed, so that one of both keys is valid at any time.

    Raises:
        WrongKey: neither key opens the header.
        OperationPending: many volumes are being opened.
        HostError: a key slot could not be written.
    """
    device = record.device
    assert device
    slot = luks_header.slot_of(header, keys.current)
    if slot is None and keys.previous is None:
        raise wrong_key(record)
    if keys.previous is None:
        return keys.current
    old = luks_header.slot_of(header, keys.previous)
    if slot is None and old is None:
        raise wrong_key(record)
    if record.connection.read_only or devices.is_read_only(device.path):
        return keys.previous if slot is None else keys.current
    _change_key(record, header, keys.current, keys.previous, slot=slot, old=old)
    return keys.current


def _change_key(
    record: StageRecord, header: Header, current: bytes, previous: bytes, *, slot: int | None, old: int | None
) -> None:
    if slot is None:
        luks_header.add_key(header, previous, current)
        slot = luks_header.slot_of(header, current)
        _store(record, header)
        reach("stage.key-added")
    while old is not None:
        if slot is None or slot == old:
            raise HostError(
                f"volume {record.volume_id}: the added key does not open its header; the previous key was kept"
            )
        luks_header.remove_slot(header, old, remaining=current)
        _store(record, header)
        reach("stage.key-removed")
        _log.info("encryption key replaced", volume=record.volume_id, slot=old)
        old = luks_header.slot_of(header, previous)


def _store(record: StageRecord, header: Header) -> None:
    """Write the changed header, if the next stage will accept it."""
    assert record.device
    check_header(record.volume_id, luks_header.metadata(header))
    luks_header.store(record.device.path, header)


def wrong_key(record: StageRecord) -> WrongKey:
    return WrongKey(
        f"volume {record.volume_id}: secrets[{PASSPHRASE}] does not open its encryption header; nothing was changed. A copy has the key of "
        f"its source, which may be given as {PREVIOUS}. See {KEYS_PAGE}"
    )
