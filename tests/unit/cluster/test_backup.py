from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from meshd.cluster import backup as backups
from meshd.cluster.backup import MAGIC, seal, unseal
from meshd.model.errors import InvalidInput, MeshError, NotPermitted
from meshproto import state_pb2

PASSPHRASE = "correct horse battery"
BACKUP = state_pb2.Backup(
    view=state_pb2.View(position=state_pb2.Position(epoch=2, revision=7)), cluster_secret=b"\x05" * 32, node_id="n"
)


@pytest.fixture(autouse=True)
def _cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backups, "_COST", 2)


def test_it_opens_with_its_passphrase_only() -> None:
    data = seal(BACKUP, PASSPHRASE)
    assert unseal(data, PASSPHRASE) == BACKUP
    assert BACKUP.cluster_secret not in data
    assert seal(BACKUP, PASSPHRASE) != data
    with pytest.raises(NotPermitted, match="passphrase is wrong"):
        unseal(data, PASSPHRASE + "x")


@pytest.mark.parametrize("passphrase", ["", "short", "x" * 1025])
def test_passphrases_that_are_none(passphrase: str) -> None:
    with pytest.raises(InvalidInput, match="8 to 1024 characters"):
        seal(BACKUP, passphrase)


@settings(deadline=None)
@given(st.integers(0, 200), st.integers(1, 255))
def test_a_changed_or_shortened_file_is_refused(place: int, change: int) -> None:
    data = bytearray(seal(BACKUP, PASSPHRASE))
    with pytest.raises(MeshError):
        unseal(bytes(data[: place % len(data)]), PASSPHRASE)
    data[place % len(data)] ^= change
    with pytest.raises(MeshError):
        unseal(bytes(data), PASSPHRASE)


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_refused(data: bytes) -> None:
    for start in (b"", MAGIC):
        with pytest.raises(MeshError):
            unseal(start + data, PASSPHRASE)
