"""A cluster with the driver, to look around in: `python -m tests.cluster.bed.up FOLDER`, until Ctrl-C.

In another shell, `CINDERLIB_CLUSTER=FOLDER pytest tests/cluster/driver` uses it.
"""

from __future__ import annotations

import shlex
import signal
import sys
from contextlib import ExitStack
from pathlib import Path

from tests.cluster.bed import images
from tests.cluster.bed.installation import Installation, remove_folder
from tests.cluster.bed.node import Cluster


def main(folder: Path) -> None:
    images.build()
    cluster = Cluster(folder)
    with ExitStack() as undo:
        undo.callback(remove_folder, folder)
        undo.callback(cluster.stop)
        cluster.start()
        installation = Installation(cluster)
        installation.load_images()
        installation.start_snapshot_controller()
        try:
            installation.install()
        except RuntimeError as problem:
            print(problem, file=sys.stderr)
        print(f"ready; look around by: {shlex.join(cluster.argv('bash'))}", flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    main(Path(sys.argv[1]).resolve())
