"""Write docs/reference/drivers, config.schema.json, library.md and node-requirements.md from what the code knows.

python scripts/generate_driver_docs.py [--catalogue] [OUTPUT_DIRECTORY]

--catalogue makes the catalogue itself anew first, from the Cinder installed.
"""

from __future__ import annotations

import argparse
import inspect
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import csi_cinderlib.cinderlib as library
from csi_cinderlib.backend import catalogue
from csi_cinderlib.backend.catalogue import Catalogue, Driver, Option
from csi_cinderlib.brick import loading, tools
from csi_cinderlib.commands import doctor
from csi_cinderlib.commands import drivers as command
from csi_cinderlib.host import commands
from scripts import config_schema

REFERENCE = Path(__file__).resolve().parents[1] / "docs/reference"
MADE = "<!-- Made by scripts/generate_driver_docs.py (make docs); change the code instead. -->\n\n"
COMMON = "every-driver.md"


def pages(known: Catalogue) -> Mapping[str, str]:
    """Each file's text by its path below docs/reference."""
    made = {f"drivers/{one.slug}.md": MADE + driver_page(one) for one in known.drivers}
    made["drivers/README.md"] = MADE + index(known)
    made[f"drivers/{COMMON}"] = MADE + common_page(known)
    made["config.schema.json"] = config_schema.to_text(config_schema.schema(known))
    made["library.md"] = MADE + library_page()
    made["node-requirements.md"] = MADE + requirements_page()
    return made


def index(known: Catalogue) -> str:
    parts = [
        f"# Drivers\n\nThe {len(known.drivers) - 2} volume drivers of Cinder {known.cinder}, NetApp's front door to its own, and "
        "the one on files that comes with this package. `csi-cinderlib drivers NAME` shows the same. "
        f"[Options that every driver has]({COMMON}).\n\n"
        "A driver that Cinder no longer supports needs `enable_unsupported_driver: true`.\n"
    ]
    for vendor, members in groupby(known.drivers, key=_vendor):
        rows = [
            (f"[{one.name}]({one.slug}.md)", one.version, "" if one.supported else "no", _needs(one)) for one in members
        ]
        parts.append(f"## {vendor}\n\n" + _table(("driver", "version", "supported", "Python libraries"), rows))
    return "\n".join(parts)


def _vendor(driver: Driver) -> str:
    return "csi-cinderlib" if driver.path.startswith("csi_cinderlib.") else driver.module.partition(".")[0]


def _needs(driver: Driver) -> str:
    return ", ".join(f"`{one.module}`" for one in driver.libraries)


def driver_page(driver: Driver) -> str:
    parts = [f"# {driver.name}\n\n`{driver.path}`\n"]
    if driver.summary:
        parts.append(f"{_text(driver.summary)}.\n")
    facts = [f"Version {driver.version}." if driver.version else ""]
    facts.append("" if driver.supported else "**Cinder no longer supports it.**")
    parts.append(" ".join(fact for fact in facts if fact) + "\n")
    if driver.libraries:
        wanted = (one.advice.replace(", which is not installed", "") for one in driver.libraries)
        parts.append("".join(f"- {line[0].upper()}{line[1:]}\n" for line in wanted))
    parts.append(f"## A back end to begin with\n\n```yaml\n{command.block(driver)}```\n")
    parts.append(f"## Options\n\nBesides these, [those of every driver]({COMMON}).\n\n{_options(driver.options)}")
    return "\n".join(parts)


def common_page(known: Catalogue) -> str:
    return f"# Options of every driver\n\nA driver may ignore some of them.\n\n{_options(known.common)}"


def _options(options: Iterable[Option]) -> str:
    return _table(("option", "type and default", "meaning"), ((f"`{one.name}`", _text(command.traits(one)), _text(one.help)) for one in options))  # fmt: skip


def requirements_page() -> str:
    head = (Path(__file__).parent / "docs/node-requirements-head.md").read_text()
    rows = [
        (
            f"`{protocol}`",
            _programs(tools.needed(protocol)),
            _programs(set(tools.needed(protocol, multipath=True)) - set(tools.needed(protocol))),
        )
        for protocol in loading.CONNECTORS
    ]
    systems = [(name, _programs(programs)) for name, programs in doctor.FILE_SYSTEMS]
    return "\n".join(
        [
            head,
            "## Programs by protocol\n",
            "As the driver calls it (`driver_volume_type`); the Debian package in brackets. Vendors' protocols need their vendors' programs.\n",
            _table(("protocol", "programs", "with several paths also"), rows),
            "## Programs by file system\n",
            _table(("file system", "programs"), systems),
        ]
    )


def _programs(names: Iterable[str]) -> str:
    packages = {**tools.PACKAGES, **commands.PACKAGES}
    return ", ".join(f"`{name}`" + (f" ({packages[name]})" if name in packages else "") for name in sorted(names))


def library_page() -> str:
    head = (Path(__file__).parent / "docs/library-head.md").read_text()
    return head + "\n" + "\n".join(_documented())


def _documented() -> Iterator[str]:
    functions = [name for name in library.__all__ if inspect.isfunction(getattr(library, name))]
    yield "## Functions\n"
    for name in functions:
        yield _function(name, getattr(library, name))
    for name in ("Backend", "Volume", "Snapshot", "Connection", "Library", "KeyValue"):
        cls = getattr(library, name)
        yield f"## {name}\n\n{_doc(cls)}\n"
        for member in sorted(_members(cls)):
            yield _member(name, member, inspect.getattr_static(cls, member))
    yield "## exception\n"
    yield f"{_doc(library.exception)}\n"
    from csi_cinderlib.cinderlib import exception

    yield "".join(f"- `{name}`\n" for name in sorted(dir(exception)))


def _members(cls: type) -> set[str]:
    own = [base for base in cls.__mro__ if base.__module__.startswith("csi_cinderlib.cinderlib")]
    return {name for base in own for name in vars(base) if not name.startswith("_") and not name.isupper()}


def _member(owner: str, name: str, member: Any) -> str:
    if isinstance(member, property):
        text = inspect.getdoc(member) or ""
        return f"- **`{name}`**" + (f": {_one_line(text)}\n" if text else "\n")
    if isinstance(member, (staticmethod, classmethod)):
        return _function(f"{owner}.{name}", member.__func__, skip_first=isinstance(member, classmethod))
    if inspect.isfunction(member):
        return _function(f"{owner.lower()}.{name}", member, skip_first=True)
    return f"- **`{name}`**\n"


def _function(name: str, function: Any, *, skip_first: bool = False) -> str:
    parameters = list(inspect.signature(function).parameters.values())[1 if skip_first else 0 :]
    told = ", ".join(_parameter(one) for one in parameters)
    return f"### `{name}({told})`\n\n{_doc(function)}\n"


def _parameter(parameter: inspect.Parameter) -> str:
    stars: str = {parameter.VAR_KEYWORD: "**", parameter.VAR_POSITIONAL: "*"}.get(parameter.kind, "")  # type: ignore[call-overload]  # one of five kinds
    default = "" if parameter.default is parameter.empty else f"={parameter.default!r}"
    return f"{stars}{parameter.name}{default}"


def _doc(thing: Any) -> str:
    """A docstring as Markdown: its sections become lists."""
    text = inspect.getdoc(thing) or ""
    lines, section = [], False
    for line in text.splitlines():
        if re.fullmatch(r"(Args|Returns|Raises|Attributes):", line):
            lines += [f"*{line.rstrip(':')}*:", ""]
            section = True
        elif section and line.startswith("        "):
            lines[-1] += " " + line.strip()
        elif section and line.startswith("    "):
            name, colon, rest = line.strip().partition(": ")
            lines.append(f"- `{name}`: {rest}" if colon else f"- {line.strip()}")
        else:
            section = section and not line.strip()
            lines.append(line)
    return "\n".join(lines)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _text(value: str) -> str:
    """Plain text in Markdown: what looks like markup is none."""
    return re.sub(r"([<>*_\[\]])", r"\\\1", _one_line(value))


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--catalogue", action="store_true")
    parser.add_argument("directory", nargs="?", type=Path, default=REFERENCE)
    args = parser.parse_args()
    if args.catalogue:
        argv = [sys.executable, "-W", "ignore", "-m", "csi_cinderlib.backend.inspection"]
        text = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
        json.loads(text)
        catalogue.FILE.write_text(text)
    made = pages(catalogue.load())
    (args.directory / "drivers").mkdir(parents=True, exist_ok=True)
    for stale in set((args.directory / "drivers").glob("*.md")) - {args.directory / name for name in made}:
        stale.unlink()
    for name, text in made.items():
        (args.directory / name).write_text(text)


if __name__ == "__main__":
    main()
