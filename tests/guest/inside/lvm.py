"""A volume group on the guest's own disk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.guest.inside.shell import modprobe, require, run, settle

GROUP, THIN, THICK = "cinder-volumes", "cinder-thin", "cinder-thick"


def prepare() -> None:
    """Modules and settings: no monitoring daemon runs in a guest, but udev does."""
    require("vgcreate", "thin_check")
    modprobe("dm-mod", "dm-thin-pool", "dm-snapshot")
    # Volumes are cleared at their heads only, which is quicker: what an old one has in its middle may be the head of a new one.
    Path("/etc/lvm/lvmlocal.conf").write_text(
        "activation {\n monitoring = 0\n udev_sync = 1\n}\nallocation {\n wipe_signatures_when_zeroing_new_lvs = 0\n}\n"
    )


@contextmanager
def volume_group(device: str = "/dev/ubda", name: str = GROUP) -> Iterator[str]:
    prepare()
    run("pvcreate", "-qq", "-ff", "-y", device)
    run("vgcreate", "-qq", name, device)
    try:
        yield name
    finally:
        settle()
        run("vgremove", "-qq", "-ff", "-y", name)
        run("pvremove", "-qq", "-y", device)


@contextmanager
def logical_volume(group: str, name: str, size: str = "1G") -> Iterator[str]:
    """A thick volume, read as zeros; yields its device."""
    run("lvcreate", "-qq", "-y", "-Wy", "-Zy", "-L", size, "-n", name, group)
    device = f"/dev/{group}/{name}"
    run("blkdiscard", "--zeroout", device)
    try:
        yield device
    finally:
        settle()
        run("lvremove", "-qq", "-f", f"{group}/{name}")


def volumes(group: str) -> set[str]:
    """Names of the logical volumes that exist."""
    return set(run("lvs", "--noheadings", "-o", "lv_name", group).split())
