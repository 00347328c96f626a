"""A node takes what its controller has encrypted to it, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from csi_cinderlib import envelopes
from csi_cinderlib.config.settings import SealingKey
from csi_cinderlib.errors import InvalidRequest, StoreUnavailable
from csi_cinderlib.node.contexts import LOOK_SECONDS, OwnContexts
from csi_cinderlib.node.own_keys import OwnKeys
from csi_cinderlib.sealing import Sealer, generate_key

OLD = envelopes.signer(SealingKey(id="c1", key=generate_key()))
NEW = envelopes.signer(SealingKey(id="c2", key=generate_key()))
SHARED = SealingKey(id="k1", key=generate_key())


class Site:
    """A node and what its registration says."""

    def __init__(self, state_dir: Path, *shared: SealingKey) -> None:
        self.keys = OwnKeys(state_dir, "n1")
        self.key = self.keys.ensure()
        self.registered: dict[str, str] = {OLD.id: OLD.public}
        self.now = 100.0
        self.asked = 0
        self.contexts = OwnContexts(
            self.keys, Sealer(shared), signers=dict(self.registered), ask=self._ask, clock=lambda: self.now
        )

    def _ask(self) -> Mapping[str, str]:
        self.asked += 1
        return dict(self.registered)

    def sealed(self, signer: envelopes.Signer = OLD) -> str:
        return envelopes.seal(b"secret", node="n1", to=self.key.public, signer=signer)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_what_is_encrypted_to_the_node_is_opened(site: Site) -> None:
    assert site.contexts.open(site.sealed()) == b"secret"
    assert site.asked == 0


@pytest.mark.parametrize("keys", [(), (SHARED,)])
def test_what_is_not_sealed_is_refused(keys: tuple[SealingKey, ...], tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"not encrypted to a key of node 'n1'|is not sealed"):
        Site(tmp_path, *keys).contexts.open(Sealer().seal(b"x"))


def test_what_was_sealed_before_the_node_had_a_key_stays_readable_as_long_as_the_key_is_there(tmp_path: Path) -> None:
    text = Sealer([SHARED]).seal(b"old")
    assert Site(tmp_path, SHARED).contexts.open(text) == b"old"
    with pytest.raises(InvalidRequest, match=r"not encrypted to a key of node 'n1'"):
        Site(tmp_path).contexts.open(text)


def test_a_key_of_the_controller_that_is_new_is_asked_for(site: Site) -> None:
    site.registered[NEW.id] = NEW.public
    assert site.contexts.open(site.sealed(NEW)) == b"secret"
    assert site.asked == 1
    assert site.contexts.open(site.sealed()) == b"secret"


def test_forged_texts_make_the_node_ask_no_more_often_than_it_may(site: Site) -> None:
    for expected in (1, 2):
        for _ in range(50):
            with pytest.raises(InvalidRequest, match="c2"):
                site.contexts.open(site.sealed(NEW))
        assert site.asked == expected
        site.now += LOOK_SECONDS


@pytest.mark.parametrize("answers", [True, False])
def test_calls_that_waited_for_a_slow_answer_ask_no_more(site: Site, answers: bool) -> None:
    """Each would hold a thread of the server for as long again."""
    asked = []

    def ask() -> Mapping[str, str]:
        asked.append(site.now)
        site.now += 60
        if not answers:
            raise StoreUnavailable("no response")
        return {OLD.id: OLD.public}

    contexts = OwnContexts(site.keys, Sealer(), signers={OLD.id: OLD.public}, ask=ask, clock=lambda: site.now)
    for _ in range(5):
        with pytest.raises(InvalidRequest if answers else StoreUnavailable):
            contexts.open(site.sealed(NEW))
    assert asked == [100.0]
    site.now += LOOK_SECONDS
    with pytest.raises(InvalidRequest if answers else StoreUnavailable):
        contexts.open(site.sealed(NEW))
    assert len(asked) == 2


def test_of_many_that_meet_a_new_key_at_once_each_opens_its_text_and_one_asks(site: Site) -> None:
    site.registered[NEW.id] = NEW.public
    text = site.sealed(NEW)
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(site.contexts.open, [text] * 8)) == [b"secret"] * 8
    assert site.asked == 1


def test_another_key_by_the_same_id_is_asked_for(site: Site) -> None:
    again = envelopes.signer(SealingKey(id=OLD.id, key=generate_key()))
    site.registered[OLD.id] = again.public
    site.now += LOOK_SECONDS
    assert site.contexts.open(site.sealed(again)) == b"secret"
    with pytest.raises(InvalidRequest, match="no valid signature"):
        site.contexts.open(site.sealed(OLD))


def test_a_key_that_was_taken_away_is_accepted_until_the_next_look_and_not_after(site: Site) -> None:
    site.registered = {NEW.id: NEW.public}
    assert site.contexts.open(site.sealed()) == b"secret"
    site.contexts.learn()
    with pytest.raises(InvalidRequest, match="'c1', which is not registered for node"):
        site.contexts.open(site.sealed())


def test_contexts_of_known_signers_open_while_the_controller_is_unreachable(site: Site) -> None:
    def unreachable() -> Mapping[str, str]:
        raise StoreUnavailable("no response")

    contexts = OwnContexts(site.keys, Sealer(), signers={OLD.id: OLD.public}, ask=unreachable, clock=lambda: site.now)
    site.now += LOOK_SECONDS
    assert contexts.open(site.sealed()) == b"secret"
    with pytest.raises(StoreUnavailable):
        contexts.open(site.sealed(NEW))
    assert contexts.open(site.sealed()) == b"secret"


def test_a_key_that_was_exchanged_on_the_disk_is_used_at_once(site: Site) -> None:
    before = site.sealed()
    assert site.contexts.open(before) == b"secret"
    key = site.keys.add()
    assert site.contexts.open(envelopes.seal(b"new", node="n1", to=key.public, signer=OLD)) == b"new"
    assert site.contexts.open(before) == b"secret"
    site.keys.forget_old()
    with pytest.raises(InvalidRequest, match=f"is encrypted to key {site.key.id}"):
        site.contexts.open(before)
