"""Convert the back ends of a cinder.conf to YAML."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml


def convert(cinder_source: str, yaml_dest: str | None = None) -> dict[str, list[dict[str, Any]]]:
    """Return the arguments of `Backend` for each enabled back end, as `{"backends": [...]}`.

    Args:
        cinder_source: the path of the cinder.conf.
        yaml_dest: where to write them as well. A new file is readable for its owner only, since it contains passwords.

    Raises:
        FileNotFoundError: there is no such cinder.conf.
        ConfigurationError: it has no back ends, or one of them cannot be converted.
    """
    if not Path(cinder_source).exists():
        raise FileNotFoundError(f"Cinder config file {cinder_source} doesn't exist")
    from csi_cinderlib.cinder import cinder_conf_values

    result = {"backends": cinder_conf_values.backends(Path(cinder_source))}
    if yaml_dest:
        write(yaml_dest, yaml.safe_dump(result))
    return result


def write(path: str, text: str) -> None:
    """Write a file with passwords."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
