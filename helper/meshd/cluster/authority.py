"""The mesh CA: made at create, used by the primary, kept encrypted under the cluster secret (DESIGN.md section 5)."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_der_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from meshproto import state_pb2

from meshd.cluster.certificates import RECORD_LABEL, new_private_key, read_signing_request
from meshd.cluster.cluster_secret import new_secret, unwrap, wrap
from meshd.model.errors import NotPermitted
from meshd.model.members import Role

MEMBER_LIFE = timedelta(days=3653)
"""Ten years: removal ends a certificate at once, because every server checks its caller against the member list."""

CA_LIFE = timedelta(days=36525)

BACKDATE = timedelta(days=1)
"""How far clocks may differ."""

_ECDSA = ec.ECDSA(hashes.SHA256())

_NONCE = 12  # bytes, what AES-GCM takes (NIST SP 800-38D)


class CertificateAuthority:
    """Signs certificates and member records of one mesh."""

    def __init__(self, mesh_id: str, certificate: bytes, key: ec.EllipticCurvePrivateKey) -> None:
        self.mesh_id = mesh_id
        self.certificate = certificate  # DER
        self._key = key
        self._secrets: list[bytes] = []  # cluster secrets, of which one is the present one
        self._subject = x509.load_der_x509_certificate(certificate).subject

    @classmethod
    def create(cls, mesh_id: str, name: str) -> CertificateAuthority:
        key = new_private_key()
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - BACKDATE)
            .not_valid_after(now + CA_LIFE)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(ca=True), critical=True)
            .sign(key, hashes.SHA256())
        )
        return cls(mesh_id, certificate.public_bytes(Encoding.DER), key)

    @classmethod
    def open(cls, settings: state_pb2.MeshSettings, cluster_secret: bytes) -> CertificateAuthority:
        """From the replicated state. Raises NotPermitted when the secret does not open it."""
        box = settings.encrypted_ca_key
        try:
            der = AESGCM(_box_key(cluster_secret, settings.id)).decrypt(box[:_NONCE], box[_NONCE:], b"")
        except (InvalidTag, ValueError):
            raise NotPermitted(
                "this node's cluster key does not open the mesh CA", "it was rotated: join this node again"
            ) from None
        key = load_der_private_key(der, None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise NotPermitted("the mesh CA has no P-256 key")
        authority = cls(settings.id, settings.ca_certificate, key)
        authority._secrets.append(cluster_secret)
        return authority

    def encrypted_key(self, cluster_secret: bytes) -> bytes:
        """The CA key as the replicated state holds it: nonce, then AES-256-GCM under a key derived by HKDF."""
        der = self._key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        nonce = os.urandom(_NONCE)
        self._secrets.append(cluster_secret)
        return nonce + AESGCM(_box_key(cluster_secret, self.mesh_id)).encrypt(nonce, der, b"")

    def rotate(self, settings: state_pb2.MeshSettings) -> state_pb2.MeshSettings:
        """The settings with the CA key under a new cluster secret. They count once they are committed."""
        rotated = state_pb2.MeshSettings()
        rotated.CopyFrom(settings)
        rotated.encrypted_ca_key = self.encrypted_key(new_secret())
        rotated.key_generation += 1
        return rotated

    def wrap(self, settings: state_pb2.MeshSettings, member_id: str, certificate: bytes) -> bytes:
        """The cluster secret of these settings for the node with this certificate. Raises NotPermitted."""
        for secret in reversed(self._secrets):
            if _opens(settings, secret):
                return wrap(secret, certificate, self.mesh_id, member_id)
        raise NotPermitted("this primary does not have the cluster secret of these settings")

    def certify(self, csr: bytes, member_id: str, role: Role) -> bytes:
        """A member's certificate in DER. Raises InvalidInput for a CSR that can't be used."""
        public_key = read_signing_request(csr)
        now = datetime.now(UTC)
        name = f"{member_id}.{role.value}.{self.mesh_id}"
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, member_id)]))
            .issuer_name(self._subject)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - BACKDATE)
            .not_valid_after(now + MEMBER_LIFE)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(ca=False), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                critical=False,
            )
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return certificate.public_bytes(Encoding.DER)

    def sign(self, statement: state_pb2.MemberStatement) -> state_pb2.MemberRecord:
        data = statement.SerializeToString(deterministic=True)
        return state_pb2.MemberRecord(statement=data, signature=self._key.sign(RECORD_LABEL + data, _ECDSA))


def present_secret(
    settings: state_pb2.MeshSettings,
    member: state_pb2.Member | None,
    key: ec.EllipticCurvePrivateKey,
    known: bytes,
) -> bytes:
    """The secret that opens the CA of these settings: the known one, or the one that is wrapped for this member.

    Raises NotPermitted when neither does.
    """
    if _opens(settings, known):
        return known
    if member is not None and member.wrapped_secret:
        secret = unwrap(member.wrapped_secret, key, settings.id, member.id)
        if _opens(settings, secret):
            return secret
    raise NotPermitted(
        "the cluster key was rotated, and the new one is not there for this node",
        f"if it was removed from {settings.name}: leave, and join again",
    )


def _opens(settings: state_pb2.MeshSettings, secret: bytes) -> bool:
    try:
        CertificateAuthority.open(settings, secret)
    except NotPermitted:
        return False
    return True


def _box_key(cluster_secret: bytes, mesh_id: str) -> bytes:
    return HKDF(hashes.SHA256(), 32, mesh_id.encode(), b"meshd-ca-key-1").derive(cluster_secret)


def _key_usage(ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )
