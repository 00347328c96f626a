"""Host software that may activate tenants' data on raw volumes: LVM, md and udisks."""

from __future__ import annotations

import re
from collections.abc import Iterator

from csi_cinderlib.commands.examination.findings import Finding, note, ok, unknown
from csi_cinderlib.commands.examination.host import HIDDEN, Host

_REJECTS_ALL = re.compile(r"r(?P<mark>[^\w\s])\.\*(?P=mark)")
"""An LVM filter item that rejects all devices."""


def examine(host: Host) -> Iterator[Finding]:
    if host.files is None:
        yield unknown("LVM, md, udisks", f"not checked: {HIDDEN}", "run it on the host, or in the node's pod")
        return
    udisksd = ("lib/udisks2/udisksd", "libexec/udisks2/udisksd")
    for what, programs, advice, page in (
        ("LVM", ("sbin/lvm",), _lvm_advice, "docs/how-to/harden-a-host.md#lvm"),
        ("md", ("sbin/mdadm",), _md_advice, "docs/how-to/harden-a-host.md#md-software-raid"),
        ("udisks", udisksd, _udisks_advice, "docs/how-to/harden-a-host.md#automounters-and-udev-rules"),
    ):
        places = [host.files / folder / program for folder in ("usr", "") for program in programs]
        if not any(place.exists() for place in places):
            yield ok(what, "is not installed on the host")
        elif clause := advice(host):
            yield note(what, clause, f"see {page}")
        else:
            yield ok(what, "does not activate tenants' volumes")


def _lvm_advice(host: Host) -> str:
    text = "\n".join(host.host_text(f"etc/lvm/{name}") or "" for name in ("lvm.conf", "lvmlocal.conf"))
    return lvm_advice(text, has_devices_file=host.host_text("etc/lvm/devices/system.devices") is not None)


def lvm_advice(text: str, *, has_devices_file: bool) -> str:
    """Why LVM would activate tenants' volume groups; "" if its configuration prevents that.

    Args:
        text: lvm.conf followed by lvmlocal.conf, which takes precedence.
        has_devices_file: /etc/lvm/devices/system.devices exists.
    """
    uses = r"(?:devices/)?use_devicesfile\s*=\s*(\d)"
    # Without a setting, the distribution's default applies, which the file contains as a comment.
    values = re.findall(rf"^\s*{uses}", text, re.MULTILINE) or re.findall(rf"^\s*#\s*{uses}", text, re.MULTILINE)
    if has_devices_file and values and values[-1] == "1":
        return ""
    filters = re.findall(r"^\s*(?:devices/)?global_filter\s*=\s*(\[[^\]]*\]|\"[^\"]*\")", text, re.MULTILINE)
    items = re.findall(r'"([^"]*)"', filters[-1]) if filters else []
    if items and _REJECTS_ALL.fullmatch(items[-1]):
        return ""
    return "scans all devices for volume groups: list the host's own devices in a devices file, or end global_filter with r|.*|"


def _md_advice(host: Host) -> str:
    return md_advice("\n".join(host.host_text(name) or "" for name in ("etc/mdadm/mdadm.conf", "etc/mdadm.conf")))


def md_advice(text: str) -> str:
    """Why mdadm would assemble tenants' arrays; "" if mdadm.conf forbids all arrays that it does not list. Keywords need three letters."""
    words = re.findall(r"^auto?\s+(\S+)", text, re.MULTILINE | re.IGNORECASE)
    return "" if words[:1] == ["-all"] else "assembles arrays on new disks: add `AUTO -all` to mdadm.conf"


def _udisks_advice(_host: Host) -> str:
    return "lets users mount file systems on new disks: remove it, or mask udisks2.service"
