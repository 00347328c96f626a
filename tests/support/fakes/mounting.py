"""A Cinder driver that mounts a share below its state directory when it is set up, as those of NFS and its kind do, and leaves it there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cinder import interface
from cinder.volume import configuration
from oslo_config import cfg

from csi_cinderlib.host import mounts
from tests.support.fakes.nothing import OPTIONS, NothingDriver

MOUNT_OPTIONS = [cfg.StrOpt("nothing_share", default="", help="A directory to bind, or 'tmpfs'.")]
cfg.CONF.register_opts(MOUNT_OPTIONS, group=configuration.SHARED_CONF_GROUP)


@interface.volumedriver
class MountingDriver(NothingDriver):
    """See the module; it also writes a file to the share."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.configuration.append_config_values(MOUNT_OPTIONS)

    @staticmethod
    def get_driver_options() -> list[Any]:
        return [*OPTIONS, *MOUNT_OPTIONS]

    def do_setup(self, context: Any) -> None:
        super().do_setup(context)
        target = Path(cfg.CONF.state_path) / "mnt" / "share"
        target.mkdir(parents=True, exist_ok=True)
        share = self.configuration.nothing_share
        if share == "tmpfs":
            mounts.mount("none", str(target), "tmpfs")
        else:
            mounts.bind(share, str(target))
        (target / "volume").write_text("of this driver")
