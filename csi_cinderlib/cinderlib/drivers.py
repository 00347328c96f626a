"""The drivers that can be used, with their options."""

from __future__ import annotations

from typing import Any


def list_supported_drivers(output_version: int = 1) -> dict[str, Any]:
    """Every driver by the name of its class: class path, version, whether it is supported, description and options.

    Another process loads them all, which takes some seconds.

    Args:
        output_version: 1 gives all values of options as text, for people. 2 keeps their types, and describes an option's type
            by a mapping.

    Raises:
        ValueError: there is no such version.
    """
    if output_version not in (1, 2):
        raise ValueError("Acceptable versions are 1 and 2")
    from csi_cinderlib.backend import catalogue

    return catalogue.described_in_another_process(output_version)
