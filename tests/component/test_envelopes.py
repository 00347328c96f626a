"""What is encrypted to one node: nobody else opens it, and nobody but the controller makes it."""

from __future__ import annotations

import base64
import subprocess
import sys
from dataclasses import replace

import pytest

from csi_cinderlib import envelopes
from csi_cinderlib.config.settings import SealingKey
from csi_cinderlib.envelopes import NodeKey, Signer, UnknownSigner
from csi_cinderlib.errors import InvalidRequest
from csi_cinderlib.sealing import generate_key

SECRET = b"canary-chap" * 20
CONTROLLER = envelopes.signer(SealingKey(id="c1", key=generate_key()))
KEY = envelopes.new_node_key()


def opened(
    text: str, *, node: str = "n1", keys: tuple[NodeKey, ...] = (KEY,), signers: tuple[Signer, ...] = (CONTROLLER,)
) -> bytes:
    known = {signer.id: signer.public for signer in signers}
    return envelopes.open(text, node=node, keys={key.id: key for key in keys}, signers=known)


def sealed(*, node: str = "n1", to: str = KEY.public, signer: Signer = CONTROLLER, secret: bytes = SECRET) -> str:
    return envelopes.seal(secret, node=node, to=to, signer=signer)


def test_the_node_opens_what_was_sealed_for_it() -> None:
    text = sealed()
    assert opened(text) == SECRET
    assert text.startswith(f"n1:c1:{KEY.id}:")
    assert text != sealed(), "each has a key of its own"
    assert opened(sealed(secret=b"")) == b""


def test_no_secret_is_in_the_text_or_in_what_is_shown_of_keys() -> None:
    payload = sealed().rpartition(":")[2]
    assert SECRET not in base64.urlsafe_b64decode(payload + "==")
    assert KEY.private not in repr(KEY)
    assert "seed" not in repr(CONTROLLER)


def test_a_controller_with_the_same_sealing_key_signs_the_same() -> None:
    key = SealingKey(id="c1", key=generate_key())
    assert envelopes.signer(key) == envelopes.signer(replace(key))
    assert opened(sealed(signer=envelopes.signer(key)), signers=(envelopes.signer(key),)) == SECRET


def test_another_nodes_text_is_refused_even_by_a_node_with_the_same_key() -> None:
    """As machines that were made from one image have it."""
    with pytest.raises(UnknownSigner, match="no valid signature by key 'c1' for node 'n2'"):
        opened(sealed(), node="n2")


def test_a_text_that_is_encrypted_to_another_key_names_both() -> None:
    other = envelopes.new_node_key()
    with pytest.raises(InvalidRequest, match=rf"key {KEY.id} of node 'n1'.*keys: {other.id}"):
        opened(sealed(), keys=(other,))


def test_what_somebody_else_signed_is_refused() -> None:
    forger = envelopes.signer(SealingKey(id="c1", key=generate_key()))
    with pytest.raises(UnknownSigner, match="no valid signature by key 'c1' for node 'n1'"):
        opened(sealed(signer=forger))
    with pytest.raises(
        UnknownSigner, match=r"signed with key 'c1', which is not registered for node 'n1'; registered keys: none"
    ):
        opened(sealed(), signers=())


def test_the_holder_of_a_nodes_key_cannot_make_a_text_for_it() -> None:
    """Nor can it pass on what it opened: the ciphertext is signed, not what is in it."""
    forged = envelopes.signer(SealingKey(id="mine", key=generate_key()))
    with pytest.raises(UnknownSigner):
        opened(sealed(secret=opened(sealed()), signer=forged))


@pytest.mark.parametrize("position", [0, 1, 40, 63, 64, 70, 95, 96, 120, -1])
def test_a_changed_byte_is_refused(position: int) -> None:
    header, _, payload = sealed().rpartition(":")
    content = bytearray(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    content[position] ^= 1
    with pytest.raises(InvalidRequest):
        opened(f"{header}:{base64.urlsafe_b64encode(bytes(content)).decode().rstrip('=')}")


def test_a_changed_header_is_refused() -> None:
    other = envelopes.new_node_key()
    with pytest.raises(InvalidRequest, match="no valid signature"):
        opened(sealed().replace(KEY.id, other.id), keys=(KEY, other))


@pytest.mark.parametrize(
    "text",
    ["", "n1:", "n1:::", "n1:c1", "n1:c1:x", "n1:c1:k:AAAA", "n1:c1:k:not base64", "n1:c1:k:\u00e4", "n2:c1:k:AAAA", "n1:a:b:c:AAAA"],
)  # fmt: skip
def test_what_is_no_such_text_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="publish_context"):
        opened(text)


@pytest.mark.parametrize("cut", [1, 10, 70, 100, 2000])
def test_a_text_that_was_cut_is_refused(cut: int) -> None:
    with pytest.raises(InvalidRequest):
        opened(sealed()[:-cut])


@pytest.mark.parametrize("public", ["", "AAAA", "\u00e4", "not a key", base64.urlsafe_b64encode(bytes(32)).decode()])
def test_what_a_node_registered_and_is_no_key_is_refused(public: str) -> None:
    """32 zero bytes are a point with which everybody has the same secret."""
    with pytest.raises(InvalidRequest, match=r"public_key: node 'n1' registered an invalid public key"):
        sealed(to=public)


def test_cryptography_is_not_loaded_before_it_is_needed() -> None:
    code = (
        "import sys; from csi_cinderlib import envelopes; envelopes.key_id('x'); envelopes.is_key('x');"
        "sys.exit(any(m.startswith('cryptography') for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
