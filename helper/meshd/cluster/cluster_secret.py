"""The cluster secret for each node: wrapped for the key of its certificate, so that one that was away gets a new one.

Wrapping is ECIES: an ephemeral P-256 key agrees with the certificate's key (NIST SP 800-56A, section 6.2.2.2),
HKDF-SHA-256 (RFC 5869) makes the key, AES-256-GCM encrypts, bound to the mesh and the node.
"""

from __future__ import annotations

import os

from cryptography import x509
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from meshproto import cluster_key

from meshd.cluster.certificates import new_private_key
from meshd.model.errors import NotPermitted

_POINT = 65  # bytes of an uncompressed P-256 point (SEC 1, section 2.3.3)
_NONCE = 12


def new_secret() -> bytes:
    return os.urandom(cluster_key.SECRET_BYTES)


def wrap(secret: bytes, certificate: bytes, mesh_id: str, member_id: str) -> bytes:
    """Ephemeral point, nonce, ciphertext. `certificate` is DER, with a P-256 key. Raises NotPermitted."""
    theirs = x509.load_der_x509_certificate(certificate).public_key()
    if not isinstance(theirs, ec.EllipticCurvePublicKey):
        raise NotPermitted(f"the certificate of {member_id} has no P-256 key")
    ephemeral = new_private_key()
    point = _point(ephemeral.public_key())
    key = _key(ephemeral.exchange(ec.ECDH(), theirs), point + _point(theirs))
    nonce = os.urandom(_NONCE)
    return point + nonce + AESGCM(key).encrypt(nonce, secret, _bound_to(mesh_id, member_id))


def unwrap(box: bytes, key: ec.EllipticCurvePrivateKey, mesh_id: str, member_id: str) -> bytes:
    """What `wrap` wrapped. Raises NotPermitted when it was wrapped for somebody else, or changed."""
    point, nonce, text = box[:_POINT], box[_POINT : _POINT + _NONCE], box[_POINT + _NONCE :]
    try:
        ephemeral = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
        shared = key.exchange(ec.ECDH(), ephemeral)
        box_key = _key(shared, point + _point(key.public_key()))
        return AESGCM(box_key).decrypt(nonce, text, _bound_to(mesh_id, member_id))
    except (ValueError, InvalidTag):
        raise NotPermitted("the cluster secret is not wrapped for this node") from None


def _point(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def _key(shared: bytes, points: bytes) -> bytes:
    return HKDF(hashes.SHA256(), 32, points, b"meshd-cluster-secret-1").derive(shared)


def _bound_to(mesh_id: str, member_id: str) -> bytes:
    return f"{mesh_id} {member_id}".encode()
