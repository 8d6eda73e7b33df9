from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshd.cluster.authority import CertificateAuthority, present_secret
from meshd.cluster.certificates import new_private_key, signing_request
from meshd.cluster.cluster_secret import unwrap, wrap
from meshd.model.errors import NotPermitted
from meshd.model.members import Role
from meshproto import state_pb2

MESH_ID = str(uuid.UUID(int=1))
NODE_ID = str(uuid.UUID(int=2))
SECRET = b"\x05" * 32
AUTHORITY = CertificateAuthority.create(MESH_ID, "home")
KEY = new_private_key()
CERTIFICATE = AUTHORITY.certify(signing_request(KEY, "gw-berlin"), NODE_ID, Role.NODE)
BOX = wrap(SECRET, CERTIFICATE, MESH_ID, NODE_ID)


def settings(secret: bytes = SECRET) -> state_pb2.MeshSettings:
    return state_pb2.MeshSettings(
        id=MESH_ID, ca_certificate=AUTHORITY.certificate, encrypted_ca_key=AUTHORITY.encrypted_key(secret)
    )


def test_it_opens_for_its_node_only() -> None:
    assert unwrap(BOX, KEY, MESH_ID, NODE_ID) == SECRET
    assert wrap(SECRET, CERTIFICATE, MESH_ID, NODE_ID) != BOX
    other = str(uuid.UUID(int=3))
    for key, mesh_id, node_id in ((new_private_key(), MESH_ID, NODE_ID), (KEY, other, NODE_ID), (KEY, MESH_ID, other)):
        with pytest.raises(NotPermitted):
            unwrap(BOX, key, mesh_id, node_id)


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(box: bytes) -> None:
    with pytest.raises(NotPermitted):
        unwrap(box, KEY, MESH_ID, NODE_ID)


@given(st.integers(0, len(BOX) - 1), st.integers(1, 255))
def test_a_changed_byte_is_refused(place: int, change: int) -> None:
    damaged = bytearray(BOX)
    damaged[place] ^= change
    with pytest.raises(NotPermitted):
        unwrap(bytes(damaged), KEY, MESH_ID, NODE_ID)


def test_a_rotation_opens_with_the_new_secret_only() -> None:
    before = settings()
    authority = CertificateAuthority.open(before, SECRET)
    after = authority.rotate(before)
    assert after.key_generation == 1
    member = state_pb2.Member(id=NODE_ID, wrapped_secret=authority.wrap(after, NODE_ID, CERTIFICATE))
    new = present_secret(after, member, KEY, SECRET)
    assert new != SECRET
    assert CertificateAuthority.open(after, new).certificate == AUTHORITY.certificate
    with pytest.raises(NotPermitted):
        CertificateAuthority.open(after, SECRET)
    # Until it is committed, the old one counts, also for whom is let in meanwhile.
    assert unwrap(authority.wrap(before, NODE_ID, CERTIFICATE), KEY, MESH_ID, NODE_ID) == SECRET


def test_whom_it_is_not_wrapped_for_hears_so() -> None:
    after = settings(b"\x06" * 32)
    for member in (None, state_pb2.Member(id=NODE_ID), state_pb2.Member(id=NODE_ID, wrapped_secret=BOX)):
        with pytest.raises(NotPermitted, match="rotated"):
            present_secret(after, member, KEY, SECRET)
    assert present_secret(settings(), None, KEY, SECRET) == SECRET
