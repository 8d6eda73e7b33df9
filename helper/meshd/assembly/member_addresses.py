"""Which addresses belong to a mesh, and whose they are. Made anew whenever its members change."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from ipaddress import IPv4Address

from meshproto import state_pb2

from meshd.dataplane.desired import Address, Network
from meshd.model.addresses import MEMBER_BITS, Pools
from meshd.model.members import Member, Role


class MemberAddresses:
    """Of the members that the CA vouches for."""

    def __init__(self, settings: state_pb2.MeshSettings, members: Mapping[str, Member]) -> None:
        self._settings = settings
        self._members = members
        self.overlays = {member.ipv4: member.id for member in members.values()}
        self._carriers = {
            int(member.transport) >> MEMBER_BITS: member.id
            for member in members.values()
            if member.role is Role.NODE and member.transport is not None
        }

    def is_overlay(self, address: IPv4Address) -> bool:
        """Whether that is a member's overlay address."""
        return address in self.overlays

    def member_at(self, address: IPv4Address) -> Member | None:
        """Whose overlay address that is."""
        return self._members.get(self.overlays.get(address, ""))

    def is_inside(self, address: Address) -> bool:
        """Whether an address belongs to the mesh itself: such a one is never an endpoint. Raises InvalidInput when the
        stored settings can't be read."""
        return any(address.version == one.version and address in one for one in self._networks)

    @cached_property
    def _networks(self) -> list[Network]:
        pools = Pools.from_settings(self._settings)
        own = {pools.peer_pool, pools.ula, pools.transport, *(member.subnet for member in self._members.values())}
        return [network for network in own if network is not None]

    def carrier(self, address: Address) -> str | None:
        """The node through which an endpoint with that address, a member's transport address, is relayed."""
        return self._carriers.get(int(address) >> MEMBER_BITS) if address.version == 6 else None
