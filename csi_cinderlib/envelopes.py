"""Messages from a controller to one node, encrypted to the key of that node (HPKE, RFC 9180) and signed (Ed25519, RFC 8032).

Nodes share no secret, so a compromised node can neither read nor forge messages for other nodes. The signature covers the name of the
node. Intermediaries see only the ids of the keys:

    n1:SIGNING_KEY_ID:NODE_KEY_ID:BASE64URL(signature, 64 bytes, and HPKE's encapsulated key and ciphertext)

Public keys are 32 bytes in URL-safe base64. The signature is verified before anything is decrypted or parsed.
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
    """The signing key is not registered for this node, or a different key is registered under its id."""


@dataclass(frozen=True, slots=True)
class Signer:
    """The signing key of a controller. It is derived from a sealing key, so both are rotated together.

    Attributes:
        id: id of the sealing key.
        public: public key with which nodes verify signatures.
    """

    id: str
    public: str
    _seed: bytes = field(repr=False)

    def sign(self, message: bytes) -> bytes:
        """Return the signature, 64 bytes."""
        return _signing_key(self._seed).sign(message)


def signer(key: SealingKey) -> Signer:
    """Derive the signer of a sealing key. All controllers with this key derive the same signer."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    secret = base64.urlsafe_b64decode(key.key)
    seed = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=b"csi-cinderlib signing 1").derive(secret)
    return Signer(key.id, _to_text(_signing_key(seed).public_key().public_bytes_raw()), seed)


@dataclass(frozen=True, slots=True)
class NodeKey:
    """The key pair of a node.

    Attributes:
        private: 32 bytes in URL-safe base64. It never leaves the node.
        public: the public key that the node registers.
    """

    private: str = field(repr=False)
    public: str

    @property
    def id(self) -> str:
        """Identifies the key in texts that are encrypted to it."""
        return key_id(self.public)


def new_node_key() -> NodeKey:
    """Generate a key pair."""
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    key = X25519PrivateKey.generate()
    return NodeKey(_to_text(key.private_bytes_raw()), _to_text(key.public_key().public_bytes_raw()))


def key_id(public: str) -> str:
    """16 hexadecimal digits derived from the key."""
    import hashlib  # loads 3 MB of OpenSSL, which a node does not need before its first message

    return hashlib.sha256(public.encode()).hexdigest()[:16]


def is_key(text: str) -> bool:
    """Whether the text decodes to the 32 bytes of a key."""
    try:
        return len(_from_text(text)) == 32
    except ValueError:
        return False


def seal(secret: bytes, *, node: str, to: str, signer: Signer) -> str:
    """Encrypt and sign a secret for a node. Only the owner of the public key `to` can open the text.

    Raises:
        InvalidRequest: `to` is not a public key.
    """
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

    try:
        public = X25519PublicKey.from_public_bytes(_from_text(to))
        encrypted = _suite().encrypt(secret, public, info=_INFO)
    except ValueError:
        raise InvalidRequest("public_key", f"node {node!r} registered an invalid public key") from None
    header = f"{PREFIX}{signer.id}:{key_id(to)}:"
    signature = signer.sign(_signed(header, node, encrypted))
    return header + _to_text(signature + encrypted)


def open(text: str, *, node: str, keys: Mapping[str, NodeKey], signers: Mapping[str, str]) -> bytes:
    """Verify and decrypt a text that was sealed for this node.

    Args:
        node: name of this node.
        keys: keys of this node by id.
        signers: public keys of the controllers by id.

    Raises:
        UnknownSigner: no registered key has signed the text.
        InvalidRequest: the text is for another node or for a key that this node no longer has, or it was modified.
    """
    header, colon, payload = text.rpartition(":")
    parts = header.removeprefix(PREFIX).split(":")
    if not text.startswith(PREFIX) or len(parts) != 2:
        raise InvalidRequest(_FIELD, "was not created by this driver's controller")
    signer_id, recipient = parts
    try:
        sealed = _from_text(payload)
    except ValueError:
        raise InvalidRequest(_FIELD, "was not created by this driver's controller") from None
    _verify(sealed, signer_id, _signed(header + colon, node, sealed[_SIGNATURE:]), node, signers)
    if recipient not in keys:
        raise InvalidRequest(
            _FIELD,
            f"is encrypted to key {recipient} of node {node!r}, which no longer exists (keys: {', '.join(keys)}); "
            "detach the volume from this node and attach it again",
        )
    return _decrypted(sealed[_SIGNATURE:], keys[recipient])


def _verify(sealed: bytes, signer_id: str, message: bytes, node: str, signers: Mapping[str, str]) -> None:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    if signer_id not in signers:
        have = ", ".join(repr(name) for name in signers) or "none"
        raise UnknownSigner(
            _FIELD,
            f"is signed with key {signer_id!r}, which is not registered for node {node!r}; registered keys: {have}",
        )
    try:
        Ed25519PublicKey.from_public_bytes(_from_text(signers[signer_id])).verify(sealed[:_SIGNATURE], message)
    except (InvalidSignature, ValueError):
        raise UnknownSigner(
            _FIELD,
            f"has no valid signature by key {signer_id!r} for node {node!r}: it is for another node, the id belongs to a different key, "
            "or the text was modified",
        ) from None


def _decrypted(encrypted: bytes, key: NodeKey) -> bytes:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    try:
        private = X25519PrivateKey.from_private_bytes(_from_text(key.private))
        return _suite().decrypt(encrypted, private, info=_INFO)
    except (InvalidTag, ValueError):
        raise InvalidRequest(
            _FIELD, f"cannot be decrypted with key {key.id}: it was encrypted to a different key"
        ) from None


def _signed(header: str, node: str, encrypted: bytes) -> bytes:
    """Prefix each part with its length, so that different messages never have the same encoding."""
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
