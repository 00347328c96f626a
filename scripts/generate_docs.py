"""Write the reference pages below docs/reference from the code.

python scripts/generate_docs.py [OUTPUT_DIRECTORY]
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import metrics_page
import schema_page

from csi_cinderlib import cli
from csi_cinderlib.config.load import CINDER_CONF_KEY, DEFAULT_STATE_DIR, VARIABLES
from csi_cinderlib.config.settings import BackendSettings, LogSettings, SealingKey, Settings, StoreSettings
from csi_cinderlib.csi.requests.parameters import STORAGE_CLASS, Parameter
from csi_cinderlib.model.records import VolumeType

REFERENCE = Path(__file__).resolve().parents[1] / "docs/reference"
MADE = "<!-- Made by scripts/generate_docs.py (make docs); change the code instead. -->\n\n"
_TYPES = {str: "text", int: "whole number", float: "number", bool: "true or false", Path: "path"}


def pages() -> Mapping[str, str]:
    """Each page's text by its file's name."""
    return {
        "configuration.md": configuration(),
        "storage-class.md": storage_class(),
        "command-line.md": command_line(),
        **{name: MADE + text for name, text in metrics_page.pages().items()},
        **schema_page.pages(),
    }


def configuration() -> str:
    sections = [
        ("The whole file", Settings, ""),
        ("backends.NAME", BackendSettings, "name"),
        ("volume_types.NAME", VolumeType, "name"),
        ("store", StoreSettings, ""),
        ("sealing_keys[]", SealingKey, ""),
        ("log", LogSettings, ""),
    ]
    parts = [_read("configuration-head.md")]
    for title, kind, key in sections:
        parts.append(f"## {title}\n\n{_summary(kind)}\n")
        parts.append(_table(("key", "type", "default", "meaning"), _fields(kind, without=key)))
    variables = [(f"`{variable}`", f"`{name.replace('log_', 'log.')}`") for name, variable in VARIABLES.items()]
    parts.append("## Environment\n\nA variable wins over the file, an option of the command line over both.\n")
    parts.append(_table(("variable", "key"), variables))
    return MADE + "\n".join(parts)


def _fields(kind: Any, *, without: str) -> Iterator[tuple[str, ...]]:
    meanings, hints = _attributes(kind), get_type_hints(kind)
    for item in dataclasses.fields(kind):
        if item.name != without:
            yield f"`{item.name}`", _type(hints[item.name]), _default(kind, item), meanings.get(item.name, "")
    if kind is Settings:
        yield (
            f"`{CINDER_CONF_KEY}`",
            "path",
            "",
            "a cinder.conf whose enabled back ends are added, their sections as they are",
        )


def _type(hint: Any) -> str:
    if get_origin(hint) is Mapping:
        return "mapping"
    if get_origin(hint) is tuple:
        return "mapping by name" if get_args(hint)[0] is BackendSettings else "list"
    return "mapping" if dataclasses.is_dataclass(hint) else _TYPES.get(hint, "text")


def _default(kind: Any, item: dataclasses.Field[Any]) -> str:
    if kind is Settings and item.name == "state_dir":
        return f"`{DEFAULT_STATE_DIR}`"
    if item.default is dataclasses.MISSING:
        return "" if item.default_factory is not dataclasses.MISSING else "*required*"
    if isinstance(item.default, bool):
        return f"`{str(item.default).lower()}`"
    plain = isinstance(item.default, str | int | float) and item.default != ""
    return f"`{item.default}`" if plain else ""


def _summary(kind: Any) -> str:
    return inspect.getdoc(kind).split("\n\n")[0].replace("\n", " ")  # type: ignore[union-attr]  # all have one; the linter sees to it


def _attributes(kind: Any) -> Mapping[str, str]:
    """The `Attributes:` section of a docstring."""
    _, _, section = (inspect.getdoc(kind) or "").partition("Attributes:\n")
    found: dict[str, str] = {}
    for line in section.splitlines():
        if entry := re.match(r"    (\w+): (.*)", line):
            found[entry[1]] = entry[2]
        elif found and line.startswith("        "):
            found[next(reversed(found))] += " " + line.strip()
    return found


def storage_class() -> str:
    table = _table(("parameter", "meaning", "example"), map(_parameter, STORAGE_CLASS))
    return MADE + "\n".join((_read("storage-class-head.md"), table, _read("storage-class-tail.md")))


def _parameter(item: Parameter) -> tuple[str, ...]:
    key, example = (f"{item.key}KEY", item.key + item.example) if item.is_prefix else (item.key, item.example)
    return f"`{key}`", item.meaning, f"`{example}`"


def command_line() -> str:
    parts = [
        "# Command line\n",
        "`csi-cinderlib COMMAND`. Exit codes: 0 done, 1 failed, 2 bad input (named on standard error), 130 stopped.\n",
    ]
    for name, summary in cli.COMMANDS.items():
        parser = argparse.ArgumentParser(prog=f"csi-cinderlib {name}", formatter_class=_wide)
        importlib.import_module(cli.module_of(name)).arguments(parser)
        parts.append(
            f"## {name}\n\n{summary[0].upper()}{summary[1:]}.\n\n```text\n{parser.format_help().rstrip()}\n```\n"
        )
    return MADE + "\n".join(parts)


def _wide(prog: str) -> argparse.HelpFormatter:
    """The same width wherever it runs."""
    return argparse.HelpFormatter(prog, width=120, max_help_position=30)


def _table(head: tuple[str, ...], rows: Any) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


def _read(name: str) -> str:
    """A hand-written introduction beside this script."""
    return (Path(__file__).parent / "docs" / name).read_text()


def main() -> None:
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else REFERENCE
    target.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (target / name).write_text(text)


if __name__ == "__main__":
    main()
