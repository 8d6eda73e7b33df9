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
    can_start: bool  # an endpoint is known that this machine has a route to


@dataclass(frozen=True, slots=True)
class Way:
    """`relay` is the node that carries the member's transport address; None: straight."""

    relay: str | None
    reason: str


def choose_ways(
    me: Member, members: Mapping[str, Member], sights: Mapping[str, Sight], previous: Mapping[str, Way]
) -> dict[str, Way]:
    """A way for every other member. A relay is kept while it works, so that nothing moves without a reason."""
    near = [
        member.id
        for member in members.values()
        if member.role is Role.NODE and member.id != me.id and sights[member.id].alive_direct
    ]
    ways = {}
    for member in members.values():
        if member.id == me.id or member.role is Role.DEVICE:
            continue
        ways[member.id] = _way(me, member, sights[member.id], sorted(near), previous.get(member.id))
    return ways


def _way(me: Member, member: Member, sight: Sight, near: list[str], before: Way | None) -> Way:
    between_peers = me.role is Role.PEER and member.role is Role.PEER
    usable = [node for node in near if node in sight.attached and node != member.id]
    if between_peers and not usable:
        usable = near
    if not between_peers and (sight.alive_direct or not sight.dead_direct):
        return Way(None, "")
    if member.transport is None or me.transport is None or not usable:
        return Way(None, "no node reaches both ends" if sight.dead_direct else "")
    relay = before.relay if before is not None and before.relay in usable else usable[0]
    reason = "both are behind a node" if between_peers else "its endpoints don't answer"
    return Way(relay, reason)
