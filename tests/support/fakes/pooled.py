"""A Cinder driver of an array with pools that refuses what does not fit in: to the byte, and not by what it reported."""

from __future__ import annotations

from typing import Any

from cinder import exception, interface
from cinder.volume import configuration, volume_utils
from oslo_config import cfg

from tests.support.fakes.nothing import OPTIONS, NothingDriver

POOL_OPTIONS = [
    cfg.ListOpt(
        "nothing_sized_pools",
        default=["one:100:0"],
        help="Pools as NAME:TOTAL:USED[:thick], sizes in GiB. What is used belongs to others, and does not count as promised.",
    ),
    cfg.StrOpt("nothing_ratio", default="2", help="How often a thin pool may be promised."),
    cfg.IntOpt("nothing_reserved", default=0, help="Percentage of each pool that stays free."),
]
cfg.CONF.register_opts(POOL_OPTIONS, group=configuration.SHARED_CONF_GROUP)
GIB = 1024**3


@interface.volumedriver
class PooledDriver(NothingDriver):
    """See the module. A thin volume takes no space, a thick one all of it at once."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.configuration.append_config_values(POOL_OPTIONS)
        self.placed: dict[str, tuple[str, int, bool]] = {}
        """The pool, the GiB, and whether it is thin, by the volume's id."""

    @staticmethod
    def get_driver_options() -> list[Any]:
        return [*OPTIONS, *POOL_OPTIONS]

    def _pools(self) -> dict[str, tuple[float, float, bool]]:
        """Total and used GiB, and whether it is thin."""
        pools = [text.split(":") for text in self.configuration.nothing_sized_pools]
        return {name: (float(total), float(used), not kind) for name, total, used, *kind in pools}

    def _promised(self, pool: str, *, thick_only: bool = False) -> int:
        return sum(size for name, size, thin in self.placed.values() if name == pool and not (thick_only and thin))

    def get_volume_stats(self, refresh: bool = False) -> dict[str, Any]:
        report = super().get_volume_stats(refresh)
        common = {key: report["pools"][0][key] for key in ("multiattach", "QoS_support", "online_extend_support")}
        pools = [
            {
                **common,
                "pool_name": name,
                "total_capacity_gb": total,
                "free_capacity_gb": total - used - self._promised(name, thick_only=True),
                "provisioned_capacity_gb": self._promised(name),
                "thin_provisioning_support": thin,
                "thick_provisioning_support": True,
                "max_over_subscription_ratio": self.configuration.nothing_ratio,
                "reserved_percentage": self.configuration.nothing_reserved,
            }
            for name, (total, used, thin) in self._pools().items()
        ]
        return {**report, "pools": pools}

    def create_volume(self, volume: Any) -> dict[str, Any]:
        pool = volume_utils.extract_host(volume.host, level="pool")
        total, used, thin = self._pools()[pool]
        specs = volume.volume_type.extra_specs if volume.volume_type else {}
        thin = thin and specs.get("provisioning:type") != "thick"
        reserved = int(total * self.configuration.nothing_reserved / 100)
        if thin:
            room = (total - reserved) * float(self.configuration.nothing_ratio) - self._promised(pool)
        else:
            free = total - used - self._promised(pool, thick_only=True)
            room = min(total - reserved - self._promised(pool), free)
        if volume.size * GIB > int(room * GIB):
            raise exception.VolumeBackendAPIException(data=f"pool {pool} has room for {int(room * GIB)} bytes")
        self.placed[volume.id] = (pool, volume.size, thin)
        return super().create_volume(volume)

    def delete_volume(self, volume: Any) -> None:
        self.placed.pop(volume.id, None)
        super().delete_volume(volume)
