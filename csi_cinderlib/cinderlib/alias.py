"""The library under the name `cinderlib`, for programs that import it by that name."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from collections.abc import Iterable, Sequence
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from importlib.metadata import Distribution, DistributionFinder
from os import PathLike
from pathlib import Path

ALIAS = "cinderlib"
PACKAGE = "csi_cinderlib.cinderlib"
API_VERSION = "5.2.0"
"""The version of cinderlib whose API this library has."""


def install_as_cinderlib() -> None:
    """Let `import cinderlib`, and imports of its submodules, return this library. Call it before the first of these imports.

    Then programs and plugins written for cinderlib run unmodified: `cinderlib.objects` is `csi_cinderlib.cinderlib.objects`, the same
    module. `importlib.metadata.version("cinderlib")` is then the version of cinderlib whose API this library has.
    `python -m csi_cinderlib.cinderlib PROGRAM` does this and runs a program. A repeated call has no effect.

    Raises:
        RuntimeError: another package `cinderlib` is already imported.
    """
    ours = importlib.import_module(PACKAGE)
    known = sys.modules.get(ALIAS, ours)
    if known is not ours:
        where = getattr(known, "__file__", None) or "an unknown place"
        raise RuntimeError(
            f"the package cinderlib is already imported from {where}; call install_as_cinderlib() before `import cinderlib`"
        )
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        # First, because Python's own finder would load our submodules a second time, from the alias's __path__.
        sys.meta_path.insert(0, _Finder())


_ANY = DistributionFinder.Context()


class _Finder(DistributionFinder):
    """Finds `cinderlib`, those of its submodules that this library has, and its metadata."""

    def find_spec(
        self, fullname: str, _path: Sequence[str] | None = None, _target: types.ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != ALIAS and not fullname.startswith(f"{ALIAS}."):
            return None
        name = PACKAGE + fullname.removeprefix(ALIAS)
        try:
            found = importlib.util.find_spec(name)
        except ModuleNotFoundError:  # its parent is a package of another program
            return None
        return found and ModuleSpec(fullname, _Loader(name), is_package=found.submodule_search_locations is not None)

    def find_distributions(self, context: DistributionFinder.Context = _ANY) -> Iterable[Distribution]:
        """Only for its name: a list of all packages shows what is installed."""
        return (_Metadata(),) if context.name == ALIAS else ()


class _Metadata(Distribution):
    """As of the installed cinderlib."""

    def read_text(self, filename: str) -> str | None:
        return f"Metadata-Version: 2.1\nName: {ALIAS}\nVersion: {API_VERSION}\n" if filename == "METADATA" else None

    def locate_file(self, path: str | PathLike[str]) -> Path:
        return Path(__file__).parent / path


class _Loader(Loader):
    """Returns the module of another name. The import system takes the result from `sys.modules`."""

    def __init__(self, name: str) -> None:
        self._name = name

    def exec_module(self, module: types.ModuleType) -> None:
        sys.modules[module.__name__] = importlib.import_module(self._name)
