"""Registers a node with its cluster in a separate, short-lived process.

TLS, HTTP and key generation need 15 MB, which the node process would otherwise keep for one request at its start.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from csi_cinderlib import errors
from csi_cinderlib.errors import ConfigurationError, DriverError, HostError, NotReady
from csi_cinderlib.host import dumps

if TYPE_CHECKING:
    from csi_cinderlib.envelopes import NodeKey
    from csi_cinderlib.persistence.kubernetes.rest import Client

SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The data of a registration.

    Attributes:
        options: connection to the API server (`persistence.kubernetes`).
        labels: labels of the Node object that are topology segments.
        state_dir: directory of the keys of this node, which are created if missing.
    """

    options: Mapping[str, object]
    node: str
    state_dir: str
    connector: Mapping[str, object]
    topology: Mapping[str, str]
    labels: Sequence[str]

    def text(self) -> str:
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return json.dumps({name: dict(it) if isinstance(it, Mapping) else it for name, it in values.items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """The result of a registration.

    Attributes:
        topology: topology of the node, including that of the labels.
        signers: public keys of the controller by id; empty until a controller has seen the node.
    """

    topology: Mapping[str, str]
    signers: Mapping[str, str]


def in_child(request: Request) -> Registered:
    """Register the node with its own key, in a child process.

    Raises:
        ConfigurationError, StoreUnavailable, NotReady: the error of the child process.
        HostError: it ended without an answer.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-m", __name__],
            input=request.text(),
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise errors.StoreUnavailable(f"no response from the Kubernetes API within {SECONDS:.0f} s") from None
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        raise HostError(
            f"cannot register the node: the process ended with code {done.returncode}: {done.stderr.strip()[-500:]}"
        ) from None
    if "error" in answer:
        raise _error(answer)
    return Registered(**answer)


def _error(answer: Mapping[str, str]) -> DriverError:
    if answer["error"] == ConfigurationError.__name__:
        return ConfigurationError(answer["key"], answer["message"])
    kind = {error.__name__: error for error in (errors.StoreUnavailable, errors.NotReady)}.get(
        answer["error"], HostError
    )
    return kind(answer["message"])


def register(request: Request) -> Registered:
    """Register the node in this process."""
    from csi_cinderlib.model.records import Node
    from csi_cinderlib.node import registration
    from csi_cinderlib.persistence.kubernetes import access, open_for_node
    from csi_cinderlib.persistence.kubernetes.rest import Client

    topology = dict(request.topology)
    if request.labels:
        client = Client(access(request.options), connections=1)
        topology |= topology_of(client, request.node, request.labels)
        client.close()
    key = own_key(Path(request.state_dir), request.node)
    node = Node(id=request.node, connector=request.connector, topology=topology, public_key=key.public)
    registry = open_for_node(request.options)
    registered = registration.register(registry, node)
    registry.close()
    return Registered(topology=topology, signers=registered.signers)


def own_key(directory: Path, node: str) -> NodeKey:
    """The key of the node, even after an upgrade on a full disk: the node must start to detach volumes. Raises HostError."""
    from csi_cinderlib.app import state_dir
    from csi_cinderlib.host.reserve import is_full
    from csi_cinderlib.node.own_keys import OwnKeys

    def lacks_room(error: Exception) -> bool:
        return isinstance(error.__cause__, OSError) and is_full(error.__cause__)

    return state_dir.reserve(directory).run(OwnKeys(directory, node).ensure, lacks_room=lacks_room)


def topology_of(client: Client, node: str, labels: Sequence[str]) -> dict[str, str]:
    """The values of these labels of a Node object.

    Raises:
        NotReady: a label is missing; the controller of a cloud sets it some time after a node has joined.
        ApiError, StoreUnavailable: the object cannot be read.
    """
    present = client.get(f"/api/v1/nodes/{node}")["metadata"].get("labels") or {}
    if missing := [label for label in labels if not present.get(label)]:
        raise NotReady(f"node {node!r} has no label {', '.join(missing)} (setting topology_labels)")
    return {label: present[label] for label in labels}


def main() -> None:
    """The child: a Request as JSON on standard input, the answer on standard output."""
    dumps.forbid()  # the process has the token of the service account
    try:
        registered = register(Request(**json.load(sys.stdin)))
        answer: dict[str, object] = {"topology": registered.topology, "signers": dict(registered.signers)}
    except ConfigurationError as error:
        answer = {"error": ConfigurationError.__name__, "key": error.key, "message": error.problem}
    except DriverError as error:
        answer = {"error": type(error).__name__, "message": str(error)}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
