"""Run the snippets of a page of cinderlib's documentation in this process, in order, and print what became of each as JSON.

    python run_page.py DOCUMENTATION PAGE VOLUMES SKIPPED

A snippet that calls `setup` is the start of a program: the library is closed before it. The names that the page's text explains are
defined before the first snippet.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path
from pprint import pprint
from typing import Any

from csi_cinderlib.cinderlib.alias import install_as_cinderlib
from tests.component.cinderlib.documentation.pages import snippets


def explained(volumes: str) -> dict[str, Any]:
    """The variables that the pages assume."""
    import csi_cinderlib.cinderlib as cinderlib

    cinderlib.setup(persistence_config={"storage": "db", "connection": "sqlite:///page.sqlite"})
    options = {"volume_driver": "csi_cinderlib.drivers.loopfile.LoopFileDriver", "loopfile_directories": [volumes]}
    lvm = cinderlib.Backend("explained", **options)
    volume = lvm.create_volume(1)
    return {
        "cinderlib": cinderlib,
        "cinderlib_driver_configuration": {"volume_backend_name": "explained", **options},
        "json": json,
        "lvm": lvm,
        "lvm_backend": lvm,
        "node_id": "node-1",
        "persistence_config": {"storage": "db", "connection": "sqlite:///page.sqlite"},
        "pprint": pprint,
        "snap": volume.create_snapshot(),
        "vol": volume,
        "volume_id": volume.id,
    }


def outcome(code: str, names: dict[str, Any]) -> str:
    """ "" if the snippet runs, otherwise its error."""
    import csi_cinderlib.cinderlib as cinderlib

    if ".setup(" in code:
        cinderlib.close()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            exec(compile(code, "snippet", "exec"), names)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def leave_nothing() -> None:
    """Detach what the snippets left attached."""
    import csi_cinderlib.cinderlib as cinderlib

    for backend in cinderlib.Backend.backends.values():
        for volume in backend.volumes_filtered():
            volume.cleanup()
    cinderlib.close()


def main() -> None:
    documentation, page, volumes, skipped = sys.argv[1:]
    install_as_cinderlib()
    names = explained(volumes)
    codes = snippets(Path(documentation), page, Path(volumes))
    skip = json.loads(skipped)
    print(json.dumps(["not run" if number in skip else outcome(code, names) for number, code in enumerate(codes)]))
    leave_nothing()


if __name__ == "__main__":
    main()
