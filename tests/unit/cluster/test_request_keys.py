"""The keys of a request to be let in: the same until it is decided."""

from __future__ import annotations

import stat
from pathlib import Path

from meshd.cluster.identity import list_identities
from meshd.cluster.request_keys import FOLDER, forget_request_keys, keep_request_keys


def test_the_keys_of_a_request_stay_until_it_is_decided(tmp_path: Path) -> None:
    first, again = keep_request_keys(tmp_path, "home"), keep_request_keys(tmp_path, "home")
    assert again.wireguard == first.wireguard
    assert again.certificate.private_numbers() == first.certificate.private_numbers()
    other = keep_request_keys(tmp_path, "work")
    assert other.wireguard != first.wireguard
    forget_request_keys(tmp_path, "home")
    assert keep_request_keys(tmp_path, "home").wireguard != first.wireguard
    assert keep_request_keys(tmp_path, "work").wireguard == other.wireguard
    forget_request_keys(tmp_path, "home")
    forget_request_keys(tmp_path, "work")
    forget_request_keys(tmp_path, "work")
    assert list(tmp_path.iterdir()) == []


def test_only_root_reads_them_and_they_are_no_mesh(tmp_path: Path) -> None:
    keep_request_keys(tmp_path, "home")
    assert list_identities(tmp_path) == []
    folder = tmp_path / FOLDER / "home"
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {
        "wireguard.key": 0o600, "certificate.key": 0o600,
    }  # fmt: skip


def test_damaged_keys_are_replaced(tmp_path: Path) -> None:
    first = keep_request_keys(tmp_path, "home")
    (tmp_path / FOLDER / "home" / "wireguard.key").write_bytes(b"\xff\x00")
    assert keep_request_keys(tmp_path, "home").wireguard != first.wireguard
