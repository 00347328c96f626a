"""What oVirt's engine runs for each of its calls on Managed Block Storage: a program that lives for one call.

    python -m tests.component.cinderlib.ovirt_client ORDER DIRECTORY COMMAND DRIVER DATABASE CORRELATION ARGUMENT...

It makes the same calls as oVirt's program in the same environment: eventlet has patched the standard library, and the import of the
library makes `logging.config` available. ORDER is `after` (the library is imported after eventlet's patch, as in oVirt) or
`before`. `attach` and `detach` are commands of a host, which oVirt leaves to os-brick.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

LOGGING = """\
[loggers]
keys=root
[logger_root]
level=INFO
handlers=file
[formatters]
keys=simple
[formatter_simple]
format=%(name)s %(levelname)s %(message)s
[handlers]
keys=file
[handler_file]
class=FileHandler
formatter=simple
args=(log_file,)
"""
ANSWER: list[str] = []


class Call:
    """One call: its arguments, and the back end."""

    def __init__(self, cl: Any, directory: Path, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        cl.setup(
            file_locks_path=str(directory / "locks"),
            persistence_config={"storage": "db", "connection": arguments.database},
            ssh_hosts_key_file=str(directory / "ssh_known_hosts"),
            disable_logs=False,
        )
        log_to_file(directory)
        self.backend = cl.Backend(**json.loads(arguments.driver))

    @property
    def volume(self) -> Any:
        volumes = self.backend.volumes_filtered(volume_id=self.arguments.volume_id)
        if not volumes:
            raise LookupError(f"Volume {self.arguments.volume_id!r} not found")
        return volumes[0]

    @property
    def snapshot(self) -> Any:
        for snapshot in self.volume.snapshots:
            if snapshot.id == self.arguments.snapshot_id:
                return snapshot
        raise LookupError(f"Snapshot {self.arguments.snapshot_id!r} not found")


def log_to_file(directory: Path) -> None:
    config = directory / "logger.conf"
    if not config.exists():
        config.write_text(LOGGING)
    logging.log_file = str(directory / "cinderlib.log")  # type: ignore[attr-defined]  # the configuration file reads it there
    logging.config.fileConfig(config, disable_existing_loggers=False)  # type: ignore[attr-defined]  # imported by the library only
    logging.captureWarnings(True)
    logging.getLogger("ovirt").info("configured")


def create_volume(call: Call) -> None:
    call.backend.create_volume(int(call.arguments.size), id=call.arguments.volume_id)
    call.backend.refresh()  # versions before 4.4


def delete_volume(call: Call) -> None:
    call.volume.delete()


def connect_volume(call: Call) -> None:
    """The same host again gets the same answer."""
    connector, volume = json.loads(call.arguments.connector_info), call.volume
    for connection in volume.connections:
        if connection.connector_info["host"] == connector["host"]:
            answer(connection.conn_info)
            return
    answer(volume.connect(connector).connection_info["conn"])


def disconnect_volume(call: Call) -> None:
    for connection in call.volume.connections:
        connection.disconnect()


def extend_volume(call: Call) -> None:
    call.volume.extend(int(call.arguments.size))


def storage_stats(call: Call) -> None:
    answer(call.backend.stats(refresh=call.arguments.refresh))


def save_device(call: Call) -> None:
    connection = call.volume.connections[0]
    logging.getLogger("ovirt").info("saving %r", connection)
    connection.device_attached(json.loads(call.arguments.device))


def get_connection_info(call: Call) -> None:
    answer(call.volume.connections[0].connection_info)


def clone_volume(call: Call) -> None:
    call.volume.clone(id=call.arguments.cloned_vol_id)


def create_snapshot(call: Call) -> None:
    answer(call.volume.create_snapshot().id)


def remove_snapshot(call: Call) -> None:
    call.snapshot.delete()


def create_volume_from_snapshot(call: Call) -> None:
    answer(call.snapshot.create_volume().id)


def attach(call: Call) -> None:
    (connection,) = call.volume.connections
    connection.attach()
    answer(connection.path)


def detach(call: Call) -> None:
    (connection,) = call.volume.connections
    connection.detach()


COMMANDS: dict[Callable[[Call], None], tuple[str, ...]] = {
    create_volume: ("volume_id", "size"),
    delete_volume: ("volume_id",),
    connect_volume: ("volume_id", "connector_info"),
    disconnect_volume: ("volume_id",),
    extend_volume: ("volume_id", "size"),
    storage_stats: ("refresh",),
    save_device: ("volume_id", "device"),
    get_connection_info: ("volume_id",),
    clone_volume: ("volume_id", "cloned_vol_id"),
    create_snapshot: ("volume_id",),
    remove_snapshot: ("snapshot_id", "volume_id"),
    create_volume_from_snapshot: ("volume_id", "snapshot_id"),
    attach: ("volume_id",),
    detach: ("volume_id",),
}
"""Command to its arguments, in oVirt's order."""


def answer(value: Any) -> None:
    ANSWER.append(json.dumps(value))


def parse(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    subparsers = parser.add_subparsers(required=True)
    for command, names in COMMANDS.items():
        subparser = subparsers.add_parser(command.__name__)
        subparser.set_defaults(command=command)
        for name in ("driver", "database", "correlation", *names):
            subparser.add_argument(name)
    return parser.parse_args(words)


def load(order: str) -> Any:
    if order == "after":
        _patch()
    library = importlib.import_module("csi_cinderlib.cinderlib")
    if order != "after":
        _patch()
    return library


def _patch() -> None:
    import eventlet

    eventlet.monkey_patch()


def main() -> int:
    order, directory, *words = sys.argv[1:]
    cl = load(order)
    arguments = parse(words)
    try:
        arguments.command(Call(cl, Path(directory), arguments))
    except LookupError as absent:
        sys.stdout.write(f"error:{absent}")
    except Exception:
        sys.stderr.write(traceback.format_exc())
        return 1
    else:
        sys.stdout.write(f"{arguments.correlation}:{''.join(ANSWER)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
