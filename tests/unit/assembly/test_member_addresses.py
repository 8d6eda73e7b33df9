"""Whose an address is."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address
from types import SimpleNamespace
from typing import Any

import pytest
from meshd.assembly.member_addresses import MemberAddresses
from meshd.model.errors import InvalidInput
from meshd.model.members import Role
from meshproto import state_pb2

SETTINGS = state_pb2.MeshSettings(
    node_pool="10.10.0.0/16",
    node_prefix=24,
    peer_pool="10.80.0.0/16",
    ula_prefix="fd11:0:0:1::/64",
    transport_prefix="fd11:0:0:2::/64",
)


def member(name: str, role: Role, ipv4: str, transport: str, subnet: str = "") -> Any:
    return SimpleNamespace(
        id=name,
        role=role,
        ipv4=IPv4Address(ipv4),
        transport=IPv6Address(transport),
        subnet=IPv4Network(subnet) if subnet else None,
    )


MEMBERS = {
    one.id: one
    for one in (
        member("gw-berlin", Role.NODE, "10.10.1.1", "fd11:0:0:2:aaaa:aa00::1", "10.10.1.0/24"),
        member("gw-paris", Role.NODE, "10.10.2.1", "fd11:0:0:2:bbbb:bb00::2", "10.10.2.0/24"),
        member("laptop-ada", Role.PEER, "10.80.0.5", "fd11:0:0:2:cccc:cc00::3"),
    )
}


def test_who_has_an_overlay_address() -> None:
    addresses = MemberAddresses(SETTINGS, MEMBERS)
    assert addresses.member_at(IPv4Address("10.80.0.5")) is MEMBERS["laptop-ada"]
    assert addresses.member_at(IPv4Address("10.80.0.6")) is None
    assert addresses.is_overlay(IPv4Address("10.10.2.1"))
    assert not addresses.is_overlay(IPv4Address("10.10.2.2"))


@pytest.mark.parametrize(
    ("address", "node"),
    [
        ("fd11:0:0:2:aaaa:aa00::3", "gw-berlin"),
        ("fd11:0:0:2:bbbb:bb00::3", "gw-paris"),
        ("fd11:0:0:2:cccc:cc00::1", None),  # a peer carries nobody
    ],
)
def test_through_which_node_a_transport_address_goes(address: str, node: str | None) -> None:
    assert MemberAddresses(SETTINGS, MEMBERS).carrier(IPv6Address(address)) == node
    assert MemberAddresses(SETTINGS, MEMBERS).carrier(IPv4Address("10.10.1.1")) is None


def test_what_is_inside_of_a_mesh() -> None:
    addresses = MemberAddresses(SETTINGS, MEMBERS)
    for text in ("10.10.1.77", "10.80.9.9"):
        assert addresses.is_inside(IPv4Address(text))
    for text in ("fd11:0:0:1::9", "fd11:0:0:2::9"):
        assert addresses.is_inside(IPv6Address(text))
    for text in ("10.10.3.1", "192.0.2.1"):
        assert not addresses.is_inside(IPv4Address(text))


def test_settings_that_can_not_be_read_are_named_when_they_are_needed() -> None:
    addresses = MemberAddresses(state_pb2.MeshSettings(), MEMBERS)
    assert addresses.is_overlay(IPv4Address("10.80.0.5"))
    with pytest.raises(InvalidInput, match="settings"):
        addresses.is_inside(IPv4Address("192.0.2.1"))
