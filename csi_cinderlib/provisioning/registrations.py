"""Who is who, where nodes register themselves: which connector properties a driver is given for a node.

A node writes its own registration, so what stands there is a claim. The controller takes it if `host` is the node's name, and if no other
node has any of the names in it: an array would otherwise give one node's volumes to another. Which node has which names is the
controller's own record (a key-value for each node, which no node can write), so the order in which two nodes say the same decides, and
not what one of them says later:

- A name belongs to the node that was seen with it first. Where several nodes say a name that nobody has, none of them gets it.
- It is free again when that node has left the cluster, or registers without it, and has no volume attached by it.
- While a node has volumes attached by a name, it does not exchange that name for another. It may add ports beside those it has.

An address identifies nobody for long, so it is free as soon as its node registers with another.

Cost: a publish reads the node's own registration. All names are in memory, read once by the active controller, who alone writes them;
only a name that is new costs more: a look at all registrations, which gives every node its names, and one write. Without that, a look
takes in every registration within five minutes.

What remains: a stolen token can claim a new node's names before that node has registered. Then volumes of the thief's node alone are
exported to those names, and the new node gets none until an administrator removes the false registration.
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
"""Of the ids of key-values that hold the names of nodes."""
LOOK_SECONDS = 300.0
"""Between two looks at all registrations."""

UNMASKED = frozenset({"local", "file", "nfs", "ceph"})
"""What drivers report as `storage_protocol`, in lower case, when they look at no name of a host but its `host`: there, nodes may share
an address or a system UUID, as containers that stand for nodes do."""

Names = frozenset[HostName]
_NONE: Names = frozenset()
_PAGE = 1000
_log = logs.logger(__name__)


def check_host(node: Node) -> None:
    """That a node registered under its own name, after which arrays name what they keep of it.

    Raises:
        PreconditionFailed: names both.
    """
    if (host := node.connector.get("host")) != node.id:
        raise PreconditionFailed(
            f"node {node.id!r} is registered as host {host!r}, and must be as {node.id!r}: {NAMES_PAGE}"
        )


def check_change(node: str, registered: Mapping[str, object], attached: Iterable[Mapping[str, object]]) -> None:
    """That a node has not exchanged names by which it has volumes attached. Pure.

    Args:
        registered: its connector properties now.
        attached: those with which its volumes were attached.

    Raises:
        PreconditionFailed: names the old and the new one.
    """
    now = hostnames.by_property(registered)
    for connector in attached:
        for key, before in hostnames.by_property(connector).items():
            after = now.get(key, _NONE)
            if after and not after & before and not _are_addresses(before):
                raise PreconditionFailed(
                    f"node {node!r} is registered with {_list(after)}, and has volumes attached with {_list(before)}: "
                    f"detach them first, see {NAMES_PAGE}"
                )


def check_free(node: str, taken: Mapping[HostName, str]) -> None:
    """Raises PreconditionFailed for the first of these names that another node has."""
    for name, holder in sorted(taken.items()):
        raise PreconditionFailed(
            f"node {node!r} is registered with {name}, which node {holder!r} has: each node needs its own, see {NAMES_PAGE}"
        )


def nobody(_node_id: str) -> bool:
    return False


class Registrations:
    """What nodes register, and what of it is believed. Thread-safe; of the active controller.

    Args:
        registry: where nodes register, if that is not the store of the volumes.
        has_left: whether a node that is still registered is no member of the cluster any more.
    """

    def __init__(
        self, store: Store, registry: Store | None = None, *, has_left: Callable[[str], bool] = nobody
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
        """The node as it registered, and what drivers are told about it.

        Args:
            protocol: `storage_protocol` of the back end, "" if unknown.

        Raises:
            NotFound: no such node.
            InvalidRequest: the id carries properties, as those of nodes that do not register do.
            PreconditionFailed: its registration is not to be believed; says why.
        """
        try:
            node = self._registry.get(Node, node_id)
        except NotFound:
            if nodes.is_carrying(node_id):
                raise InvalidRequest(
                    "node_id",
                    "carries connector properties, which count only where nodes do not register (setting kubernetes)",
                ) from None
            raise
        check_host(node)
        passed = _checked(node)
        if protocol.lower() not in UNMASKED:
            self._admit_after_a_look(node)
        return node, passed

    def look(self) -> None:
        """Take in what nodes have registered, and forget those that are gone. Raises StoreUnavailable, LeaseLost."""
        with self._looking:
            registered, left = self._take_in()
        refusals = {node.id: self._why_not(node) for node in left}
        for node_id, why in refusals.items():
            if why and why != self._refusals.get(node_id):
                _log.warning(
                    "a registration is not believed by back ends that go by such names", node=node_id, reason=why
                )
        self._refusals = refusals
        with self._guard:
            for node_id in sorted(self._claims.keys() - registered):
                if not self._is_registered(node_id) and not self._attached(node_id):
                    self._forget(node_id)

    def _take_in(self) -> tuple[set[str], list[Node]]:
        """See who says what now, and give each node the names that it alone says and nobody has.

        Returns: the ids of all registered nodes, and those nodes that have not got all they say, or are not registered properly.
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
        """Whether no other node has a name of it or says one."""
        names = hostnames.names(node.connector)
        return not any(name in self._disputed or self._holders.get(name, node.id) != node.id for name in names)

    def _why_not(self, node: Node) -> str:
        """Give it what it says, or tell why not."""
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
                if not self._has_all(node):  # another call may have looked meanwhile
                    self._take_in()
        self._admit(node)

    def _admit(self, node: Node) -> None:
        """See that the node has all names that it registers, or give it those that are free. Raises PreconditionFailed."""
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
        """Raises PreconditionFailed for a name that nobody has, and that another member of the cluster says, too."""
        for name in sorted(names & self._disputed.keys()):
            for other in sorted(self._disputed[name] - {node_id}):
                if not self._has_left(other):
                    raise PreconditionFailed(
                        f"node {node_id!r} is registered with {name}, and so is node {other!r}: "
                        f"each node needs its own, see {NAMES_PAGE}"
                    )

    def _free(self, attached: Iterable[Mapping[str, object]], node_id: str) -> Iterable[HostName]:
        """The names by which volumes are attached, and which no other node has."""
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

    # --- the record of who has which name

    def _load(self) -> None:
        """Raises StoreUnavailable; then the next call tries again."""
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
        raise PreconditionFailed(f"node {node.id!r} is not registered properly: {error}") from None


def _is_proper(node: Node) -> bool:
    try:
        check_host(node)
        _checked(node)
    except PreconditionFailed:
        return False
    return True


def _parse(value: str) -> Names:
    """What `_claim` wrote; nothing of what cannot be read, so that it is claimed anew."""
    try:
        return frozenset(HostName(Kind(kind), str(name)) for kind, name in json.loads(value))
    except (ValueError, TypeError):
        return _NONE


def _are_addresses(names: Names) -> bool:
    return all(name.kind is Kind.ADDRESS for name in names)


def _list(names: Names) -> str:
    return ", ".join(str(name) for name in sorted(names))
