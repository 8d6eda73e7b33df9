"""Members that are enabled again: their nodes start the sessions. A member that waits to be let in sends too seldom."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from meshd.dataplane.desired import UdpEndpoint
from meshd.dataplane.wireguard.backend import DeviceState
from meshd.model.members import Member, Role

if TYPE_CHECKING:
    from meshd.assembly.sessions import Sessions


class Returning:
    """Of one node. Endpoints are of this run: after a restart of meshd such a member is back when it sends itself."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._endpoints: dict[str, UdpEndpoint] = {}
        self._expected: set[str] = set()

    def remember(self, device: DeviceState, members: Mapping[str, Member]) -> None:
        """Where each peer and device was last, also while it is disabled."""
        for member in members.values():
            peer = device.peers.get(member.public_key)
            endpoint = peer.endpoint if peer is not None else None
            if member.role is Role.NODE or endpoint is None or self._sessions.is_transport(endpoint.address):
                continue
            self._endpoints[member.id] = endpoint
        for member_id in self._endpoints.keys() - members.keys():
            del self._endpoints[member_id]

    def endpoints(self) -> dict[str, UdpEndpoint]:
        return dict(self._endpoints)

    def expect(self, member_id: str) -> None:
        """It was enabled: the next `greet` starts its session."""
        self._expected.add(member_id)
        self._sessions.give_time(member_id)

    def greet(self, members: Mapping[str, Member], device: DeviceState) -> None:
        """After a plan was applied. A packet makes WireGuard start the session, and tells a peer that it may. Whom the
        interface does not have yet, as the plan was made before it was enabled, is greeted after the next one."""
        self._expected &= members.keys()
        for member_id in [one for one in self._expected if members[one].public_key in device.peers]:
            self._expected.discard(member_id)
            self._sessions.prober.ping(members[member_id].ipv4)
