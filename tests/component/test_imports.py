"""There is no import cycle, counting imports inside functions and those for types only."""

from __future__ import annotations

import sys
from graphlib import CycleError, TopologicalSorter

import grimp
import pytest

# The classes of the library's API name one another in annotations: a volume makes snapshots, a snapshot restores volumes.
FOR_ANNOTATIONS = "csi_cinderlib.cinderlib.types"


def check_order(graph: grimp.ImportGraph) -> None:
    """Raises CycleError if the modules cannot be imported one after the other."""
    order: TopologicalSorter[str] = TopologicalSorter()
    for module in graph.modules:
        order.add(module, *graph.find_modules_directly_imported_by(module))
    order.prepare()


def test_the_package_has_no_import_cycle_at_run_time() -> None:
    graph = grimp.build_graph("csi_cinderlib", cache_dir=None, exclude_type_checking_imports=True)
    assert len(graph.modules) > 200
    check_order(graph)


def test_the_package_has_no_import_cycle_for_types() -> None:
    graph = grimp.build_graph("csi_cinderlib", cache_dir=None)
    for module in graph.find_modules_directly_imported_by(FOR_ANNOTATIONS):
        graph.remove_import(importer=FOR_ANNOTATIONS, imported=module)
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
