"""The pages about families of arrays, from hand-written facts (`vendors/NAME.toml`) and the catalogue.

The facts are from Cinder's driver documentation and the drivers' code. Drivers, options, examples and protocols come from the catalogue, so that
a name that Cinder 29 does not have is an error here.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from csi_cinderlib.backend.catalogue import Catalogue, Driver, Option
from csi_cinderlib.backend.search import protocols
from csi_cinderlib.commands import drivers as command
from csi_cinderlib.model.requests import EXTRA_SPECS, QOS
from scripts.generate.markdown import one_line, table

FACTS = Path(__file__).with_name("vendors")
LOOPFILE = "csi_cinderlib.drivers.loopfile."
_CINDER = "cinder.volume.drivers."


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """A key that a driver reads from a volume's extra specs or QoS specs; all texts are Markdown.

    Attributes:
        key: exactly as the driver reads it, with its scope if it has one.
        values: what it may be.
        example: one of these values; empty: the key is not in the example.
    """

    key: str
    values: str
    meaning: str
    example: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One family of arrays; all texts are Markdown.

    Attributes:
        name: of the page's file.
        drivers: starts of the drivers' paths below `cinder.volume.drivers.`; each driver belongs to one family.
        sources: files of Cinder's driver documentation that the facts are from.
        array, nodes, limits, notes: one fact each.
        multipath: a `device` section for /etc/multipath.conf, where the documentation has one.
        options: options beyond the required ones, as they are written in YAML.
    """

    name: str
    title: str
    drivers: tuple[str, ...]
    sources: tuple[str, ...] = ()
    summary: str = ""
    array: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    multipath: str = ""
    options: Mapping[str, str]
    extra_specs: tuple[Spec, ...] = ()
    qos: tuple[Spec, ...] = ()
    limits: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def members(self, known: Catalogue) -> list[Driver]:
        return [driver for driver in known.drivers if any(_place(driver).startswith(start) for start in self.drivers)]


def families(facts: Path = FACTS) -> list[Family]:
    """All families, by title."""
    read = (family(path.stem, tomllib.loads(path.read_text())) for path in facts.glob("*.toml"))
    return sorted(read, key=lambda each: each.title.lower())


def family(name: str, values: Mapping[str, Any]) -> Family:
    """Raises ValueError for a key that a family does not have."""
    if unknown := values.keys() - {field.name for field in fields(Family)}:
        raise ValueError(f"{name}.toml: unknown key {min(unknown)!r}")
    lists = {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
    specs = {key: tuple(Spec(**spec) for spec in lists.get(key, ())) for key in ("extra_specs", "qos")}
    return Family(name=name, **{"options": {}, **values, **lists, **specs})


def pages(known: Catalogue, facts: Path = FACTS) -> Mapping[str, str]:
    """Each page by its file's name."""
    found = families(facts)
    return {"README.md": _index(found, known), **{f"{each.name}.md": _page(each, known) for each in found}}


def links(known: Catalogue) -> Mapping[str, str]:
    """Each driver's family by the driver's path, as a link from the drivers' pages.

    Raises:
        ValueError: a driver belongs to no family or to several.
    """
    links: dict[str, str] = {}
    for each in families():
        for driver in each.members(known):
            if driver.path in links:
                raise ValueError(f"{driver.path} is in several families: {links[driver.path]} and {each.name}")
            links[driver.path] = f"[{each.title}](../vendors/{each.name}.md)"
    if missing := [driver.path for driver in known.drivers if driver.path not in links]:
        raise ValueError(f"no family in {FACTS.name}/ has {', '.join(missing)}")
    return links


def _place(driver: Driver) -> str:
    return driver.path.removeprefix(_CINDER)


def _index(found: Iterable[Family], known: Catalogue) -> str:
    rows = ((f"[{each.title}]({each.name}.md)", _protocols(each.members(known))) for each in found)
    return (
        "# Arrays by vendor\n\nHow to prepare an array and its nodes, what to write in a StorageClass, and the known limits. The facts are from "
        f"Cinder {known.cinder}'s driver documentation and the drivers' code; your vendor's support matrix takes precedence.\n\n"
        + table(("family", "protocols"), rows)
    )


def _protocols(drivers: Iterable[Driver]) -> str:
    return ", ".join(sorted({f"`{name}`" for driver in drivers for name in protocols(driver)}))


def _page(each: Family, known: Catalogue) -> str:
    drivers = each.members(known)
    return "\n".join(part for part in _parts(each, drivers, known) if part)


def _parts(each: Family, drivers: list[Driver], known: Catalogue) -> Iterator[str]:
    yield f"# {each.title}\n"
    yield f"{one_line(each.summary)}\n" if each.summary else ""
    yield table(("driver", "protocols", "Python libraries"), map(_driver, drivers))
    yield _list("Prepare the array", each.array)
    yield _list("Prepare the nodes", (*each.nodes, _programs(drivers)))
    if each.multipath:
        yield f"Settings for `/etc/multipath.conf`:\n\n```text\n{each.multipath.strip()}\n```\n"
    yield _back_end(each, drivers, known)
    yield from _storage_class(each)
    yield _list("Known limits", each.limits)
    yield _list("Good to know", each.notes)
    if each.sources:
        yield f"Sources: {', '.join(f'`{name}`' for name in each.sources)} in Cinder's driver documentation.\n"


def _driver(driver: Driver) -> tuple[str, ...]:
    libraries = ", ".join(f"`{library.module}`" for library in driver.libraries)
    return f"[{driver.name}](../drivers/{driver.slug}.md)", _protocols([driver]), libraries


def _list(title: str, facts: Iterable[str]) -> str:
    items = [f"- {one_line(fact)}" for fact in facts]
    return f"## {title}\n\n" + "\n".join(items) + "\n" if items else ""


def _programs(drivers: Iterable[Driver]) -> str:
    return f"Install the [programs for each protocol](../node-requirements.md#programs-by-protocol): {_protocols(drivers)}."


def _back_end(each: Family, drivers: list[Driver], known: Catalogue) -> str:
    options = {
        option.name: option for option in (*known.common, *(each for driver in drivers for each in driver.options))
    }
    if unknown := each.options.keys() - options.keys():
        raise ValueError(f"{each.name}.toml: options.{min(unknown)}: no driver of this family has it")
    more = {name: _written(options[name], text) for name, text in each.options.items()}
    driver = next(
        (driver for driver in drivers if more.keys() <= {option.name for option in (*known.common, *driver.options)}),
        None,
    )
    if driver is None:
        raise ValueError(f"{each.name}.toml: options: no single driver of this family has all of them")
    example = command.block(driver, more=more)
    return f"## Configure the back end\n\n```yaml\n{example}```\n\nAll options: [{driver.name}](../drivers/{driver.slug}.md).\n"


def _written(option: Option, text: str) -> Any:
    """A value for the example: text stays text, even where YAML would read a number."""
    return text if option.type == "text" and not option.multiple else yaml.safe_load(text)


def _storage_class(each: Family) -> Iterator[str]:
    parameters = {
        "backend": "array1",
        **{f"{EXTRA_SPECS}{spec.key}": spec.example for spec in each.extra_specs if spec.example},
        **{f"{QOS}{spec.key}": spec.example for spec in each.qos if spec.example},
    }
    document = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": "gold"},
        "provisioner": "csi.cinderlib.io",
        "allowVolumeExpansion": True,
        "parameters": parameters,
    }
    yield f"## StorageClass\n\n```yaml\n{yaml.safe_dump(document, sort_keys=False, width=200)}```\n"
    for title, prefix, specs in (("Extra specs", EXTRA_SPECS, each.extra_specs), ("QoS", QOS, each.qos)):
        if specs:
            rows = ((f"`{prefix}{spec.key}`", one_line(spec.values), one_line(spec.meaning)) for spec in specs)
            yield f"### {title}\n\n{table(('parameter', 'values', 'meaning'), rows)}"
