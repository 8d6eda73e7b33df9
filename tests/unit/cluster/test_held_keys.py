"""Keys that a person handed over: on a file system in memory, for whom they belong to, gone on request."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as some
from meshd.cluster.certificates import new_private_key
from meshd.cluster.held_keys import drop_keys, held_keys, hold_keys, parse_keys
from meshd.cluster.identity import Keys
from meshd.model.errors import InvalidInput
from meshproto.keys import PrivateKey
from meshproto.local_pb2 import MemberKeys

MESH_ID = "00000000-0000-4000-8000-000000000001"


def der(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def new_keys() -> Keys:
    return Keys(PrivateKey.from_random(os.urandom(32)), new_private_key())


def test_they_are_held_for_root_alone_and_dropped(tmp_path: Path) -> None:
    keys = new_keys()
    assert held_keys(tmp_path, MESH_ID) is None
    hold_keys(tmp_path, MESH_ID, keys)
    found = held_keys(tmp_path, MESH_ID)
    assert found is not None
    assert (found.wireguard, der(found.certificate)) == (keys.wireguard, der(keys.certificate))
    assert {oct(path.stat().st_mode & 0o777) for path in tmp_path.rglob("*") if path.is_dir()} == {"0o700"}
    assert {oct(path.stat().st_mode & 0o777) for path in tmp_path.rglob("*.key")} == {"0o600"}
    drop_keys(tmp_path, MESH_ID)
    assert list(tmp_path.iterdir()) == []


def test_damaged_ones_count_as_none(tmp_path: Path) -> None:
    hold_keys(tmp_path, MESH_ID, new_keys())
    (tmp_path / "keys" / MESH_ID / "certificate.key").write_text("x")
    assert held_keys(tmp_path, MESH_ID) is None


def test_what_comes_over_the_socket_is_parsed() -> None:
    keys = new_keys()
    found = parse_keys(MemberKeys(wireguard=keys.wireguard.data, certificate=der(keys.certificate)))
    assert found.wireguard == keys.wireguard
    assert der(found.certificate) == der(keys.certificate)


@pytest.mark.parametrize("key", [ec.generate_private_key(ec.SECP384R1()), ed25519.Ed25519PrivateKey.generate()])
def test_other_kinds_of_keys_are_refused(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> None:
    with pytest.raises(InvalidInput):
        parse_keys(MemberKeys(wireguard=bytes(32), certificate=der(key)))


@given(some.binary(max_size=40), some.binary(max_size=200))
def test_nothing_else_gets_in(wireguard: bytes, certificate: bytes) -> None:
    with pytest.raises(InvalidInput):
        parse_keys(MemberKeys(wireguard=wireguard, certificate=certificate))
