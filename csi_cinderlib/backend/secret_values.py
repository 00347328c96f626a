"""All secrets of a back end: in its options, and in the files that its driver reads."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from pathlib import Path
from xml.etree import ElementTree

from csi_cinderlib.config import option_paths
from csi_cinderlib.config.settings import BackendSettings
from csi_cinderlib.errors import ConfigurationError
from csi_cinderlib.model.verbatim import Verbatim
from csi_cinderlib.observe import redact

FILES: Mapping[str, tuple[str, str]] = {
    "cinder_huawei_conf_file": ("cinder.volume.drivers.huawei.huawei_driver.", "/etc/cinder/cinder_huawei_conf.xml"),
    "cinder_eternus_config_file": ("cinder.volume.drivers.fujitsu.", "/etc/cinder/cinder_fujitsu_eternus_dx.xml"),
    "vrts_target_config": ("cinder.volume.drivers.veritas_access.", "/etc/cinder/vrts_target.xml"),
    "rbd_keyring_conf": ("cinder.volume.drivers.rbd.", ""),
}
"""Options that name a file with secrets: the drivers that read the file, and its default path."""
_ENCODED = "!$$$"
"""The prefix of base64 text written by Huawei's driver."""
_LARGEST = 1 << 20
"""The bytes read of a file."""


def of_options(settings: BackendSettings) -> Iterator[str]:
    """The secret values of the options: by their names, and by their origin."""
    yield from redact.secrets_in(settings.options)
    for name in settings.origins:
        yield from redact.all_in(settings.options.get(name))


def of(settings: BackendSettings) -> Iterator[str]:
    """The values to hide in logs, errors and events. Ignores an unreadable file: the driver reports it."""
    yield from of_options(settings)
    given = {key.replace("-", "_"): value for key, value in settings.options.items()}
    for name, (drivers, default) in FILES.items():
        value = given.get(name) or default
        if isinstance(value, str) and value and settings.driver.startswith(drivers):
            yield from _in_file(settings, name, value)


def _in_file(settings: BackendSettings, name: str, value: str) -> Iterator[str]:
    try:
        path = option_paths.located(settings, name, value)
        with Path(path.resolved if isinstance(path, Verbatim) else path).open("rb") as file:
            content = file.read(_LARGEST)
    except (ConfigurationError, OSError, ValueError):
        return
    if name.endswith("keyring_conf"):
        yield from redact.secrets_in({"keyring": content.decode(errors="replace")})
    else:
        yield from _in_xml(content)


def _in_xml(content: bytes) -> Iterator[str]:
    try:
        elements = list(ElementTree.fromstring(content).iter())  # noqa: S314  # its driver reads the same file
    except (ElementTree.ParseError, ValueError):
        return
    for element in elements:
        found = {**element.attrib, element.tag: element.text or ""}
        for secret in redact.secrets_in(found):
            yield secret
            if secret.startswith(_ENCODED):
                yield from _decoded(secret.removeprefix(_ENCODED))


def _decoded(text: str) -> Iterator[str]:
    try:
        yield base64.b64decode(text, validate=True).decode("latin-1")
    except binascii.Error:
        return
