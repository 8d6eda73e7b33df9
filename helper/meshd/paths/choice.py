"""Which way to each member: straight to an endpoint, or over its transport address through a node. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from meshd.model.members import Member, Role


@dataclass(frozen=True, slots=True)
class Sight:
    """What this machine knows about reaching one member."""

    alive_direct: bool  # heard within the last seconds on a session that is not relayed
    dead_direct: bool  # probed for long enough without an answer
    attached: frozenset[str]  # nodes with a live session to it
    straight: bool = False  # its session has an endpoint that is not its transport address


@dataclass(frozen=True, slots=True)
class Way:
    """`relay` is the node that carries the member's transport address, None: no node does. `direct`: the session runs
    straight. Two peers keep their relay while direct, so that the way back is there when it is needed."""

    relay: str | None
    reason: str
    direct: bool = False


def choose_ways(me: Member, members: Mapping[str, Member], sights: Mapping[str, Sight]) -> dict[str, Way]:
    """A way for every other member.

    Both ends must choose the same relay, because WireGuard takes a source address from one peer only. So it is the
    lowest id of the nodes that both are attached to, by what the nodes tell everybody; history does not go into it.
    """
    return {
        member.id: _way(me, member, sights)
        for member in members.values()
        if member.id != me.id and member.role is not Role.DEVICE
    }


def _way(me: Member, member: Member, sights: Mapping[str, Sight]) -> Way:
    sight = sights[member.id]
    between_peers = me.role is Role.PEER and member.role is Role.PEER
    if not between_peers and (sight.alive_direct or not sight.dead_direct):
        return Way(None, "", direct=True)
    direct = between_peers and sight.straight and not sight.dead_direct
    # A relay that this machine can't hear straight would itself need one, and they would point at each other.
    both = (sight.attached & sights[me.id].attached) - {me.id, member.id}
    shared = sorted(node for node in both if node in sights and sights[node].alive_direct)
    if member.transport is None or me.transport is None or not shared:
        return Way(None, "" if direct else "no node reaches both ends", direct)
    if direct:
        return Way(shared[0], "", direct=True)
    return Way(shared[0], "no straight path was found yet" if between_peers else "its endpoints don't answer")
