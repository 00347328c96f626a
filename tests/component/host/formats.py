"""Formats that Debian's tools make (requirements/debian/formats.txt), on a device or in an image that is copied to one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from csi_cinderlib.host import commands, devices, kernel, luks_header
from csi_cinderlib.host.disposable import Disposable

MIB = 1024**2
SECONDS = 300.0
LUKS = ("--pbkdf-force-iterations", "1000", "--key-file", "/dev/zero", "--keyfile-size", "32")


@dataclass(frozen=True, slots=True)
class Made:
    """A format and the tool that makes it.

    Attributes:
        known_as: what libblkid calls it.
        name: what our table calls it.
        argv: the tool and its arguments. {device}, {directory} (with one file in it), {image} (a file that the tool makes) and
            {disk} (an empty disk's image) stand for paths; the device comes last where none of them is mentioned. Images are
            copied to the device.
        variant: tells it from others of the same name.
        head_only: how many MiB at the head hold all that the tool writes, or 0 if more than 4 do.
        at_end: it keeps a superblock, or a copy of one, at the end of the device.
    """

    known_as: str
    name: str
    argv: Sequence[str]
    variant: str = ""
    head_only: int = 0
    at_end: bool = False

    def write(self, device: str, scratch: Path) -> None:
        """Make the format on the device; `scratch` is a directory for its files."""
        image, directory, disk = scratch / "image", scratch / "directory", scratch / "disk"
        directory.mkdir()
        (directory / "file").write_bytes(os.urandom(100_000))
        if "{disk}" in self.argv:
            image = disk
            with disk.open("wb") as file:
                file.truncate(devices.size(device))
        values = {"device": device, "image": str(image), "directory": str(directory), "disk": str(disk)}
        argv = [word.format_map(values) for word in self.argv]
        commands.run(argv if list(self.argv) != argv else [*argv, device], timeout=SECONDS)
        if image.exists():
            copy_data(image, device)
        devices.flush(device)


def copy_data(image: Path, device: str) -> None:
    with image.open("rb") as source, kernel.opened(device, os.O_WRONLY) as target:
        for offset in data_places(source.fileno()):
            os.pwrite(target, os.pread(source.fileno(), MIB, offset), offset)


def data_places(fd: int) -> Iterator[int]:
    """Each whole MiB in which the file has data."""
    offset = 0
    while True:
        try:
            offset = os.lseek(fd, offset, os.SEEK_DATA) // MIB * MIB
        except OSError:
            return
        yield offset
        offset += MIB


MADE = (
    Made("ext2", "ext2", ("mkfs.ext4", "-q", "-t", "ext2")),
    Made("ext3", "ext3", ("mkfs.ext4", "-q", "-t", "ext3")),
    Made("ext4", "ext4", ("mkfs.ext4", "-q")),
    Made("ext4", "ext4", ("mkfs.ext4", "-q", "-b", "1024"), "1k"),
    Made("ext4dev", "ext4", ("mkfs.ext4", "-q", "-E", "test_fs")),
    Made("jbd", "jbd", ("mkfs.ext4", "-q", "-O", "journal_dev", "{device}", "4096"), head_only=1),
    Made("xfs", "xfs", ("mkfs.xfs", "-q")),
    Made("btrfs", "btrfs", ("mkfs.btrfs", "-q")),
    Made("f2fs", "f2fs", ("mkfs.f2fs", "-q")),
    Made("jfs", "jfs", ("mkfs.jfs", "-q"), at_end=True),
    Made("exfat", "exfat", ("mkfs.exfat",), head_only=4),
    Made("vfat", "vfat", ("mkfs.vfat", "-F", "32"), "32", head_only=2),
    Made("vfat", "vfat", ("mkfs.vfat", "-F", "16"), "16", head_only=1),
    Made("ntfs", "ntfs", ("mkfs.ntfs", "-Q", "-q", "-F"), at_end=True),
    Made("nilfs2", "nilfs2", ("mkfs.nilfs2", "-q"), at_end=True),
    Made("reiserfs", "reiserfs", ("mkfs.reiserfs", "-q", "-f")),
    Made("reiser4", "reiser4", ("mkfs.reiser4", "-y", "-f"), at_end=True),
    Made("udf", "udf", ("mkudffs",), at_end=True),
    Made("minix", "minix", ("mkfs.minix", "-3")),
    Made("minix", "minix", ("mkfs.minix", "-1"), "1", head_only=1),
    Made("gfs2", "gfs2", ("mkfs.gfs2", "-q", "-O", "-p", "lock_nolock", "-j", "1")),
    *(
        Made("ocfs2", "ocfs2", ("mkfs.ocfs2", "-q", "-F", "-x", "-M", "local", "-b", size), size)
        for size in ("512", "1024", "2048", "4096")
    ),
    Made("hfs", "hfs", ("hformat", "-f"), at_end=True),
    Made("ufs", "ufs", ("makefs", "-t", "ffs", "-s", "16m", "{image}", "{directory}"), "1"),
    Made("ufs", "ufs", ("makefs", "-t", "ffs", "-o", "version=2", "-s", "16m", "{image}", "{directory}"), "2"),
    Made("bfs", "bfs", ("mkfs.bfs",), head_only=1),
    Made("squashfs", "squashfs", ("mksquashfs", "{directory}", "{image}", "-noappend"), head_only=1),
    Made("erofs", "erofs", ("mkfs.erofs", "{image}", "{directory}"), head_only=1),
    Made("iso9660", "iso9660", ("genisoimage", "-quiet", "-o", "{image}", "{directory}"), head_only=1),
    Made("cramfs", "cramfs", ("mkfs.cramfs", "{directory}", "{image}"), head_only=1),
    Made("romfs", "romfs", ("genromfs", "-f", "{image}", "-d", "{directory}"), head_only=1),
    Made(
        "ubifs",
        "ubifs",
        ("mkfs.ubifs", "-r", "{directory}", "-m", "2048", "-e", "126976", "-c", "100", "-o", "{image}"),
        head_only=2,
    ),
    Made("swap", "swap", ("mkswap",), head_only=1),
    Made(
        "crypto_LUKS",
        "luks1",
        ("cryptsetup", "luksFormat", "-q", "--type", "luks1", *LUKS, "{device}"),
        "1",
        head_only=2,
    ),
    Made(
        "crypto_LUKS",
        "luks2",
        ("cryptsetup", "luksFormat", "-q", "--type", "luks2", "--pbkdf", "pbkdf2", *LUKS, "{device}"),
        "2",
    ),
    Made("DM_verity_hash", "verity", ("veritysetup", "format", "{directory}/file", "{device}"), head_only=1),
    Made("LVM2_member", "lvm2", ("pvcreate", "-q", "-y"), head_only=1),
    Made("LVM2_member", "lvm2", ("pvcreate", "-q", "-y", "--metadatacopies", "2"), "two copies", at_end=True),
    # On a device, these would announce partitions to the kernel, which keeps them when the file is detached.
    Made("gpt", "gpt", ("parted", "-s", "{disk}", "mklabel", "gpt"), at_end=True),
    *(
        Made(known_as, known_as, ("parted", "-s", "{disk}", "mklabel", label), head_only=1)
        for known_as, label in (("dos", "msdos"), ("mac", "mac"), ("sun", "sun"), ("sgi", "dvh"))
    ),
)


def encrypt(device: str, key: bytes, *, uuid: str) -> None:
    """Write a header of this driver to a device or file, whose content is not prepared."""
    with luks_header.new(key, uuid=uuid) as header:
        luks_header.write(Disposable(device), header)


def slot_of(device: str, key: bytes) -> int | None:
    """The key slot on a device or file that the key opens."""
    with luks_header.read(device) as header:
        return luks_header.slot_of(header, key)


def add_key(device: str, key: bytes, added: bytes) -> None:
    with luks_header.read(device) as header:
        luks_header.add_key(header, key, added)
        luks_header.store(device, header)
