"""The kernel's own iSCSI target, set up directly: for what a back end would never do, a LUN reused behind our back say."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import rtslib_fb

from tests.guest.inside.shell import modprobe, mounted

TOOL = Path("/usr/local/sbin/cinder-rtstool")


def prepare() -> None:
    """The target's modules, configfs, and the folders that its library wants."""
    modprobe("configfs")
    mounted(Path("/sys/kernel/config"), "configfs")
    modprobe("target_core_mod", "target_core_iblock", "target_core_file", "iscsi_target_mod")
    for folder in ("/etc/target/pr", "/etc/target/alua", "/var/target"):
        Path(folder).mkdir(parents=True, exist_ok=True)


def quick_tool() -> None:
    """Let the driver's `cinder-rtstool` start in half the time: Cinder's own program, less eventlet, which it never uses.

    The driver runs it eleven times in the life of an attachment, and starting a Python takes long in a guest.
    """
    packages = Path(rtslib_fb.__file__).parents[1]
    TOOL.write_text(
        f"#!{sys.executable} -IS\n"
        "import sys, types\n"
        f"sys.path.insert(0, {str(packages)!r})\n"
        "sys.modules['eventlet'] = types.ModuleType('eventlet')\n"
        "from cinder.cmd.rtstool import main\n"
        "sys.exit(main())\n"
    )
    TOOL.chmod(0o755)


class Target:
    """One target. Every initiator may log in, by CHAP when credentials are given."""

    def __init__(self, iqn: str, portals: Sequence[str], *, chap: tuple[str, str] | None = None) -> None:
        prepare()
        self.iqn = iqn
        self._target = rtslib_fb.Target(rtslib_fb.FabricModule("iscsi"), iqn)
        self._group = rtslib_fb.TPG(self._target, 1)
        for name, value in {"generate_node_acls": 1, "demo_mode_write_protect": 0, "cache_dynamic_acls": 1}.items():
            self._group.set_attribute(name, str(value))
        self._group.set_attribute("authentication", "1" if chap else "0")
        if chap:
            self._group.chap_userid, self._group.chap_password = chap
        for portal in portals:
            address, _, port = portal.partition(":")
            rtslib_fb.NetworkPortal(self._group, address, int(port or 3260))
        self._group.enable = True

    def map(self, lun: int, device: str, *, name: str) -> None:
        """Offer a device under this number; `name` decides its serial number, so the same name is the same disk."""
        storage = rtslib_fb.BlockStorageObject(name, dev=device)
        rtslib_fb.LUN(self._group, lun, storage)

    def unmap(self, lun: int) -> None:
        """Take it away, without a word to the initiators."""
        for offered in self._group.luns if self.iqn in targets() else ():
            if offered.lun == lun:
                storage = offered.storage_object
                offered.delete()
                storage.delete()

    def delete(self) -> None:
        if self.iqn not in targets():
            return
        for lun in [offered.lun for offered in self._group.luns]:
            self.unmap(lun)
        self._target.delete()


def targets() -> set[str]:
    """Names of the targets that this machine offers."""
    return {target.wwn for target in rtslib_fb.root.RTSRoot().targets}
