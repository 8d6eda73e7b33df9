"""What is outside the interface, on disk."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

from meshd.dataplane.owned import OwnedRoutes

SUBNET, OTHER = ip_network("10.11.0.0/16"), ip_network("10.12.0.0/16")


def test_another_process_knows_every_network_that_was_noted(tmp_path: Path) -> None:
    OwnedRoutes(tmp_path / "network").add("wg-home", frozenset({SUBNET}))
    OwnedRoutes(tmp_path / "network").add("wg-home", frozenset({OTHER}))
    OwnedRoutes(tmp_path / "network").add("work", frozenset())
    fresh = OwnedRoutes(tmp_path / "network")
    assert fresh.read("wg-home") == {SUBNET, OTHER}
    assert fresh.interfaces() == ["wg-home", "work"]
    fresh.forget("wg-home")
    assert fresh.interfaces() == ["work"]


def test_a_damaged_file_is_read_as_nothing(tmp_path: Path) -> None:
    (tmp_path / "routes-home.json").write_text('["10.11.0.0/33"]')
    assert OwnedRoutes(tmp_path).read("home") == frozenset()
