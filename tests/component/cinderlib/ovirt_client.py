"""What oVirt's engine runs for each of its calls on Managed Block Storage: a program that lives for one call.

    python -m tests.component.cinderlib.ovirt_client DRIVER DATABASE LOCKS COMMAND ARGUMENT...

Its commands, and two of a host's. The answer is JSON; an error goes to standard error with the exit code 1.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import csi_cinderlib.cinderlib as cl


def _found(backend: Any, id: str) -> Any:
    return backend.volumes_filtered(volume_id=id)[0]


def create_volume(backend: Any, id: str, size: str) -> None:
    backend.create_volume(int(size), id=id)
    backend.refresh()


def delete_volume(backend: Any, id: str) -> None:
    _found(backend, id).delete()


def connect_volume(backend: Any, id: str, connector: str) -> Any:
    """The same host again gets the same answer."""
    wanted, volume = json.loads(connector), _found(backend, id)
    known = [one.conn_info for one in volume.connections if one.connector_info["host"] == wanted["host"]]
    return known[0] if known else volume.connect(wanted).connection_info["conn"]


def disconnect_volume(backend: Any, id: str) -> None:
    for connection in _found(backend, id).connections:
        connection.disconnect()


def extend_volume(backend: Any, id: str, size: str) -> None:
    _found(backend, id).extend(int(size))
    backend.refresh()


def storage_stats(backend: Any, refresh: str) -> Any:
    return backend.stats(refresh=refresh)


def save_device(backend: Any, id: str, device: str) -> None:
    _found(backend, id).connections[0].device_attached(json.loads(device))


def get_connection_info(backend: Any, id: str) -> Any:
    return _found(backend, id).connections[0].connection_info


def clone_volume(backend: Any, id: str, clone_id: str) -> None:
    _found(backend, id).clone(id=clone_id)
    backend.refresh()


def create_snapshot(backend: Any, id: str) -> Any:
    return _found(backend, id).create_snapshot().id


def remove_snapshot(backend: Any, id: str, snapshot_id: str) -> None:
    (snapshot,) = [one for one in _found(backend, id).snapshots if one.id == snapshot_id]
    snapshot.delete()


def attach(backend: Any, id: str) -> Any:
    """On a host."""
    (connection,) = _found(backend, id).connections
    connection.attach()
    return connection.path


def detach(backend: Any, id: str) -> None:
    """On a host."""
    (connection,) = _found(backend, id).connections
    connection.detach()


COMMANDS: dict[str, Callable[..., Any]] = {
    one.__name__: one
    for one in (
        create_volume,
        delete_volume,
        connect_volume,
        disconnect_volume,
        extend_volume,
        storage_stats,
        save_device,
        get_connection_info,
        clone_volume,
        create_snapshot,
        remove_snapshot,
        attach,
        detach,
    )
}


def main() -> int:
    driver, url, locks, command, *arguments = sys.argv[1:]
    try:
        cl.setup(file_locks_path=locks, persistence_config={"storage": "db", "connection": url}, disable_logs=False)
        answer = COMMANDS[command](cl.Backend(**json.loads(driver)), *arguments)
    except Exception as error:
        sys.stderr.write(f"{type(error).__name__}: {error}")
        return 1
    sys.stdout.write(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
