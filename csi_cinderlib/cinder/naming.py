"""Option names: Cinder's spelling, and suggestions for unknown names."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from csi_cinderlib.backend import catalogue
from csi_cinderlib.config.settings import BackendSettings
from csi_cinderlib.errors import Problems

_LONGEST = 3
"""The maximum number of suggestions and drivers in a message."""
_SERVICES = "it configures Cinder services that do not run here"
_IMAGES = "csi-cinderlib does not create or cache images"
_ZONING = "csi-cinderlib does not manage Fibre Channel zones; use the fabric's tools"
_IDLE: Mapping[str, str] = {
    "backend_availability_zone": "use the back end's `topology` instead",
    "backend_host": "csi-cinderlib sets Cinder's host name",
    "backup_use_temp_snapshot": "csi-cinderlib does not make backups",
    "host": "csi-cinderlib sets Cinder's host name",
    "cluster": "only one controller is active at a time",
    "rootwrap_config": "driver commands run with the privileges of this process",
    "state_path": "drivers store their files in the state directory",
    "storage_availability_zone": "use the back end's `topology` instead",
    "image_volume_cache_enabled": _IMAGES,
    "image_volume_cache_max_count": _IMAGES,
    "image_volume_cache_max_size_gb": _IMAGES,
    "image_upload_use_cinder_backend": _IMAGES,
    "image_upload_use_internal_tenant": _IMAGES,
    "volume_driver": "use the back end's `driver` instead",
    "zoning_mode": _ZONING,
    "fc_fabric_names": _ZONING,
    "fc_san_lookup_service": _ZONING,
    "zone_driver": _ZONING,
    "zoning_policy": _ZONING,
    **dict.fromkeys(
        "enabled_backends default_volume_type default_group_type default_availability_zone allow_availability_zone_fallback"
        " allow_compression_on_image_upload api_rate_limit auth_strategy cloned_volume_same_az compression_format"
        " debug enable_force_upload enable_new_services image_compress_on_upload image_conversion_dir image_conversion_disable"
        " init_host_max_objects_retrieval no_snapshot_gb_quota per_volume_size_limit periodic_fuzzy_delay periodic_interval"
        " backend_stats_polling_interval migration_create_volume_timeout_secs reinit_driver_count"
        " report_interval service_down_time snapshot_same_host transport_url verify_glance_signatures"
        " volume_service_inithost_offload volume_transfer_key_length volume_transfer_salt_length".split(),
        _SERVICES,
    ),
}
_IDLE_PREFIXES = (
    "backup_", "glance_", "osapi_", "quota_", "scheduler_", "rpc_", "cinder_internal_tenant_", "log_", "logging_", "use_syslog",
)  # fmt: skip


def by_name(settings: BackendSettings) -> Mapping[str, object]:
    """The options by Cinder's names, with underscores for dashes. Options without a value are left out.

    Raises:
        ConfigurationError: an option is set twice with different spellings.
    """
    found: dict[str, str] = {}
    problems = Problems()
    for key in settings.options:
        other = found.setdefault(key.replace("-", "_"), key)
        if other != key:
            problems.add(
                f"backends.{settings.name}.options.{key}",
                f"is another name of option {other}, which is also set; remove one",
            )
    problems.raise_all()
    return {name: settings.options[key] for name, key in found.items() if settings.options[key] is not None}


def why_idle(name: str) -> str:
    """Why an option of Cinder's services has no effect here; "" for other options."""
    return _IDLE.get(name) or (_SERVICES if name.startswith(_IDLE_PREFIXES) else "")


def of_vendor(driver: str) -> frozenset[str]:
    """The options of all drivers of the vendor: some drivers register theirs only after their protocol is known."""
    known = catalogue.load()
    vendor = f"{driver.rpartition('.')[0].removeprefix('cinder.volume.drivers.').partition('.')[0]}."
    drivers = [driver for driver in known.drivers if f"{driver.module}.".startswith(vendor)]
    return frozenset(
        name
        for driver in drivers
        for option in (*driver.options, *known.common)
        for name in (option.name, *option.former_names)
    )


def is_of_any(name: str) -> bool:
    """Whether any driver has this option."""
    known = catalogue.load()
    return bool(_drivers_with(name)) or any(name in (option.name, *option.former_names) for option in known.common)


def unknown(name: str, known: Collection[str]) -> str:
    """The problem of an option that the driver does not have, as a clause."""
    if others := _drivers_with(name):
        named = ", ".join(others) if len(others) <= _LONGEST else f"{len(others)} other drivers"
        return f"is not an option of this driver; it is an option of {named}"
    near = _near(name, known)
    return "is not an option of this driver" + (f"; did you mean {' or '.join(near)}?" if near else "")


def _drivers_with(name: str) -> list[str]:
    return sorted(
        {
            driver.name
            for driver in catalogue.load().drivers
            if any(name in (option.name, *option.former_names) for option in driver.options)
        }
    )


def _near(name: str, known: Iterable[str]) -> list[str]:
    """Names with a small typing error, or with a missing or additional word; nearest first."""
    words = set(name.split("_"))
    rated = sorted((distance(name, other), other) for other in known)
    by_slip = [other for steps, other in rated if steps <= max(1, len(name) // 6)]
    by_word = [other for _, other in rated if _is_within(words, set(other.split("_")))]
    return list(dict.fromkeys([*by_slip, *by_word]))[:_LONGEST]


def _is_within(one: set[str], other: set[str]) -> bool:
    return min(len(one), len(other)) > 1 and len(one ^ other) <= 1 and (one <= other or other <= one)


def distance(one: str, other: str) -> int:
    """The edit distance: letters to add, remove, replace or swap with a neighbour to turn `one` into `other`."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for number, letter in enumerate(one):
        new = [number + 1]
        for index, theirs in enumerate(other):
            steps = min(row[index + 1] + 1, new[index] + 1, row[index] + (letter != theirs))
            if number and index and letter == other[index - 1] and one[number - 1] == theirs:
                steps = min(steps, before[index - 1] + 1)
            new.append(steps)
        before, row = row, new
    return row[-1]
