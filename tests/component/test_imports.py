"""There is no import cycle, counting imports inside functions and those for types only."""

from __future__ import annotations

import sys
from graphlib import CycleError, TopologicalSorter

import grimp
import pytest

# The classes of the library's API refer to one another: a volume makes snapshots, a snapshot restores volumes.
LIBRARY = "csi_cinderlib.cinderlib"


def name_of(module: str) -> str:
    return LIBRARY if module.startswith(f"{LIBRARY}.") else module


def check_order(graph: grimp.ImportGraph) -> None:
    """Raises CycleError if the modules cannot be imported one after the other."""
    order: TopologicalSorter[str] = TopologicalSorter()
    for module in graph.modules:
        imported = map(name_of, graph.find_modules_directly_imported_by(module))
        order.add(name_of(module), *({*imported} - {name_of(module)}))
    order.prepare()


def test_the_package_has_no_import_cycle() -> None:
    graph = grimp.build_graph("csi_cinderlib", cache_dir=None)
    assert len(graph.modules) > 200
    check_order(graph)


@pytest.mark.parametrize(
    "late",
    ["def start():\n    import csi_cinderlib_example.first\n",
     "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from csi_cinderlib_example import first\n"],
)  # fmt: skip
def test_a_cycle_by_a_late_import_is_found(
    late: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path_factory.mktemp("path") / "csi_cinderlib_example"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "first.py").write_text("from csi_cinderlib_example import second\n")
    (package / "second.py").write_text(late)
    monkeypatch.setattr(sys, "path", [str(package.parent), *sys.path])
    with pytest.raises(CycleError):
        check_order(grimp.build_graph("csi_cinderlib_example", cache_dir=None))
