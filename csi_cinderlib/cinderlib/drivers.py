"""The available drivers and their options."""

from __future__ import annotations

from csi_cinderlib.cinderlib.results import DriverDescription


def list_supported_drivers(output_version: int = 1) -> dict[str, DriverDescription]:
    """All drivers by class name: class path, version, support status, description and options.

    A separate process loads them, which takes some seconds.

    Args:
        output_version: 1 returns all option values as text. 2 keeps their types and describes an option's type by a mapping.

    Raises:
        ValueError: the version is not supported.
        ConfigurationError: Cinder is not installed.
    """
    if output_version not in (1, 2):
        raise ValueError("Acceptable versions are 1 and 2")
    from csi_cinderlib.backend import catalogue
    from csi_cinderlib.config.installation import require_cinder

    require_cinder()
    return catalogue.described_in_another_process(output_version)
