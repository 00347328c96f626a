"""Makes a node known to its cluster, in a process of its own that ends when that is done.

TLS, HTTP and the making of a key take 15 MB that a node would carry for ever for the sake of one request at its start.
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
    """What is to be made known.

    Attributes:
        options: how to reach the API server (`persistence.kubernetes`).
        labels: of the Node object, whose values are topology.
        state_dir: where this node's keys are, or are made.
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
    """What a node learns when it registers.

    Attributes:
        topology: its own, that of the labels included.
        signers: the controller's public keys, by their ids; none before a controller has seen the node.
    """

    topology: Mapping[str, str]
    signers: Mapping[str, str]


def in_child(request: Request) -> Registered:
    """Register the node, with a key of its own.

    Raises:
        ConfigurationError, StoreUnavailable, NotReady: what the child met.
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
        raise errors.StoreUnavailable(f"the Kubernetes API let {SECONDS:.0f} s pass without an answer") from None
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        raise HostError(f"the registration ended with code {done.returncode}: {done.stderr.strip()[-500:]}") from None
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
    """The same in this process."""
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
    """A node that was upgraded on a full disk gets its key, too: it must start to take volumes down. Raises HostError."""
    from csi_cinderlib.app import state_dir
    from csi_cinderlib.host.reserve import is_full
    from csi_cinderlib.node.own_keys import OwnKeys

    def lacks_room(error: Exception) -> bool:
        return isinstance(error.__cause__, OSError) and is_full(error.__cause__)

    return state_dir.reserve(directory).run(OwnKeys(directory, node).ensure, lacks_room=lacks_room)


def topology_of(client: Client, node: str, labels: Sequence[str]) -> dict[str, str]:
    """The values of these labels of a Node object.

    Raises:
        NotReady: one is missing; a cloud's controller sets them a while after a node has joined.
        ApiError, StoreUnavailable: the object cannot be read.
    """
    present = client.get(f"/api/v1/nodes/{node}")["metadata"].get("labels") or {}
    if missing := [label for label in labels if not present.get(label)]:
        raise NotReady(f"node {node} has no label {', '.join(missing)} (topology_labels)")
    return {label: present[label] for label in labels}


def main() -> None:
    """The child: a Request as JSON on standard input, the answer on standard output."""
    dumps.forbid()  # it holds the token of the service account
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
