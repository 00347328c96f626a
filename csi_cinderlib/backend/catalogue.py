"""All drivers and their options, read from a file generated from Cinder (`python -m csi_cinderlib.cinder.inspection`).

Reading the file needs no Cinder and saves ten seconds. A test compares it with the installed Cinder.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from csi_cinderlib.backend import libraries, starters
from csi_cinderlib.config.near import unknown
from csi_cinderlib.errors import InvalidRequest

FILE = Path(__file__).with_name("catalogue.json")
ADDRESS = "192.0.2.10"
"""The storage's address in examples; RFC 5737 reserves it for documentation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option of a driver.

    Attributes:
        type: "text", "whole number", "number", "true or false", "list", "mapping", "choice", "port", "address" ...
        default: None is "not set".
        minimum, maximum: bounds of a number, or None.
        secret: marked as secret by Cinder or by its name.
        multiple: may be set several times (a list in YAML).
        deprecated: a later Cinder will remove it.
        former_names: are still accepted.
    """

    name: str
    type: str = "text"
    default: Any = None
    help: str = ""
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    secret: bool = False
    required: bool = False
    multiple: bool = False
    deprecated: bool = False
    former_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Driver:
    """One driver.

    Attributes:
        path: the class path, as in a back end's `driver`.
        summary: the first sentence of its documentation.
        supported: by Cinder; the others need `enable_unsupported_driver: true`.
        module: its module below `cinder.volume.drivers`; it starts with the vendor.
        retype: it implements Cinder's `retype`; `retypes.toml` shows what that does.
        options: its own options; `Catalogue.common` has those of all drivers.
    """

    path: str
    summary: str = ""
    version: str = ""
    supported: bool = True
    retype: bool = False
    options: tuple[Option, ...] = ()

    @property
    def name(self) -> str:
        return self.path.rpartition(".")[2]

    @property
    def module(self) -> str:
        return self.path.rpartition(".")[0].removeprefix("cinder.volume.drivers.")

    @property
    def slug(self) -> str:
        """A file name; unlike the class name it is unique."""
        return f"{self.module}.{self.name}".removeprefix("csi_cinderlib.drivers.").lower().replace("_", "-")

    @property
    def libraries(self) -> tuple[libraries.Library, ...]:
        """Python libraries that it requires in addition to Cinder's own."""
        return libraries.missing(self.path, installed=lambda _module: False)

    def example(self) -> dict[str, Any]:
        """Options for a first configuration: the storage's address, the credentials, and required options."""
        if self.path.startswith("csi_cinderlib."):
            return {"loopfile_directories": ["fast:/srv/fast", "big:/srv/big"]}
        known = {option.name: option for option in self.options}
        chosen = starters.of(f"{self.module}.{self.name}")
        unsupported = {} if self.supported else {"enable_unsupported_driver": True}
        return {**unsupported, **{name: _placeholder(name, text, known.get(name)) for name, text in chosen.items()}}


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All drivers, and the options common to them."""

    cinder: str
    drivers: tuple[Driver, ...]
    common: tuple[Option, ...]

    def find(self, name: str) -> Driver:
        """Find a driver by class path, by module and class, or by class name if unique; case-insensitive.

        Raises:
            InvalidRequest: no driver or several drivers match; lists the candidates.
        """
        wanted = name.lower()
        for spelling in (_path, _place, _class):
            found = [driver for driver in self.drivers if spelling(driver) == wanted]
            if len(found) == 1:
                return found[0]
            if found:
                raise InvalidRequest(
                    "driver", f"ambiguous name {name!r}; did you mean {' or '.join(driver.path for driver in found)}?"
                )
        raise InvalidRequest("driver", unknown("driver", name, {driver.name for driver in self.drivers}))


def _path(driver: Driver) -> str:
    return driver.path.lower()


def _place(driver: Driver) -> str:
    return f"{driver.module}.{driver.name}".lower()


def _class(driver: Driver) -> str:
    return driver.name.lower()


def _placeholder(name: str, text: str, option: Option | None) -> Any:
    """A starter's value as a YAML value."""
    if text == "!":
        return {"file": f"/run/secrets/{name}"}
    value = text.replace("@", ADDRESS)
    if option is not None and (option.type in ("list", "list in brackets") or option.multiple):
        return value.strip("[]").split(",")
    if value in ("true", "false"):
        return value == "true"
    return int(value) if option is not None and option.type in ("whole number", "port") else value


@cache
def load() -> Catalogue:
    """The catalogue of the Cinder version that this release supports."""
    raw = json.loads(FILE.read_text())
    options = [Option(**{**option, "choices": tuple(option.get("choices", ())), "former_names": tuple(option.get("former_names", ()))}) for option in raw["options"]]  # fmt: skip
    drivers = tuple(_driver(driver, options) for driver in raw["drivers"])
    return Catalogue(raw["cinder"], drivers, tuple(options[index] for index in raw["common"]))


def _driver(raw: Mapping[str, Any], options: list[Option]) -> Driver:
    return Driver(**{**raw, "options": tuple(options[index] for index in raw["options"])})


def to_json(catalogue: Catalogue) -> str:
    """The file's text. Each distinct option is stored once and referred to by number; default values are left out."""
    numbers: dict[str, int] = {}

    def numbered(options: Iterable[Option]) -> list[int]:
        return [
            numbers.setdefault(json.dumps(_changed_fields(option), sort_keys=True), len(numbers)) for option in options
        ]

    common = numbered(catalogue.common)
    drivers = [{**_changed_fields(driver), "options": numbered(driver.options)} for driver in catalogue.drivers]
    lines = [f'{{"cinder": {json.dumps(catalogue.cinder)}, "common": {common},', '"drivers": [']
    lines += [",\n".join(json.dumps(driver, sort_keys=True) for driver in drivers), '],\n"options": [']
    return "\n".join([*lines, ",\n".join(numbers), "]}\n"])


def _changed_fields(item: Option | Driver) -> dict[str, Any]:
    fields = type(item).__dataclass_fields__
    values = {name: getattr(item, name) for name in fields if name != "options"}
    return {name: value for name, value in values.items() if value != fields[name].default}


def described_in_another_process(output_version: int) -> dict[str, Any]:
    """The result of `list_supported_drivers`, from a child process, since it loads all drivers."""
    import pickle
    import subprocess
    import sys

    done = subprocess.run(
        # Without warnings of the drivers' libraries, which are about the child.
        [sys.executable, "-W", "ignore", "-m", "csi_cinderlib.cinder.inspection", "--supported", str(output_version)],
        stdout=subprocess.PIPE,
        check=True,
    )
    found: dict[str, Any] = pickle.loads(done.stdout)  # noqa: S301  # from our own child
    return found
