"""Inspect all drivers of the installed Cinder: `python -m csi_cinderlib.cinder.inspection` prints the catalogue.

Loads hundreds of modules; use a separate process.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import itertools
import logging
import pickle
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from csi_cinderlib.backend.catalogue import Catalogue, Driver, Option, to_json
from csi_cinderlib.cinder import loading
from csi_cinderlib.cinder.runtime import Runtime
from csi_cinderlib.config.settings import BackendSettings
from csi_cinderlib.errors import DriverError
from csi_cinderlib.host import removal
from csi_cinderlib.observe.redact import is_secret_key

OURS = "csi_cinderlib.drivers.loopfile"
FRONT_DOORS = ("cinder.volume.drivers.netapp.common.NetAppDriver",)
"""Classes that select one of several drivers; vendors document them as `volume_driver`."""
_KEY = re.compile(r"(private|auth|access|api)_?key$")
_TYPES = {
    "String": "text",
    "Integer": "whole number",
    "Float": "number",
    "Boolean": "true or false",
    "List": "list",
    "Dict": "mapping",
    "Port": "port",
    "IPAddress": "address",
    "HostAddress": "address",
    "HostDomain": "address",
    "Hostname": "address",
    "URI": "URL",
    "MultiString": "text",
    "Range": "range",
}


def modules() -> Iterator[str]:
    """All modules below cinder.volume.drivers, where some packages have no __init__.py."""
    import cinder.volume.drivers

    root = Path(cinder.volume.drivers.__path__[0])
    for file in sorted(root.rglob("*.py")):
        parts = file.relative_to(root).with_suffix("").parts
        yield ".".join(("cinder.volume.drivers", *parts)).removesuffix(".__init__")


def classes() -> list[Any]:
    """The concrete drivers, csi-cinderlib's last. Cinder also registers base classes, which have registered subclasses."""
    from cinder import interface
    from cinder.volume import driver

    for name in itertools.chain(modules(), [OURS]):
        importlib.import_module(name)
    registered = {f"{cls.__module__}.{cls.__name__}": cls for cls in interface._volume_register}

    def is_base(cls: Any) -> bool:
        has_heirs = any(issubclass(other, cls) and other is not cls for other in registered.values())
        connects = getattr(cls, "initialize_connection", None) is not driver.VolumeDriver.initialize_connection
        return has_heirs and ("Base" in cls.__name__ or not connects)

    ours = [path for path in registered if path.startswith("csi_cinderlib.")]
    theirs = sorted(path for path in registered if path.startswith("cinder.volume.drivers."))
    return [registered[path] for path in (*theirs, *ours) if not is_base(registered[path])]


def catalogue() -> Catalogue:
    """The catalogue of the installed Cinder."""
    with removal.temporary_directory("csi-cinderlib-inspection-") as directory:
        runtime = Runtime(directory)
        runtime.start()
        from cinder.volume import driver

        manager = sys.modules["cinder.volume.manager"]
        lists = [getattr(driver, name) for name in dir(driver) if name.endswith("_opts")]
        common = {option.dest: option for option in itertools.chain(*lists, manager.volume_backend_opts)}
        common.pop("volume_driver", None)
        found = {f"{cls.__module__}.{cls.__name__}": cls for cls in classes()}
        for path in FRONT_DOORS:
            module, _, name = path.rpartition(".")
            found[path] = getattr(importlib.import_module(module), name)
        drivers = [_driver(cls, path, _own(cls, path, runtime, common)) for path, cls in found.items()]
        runtime.close()
    ordered = sorted(drivers, key=lambda driver: (driver.path.startswith("csi_cinderlib."), driver.path))
    return Catalogue(version("cinder"), tuple(ordered), tuple(_options(common.values())))


def _own(cls: Any, path: str, runtime: Runtime, common: Mapping[str, Any]) -> list[Any]:
    found = {option.dest: option for option in [*_registered(path, runtime), *_listed(cls)]}
    return [option for name, option in found.items() if name not in common and name != "volume_driver"]


def _driver(cls: Any, path: str, options: list[Any]) -> Driver:
    return Driver(
        path=path,
        summary=_first_sentence(cls.__doc__ or ""),
        version=str(getattr(cls, "VERSION", "") or ""),
        supported=bool(getattr(cls, "SUPPORTED", True)),
        retype=loading.class_overrides(cls, "retype"),
        options=tuple(_options(options)),
    )


def _listed(cls: Any) -> list[Any]:
    return loading.own_options(cls)


def _registered(path: str, runtime: Runtime) -> list[Any]:
    """The options that the driver registers in its constructor; most drivers need no options for that."""
    from oslo_config import cfg

    settings = BackendSettings(name=f"inspected-{path.rpartition('.')[2]}", driver=path, options=_door_options(path))
    section = runtime.add_section(settings)
    try:
        with contextlib.suppress(DriverError):
            loading.construct(settings, runtime, section, is_empty=True)
        group = cfg.CONF._get_group(section)
        return [entry["opt"] for entry in group._opts.values()]
    finally:
        runtime.remove_section(section)


def _door_options(path: str) -> dict[str, object]:
    return {"netapp_storage_protocol": "iscsi"} if path in FRONT_DOORS else {"enable_unsupported_driver": True}


def _first_sentence(text: str) -> str:
    first = " ".join(text.strip().split("\n\n")[0].split())
    return first.partition(". ")[0].rstrip(".")


def _options(options: Iterable[Any]) -> list[Option]:
    return sorted((describe(option) for option in options), key=lambda option: option.name)


def describe(option: Any) -> Option:
    """Convert an option of oslo.config."""
    kind = option.type
    choices = tuple(str(choice) for choice in (getattr(kind, "choices", None) or ()))
    named = type(kind).__name__
    plain = named not in ("Boolean", "Integer", "Float", "Port")
    return Option(
        name=option.dest,
        type="choice"
        if choices
        else "list in brackets"
        if getattr(kind, "bounds", False)
        else _TYPES.get(named, named.lower()),
        default=_default(option),
        help=" ".join((option.help or "").split()),
        minimum=getattr(kind, "min", None),
        maximum=getattr(kind, "max", None),
        choices=choices,
        secret=bool(option.secret) or (plain and (is_secret_key(option.dest) or bool(_KEY.search(option.dest)))),
        required=bool(option.required),
        multiple=bool(getattr(option, "multi", False)),
        deprecated=bool(option.deprecated_for_removal),
        former_names=tuple(
            former.name for former in option.deprecated_opts if former.name and former.name != option.name
        ),
    )


def _default(option: Any) -> Any:
    """The default; values that depend on this host are replaced by those in Cinder's documentation."""
    value = option.sample_default if option.sample_default is not None else option.default
    if value is None or isinstance(value, bool | int | float | str | list | dict):
        return value
    return [str(item) for item in value] if isinstance(value, tuple | set) else str(value)


def supported(output_version: int) -> dict[str, Any]:
    """cinderlib's list of drivers, see `cinderlib.list_supported_drivers`."""
    from oslo_config import cfg

    found = {}
    keyring = cfg.StrOpt(loading.RBD_KEYRING, default="", help=loading.RBD_KEYRING_HELP)
    for cls in classes():
        options = [option for option in _listed(cls) if option.dest != loading.RBD_KEYRING]
        options += [keyring] if cls.__name__ == "RBDDriver" else []
        found[cls.__name__] = {
            "desc": cls.__doc__,
            "class_name": cls.__name__,
            "class_fqn": f"{cls.__module__}.{cls.__name__}",
            "version": getattr(cls, "VERSION", None),
            "ci_wiki_name": getattr(cls, "CI_WIKI_NAME", None),
            "supported": getattr(cls, "SUPPORTED", True),
            "driver_options": [_as_mapping(option, output_version) for option in options],
        }
    return found


def _as_mapping(option: Any, output_version: int) -> dict[str, Any]:
    values = {name: value for name, value in vars(option).items() if not name.startswith("_")}
    if output_version == 1:
        return {name: str(value) for name, value in values.items()}
    kind = values["type"]
    details = {name: value for name, value in vars(kind).items() if not name.startswith("_")}
    return {**values, "type": {**details, "type_class": kind}}


def main() -> None:
    """Print the catalogue as JSON, or `list_supported_drivers` as a pickle."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--supported", type=int, metavar="VERSION", help="the answer of list_supported_drivers, pickled"
    )
    args = parser.parse_args()
    logging.disable(logging.CRITICAL)
    if args.supported:
        from csi_cinderlib.cinder.runtime import load_cinder

        load_cinder()
        sys.stdout.buffer.write(pickle.dumps(supported(args.supported)))
    else:
        print(to_json(catalogue()), end="")


if __name__ == "__main__":
    main()
