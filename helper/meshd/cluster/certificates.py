"""Certificate keys, signing requests, and what a certificate says. P-256 everywhere: gRPC's TLS refuses Ed25519."""

from __future__ import annotations

import hashlib
import uuid
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID
from google.protobuf.message import DecodeError
from meshproto import base32, state_pb2

from meshd.model.errors import InvalidInput, NotPermitted
from meshd.model.members import Member, Role
from meshd.model.state import State

RECORD_LABEL = b"meshd-member-1:"
"""Before each member statement that the CA signs, so that its signature can't be taken for one of something else."""

UNREADABLE = (
    ValueError,
    TypeError,
    IndexError,
    UnsupportedAlgorithm,
    InvalidSignature,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.ExtensionNotFound,
    x509.UnsupportedGeneralNameType,
)
"""What `cryptography` raises for foreign certificates and requests that it can't read."""

_AWAIT_LABEL = b"meshd-await-1"


def new_private_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def private_key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def certificate_pem(der: bytes) -> bytes:
    """Raises InvalidInput when the bytes are no certificate."""
    try:
        return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)
    except UNREADABLE as error:
        raise InvalidInput("a certificate can't be read") from error


def signing_request(key: ec.EllipticCurvePrivateKey, name: str) -> bytes:
    """A CSR in DER: proves that the applicant has the key."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    return (
        x509.CertificateSigningRequestBuilder()
        .subject_name(subject)
        .sign(key, hashes.SHA256())
        .public_bytes(Encoding.DER)
    )


def read_signing_request(der: bytes) -> ec.EllipticCurvePublicKey:
    """The key of a valid CSR. Raises InvalidInput."""
    try:
        request = x509.load_der_x509_csr(der)
        key = request.public_key()
        valid = request.is_signature_valid
    except UNREADABLE as error:
        raise InvalidInput("the certificate request can't be read") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1) or not valid:
        raise InvalidInput("the certificate request has no valid P-256 key")
    return key


def fingerprint(ca_der: bytes) -> str:
    """SHA-256 of a CA certificate as people compare it: base32 in lower case."""
    return base32.encode(hashlib.sha256(ca_der).digest())


def identity_of(certificate_der: bytes) -> tuple[str, Role, str]:
    """(member id, role, mesh id) from the certificate's DNS name `<id>.<role>.<mesh id>`. Raises InvalidInput."""
    try:
        certificate = x509.load_der_x509_certificate(certificate_der)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        member_id, role, mesh_id = names.get_values_for_type(x509.DNSName)[0].split(".")
        return str(uuid.UUID(member_id)), Role(role), str(uuid.UUID(mesh_id))
    except UNREADABLE as error:
        raise InvalidInput("the certificate is not a member's") from error


def await_signature(key: ec.EllipticCurvePrivateKey, request_id: str) -> bytes:
    """Proves that whoever asks about a request is who made it."""
    return key.sign(_AWAIT_LABEL + request_id.encode(), ec.ECDSA(hashes.SHA256()))


def view_signature(key: ec.EllipticCurvePrivateKey, nonce: bytes, member_id: str, server_certificate: bytes) -> bytes:
    """Proves to that server that whoever asks for the view is that member."""
    return key.sign(_view_statement(nonce, member_id, server_certificate), ec.ECDSA(hashes.SHA256()))


def check_view_signature(
    certificate: bytes, nonce: bytes, member_id: str, server_certificate: bytes, signature: bytes
) -> None:
    """`certificate` is the member's, in DER. Raises NotPermitted."""
    try:
        key = x509.load_der_x509_certificate(certificate).public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise InvalidSignature
        key.verify(signature, _view_statement(nonce, member_id, server_certificate), ec.ECDSA(hashes.SHA256()))
    except (*UNREADABLE, InvalidSignature):
        raise NotPermitted("only members are told what the mesh is like") from None


def _view_statement(nonce: bytes, member_id: str, server_certificate: bytes) -> bytes:
    return b"meshd-view-1" + nonce + member_id.encode() + hashlib.sha256(server_certificate).digest()


def check_await_signature(csr: bytes, request_id: str, signature: bytes) -> None:
    """Raises NotPermitted."""
    try:
        read_signing_request(csr).verify(signature, _AWAIT_LABEL + request_id.encode(), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        raise NotPermitted("that request is somebody else's") from None


@lru_cache(maxsize=16)
def _ca_key(ca_der: bytes) -> ec.EllipticCurvePublicKey:
    try:
        key = x509.load_der_x509_certificate(ca_der).public_key()
    except UNREADABLE as error:
        raise InvalidInput("the certificate of the mesh CA can't be read") from error
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise InvalidInput("the mesh CA has no P-256 key")
    return key


@lru_cache(maxsize=16384)
def _signed(statement: bytes, signature: bytes, ca_der: bytes) -> bool:
    try:
        _ca_key(ca_der).verify(signature, RECORD_LABEL + statement, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def verified_members(state: State) -> tuple[dict[str, Member], dict[str, str]]:
    """The members that the mesh CA vouches for, and why not the others: id -> reason. Nothing else may be used."""
    good: dict[str, Member] = {}
    bad = dict(state.problems)
    for member_id, member in state.parsed.items():
        try:
            verify_member(state.members[member_id], member, state.settings.ca_certificate, state.settings.id)
        except (NotPermitted, InvalidInput) as error:
            bad[member_id] = error.message
        else:
            good[member_id] = member
    return good, bad


def verify_member(message: state_pb2.Member, member: Member, ca_der: bytes, mesh_id: str) -> None:
    """Checks that the mesh CA vouches for the member as it is stored. Raises NotPermitted; cached by signature."""
    try:
        statement = state_pb2.MemberStatement.FromString(message.record.statement)
    except DecodeError:
        raise NotPermitted(f"the record of member {message.id} can't be read") from None
    if statement.mesh_id != mesh_id:
        raise NotPermitted(f"the record of {member.name} is of another mesh")
    if not _signed(message.record.statement, message.record.signature, ca_der):
        raise NotPermitted(f"the record of {member.name} is not signed by the mesh CA")
