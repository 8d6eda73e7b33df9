"""Which way to each member: straight to an endpoint, or over its transport address through a node. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from meshd.model.members import Member, Role


@dataclass(frozen=True, slots=True)
class Sight:
    """What this machine knows about reaching one member."""

    alive_direct: bool  # heard within the last seconds on a session that is not relayed
    dead_direct: bool  # probed for long enough without an answer
    attached: frozenset[str]  # nodes with a live session to it
    straight: bool = False  # its session has an endpoint that is not its transport address
    relay: str | None = None  # the node that its session goes through now


@dataclass(frozen=True, slots=True)
class Way:
    """`relay` is the node that carries the member's transport address, None: no node does. `direct`: the session runs
    straight. Two peers keep their relay while direct, so that the way back is there when it is needed."""

    relay: str | None
    reason: str
    direct: bool = False


def choose_ways(
    me: Member, members: Mapping[str, Member], sights: Mapping[str, Sight], leaving: frozenset[str] = frozenset()
) -> dict[str, Way]:
    """A way for every other member. `leaving`: members that are going, which still carry what is under way.

    A relay is a node that this machine hears itself and that says it reaches the other end. It is kept while that
    holds; the oldest one is chosen only where there is none. When the two ends choose differently, each is reached
    through the other's choice.
    """
    # A relay that this machine can't hear straight would itself need one, and they would point at each other.
    near = {key for key, seen in sights.items() if seen.alive_direct} - leaving
    age = {one.id: (one.joined_ms, one.id) for one in members.values()}
    return {
        member.id: _way(me, member, sights, near, age)
        for member in members.values()
        if member.id != me.id and member.role is not Role.DEVICE
    }


def _way(
    me: Member,
    member: Member,
    sights: Mapping[str, Sight],
    near: Collection[str],
    age: Mapping[str, tuple[int, str]],
) -> Way:
    sight = sights[member.id]
    between_peers = me.role is Role.PEER and member.role is Role.PEER
    if not between_peers and (sight.alive_direct or not sight.dead_direct):
        return Way(None, "", direct=True)
    direct = between_peers and sight.straight and not sight.dead_direct
    shared = sight.attached.intersection(near) - {me.id, member.id}
    if member.transport is None or me.transport is None or not shared:
        return Way(None, "" if direct else "no node reaches both ends", direct)
    relay = sight.relay if sight.relay in shared else min(shared, key=lambda one: age[one])
    if direct:
        return Way(relay, "", direct=True)
    return Way(relay, "no straight path was found yet" if between_peers else "its endpoints don't answer")
