"""Which keys seal, which sign, and which only open."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from csi_cinderlib.app.keys import Keys
from csi_cinderlib.config.settings import SealingKey, Settings
from csi_cinderlib.errors import InvalidRequest
from csi_cinderlib.sealing import Sealer, generate_key

OWN, SHARED = (SealingKey(id=name, key=generate_key()) for name in ("c1", "k1"))


def write(path: Path, *keys: SealingKey) -> str:
    path.write_text("".join(f"- {{id: {key.id}, key: {key.key}}}\n" for key in keys))
    return str(path)


def settings(tmp_path: Path, *, own: tuple[SealingKey, ...] = (OWN,), shared: tuple[SealingKey, ...] = ()) -> Settings:
    path = tmp_path / "shared.yaml"
    if shared:
        write(path, *shared)
    return Settings(
        state_dir=tmp_path,
        sealing_keys_file=write(tmp_path / "own.yaml", *own) if own else "",
        shared_keys_file=str(path),
    )


def test_a_key_that_nodes_have_opens_and_neither_seals_records_nor_signs(tmp_path: Path) -> None:
    keys = Keys(settings(tmp_path, shared=(SHARED,)))
    assert keys.sealer.writer == OWN.id
    assert keys.sealer.open(Sealer([SHARED]).seal(b"x")) == b"x"
    assert [signer.id for signer in keys.signers()] == [OWN.id]
    assert keys.shared.writer == SHARED.id
    with pytest.raises(InvalidRequest, match="'c1', which is not configured;"):
        keys.shared.open(keys.sealer.seal(b"x"))


def test_a_new_installation_has_no_shared_key(tmp_path: Path) -> None:
    keys = Keys(settings(tmp_path))
    assert not keys.shared.active
    assert keys.sealer.writer == OWN.id


def test_a_key_that_is_given_as_both_is_one_that_nodes_have(tmp_path: Path) -> None:
    keys = Keys(settings(tmp_path, own=(SHARED,), shared=(SHARED,)))
    assert keys.signers() == ()
    assert keys.sealer.writer == SHARED.id


def test_a_key_that_nodes_have_in_another_spelling_does_not_sign(tmp_path: Path) -> None:
    raw = b"\xff" * 32
    spelt = (base64.urlsafe_b64encode(raw).decode(), base64.b64encode(raw).decode())
    own, shared = (SealingKey(id=id, key=key) for id, key in zip(("c1", "k1"), spelt, strict=True))
    assert Keys(settings(tmp_path, own=(own,), shared=(shared,))).signers() == ()


def test_both_files_are_read_again(tmp_path: Path) -> None:
    keys = Keys(settings(tmp_path, shared=(SHARED,)))
    before = keys.signers()
    new = SealingKey(id="c2", key=generate_key())
    write(tmp_path / "own.yaml", new, OWN)
    (tmp_path / "shared.yaml").unlink()
    keys.refresh()
    assert [signer.id for signer in keys.signers()] == ["c2", "c1"]
    assert keys.signers()[1] == before[0]
    assert not keys.shared.active
    with pytest.raises(InvalidRequest):
        keys.sealer.open(Sealer([SHARED]).seal(b"x"))
