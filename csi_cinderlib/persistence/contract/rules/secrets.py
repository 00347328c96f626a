"""Secrets are sealed if a sealer is given."""

from __future__ import annotations

from dataclasses import replace

import pytest

from csi_cinderlib.errors import CorruptRecord
from csi_cinderlib.model.records import Attachment, Volume
from csi_cinderlib.persistence.contract.harness import Harness
from csi_cinderlib.persistence.contract.samples import ATTACHMENT, RECORDS, SECRETS, VOLUME, Scrambler, volume


class TestSecrets:
    def test_sealed_records_are_read_exactly_as_written(self, persistence_harness: Harness) -> None:
        store = persistence_harness.open(Scrambler())
        stored = [store.add(record) for record in RECORDS]
        assert [store.get(type(record), record.id) for record in RECORDS] == stored
        persistence_harness.close(store)

    def test_no_secret_is_found_in_the_raw_contents(self, persistence_harness: Harness) -> None:
        store = persistence_harness.open(Scrambler())
        for record in RECORDS:
            store.replace(store.add(record))
        persistence_harness.close(store)
        contents = persistence_harness.contents()
        assert b"scrambled:k1:" in contents
        assert [secret for secret in SECRETS if secret in contents] == []

    @pytest.mark.parametrize("sealer", [None, Scrambler("k2")], ids=["no key", "another key"])
    def test_without_the_key_only_sealed_records_cannot_be_read(
        self, persistence_harness: Harness, sealer: Scrambler | None
    ) -> None:
        store = persistence_harness.open(Scrambler())
        store.add(VOLUME)
        store.add(ATTACHMENT)
        store.add(volume("0001"))
        persistence_harness.close(store)
        store = persistence_harness.open(sealer)
        with pytest.raises(CorruptRecord, match="key") as caught:
            store.get(Attachment, ATTACHMENT.id)
        assert sealer is None or "'k1'" in str(caught.value)
        assert "PLAIN" not in str(caught.value)
        assert store.get(Volume, "0001").id == "0001"
        assert store.page(Volume).corrupt == (VOLUME.id,)
        persistence_harness.close(store)

    def test_unsealed_records_can_be_read_with_a_key_and_are_sealed_when_written(
        self, persistence_harness: Harness
    ) -> None:
        store = persistence_harness.open()
        store.add(VOLUME)
        persistence_harness.close(store)
        store = persistence_harness.open(Scrambler())
        stored = store.get(Volume, VOLUME.id)
        assert stored == replace(VOLUME, revision=stored.revision)
        store.replace(stored)
        assert store.get(Volume, VOLUME.id).provider.auth == VOLUME.provider.auth
        persistence_harness.close(store)
