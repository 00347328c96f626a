"""The library under the name `cinderlib`, for programs that import it by that name."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec

ALIAS = "cinderlib"
PACKAGE = "csi_cinderlib.cinderlib"


def install_as_cinderlib() -> None:
    """Let `import cinderlib`, and imports of its submodules, return this library. Call it before the first of these imports.

    Then programs and plugins written for cinderlib run unmodified: `cinderlib.objects` is `csi_cinderlib.cinderlib.objects`, the same
    module. `python -m csi_cinderlib.cinderlib PROGRAM` does this and runs a program. A repeated call has no effect.

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


class _Finder(MetaPathFinder):
    """Finds `cinderlib` and those of its submodules that this library has."""

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


class _Loader(Loader):
    """Returns the module of another name. The import system takes the result from `sys.modules`."""

    def __init__(self, name: str) -> None:
        self._name = name

    def exec_module(self, module: types.ModuleType) -> None:
        sys.modules[module.__name__] = importlib.import_module(self._name)
