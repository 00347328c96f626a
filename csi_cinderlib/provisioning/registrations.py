"""Validates self-registered nodes: determines the connector properties that a driver gets for a node.

A node writes its own registration, so its content is only a claim. The controller accepts it if `host` is the name of the node and no
other node owns any of the names in it. Otherwise an array would export volumes of one node to another. The controller records which node
owns which names (a key-value for each node, which nodes cannot write), so the first claim decides:

- A name belongs to the node that was first seen with it. If several nodes claim a free name, no node gets it.
- A name is free again when its node has left the cluster or registers without it, and has no volume attached with it.
- While a node has volumes attached with a name, it cannot exchange that name for another. It may add ports.

An address is not a lasting identity, so it is free as soon as its node registers with another one.

Cost: a publish reads the registration of the node. All names are cached in memory; only the active controller writes them. A new name
costs a scan of all registrations, which gives every node its names, and one write. Otherwise a scan runs every five minutes.

Remaining risk: a stolen token can claim the names of a new node before that node has registered. Then only volumes of the thief's node
are exported to those names, and the new node gets none until an administrator removes the false registration.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Mapping, Set
from contextlib import suppress

from csi_cinderlib.errors import AlreadyExists, CorruptRecord, InvalidRequest, NotFound, PreconditionFailed
from csi_cinderlib.model import hostnames, nodes
from csi_cinderlib.model.hostnames import HostName, Kind
from csi_cinderlib.model.records import OWN_KEYS, Attachment, KeyValue, Node
from csi_cinderlib.observe import logs
from csi_cinderlib.pages import NAMES_PAGE
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.persistence.iteration import all_of, walk

PREFIX = f"{OWN_KEYS}host."
"""Prefix of the ids of key-values that contain the names of nodes."""
LOOK_SECONDS = 300.0
"""Interval between two scans of all registrations."""

UNMASKED = frozenset({"local", "file", "nfs", "ceph"})
"""Values of `storage_protocol`, in lower case, of drivers that identify a host only by `host`. With these, nodes may share an address or a
system UUID, as containers that act as nodes do."""

Names = frozenset[HostName]
_NONE: Names = frozenset()
_PAGE = 1000
_log = logs.logger(__name__)


def check_host(node: Node) -> None:
    """Check that a node registered under its own name, which arrays use for its objects.

    Raises:
        PreconditionFailed: it registered under another name.
    """
    if (host := node.connector.get("host")) != node.id:
        raise PreconditionFailed(
            f"node {node.id!r} is registered as host {host!r}, but must be registered as {node.id!r}; see {NAMES_PAGE}"
        )


def check_change(node: str, registered: Mapping[str, object], attached: Iterable[Mapping[str, object]]) -> None:
    """Check that a node has not exchanged names with which volumes are attached. Pure.

    Args:
        registered: its current connector properties.
        attached: the properties with which its volumes were attached.

    Raises:
        PreconditionFailed: it has.
    """
    now = hostnames.by_property(registered)
    for connector in attached:
        for key, before in hostnames.by_property(connector).items():
            after = now.get(key, _NONE)
            if after and not after & before and not _are_addresses(before):
                raise PreconditionFailed(
                    f"node {node!r} is registered with {_list(after)}, but has volumes attached with {_list(before)}; "
                    f"detach them first; see {NAMES_PAGE}"
                )


def check_free(node: str, taken: Mapping[HostName, str]) -> None:
    """Raises PreconditionFailed for the first name that belongs to another node."""
    for name, holder in sorted(taken.items()):
        raise PreconditionFailed(
            f"node {node!r} is registered with {name}, which belongs to node {holder!r}; each node needs its own; see {NAMES_PAGE}"
        )


def never_left(_node_id: str) -> bool:
    return False


class Registrations:
    """Registrations of nodes and their validation, for the active controller. Thread-safe.

    Args:
        registry: registry of the nodes, if it is not the store of the volumes.
        has_left: whether a registered node has left the cluster.
    """

    def __init__(
        self, store: Store, registry: Store | None = None, *, has_left: Callable[[str], bool] = never_left
    ) -> None:
        self._store = store
        self._registry = registry or store
        self._has_left = has_left
        self._looking = threading.Lock()
        self._guard = threading.Lock()
        self._disputed: Mapping[HostName, Set[str]] = {}
        self._claims: dict[str, Names] = {}
        self._holders: dict[HostName, str] = {}
        self._is_loaded = False
        self._refusals: dict[str, str] = {}

    def find(self, node_id: str, protocol: str) -> tuple[Node, dict[str, object]]:
        """The registered node and the connector properties for drivers.

        Args:
            protocol: `storage_protocol` of the back end, "" if unknown.

        Raises:
            NotFound: the node does not exist.
            InvalidRequest: the id carries properties, like the ids of nodes that do not register.
            PreconditionFailed: its registration is not accepted.
        """
        try:
            node = self._registry.get(Node, node_id)
        except NotFound:
            if nodes.is_carrying(node_id):
                raise InvalidRequest(
                    "node_id",
                    "must not contain connector properties, because nodes register themselves (setting kubernetes)",
                ) from None
            raise
        check_host(node)
        passed = _checked(node)
        if protocol.lower() not in UNMASKED:
            self._admit_after_a_look(node)
        return node, passed

    def look(self) -> None:
        """Scan the registrations and forget nodes that are gone. Raises StoreUnavailable, LeaseLost."""
        with self._looking:
            registered, left = self._take_in()
        refusals = {node.id: self._why_not(node) for node in left}
        for node_id, why in refusals.items():
            if why and why != self._refusals.get(node_id):
                _log.warning("node registration not accepted", node=node_id, reason=why)
        self._refusals = refusals
        with self._guard:
            for node_id in sorted(self._claims.keys() - registered):
                if not self._is_registered(node_id) and not self._attached(node_id):
                    self._forget(node_id)

    def _take_in(self) -> tuple[set[str], list[Node]]:
        """Scan all claims, and give each node the free names that only it claims.

        Returns: the ids of all registered nodes, and the nodes that did not get all their names or whose registration is invalid.
        """
        with self._guard:
            self._load()
        registered: set[str] = set()
        left = []
        first: dict[HostName, str] = {}
        disputed: dict[HostName, set[str]] = {}
        for node in walk(self._registry, Node):
            registered.add(node.id)
            is_proper = _is_proper(node)
            for name in hostnames.names(node.connector) if is_proper else _NONE:
                if (other := first.setdefault(name, node.id)) != node.id:
                    disputed.setdefault(name, {other}).add(node.id)
            if not is_proper or not self._has_all(node):
                left.append(node)
        self._disputed = disputed
        return registered, [node for node in left if not self._is_alone(node) or self._why_not(node)]

    def _has_all(self, node: Node) -> bool:
        return hostnames.names(node.connector) <= self._claims.get(node.id, _NONE)

    def _is_alone(self, node: Node) -> bool:
        """Whether no other node owns or claims one of its names."""
        names = hostnames.names(node.connector)
        return not any(name in self._disputed or self._holders.get(name, node.id) != node.id for name in names)

    def _why_not(self, node: Node) -> str:
        """Give the node its names; returns the reason for a refusal, or ""."""
        try:
            check_host(node)
            _checked(node)
            self._admit(node)
        except PreconditionFailed as error:
            return str(error)
        return ""

    def _admit_after_a_look(self, node: Node) -> None:
        if not self._has_all(node):
            with self._looking:
                if not self._has_all(node):  # another call may have scanned meanwhile
                    self._take_in()
        self._admit(node)

    def _admit(self, node: Node) -> None:
        """Ensure that the node owns all names that it registers, and claim free ones. Raises PreconditionFailed."""
        names = hostnames.names(node.connector)
        if names <= self._claims.get(node.id, _NONE):
            return
        with self._guard:
            self._load()
            claimed = self._claims.get(node.id, _NONE)
            if names <= claimed:
                return
            attached = self._attached(node.id)
            check_change(node.id, node.connector, attached)
            holders = {name: holder for name in names if (holder := self._holders.get(name, node.id)) != node.id}
            check_free(node.id, {name: holder for name, holder in holders.items() if not self._gave_up(holder, name)})
            self._check_undisputed(node.id, names - claimed)
            for name, holder in holders.items():
                self._claim(holder, self._claims[holder] - {name})
            self._claim(node.id, names | frozenset(self._free(attached, node.id)))

    def _check_undisputed(self, node_id: str, names: Names) -> None:
        """Raises PreconditionFailed for a free name that another member of the cluster also claims."""
        for name in sorted(names & self._disputed.keys()):
            for other in sorted(self._disputed[name] - {node_id}):
                if not self._has_left(other):
                    raise PreconditionFailed(
                        f"node {node_id!r} is registered with {name}, and so is node {other!r}; "
                        f"each node needs its own; see {NAMES_PAGE}"
                    )

    def _free(self, attached: Iterable[Mapping[str, object]], node_id: str) -> Iterable[HostName]:
        """Names with which volumes are attached and that no other node owns."""
        for connector in attached:
            yield from (name for name in hostnames.names(connector) if self._holders.get(name, node_id) == node_id)

    def _gave_up(self, holder: str, name: HostName) -> bool:
        with suppress(NotFound, CorruptRecord):
            if name in hostnames.names(self._registry.get(Node, holder).connector) and not self._has_left(holder):
                return False
        return name.kind is Kind.ADDRESS or not any(name in hostnames.names(known) for known in self._attached(holder))

    def _is_registered(self, node_id: str) -> bool:
        try:
            return bool(self._registry.get(Node, node_id))
        except CorruptRecord:
            return True
        except NotFound:
            return False

    def _attached(self, node_id: str) -> list[Mapping[str, object]]:
        return [record.connector for record in all_of(self._store, Attachment, {"node_id": node_id})]

    # --- the record of the owners of names

    def _load(self) -> None:
        """Raises StoreUnavailable; the next call retries."""
        if self._is_loaded:
            return
        after, claims = PREFIX, {}
        while after.startswith(PREFIX):
            page = self._store.page(KeyValue, after=after, limit=_PAGE)
            for record in page.records:
                if record.id.startswith(PREFIX):
                    claims[record.id.removeprefix(PREFIX)] = _parse(record.value)
            after = page.next
        for node_id, names in claims.items():
            self._remember(node_id, frozenset(name for name in names if name not in self._holders))
        self._is_loaded = True

    def _claim(self, node_id: str, names: Names) -> None:
        key, value = PREFIX + node_id, json.dumps(sorted(names), separators=(",", ":"))
        try:
            record = self._store.get(KeyValue, key)
            if record.value != value:
                self._store.replace(KeyValue(id=key, value=value, revision=record.revision))
        except NotFound:
            with suppress(AlreadyExists):
                self._store.add(KeyValue(id=key, value=value))
        self._remember(node_id, names)

    def _remember(self, node_id: str, names: Names) -> None:
        for name in self._claims.get(node_id, _NONE) - names:
            del self._holders[name]
        self._holders.update(dict.fromkeys(names, node_id))
        self._claims[node_id] = names

    def _forget(self, node_id: str) -> None:
        with suppress(NotFound):
            self._store.remove(self._store.get(KeyValue, PREFIX + node_id))
        self._remember(node_id, _NONE)
        del self._claims[node_id]


def _checked(node: Node) -> dict[str, object]:
    try:
        return hostnames.checked(node.connector)
    except PreconditionFailed as error:
        raise PreconditionFailed(f"registration of node {node.id!r} is invalid: {error}") from None


def _is_proper(node: Node) -> bool:
    try:
        check_host(node)
        _checked(node)
    except PreconditionFailed:
        return False
    return True


def _parse(value: str) -> Names:
    """Parse the value that `_claim` wrote. An unreadable value is empty, so that the names are claimed again."""
    try:
        return frozenset(HostName(Kind(kind), str(name)) for kind, name in json.loads(value))
    except (ValueError, TypeError):
        return _NONE


def _are_addresses(names: Names) -> bool:
    return all(name.kind is Kind.ADDRESS for name in names)


def _list(names: Names) -> str:
    return ", ".join(str(name) for name in sorted(names))
