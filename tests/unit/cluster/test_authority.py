"""The mesh CA: what it signs, who can check it, and that only the cluster secret opens it."""

from __future__ import annotations

import hashlib
import ssl
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st
from meshd.cluster.authority import CertificateAuthority
from meshd.cluster.certificates import (
    await_signature,
    certificate_pem,
    check_await_signature,
    fingerprint,
    identity_of,
    new_private_key,
    private_key_pem,
    read_signing_request,
    signing_request,
    verified_members,
    verify_member,
)
from meshd.model.addresses import make_pools
from meshd.model.changes import Context, create_mesh
from meshd.model.errors import InvalidInput, NotPermitted
from meshd.model.members import Member, Role
from meshd.model.position import Position
from meshd.model.state import State
from meshproto import base32, node_pb2, state_pb2

MESH_ID = str(uuid.UUID(int=7))
SECRET = bytes(range(32))


@pytest.fixture(scope="module")
def authority() -> CertificateAuthority:
    return CertificateAuthority.create(MESH_ID, "home")


def record(authority: CertificateAuthority, number: int = 1, **fields: Any) -> state_pb2.Member:
    statement = state_pb2.MemberStatement(
        mesh_id=MESH_ID,
        id=str(uuid.UUID(int=number)),
        name=f"laptop-{number}",
        role=state_pb2.ROLE_PEER,
        public_key=number.to_bytes(32, "big"),
        ipv4=f"10.51.{number // 250}.{number % 250 + 1}",
        ipv6=f"fd00::{number:x}",
        transport=f"fd00:0:0:1::{number:x}",
    )
    for name, value in fields.items():
        setattr(statement, name, value)
    return state_pb2.Member(id=statement.id, record=authority.sign(statement))


def check(message: state_pb2.Member, authority: CertificateAuthority, mesh_id: str = MESH_ID) -> None:
    verify_member(message, Member.from_message(message), authority.certificate, mesh_id)


def test_a_certificate_names_member_role_and_mesh_and_is_accepted_by_tls(authority: CertificateAuthority) -> None:
    key, member_id = new_private_key(), str(uuid.uuid4())
    der = authority.certify(signing_request(key, "gw-a"), member_id, Role.NODE)
    assert identity_of(der) == (member_id, Role.NODE, MESH_ID)
    certificate = x509.load_der_x509_certificate(der)
    certificate.verify_directly_issued_by(x509.load_der_x509_certificate(authority.certificate))
    now = datetime.now(UTC)
    assert certificate.not_valid_before_utc < now - timedelta(hours=23)
    assert certificate.not_valid_after_utc > now + timedelta(days=3650)
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(usage) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    assert certificate.public_key() == key.public_key()


def handshake(tmp_path: Any, authority: CertificateAuthority, server: CertificateAuthority, name: str) -> None:
    """One TLS handshake in memory, client checking against `authority` and server showing a certificate of `server`."""
    key = new_private_key()
    der = server.certify(signing_request(key, "gw-a"), str(uuid.UUID(int=1)), Role.NODE)
    chain = tmp_path / "pem"
    chain.write_bytes(private_key_pem(key) + certificate_pem(der))
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(chain)
    client_side = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_side.load_verify_locations(cadata=certificate_pem(authority.certificate).decode())
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client_side.wrap_bio(to_client, to_server, server_hostname=name),
        server_side.wrap_bio(to_server, to_client, server_side=True),
    ]
    done: set[int] = set()
    for _ in range(6):
        for number, end in enumerate(ends):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            done.add(number)
    assert done == {0, 1}


def test_tls_accepts_our_certificates_and_no_other_meshs(tmp_path: Any, authority: CertificateAuthority) -> None:
    name = f"{uuid.UUID(int=1)}.node.{MESH_ID}"
    handshake(tmp_path, authority, authority, name)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(tmp_path, authority, CertificateAuthority.create(MESH_ID, "home"), name)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(tmp_path, authority, authority, f"{uuid.UUID(int=2)}.node.{MESH_ID}")


def test_the_ca_key_opens_with_the_cluster_secret_only(authority: CertificateAuthority) -> None:
    box = authority.encrypted_key(SECRET)
    assert box != authority.encrypted_key(SECRET)
    settings = state_pb2.MeshSettings(id=MESH_ID, ca_certificate=authority.certificate, encrypted_ca_key=box)
    check(record(CertificateAuthority.open(settings, SECRET)), authority)
    broken = state_pb2.MeshSettings()
    broken.CopyFrom(settings)
    broken.encrypted_ca_key = box[:-1] + bytes([box[-1] ^ 1])
    empty = state_pb2.MeshSettings(id=MESH_ID, ca_certificate=authority.certificate)
    other = state_pb2.MeshSettings()
    other.CopyFrom(settings)
    other.id = str(uuid.uuid4())
    for sealed, secret in ((settings, bytes(32)), (broken, SECRET), (empty, SECRET), (other, SECRET)):
        with pytest.raises(NotPermitted):
            CertificateAuthority.open(sealed, secret)


def test_a_record_is_good_for_its_mesh_as_it_was_signed(authority: CertificateAuthority) -> None:
    good = record(authority)
    check(good, authority)
    with pytest.raises(NotPermitted):
        check(good, CertificateAuthority.create(MESH_ID, "home"))
    with pytest.raises(NotPermitted):
        check(good, authority, str(uuid.uuid4()))
    edited = record(authority)
    statement = state_pb2.MemberStatement.FromString(edited.record.statement)
    statement.admin = True
    edited.record.statement = statement.SerializeToString()
    with pytest.raises(NotPermitted):
        check(edited, authority)
    with pytest.raises(NotPermitted):
        check(record(authority, mesh_id=str(uuid.uuid4())), authority)


def test_a_signature_over_something_else_is_no_record(authority: CertificateAuthority) -> None:
    good = record(authority)
    good.record.signature = authority._key.sign(good.record.statement, ec.ECDSA(hashes.SHA256()))
    with pytest.raises(NotPermitted):
        check(good, authority)


@given(st.binary(max_size=100))
def test_any_signature_is_refused(authority: CertificateAuthority, signature: bytes) -> None:
    forged = record(authority)
    forged.record.signature = signature
    with pytest.raises(NotPermitted):
        check(forged, authority)


def test_verified_members_leave_out_who_is_not_vouched_for(authority: CertificateAuthority) -> None:
    good, forged = record(authority, 1), record(CertificateAuthority.create(MESH_ID, "home"), 2)
    settings = state_pb2.MeshSettings(id=MESH_ID, ca_certificate=authority.certificate)
    view = state_pb2.View(settings=settings, members=[good, forged, state_pb2.Member(id="x")])
    members, problems = verified_members(State.from_view(view))
    assert set(members) == {good.id}
    assert set(problems) == {forged.id, "x"}


def test_three_thousand_records_are_affordable_and_the_second_time_free(authority: CertificateAuthority) -> None:
    settings = state_pb2.MeshSettings(id=MESH_ID, ca_certificate=authority.certificate)
    view = state_pb2.View(settings=settings, members=[record(authority, number) for number in range(1, 3001)])
    state = State.from_view(view)
    begin = time.process_time()  # what other programs take meanwhile does not count
    assert len(verified_members(state)[0]) == 3000
    middle = time.process_time()
    assert len(verified_members(state)[0]) == 3000
    assert middle - begin < 10
    assert time.process_time() - middle < (middle - begin) / 2 + 0.1


def test_only_valid_p256_requests_are_read() -> None:
    key = new_private_key()
    good = signing_request(key, "x")
    assert read_signing_request(good) == key.public_key()
    name = x509.Name([])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    others = [
        builder.sign(rsa.generate_private_key(65537, 2048), hashes.SHA256()),
        builder.sign(ec.generate_private_key(ec.SECP384R1()), hashes.SHA256()),
    ]
    forged = good[:-4] + bytes(byte ^ 0x55 for byte in good[-4:])
    for der in (*(one.public_bytes(Encoding.DER) for one in others), forged, b"", b"junk"):
        with pytest.raises(InvalidInput):
            read_signing_request(der)


# The library says so of some damaged certificates, which it takes; newer ones will refuse them.
@pytest.mark.filterwarnings("ignore:Parsed a serial number which wasn't positive")
@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=3))
def test_damaged_requests_and_certificates_raise_invalid_input(
    authority: CertificateAuthority, damage: list[tuple[int, int]]
) -> None:
    key = new_private_key()
    request = signing_request(key, "x")
    certificate = authority.certify(request, str(uuid.UUID(int=1)), Role.PEER)
    for der, read in ((request, read_signing_request), (certificate, identity_of)):
        damaged = bytearray(der)
        for place, byte in damage:
            damaged[place % len(der)] = byte
        try:
            read(bytes(damaged))
        except InvalidInput:
            continue


def test_whoever_asks_about_a_request_proves_the_key() -> None:
    key, other = new_private_key(), new_private_key()
    csr = signing_request(key, "x")
    check_await_signature(csr, "4f1c", await_signature(key, "4f1c"))
    for signature in (await_signature(other, "4f1c"), await_signature(key, "4f1d"), b""):
        with pytest.raises(NotPermitted):
            check_await_signature(csr, "4f1c", signature)


def test_the_fingerprint_is_the_sha256_in_base32(authority: CertificateAuthority) -> None:
    text = fingerprint(authority.certificate)
    assert base32.decode(text) == hashlib.sha256(authority.certificate).digest()
    assert len(text) == 52


def test_the_real_authority_makes_a_mesh_whose_first_member_is_vouched_for(authority: CertificateAuthority) -> None:
    key = new_private_key()
    applicant = node_pb2.Applicant(
        name="gw-a", public_key=b"\x09" * 32, certificate_request=signing_request(key, "gw-a"), listen_port=10100
    )
    context = Context(1_800_000_000_000, lambda count: b"\x07" * count, authority)
    pools = make_pools(MESH_ID, "", 0, "", "", "")
    box = authority.encrypted_key(SECRET)
    entry = create_mesh("home", MESH_ID, pools, "", 0, authority.certificate, box, applicant, context, "r")
    members, problems = verified_members(State().with_entry(entry, Position(1, 1)))
    assert not problems
    member = next(iter(members.values()))
    stored = State().with_entry(entry, Position(1, 1)).members[member.id]
    assert hashlib.sha256(stored.certificate).digest() == member.certificate_sha256
    assert identity_of(stored.certificate) == (member.id, Role.NODE, MESH_ID)
