"""What the fake arrays have in common."""

from __future__ import annotations

from typing import Any, ClassVar

from cinder.volume import driver


class Recording:
    """Comes before a driver in the order of its bases. The driver's own constructor, which would connect to an array, is skipped.

    Attributes:
        found: the properties of the volume on the array, in the notation of classes.
        refuses: the array refuses each change.
        location: part of the report of the pool.
    """

    location: ClassVar[Any] = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        driver.BaseVD.__init__(self, *args, **kwargs)
        self.found: dict[str, str] = {}
        self.volumes: list[str] = []
        self.refuses = False
        self.connect_array()

    def connect_array(self) -> None:
        """Set the client."""
        raise NotImplementedError

    @classmethod
    def prepare(cls, patch: Any) -> None:
        """Replace what the driver imports, with pytest's monkeypatch."""

    def do_setup(self, context: Any) -> None:
        pass

    def check_for_setup_error(self) -> None:
        pass

    def create_volume(self, volume: Any) -> dict[str, Any]:
        self.volumes.append(volume.id)
        return {"provider_location": "5"}

    def update_provider_info(self, volumes: Any, snapshots: Any) -> tuple[None, None]:
        return None, None

    def get_volume_stats(self, refresh: bool = False) -> dict[str, Any]:
        pool = {
            "pool_name": "one",
            "total_capacity_gb": 100,
            "free_capacity_gb": 100,
            "location_info": self.location,
            "QoS_support": True,
        }
        return {"volume_backend_name": "fake", "storage_protocol": "nothing", "pools": [pool]}
