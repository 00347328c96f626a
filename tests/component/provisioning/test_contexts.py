"""What a node is told is sealed for that node: by its own key, or by a shared one where it has none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from csi_cinderlib import envelopes
from csi_cinderlib.config.settings import SealingKey
from csi_cinderlib.envelopes import Signer
from csi_cinderlib.errors import InvalidRequest, NotFound, PreconditionFailed
from csi_cinderlib.model.records import Node
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.persistence.plugins import open_store
from csi_cinderlib.provisioning.contexts import AGAIN_SECONDS, Contexts
from csi_cinderlib.sealing import Sealer, generate_key

SHARED = SealingKey(id="k1", key=generate_key())
OLD, NEW = (envelopes.signer(SealingKey(id=name, key=generate_key())) for name in ("c1", "c2"))
KEY = envelopes.new_node_key()


class Site:
    def __init__(self, store: Store) -> None:
        self.nodes = store
        self.signers: tuple[Signer, ...] = (OLD,)
        self.shared = Sealer()
        self.now = 100.0
        self.node = store.add(Node(id="n1", connector={"host": "n1"}, public_key=KEY.public))

    def contexts(self, *, registering: bool = True) -> Contexts:
        return Contexts(
            self.shared,
            signers=lambda: self.signers,
            nodes=self.nodes,
            registering=registering,
            clock=lambda: self.now,
        )

    def opened(self, text: str) -> bytes:
        known = self.nodes.get(Node, "n1").signers
        return envelopes.open(text, node="n1", keys={KEY.id: KEY}, signers=known)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(open_store("memory", {}, state_dir=tmp_path, sealer=None))


def test_a_node_knows_who_signs_before_anything_is_sealed_for_it(site: Site) -> None:
    contexts = site.contexts()
    node = contexts.prepare(site.node)
    assert node.signers == {"c1": OLD.public}
    assert site.opened(contexts.seal(node, b"secret")) == b"secret"
    assert contexts.prepare(node) is node, "the second time nothing is written"


def test_after_an_exchange_the_first_key_signs_and_the_node_knows_exactly_those_that_there_are(site: Site) -> None:
    contexts = site.contexts()
    before = contexts.seal(contexts.prepare(site.node), b"before")
    site.signers = (NEW, OLD)
    after = contexts.seal(contexts.prepare(site.nodes.get(Node, "n1")), b"after")
    assert [site.opened(text) for text in (before, after)] == [b"before", b"after"]
    site.signers = (NEW,)
    contexts.prepare(site.nodes.get(Node, "n1"))
    with pytest.raises(InvalidRequest, match="'c1', which is not registered for node"):
        site.opened(before)


def test_all_nodes_are_told_when_the_keys_change_and_not_otherwise(site: Site) -> None:
    contexts = site.contexts()
    site.nodes.add(Node(id="n2", connector={}, public_key=KEY.public))
    contexts.tell_all()
    told = [site.nodes.get(Node, name) for name in ("n1", "n2")]
    assert [node.signers for node in told] == [{"c1": OLD.public}] * 2
    site.nodes.replace(replace(told[0], signers={}))
    contexts.tell_all()
    assert site.nodes.get(Node, "n1").signers == {}, "nothing has changed since"
    site.signers = (NEW,)
    contexts.tell_all()
    assert site.nodes.get(Node, "n1").signers == {"c2": NEW.public}


def test_a_node_that_had_to_register_anew_is_told_though_the_keys_are_the_same(site: Site) -> None:
    contexts = site.contexts()
    contexts.tell_all()
    site.nodes.remove(site.nodes.get(Node, "n1"))
    site.nodes.add(Node(id="n1", connector={}, public_key=KEY.public))
    site.now += AGAIN_SECONDS
    contexts.tell_all()
    assert site.nodes.get(Node, "n1").signers == {"c1": OLD.public}, "connections that it was given before need them"


def test_a_plugin_of_an_earlier_version_finds_nothing_in_its_object_that_it_may_not_take_out(site: Site) -> None:
    site.nodes.add(Node(id="old", connector={}))
    site.contexts().tell_all()
    assert site.nodes.get(Node, "old").signers == {}


def test_what_was_prepared_is_not_sent_in_plain_when_the_keys_are_taken_away_meanwhile(site: Site) -> None:
    old = site.nodes.add(Node(id="old", connector={}))
    site.shared.rotate([SHARED])
    contexts = site.contexts()
    prepared = contexts.prepare(old)
    site.shared.rotate([])
    with pytest.raises(PreconditionFailed, match="node 'old' has not registered a key of its own"):
        contexts.seal(prepared, b"secret")


def test_a_registration_beside_it_is_not_lost(site: Site) -> None:
    contexts = site.contexts()
    stale = site.node
    site.nodes.replace(replace(stale, connector={"host": "n1", "initiator": "new"}))
    node = contexts.prepare(stale)
    assert node.connector == {"host": "n1", "initiator": "new"}
    assert node.signers == {"c1": OLD.public}


def test_a_node_that_is_gone_is_said_to_be(site: Site) -> None:
    site.nodes.remove(site.node)
    with pytest.raises(NotFound):
        site.contexts().prepare(site.node)


def test_a_node_of_an_earlier_version_gets_the_shared_key_while_there_is_one(site: Site) -> None:
    old = site.nodes.add(Node(id="old", connector={}))
    site.shared = Sealer([SHARED])
    contexts = site.contexts()
    assert Sealer([SHARED]).open(contexts.seal(contexts.prepare(old), b"x")) == b"x"
    site.shared = Sealer()
    with pytest.raises(PreconditionFailed, match="node 'old' has not registered a key of its own"):
        site.contexts().prepare(old)


def test_without_a_key_of_its_own_the_controller_of_nodes_with_keys_seals_nothing(site: Site) -> None:
    site.signers = ()
    with pytest.raises(PreconditionFailed, match="sealing_keys must contain a key that nodes do not have"):
        site.contexts().prepare(site.node)


def test_where_nodes_do_not_register_the_shared_key_or_none_is_used(site: Site) -> None:
    carried = Node(id="cl1.x", connector={})
    contexts = site.contexts(registering=False)
    assert Sealer().open(contexts.seal(contexts.prepare(carried), b"x")) == b"x"
    contexts.tell_all()
    assert site.nodes.get(Node, "n1").signers == {}


def test_a_registration_that_is_no_key_is_refused(site: Site) -> None:
    broken = site.nodes.replace(replace(site.node, public_key="AAAA"))
    contexts = site.contexts()
    with pytest.raises(InvalidRequest, match="node 'n1' registered an invalid public key"):
        contexts.seal(contexts.prepare(broken), b"x")
