"""LUKS2 headers in memory, through cryptsetup. A key reaches it over a pipe, never as an argument or in a file.

A header is read from its device once. It is checked, its keys are tried and changed, and its mapping is opened with that copy: the array
could answer a second read differently. cryptsetup runs as a child process: deriving a key needs much memory, which the child gives back.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from csi_cinderlib.errors import HostError, OperationPending, UnsafeToFormat
from csi_cinderlib.faultpoints import reach
from csi_cinderlib.host import commands, kernel, reading
from csi_cinderlib.host.commands import Output
from csi_cinderlib.host.disposable import Disposable
from csi_cinderlib.model.encryption import HEADER, SECTOR
from csi_cinderlib.pages import HEADER_PAGE

CIPHER = "aes-xts-plain64"
HASH = "sha256"
MEMORY_KIB = 64 * 1024
"""Memory of a key derivation (Argon2id). cryptsetup's own choice is up to 1 GiB, more than a node's pod may use. 64 MiB and few passes are
the second choice of RFC 9106. Measured: cryptsetup uses 72 MiB with it."""
PASSES = 4
"""The minimum of cryptsetup."""
METADATA = 12 * 1024
"""Bytes of a header's metadata."""
SLOT = 252 * 1024
"""Bytes of a key slot."""
DIGEST_ITERATIONS = 1000
"""Of the checksum of the volume key, which is random, so that a stronger derivation would not protect it better."""
_DERIVATION = (
    "--pbkdf=argon2id",
    f"--pbkdf-memory={MEMORY_KIB}",
    "--pbkdf-parallel=1",
    f"--pbkdf-force-iterations={PASSES}",
    f"--hash={HASH}",
)
_SECONDS = 120.0
_QUEUE_SECONDS = 60.0
_WRONG_KEY = 2
_SECTOR = 512
_STEP = 1024**2
_BLOCK = 4096
_COPY = METADATA + _BLOCK
_COPIES = (_COPY, 0)
"""Where both copies of the metadata start. Programs recognise a header by the magic numbers there."""
SPAN = 2 * _COPY
"""Bytes of both copies of the metadata; the key slots follow."""
_MAGICS = (b"SKUL\xba\xbe", b"LUKS\xba\xbe")
_UNLOCKED = re.compile(r"^Key slot (\d+) unlocked", re.MULTILINE)
_VOLUME_KEY = re.compile(r"^MK dump:((?:\s+[0-9a-f]{2})+)", re.MULTILINE)
_KEEP_SIZE_AND_PUNCH = 3
_one_derivation = threading.Lock()
"""Only one derivation at a time uses its memory. It reads and writes memory only, so that no device can delay others."""

Range = tuple[int, int]
"""Offset and length, in bytes."""


@dataclass(slots=True)
class Header:
    """A header in memory. Only its metadata and its key slots are held, less than 1 MiB. It ends with this process.

    Attributes:
        origin: the metadata that is on the device.
        slots: the places of the key slots that are on the device.
    """

    fd: int
    origin: bytes = b""
    slots: tuple[Range, ...] = ()

    @property
    def path(self) -> str:
        """Valid in this process, and in a child that inherits the file."""
        return f"/proc/self/fd/{self.fd}"


@contextlib.contextmanager
def new(key: bytes, *, uuid: str) -> Iterator[Header]:
    """A new header with one key. Uses no device.

    Raises:
        OperationPending: other volumes derive their keys.
        HostError: cryptsetup failed.
    """
    layout = (f"--cipher={CIPHER}", "--key-size=512", f"--sector-size={SECTOR}", f"--offset={HEADER // _SECTOR}")
    with _memory() as header:
        argv = ("luksFormat", "--batch-mode", "--type=luks2", f"--uuid={uuid}", *layout, *_DERIVATION, "--key-file=-")
        _derive((*argv, header.path), key, header)
        with kernel.named("cannot prepare an encryption header"):
            _keep(header.fd, ((0, SPAN), *slots_of(header)))
        yield header


@contextlib.contextmanager
def read(device: str) -> Iterator[Header]:
    """A copy of the header of a device. Raises HostError: it cannot be read, or is none."""
    with _memory() as header:
        with kernel.named(f"cannot read the encryption header of {device}"), reading.open_direct(device) as source:
            header.origin = reading.read(source, device, 0, SPAN)
            _write_all(header.fd, header.origin, 0)
            header.slots = slots_of(header)
            for offset, length in header.slots:
                _write_all(header.fd, reading.read(source, device, offset, length), offset)
        yield header


@contextlib.contextmanager
def _memory() -> Iterator[Header]:
    with kernel.named("cannot hold an encryption header"):
        header = Header(os.memfd_create("luks2"))
    try:
        with kernel.named("cannot hold an encryption header"):
            os.ftruncate(header.fd, HEADER + _STEP)  # cryptsetup wants a device that is larger than its header
        yield header
    finally:
        os.close(header.fd)


def _keep(fd: int, wanted: Sequence[Range]) -> None:
    """Give back the memory of all other parts, which cryptsetup fills with random data. Raises OSError."""
    place = 0
    for offset, length in (*sorted(wanted), (HEADER, 0)):
        if offset > place:
            kernel.call("fallocate", fd, _KEEP_SIZE_AND_PUNCH, place, offset - place)
        place = offset + length


def metadata(header: Header) -> str:
    """The metadata, as JSON without a key. Raises HostError."""
    return run(("luksDump", "--dump-json-metadata", header.path), files=(header.fd,)).stdout


def uuid_of(header: Header) -> str:
    """Raises HostError."""
    return run(("luksUUID", header.path), files=(header.fd,)).stdout.strip()


def slots_of(header: Header) -> tuple[Range, ...]:
    """The places of the key slots; without those that are not within the header, which is to be refused then. Raises HostError."""
    try:
        areas = [slot["area"] for slot in json.loads(metadata(header))["keyslots"].values()]
        places = {(int(area["offset"]), int(area["size"])) for area in areas}
    except (ValueError, KeyError, TypeError, AttributeError):
        return ()
    return tuple(sorted((at, size) for at, size in places if size == SLOT and SPAN <= at <= HEADER - SLOT))


def slot_of(header: Header, key: bytes) -> int | None:
    """The key slot that the key opens, or None if it opens none. Raises OperationPending and HostError."""
    argv = ("open", "--test-passphrase", "--verbose", "--type=luks2", "--key-file=-", header.path)
    output = _derive(argv, key, header, ok=(0, _WRONG_KEY))
    slot = _UNLOCKED.search(output.stdout)
    if output.code == 0 and slot is None:
        raise HostError("cryptsetup accepted the key of an encryption header, but named no key slot")
    return int(slot[1]) if slot else None


def volume_key(header: Header, key: bytes) -> bytes:
    """The key of the data, which `key` opens. Raises OperationPending and HostError."""
    output = _derive(("luksDump", "--batch-mode", "--dump-volume-key", "--key-file=-", header.path), key, header)
    shown = _VOLUME_KEY.search(output.stdout)
    if shown is None:
        raise HostError("cryptsetup opened an encryption header, but gave no key")
    return bytes.fromhex(shown[1])


def add_key(header: Header, key: bytes, added: bytes) -> None:
    """Add a key slot for another key; `key` must open the header. Raises OperationPending and HostError."""
    with piped(added) as source:
        argv = ("luksAddKey", "--batch-mode", *_DERIVATION, "--key-file=-", header.path, f"/proc/self/fd/{source}")
        _derive(argv, key, header, files=(source,))


def remove_slot(header: Header, slot: int, *, remaining: bytes) -> None:
    """Remove a key slot. `remaining` must open another one: cryptsetup would also remove the last one.

    Raises OperationPending and HostError.
    """
    _derive(("luksKillSlot", "--key-file=-", header.path, str(slot)), remaining, header)


def store(device: str, header: Header) -> None:
    """Write the changed key slots of a header to its device, and then its metadata, one copy after the other: one is always whole.

    Raises:
        HostError: the header on the device has changed since it was read, or a write failed.
    """
    slots = slots_of(header)
    with kernel.named(f"cannot change the encryption header of {device}"):
        with reading.open_direct(device) as source:
            if reading.read(source, device, 0, SPAN) != header.origin:
                raise HostError(f"the encryption header of {device} has changed meanwhile; it was not written")
            there = {place: reading.read(source, device, *place) for place in {*header.slots, *slots}}
        with kernel.opened(device, os.O_RDWR) as fd:
            for (offset, length), old in sorted(there.items()):
                if (wanted := _content(header, offset, length)) != old:
                    _write_all(fd, wanted, offset)
            os.fsync(fd)
            for place in reversed(_COPIES):
                _write_all(fd, _content(header, place, _COPY), place)
                os.fsync(fd)
    header.origin, header.slots = _content(header, 0, SPAN), slots


def write(proof: Disposable, header: Header) -> None:
    """Write a new header to its device. What shows that it is one, is written after everything else has reached the device.

    Raises:
        UnsafeToFormat: there is a header: another node has encrypted the device meanwhile.
        HostError: the device is in use, or a write failed.
    """
    device = proof.device
    with (
        kernel.named(f"cannot write the encryption header of {device}"),
        kernel.opened(device, os.O_RDWR | os.O_EXCL) as fd,
        reading.open_direct(device) as source,
    ):
        there = reading.read(source, device, 0, SPAN)
        if any(there.startswith(magic, place) for place, magic in zip(_COPIES, _MAGICS, strict=True)):
            raise UnsafeToFormat(
                f"an encryption header was written to {device} meanwhile; it was not changed. See {HEADER_PAGE}"
            )
        for offset in range(0, HEADER, _STEP):
            part = bytearray(_content(header, offset, _STEP))
            for place in _COPIES if offset == 0 else ():
                part[place : place + _BLOCK] = bytes(_BLOCK)
            _write_all(fd, part, offset)
        os.fsync(fd)
        reach("stage.header-hidden")
        for place in _COPIES:
            _write_all(fd, _content(header, place, _BLOCK), place)
            os.fsync(fd)
            reach("stage.header-copy")


def _content(header: Header, offset: int, length: int) -> bytes:
    return os.pread(header.fd, length, offset)


def _write_all(fd: int, data: bytes | bytearray, offset: int) -> None:
    """Raises OSError."""
    view = memoryview(data)
    while view:
        done = os.pwrite(fd, view, offset)
        view, offset = view[done:], offset + done


@contextlib.contextmanager
def piped(secret: bytes) -> Iterator[int]:
    """The reading end of a pipe that contains the secret. The kernel's buffer holds it, as CSI limits secrets to 4 KiB."""
    source, sink = os.pipe()
    try:
        with contextlib.closing(os.fdopen(sink, "wb", buffering=0)) as writer:
            writer.write(secret)
        yield source
    finally:
        os.close(source)


def _derive(
    argv: Sequence[str], key: bytes, header: Header, *, ok: Sequence[int] = (0,), files: Sequence[int] = ()
) -> Output:
    """Raises OperationPending if other volumes derive their keys."""
    if not _one_derivation.acquire(timeout=_QUEUE_SECONDS):
        raise OperationPending("other encrypted volumes are being opened on this node; retry")
    try:
        return run(argv, key=key, ok=ok, files=(header.fd, *files))
    finally:
        _one_derivation.release()


_ENVIRONMENT: Mapping[str, str] = {"DM_DISABLE_UDEV": "1"}
"""udev cannot confirm a device to a process in another IPC namespace, such as a pod's: libdevmapper would wait forever."""


def run(
    argv: Sequence[str], *, key: bytes | None = None, ok: Sequence[int] = (0,), files: Sequence[int] = ()
) -> Output:
    """Run cryptsetup. Raises HostError."""
    argv = ("cryptsetup", *argv)
    return commands.run(argv, timeout=_SECONDS, input=key, ok=ok, files=files, environment=_ENVIRONMENT)
