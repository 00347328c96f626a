"""Sets up one driver after another in a process of its own, and tells what came of each: `python worker.py KIND < names`.

KIND is `stand-ins` (as this package runs Cinder) or `stock` (with the real eventlet and every module that stand-ins replace).
A driver gets no time to wait for anything: sleeping is nothing here, and addresses are those of closed ports.
"""

from __future__ import annotations

import json
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

KIND = sys.argv[1]
IMPATIENT: dict[str, dict[str, Any]] = {
    "LightOSVolumeDriver": {"lightos_api_service_timeout": 1},
    "VmstoreNfsDriver": {"vmstore_rest_retry_count": 1},
}
"""Options without which a driver goes on trying for long."""


def stock() -> None:
    """Take Cinder as it is."""
    from csi_cinderlib.cinder import eventlet_standin, standins

    standins.TABLE = ()
    eventlet_standin.modules = dict


def filled(value: Any) -> Any:
    """An example's option as a value: this host instead of the storage, and a word instead of a secret."""
    from csi_cinderlib.backend.catalogue import ADDRESS

    if isinstance(value, dict):
        return "secret"
    if isinstance(value, list):
        return [filled(one) for one in value]
    if isinstance(value, str):
        return value.replace(f"https://{ADDRESS}", "https://127.0.0.1:9").replace(ADDRESS, "127.0.0.1")
    return value


class Trial:
    """What is tried with each driver: without options, and with those of its example."""

    def __init__(self, runtime: Any, store: Any) -> None:
        self.runtime, self.store = runtime, store

    def outcome(self, path: str, options: dict[str, Any]) -> list[str]:
        from csi_cinderlib.config.settings import BackendSettings
        from csi_cinderlib.lifecycle.local import LocalBackend

        settings = BackendSettings(name="tried", driver=path, options=options)
        backend = LocalBackend(settings, store=self.store, runtime=self.runtime)
        try:
            backend.start()
        except BaseException as error:
            return [type(error).__name__, str(error)]
        finally:
            backend.stop()
        return ["ready", ""]


def main() -> None:
    if KIND == "stock":
        stock()
    from csi_cinderlib.backend import catalogue
    from csi_cinderlib.cinder.runtime import Runtime, served
    from csi_cinderlib.persistence.memory import MemoryStore

    known = catalogue.load()
    with tempfile.TemporaryDirectory() as directory:
        runtime = Runtime(Path(directory))
        runtime.start()
        if KIND == "stock":
            import cinder.volume.manager  # noqa: F401  # as Cinder's own process has it
        assert ("eventlet" in sys.modules and hasattr(sys.modules["eventlet"], "hubs")) is (KIND == "stock")
        tried = Trial(runtime, MemoryStore())
        time.sleep = lambda _seconds: None
        socket.setdefaulttimeout(2)
        for line in sys.stdin:
            driver = known.find(line.strip())
            started = time.monotonic()
            served().refused.clear()
            gate = {} if driver.supported else {"enable_unsupported_driver": True}
            bare = tried.outcome(driver.path, {**gate, **IMPATIENT.get(driver.name, {})})
            given = {name: filled(value) for name, value in driver.example().items()}
            example = tried.outcome(driver.path, {**given, **IMPATIENT.get(driver.name, {})})
            print(
                json.dumps(
                    {
                        "driver": driver.path,
                        "bare": bare,
                        "example": example,
                        "refused": sorted(served().refused),
                        "seconds": time.monotonic() - started,
                    }
                ),
                flush=True,
            )
        runtime.close()


if __name__ == "__main__":
    main()
