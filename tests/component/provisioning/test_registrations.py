"""Whom the controller takes a node for: names in registrations, and who has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from csi_cinderlib.errors import CorruptRecord, InvalidRequest, PreconditionFailed
from csi_cinderlib.model import nodes
from csi_cinderlib.model.records import KeyValue, Node
from csi_cinderlib.persistence.api import R, Store
from csi_cinderlib.persistence.memory import MemoryStore
from csi_cinderlib.provisioning import registrations
from csi_cinderlib.provisioning.registrations import Registrations

from .conftest import NOTHING, Site

VICTIM = {
    "initiator": "iqn.1993-08.org.debian:01:abc",
    "wwpns": ["50014380186af83c", "50014380186af83e"],
    "wwnns": ["50014380186af83d"],
    "nqn": "nqn.2014-08.org.nvmexpress:uuid:8bd5d5cd-eb5f-4d6a-9f07-43e8d5a7cbd3",
    "nvme_hostid": "8bd5d5cd-eb5f-4d6a-9f07-43e8d5a7cbd3",
    "system uuid": "4c4c4544-0042-4a10-8051-b4c04f4d3232",
    "uuid": "0b1ab3c1-35ce-4d50-9b4b-8c1c5e6a0f11",
    "ip": "2001:db8::10",
}


def register(site: Site, name: str, connector: Mapping[str, object], *, host: str = "") -> str:
    """Written by the node's plugin, or by somebody with its token."""
    registry = site.nodes or site.store
    node = Node(id=name, connector={"host": host or name, **connector})
    try:
        known = registry.get(Node, name)
    except Exception:
        registry.add(node)
    else:
        registry.replace(replace(node, revision=known.revision))
    return name


@pytest.fixture
def victim(site: Site) -> str:
    """A node with a volume."""
    name = register(site, "victim", VICTIM)
    site.publish(site.create("of the victim"), name)
    return name


def refusal(site: Site, node: str) -> str:
    """How a volume is refused to the node; nothing of it reaches the driver."""
    before = set(site.backends.get("array").driver.mapped)  # type: ignore[attr-defined]  # a local back end's
    volume = site.create(f"for {node}")
    with pytest.raises(PreconditionFailed) as caught:
        site.publish(volume, node)
    assert set(site.backends.get("array").driver.mapped) == before  # type: ignore[attr-defined]  # a local back end's
    return str(caught.value)


def test_a_registration_with_the_host_name_of_another_node_is_refused(site: Site, victim: str) -> None:
    register(site, "thief", {"initiator": "iqn.thief"}, host=victim)
    why = refusal(site, "thief")
    assert "'thief'" in why
    assert "'victim'" in why


@pytest.mark.parametrize("host", ["", "Thief", "thief.example.org", None])
def test_a_node_is_registered_under_exactly_its_name(site: Site, host: str | None) -> None:
    site.store.add(Node(id="thief", connector={"host": host, "initiator": "iqn.thief"}))
    assert "must be registered as 'thief'" in refusal(site, "thief")


@pytest.mark.parametrize(
    ("key", "spelling"),
    [
        ("initiator", "IQN.1993-08.org.debian:01:ABC"),
        ("wwpns", ["21000024ff000001", "50:01:43:80:18:6A:F8:3E"]),
        ("wwnns", ["0x50014380186AF83C"]),
        ("wwpns", ["50-01-43-80-18-6a-f8-3d"]),
        ("nqn", "nqn.2014-08.org.nvmexpress:uuid:8BD5D5CD-EB5F-4D6A-9F07-43E8D5A7CBD3"),
        ("nvme_hostid", "8BD5D5CDEB5F4D6A9F0743E8D5A7CBD3"),
        ("system uuid", "4C4C4544-0042-4A10-8051-B4C04F4D3232"),
        ("uuid", "8bd5d5cd-eb5f4d6a-9f0743e8d5a7CBD3"),
        ("sdc_guid", "0B1AB3C1-35CE-4D50-9B4B-8C1C5E6A0F11"),
        ("ip", "2001:DB8:0:0:0:0:0:10"),
        ("host_ips", ["192.0.2.1", "2001:db8::0:10%eth0"]),
    ],
)
def test_a_name_of_another_node_is_refused_however_it_is_spelt(
    site: Site, victim: str, key: str, spelling: object
) -> None:
    register(site, "thief", {key: spelling})
    why = refusal(site, "thief")
    assert "'thief'" in why
    assert f"which belongs to node {victim!r}" in why
    site.publish(site.create("more of the victim"), victim)


def test_a_node_whose_name_is_claimed_later_goes_on(site: Site, victim: str) -> None:
    """Also after the controller has started anew, when memory does not tell who was first."""
    site.publish(site.create("a"), register(site, "a-thief", {"initiator": "iqn.thief"}))
    register(site, "a-thief", VICTIM)
    site.restart()
    site.registrations.look()
    assert "which belongs to node 'victim'" in refusal(site, "a-thief") or "volumes attached" in refusal(
        site, "a-thief"
    )
    site.publish(site.create("b"), victim)


def test_a_node_has_its_names_from_the_first_look_on(site: Site) -> None:
    register(site, "victim", VICTIM)
    site.registrations.look()
    register(site, "a-thief", VICTIM)
    site.registrations.look()
    assert "which belongs to node 'victim'" in refusal(site, "a-thief")


@pytest.mark.parametrize("first", ["victim", "a-thief"])
def test_a_name_that_two_nodes_say_before_either_was_seen_is_neithers(site: Site, first: str) -> None:
    """Whichever is asked for first, and also when an earlier look has seen one of them with other names."""
    register(site, "victim", {"ip": "192.0.2.7"})
    register(site, "a-thief", {"initiator": "iqn.thief"})
    site.registrations.look()
    register(site, "victim", VICTIM)
    register(site, "a-thief", {"initiator": VICTIM["initiator"]})
    second = "a-thief" if first == "victim" else "victim"
    for node, other in ((first, second), (second, first)):
        assert f"and so is node {other!r}" in refusal(site, node)
    site.registrations.look()
    register(site, "a-thief", {"initiator": "iqn.thief"})
    site.publish(site.create("of the victim"), "victim")
    register(site, "a-thief", VICTIM)
    assert "which belongs to node 'victim'" in refusal(site, "a-thief")
    site.publish(site.create("more of the victim"), "victim")


def test_a_registration_that_is_not_proper_disputes_nothing(site: Site) -> None:
    register(site, "thief", VICTIM, host="victim")
    site.publish(site.create(), register(site, "victim", VICTIM))


def test_a_node_that_has_left_disputes_nothing(site: Site) -> None:
    register(site, "before", VICTIM)
    register(site, "victim", VICTIM)
    believed = Registrations(site.store, site.nodes, has_left=lambda node: node == "before")
    assert believed.find("victim", NOTHING)[1]["host"] == "victim"


def test_a_name_is_not_exchanged_while_volumes_are_attached_by_it(site: Site, victim: str) -> None:
    register(site, victim, {**VICTIM, "initiator": "iqn.attacker"})
    why = refusal(site, victim)
    assert "iqn.attacker" in why
    assert "iqn.1993-08.org.debian:01:abc" in why


def test_a_host_that_was_set_up_anew_rejoins_without_volumes(site: Site, victim: str) -> None:
    register(site, victim, {**VICTIM, "initiator": "iqn.new"})
    site.attachments.unpublish(site.ids.volume_id("of the victim"), victim)
    site.publish(site.create(), victim)
    site.publish(site.create("another"), register(site, "heir", {"initiator": VICTIM["initiator"]}))


def test_ports_come_and_go_beside_those_that_a_node_has(site: Site, victim: str) -> None:
    for ports in (["50014380186af83c"], ["50014380186af83c", "21000024ff000001"], VICTIM["wwpns"]):
        register(site, victim, {**VICTIM, "wwpns": ports})
        site.publish(site.create(str(ports)), victim)
    register(site, "thief", {"wwpns": ["50014380186af83e"]})
    assert "which belongs to node 'victim'" in refusal(site, "thief")


def test_an_address_moves_as_soon_as_its_node_has_another(site: Site, victim: str) -> None:
    register(site, victim, {**VICTIM, "ip": "2001:db8::11"})
    site.publish(site.create("a"), register(site, "n2", {"ip": VICTIM["ip"]}))
    site.publish(site.create("b"), victim)
    register(site, victim, VICTIM)
    assert "which belongs to node 'n2'" in refusal(site, victim)


def test_the_names_of_a_node_that_is_gone_are_free_once_its_volumes_are_detached(site: Site, victim: str) -> None:
    site.store.remove(site.store.get(Node, victim))
    register(site, "heir", VICTIM)
    assert "which belongs to node 'victim'" in refusal(site, "heir")
    site.attachments.unpublish(site.ids.volume_id("of the victim"), victim)
    site.publish(site.create(), "heir")


def test_a_node_that_has_left_the_cluster_keeps_nothing_although_it_is_registered(site: Site) -> None:
    believed = Registrations(site.store, has_left=lambda node: node == "old")
    for name in ("old", "new"):
        register(site, name, VICTIM)
        assert believed.find(name, "iSCSI")[1]["host"] == name
    register(site, "newer", VICTIM)
    with pytest.raises(PreconditionFailed, match="which belongs to node 'new'"):
        believed.find("newer", "iSCSI")


def test_what_a_node_had_is_forgotten_with_its_registration(site: Site, victim: str) -> None:
    site.store.remove(site.store.get(Node, victim))
    site.registrations.look()
    assert site.store.get(KeyValue, registrations.PREFIX + victim)
    site.attachments.unpublish(site.ids.volume_id("of the victim"), victim)
    site.registrations.look()
    assert not [item for item in site.store.page(KeyValue).records if item.id.startswith(registrations.PREFIX)]


def test_containers_that_stand_for_nodes_share_names_where_nobody_goes_by_them(site: Site) -> None:
    shared = {"system uuid": VICTIM["system uuid"], "ip": "192.0.2.7"}
    for name in ("n1", "n2"):
        register(site, name, shared)
        assert site.registrations.find(name, "local")[1] == {"host": name, **shared}
        assert site.registrations.find(name, "NFS")[1] == {"host": name, **shared}
    site.registrations.look()
    with pytest.raises(PreconditionFailed, match="and so is node 'n1'"):
        site.registrations.find("n2", "")


@pytest.mark.parametrize(
    "anybodys",
    [
        {"ip": "127.0.0.1"},
        {"ip": "fe80::1%eth0"},
        {"system uuid": "Not Settable"},
        {"system uuid": "03000200-0400-0500-0006-000700080009"},
        {"system uuid": "00000000-0000-0000-0000-000000000000"},
        {"wwpns": ["0000000000000000"]},
        {"initiator": "", "wwpns": [], "ip": ""},
    ],
)
def test_what_many_hosts_have_is_no_name(site: Site, anybodys: Mapping[str, object]) -> None:
    for name in ("n1", "n2"):
        site.publish(site.create(name), register(site, name, anybodys))


@pytest.mark.parametrize(
    "odd",
    [
        {"initiator": "iqn.thief,iqn.1993-08.org.debian:01:abc"},
        {"initiator": "iqn.thief iqn.x"},
        {"initiator": "iqn.x'; rmvdisk 1"},
        {"initiator": ["iqn.a"]},
        {"wwpns": "50014380186af83c"},
        {"wwpns": ["5001438"]},
        {"wwpns": [7]},
        {"wwpns": ["50014380186a\ufb003c"]},  # a ligature, which is "ff" where letters are folded
        {"ip": "*"},
        {"ip": "0.0.0.0"},  # refused
        {"ip": "192.0.2.0/24"},
        {"ip": "192.0.2.7%,2001:db8::10"},
        {"ip": "192.0.2.7%eth0"},
        {"host_ips": ["192.0.2.1", "2001:db8::7%eth0 *(rw)"]},
        {"ip": "2001:db8::7%eth0\n2001:db8::10"},
        {"initiator": "-delete"},
        {"wwpns": ["-50014380186af83c"]},
        {"nqn": {"a": 1}},
        {"multipath": {"a": 1}},
        {"os_type": "linux\nx"},
        {"wwpns": [f"{number:016x}" for number in range(1, 99)]},
    ],
)
def test_properties_that_are_not_what_they_must_be_are_refused(site: Site, odd: Mapping[str, object]) -> None:
    register(site, "thief", odd)
    assert "registration of node 'thief' is invalid" in refusal(site, "thief")


@pytest.mark.parametrize(
    "odd",
    ["Not Settable", "", "4c4c4544-0042-4a10-8051-b4c04f4d3232 ", "x\ny", "4c4c4544-0042-4a10-8051-b4c04f4d\ufb0032"],
)
def test_a_driver_sees_no_system_uuid_that_is_none(site: Site, odd: str) -> None:
    register(site, "thief", {"system uuid": odd, "initiator": "iqn.thief"})
    assert site.registrations.find("thief", "iSCSI")[1] == {"host": "thief", "initiator": "iqn.thief"}


def test_a_driver_sees_no_property_that_nobody_knows(site: Site) -> None:
    register(site, "thief", {"remote_target_ip": "192.0.2.9", "initiator": "iqn.thief"})
    assert site.registrations.find("thief", "iSCSI")[1] == {"host": "thief", "initiator": "iqn.thief"}


def test_an_id_that_carries_properties_is_refused_where_nodes_register(site: Site, driver: Any) -> None:
    volume = site.create()
    for id in (nodes.encode({"host": "victim", "initiator": "iqn.attacker"}), "cl1.rubbish"):
        with pytest.raises(InvalidRequest, match="node_id: must not contain connector properties"):
            site.publish(volume, id)
    assert driver.calls["initialize_connection"] == 0
    site.publish(volume, register(site, "cl1.example.org", {"initiator": "iqn.n1"}))
    assert driver.mapped == {(volume.id, "cl1.example.org")}


class Counting(MemoryStore):
    """How often it was asked, and by what."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def get(self, kind: type[R], id: str) -> R:
        self.calls.append(f"get {kind.__name__}")
        return super().get(kind, id)

    def page(self, kind: type[R], **query: Any) -> Any:
        self.calls.append(f"page {kind.__name__}")
        return super().page(kind, **query)


def test_a_publish_reads_the_registration_of_its_node_alone(site: Site) -> None:
    store = Counting()
    believed = Registrations(store)
    for number in range(50):
        store.add(Node(id=f"n{number}", connector={"host": f"n{number}", "initiator": f"iqn.{number}"}))
        believed.find(f"n{number}", NOTHING)
    store.add(Node(id="new", connector={"host": "new", "initiator": "iqn.new"}))
    store.calls.clear()
    believed.find("new", NOTHING)
    assert store.calls.count("page Node") == 1
    store.calls.clear()
    believed.find("n7", NOTHING)
    assert store.calls == ["get Node"]


class Unreadable(MemoryStore):
    """A node's registration that is damaged, by itself perhaps."""

    def __init__(self, id: str) -> None:
        super().__init__()
        self._id = id

    def get(self, kind: type[R], id: str) -> R:
        if kind is Node and id == self._id:
            raise CorruptRecord("node", id, "odd")
        return super().get(kind, id)


def test_a_registration_that_cannot_be_read_holds_no_name_without_volumes(store: Store) -> None:
    registry = MemoryStore()
    registry.add(Node(id="thief", connector={"host": "thief", **VICTIM}))
    assert Registrations(store, registry).find("thief", "")[1]["host"] == "thief"
    damaged = Unreadable("thief")
    damaged.add(Node(id="victim", connector={"host": "victim", **VICTIM}))
    assert Registrations(store, damaged).find("victim", "")[1]["host"] == "victim"
    Registrations(store, damaged).look()
