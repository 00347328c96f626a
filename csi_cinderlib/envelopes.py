"""What a controller has to tell one node: encrypted to that node's own key (HPKE, RFC 9180) and signed (Ed25519, RFC 8032).

No two nodes share a secret, so that one which is taken over can neither read nor forge what is another's. The name of the node is bound
in, and who forwards the text learns nothing but the ids of the keys:

    n1:SIGNING_KEY_ID:NODE_KEY_ID:BASE64URL(signature, 64 bytes, and HPKE's encapsulated key and ciphertext)

Public keys are 32 bytes in url-safe base64. Nothing of a text is decrypted or parsed before its signature holds.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from csi_cinderlib.config.settings import SealingKey
from csi_cinderlib.errors import InvalidRequest

if TYPE_CHECKING:
    from cryptography.hazmat.primitives import hpke
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PREFIX = "n1:"
_SIGNATURE = 64
_INFO = b"csi-cinderlib connection 1"
_FIELD = "publish_context"


class UnknownSigner(InvalidRequest):
    """It is signed by a key that this node does not know, or knows another one by that id."""


@dataclass(frozen=True, slots=True)
class Signer:
    """What a controller signs with. It follows from a sealing key, so that the two are exchanged together.

    Attributes:
        id: of the sealing key.
        public: what nodes check signatures with.
    """

    id: str
    public: str
    _seed: bytes = field(repr=False)

    def sign(self, message: bytes) -> bytes:
        """64 bytes."""
        return _signing_key(self._seed).sign(message)


def signer(key: SealingKey) -> Signer:
    """The signer of a sealing key, the same in all controllers that have it."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    secret = base64.urlsafe_b64decode(key.key)
    seed = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=b"csi-cinderlib signing 1").derive(secret)
    return Signer(key.id, _to_text(_signing_key(seed).public_key().public_bytes_raw()), seed)


@dataclass(frozen=True, slots=True)
class NodeKey:
    """A node's own key.

    Attributes:
        private: 32 bytes, in url-safe base64. It never leaves the node.
        public: the half that the node registers.
    """

    private: str = field(repr=False)
    public: str

    @property
    def id(self) -> str:
        """What stands for it in a text that is encrypted to it."""
        return key_id(self.public)


def new_node_key() -> NodeKey:
    """One that nobody else has."""
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    key = X25519PrivateKey.generate()
    return NodeKey(_to_text(key.private_bytes_raw()), _to_text(key.public_key().public_bytes_raw()))


def key_id(public: str) -> str:
    """16 hexadecimal digits that follow from the key."""
    import hashlib  # brings OpenSSL's 3 MB, which a node does not need before it is sent something

    return hashlib.sha256(public.encode()).hexdigest()[:16]


def is_key(text: str) -> bool:
    """Whether a text has the form of a key: 32 bytes."""
    try:
        return len(_from_text(text)) == 32
    except ValueError:
        return False


def seal(secret: bytes, *, node: str, to: str, signer: Signer) -> str:
    """The text for a node, which only the owner of the public key `to` can open.

    Raises:
        InvalidRequest: `to` is no public key.
    """
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

    try:
        public = X25519PublicKey.from_public_bytes(_from_text(to))
        encrypted = _suite().encrypt(secret, public, info=_INFO)
    except ValueError:
        raise InvalidRequest("public_key", f"what node {node!r} registered is no public key") from None
    header = f"{PREFIX}{signer.id}:{key_id(to)}:"
    signature = signer.sign(_signed(header, node, encrypted))
    return header + _to_text(signature + encrypted)


def open(text: str, *, node: str, keys: Mapping[str, NodeKey], signers: Mapping[str, str]) -> bytes:
    """What was sealed for this node.

    Args:
        node: this node's name.
        keys: this node's keys, by their ids.
        signers: the controller's public keys, by their ids.

    Raises:
        UnknownSigner: as there.
        InvalidRequest: it is for another node or another key of this one (named), or was changed on the way.
    """
    header, colon, payload = text.rpartition(":")
    parts = header.removeprefix(PREFIX).split(":")
    if not text.startswith(PREFIX) or len(parts) != 2:
        raise InvalidRequest(_FIELD, "was not made by this driver's controller")
    signer_id, recipient = parts
    try:
        sealed = _from_text(payload)
    except ValueError:
        raise InvalidRequest(_FIELD, "was not made by this driver's controller") from None
    _verify(sealed, signer_id, _signed(header + colon, node, sealed[_SIGNATURE:]), node, signers)
    if recipient not in keys:
        raise InvalidRequest(
            _FIELD,
            f"is encrypted to the key {recipient} of node {node!r}, which is not here any more (have: {', '.join(keys)}): "
            "detach the volume from this node, and let it be attached anew",
        )
    return _decrypted(sealed[_SIGNATURE:], keys[recipient])


def _verify(sealed: bytes, signer_id: str, message: bytes, node: str, signers: Mapping[str, str]) -> None:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    if signer_id not in signers:
        have = ", ".join(repr(name) for name in signers) or "none"
        raise UnknownSigner(
            _FIELD, f"is signed with key {signer_id!r}, which no controller has told node {node!r} of (have: {have})"
        )
    try:
        Ed25519PublicKey.from_public_bytes(_from_text(signers[signer_id])).verify(sealed[:_SIGNATURE], message)
    except (InvalidSignature, ValueError):
        raise UnknownSigner(
            _FIELD,
            f"is not signed for node {node!r} with key {signer_id!r}: it is another node's, another key has that id, or it was changed",
        ) from None


def _decrypted(encrypted: bytes, key: NodeKey) -> bytes:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    try:
        private = X25519PrivateKey.from_private_bytes(_from_text(key.private))
        return _suite().decrypt(encrypted, private, info=_INFO)
    except (InvalidTag, ValueError):
        raise InvalidRequest(
            _FIELD, f"cannot be opened with the key {key.id}: it was encrypted to another one"
        ) from None


def _signed(header: str, node: str, encrypted: bytes) -> bytes:
    """Each part with its length in front, so that no two messages are spelt alike."""
    parts = (header.encode(), node.encode(), encrypted)
    return _INFO + b"".join(len(part).to_bytes(8, "big") + part for part in parts)


def _suite() -> hpke.Suite:
    from cryptography.hazmat.primitives import hpke

    return hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.CHACHA20_POLY1305)


def _signing_key(seed: bytes) -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(seed)


def _to_text(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


def _from_text(text: str) -> bytes:
    """Raises ValueError."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise ValueError("is not url-safe base64") from error
