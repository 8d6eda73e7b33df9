"""Folds what `Watch` sends into a Snapshot: (snapshot, update) -> snapshot. Pure.

Wire values end here: text loses what a menu would obey, addresses are parsed. A part that did not change stays the same
object, and traffic counters are not looked at, so that most updates change nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from types import MappingProxyType
from typing import TypeVar

from meshproto import local_pb2 as wire
from meshproto.plain_text import plain
from meshproto.state_pb2 import INVITE_STATE_OPEN, INVITE_STATE_REVOKED, ROLE_NODE

from meshtray.values import Alarm, Invite, Member, Mesh, MeshState, Pending, Snapshot

STATES = {
    wire.CONNECTED: MeshState.CONNECTED,
    wire.CONNECTING: MeshState.CONNECTING,
    wire.STALE: MeshState.STALE,
    wire.DOWN: MeshState.DOWN,
}
ALARMS_KEPT = 20
LONGEST = 200
"""Characters of a foreign text in a menu or a notification."""

A = TypeVar("A", IPv4Address, IPv6Address)


def fold(known: Snapshot, update: wire.WatchUpdate) -> Snapshot:
    """The snapshot after this update."""
    version, may_operate, meshes = known.version, known.may_operate, known.meshes
    is_snapshot = update.HasField("snapshot")
    if is_snapshot:
        version = _text(update.snapshot.version)
        # A helper that does not say refuses by itself.
        may_operate = update.snapshot.caller_tier != wire.TIER_OBSERVE
        meshes = tuple(_mesh(one, known.mesh(one.id), one.members) for one in update.snapshot.meshes)
    for difference in update.differences:
        meshes = _apply(meshes, difference)
    found = Snapshot(known.known or is_snapshot, version, may_operate, meshes, _alarms(known.alarms, update.events))
    return known if found == known else found


def _text(text: str) -> str:
    return plain(text[:LONGEST])


def _alarms(known: tuple[Alarm, ...], events: Iterable[wire.Event]) -> tuple[Alarm, ...]:
    fresh = [
        Alarm(_text(one.mesh), _text(one.text), one.at_ms)
        for one in events
        if one.kind == "alarm" and one.severity == "error"
    ]
    return (*known, *(one for one in fresh if one not in known))[-ALARMS_KEPT:] if fresh else known


def _apply(meshes: tuple[Mesh, ...], difference: wire.MeshDifference) -> tuple[Mesh, ...]:
    at = next((place for place, one in enumerate(meshes) if one.id == difference.mesh_id), len(meshes))
    before, after = meshes[:at], meshes[at + 1 :]
    if difference.removed:
        return (*before, *after)
    mesh = meshes[at] if at < len(meshes) else None
    if difference.HasField("head"):
        mesh = replace(_mesh(difference.head, mesh, ()), id=difference.mesh_id)
    if mesh is None:
        return meshes  # without a head there is no name to show it by; the next snapshot brings it
    return (*before, _with_members(mesh, difference), *after)


def _with_members(mesh: Mesh, difference: wire.MeshDifference) -> Mesh:
    gone = [one for one in difference.removed_member_ids if one in mesh.members]
    changed = {one.id: found for one in difference.members if (found := _member(one)) != mesh.members.get(one.id)}
    if not gone and not changed:
        return mesh
    members = {**mesh.members, **changed}
    for one in gone:
        del members[one]
    return replace(mesh, members=MappingProxyType(members))


def _mesh(status: wire.MeshStatus, known: Mesh | None, members: Iterable[wire.MemberStatus]) -> Mesh:
    """Without `members`, those that are known stay."""
    found = {one.id: _member(one) for one in members}
    if not found and known is not None:
        found = dict(known.members)
    return Mesh(
        id=status.id,
        name=_text(status.name),
        state=STATES.get(status.state, MeshState.CONNECTING),
        reason=_text(status.reason),
        self_id=status.self_id,
        writable=status.writable,
        keyring_entry=status.keyring_entry,
        person=_text(status.person),
        wanted=status.wanted,
        connected_by=_text(status.connected_by),
        paused_until_ms=status.paused_until_ms,
        warnings=tuple(_text(one) for one in status.warnings),
        pending=tuple(
            Pending(_text(one.id), _text(one.name), _text(one.source), _text(one.fingerprint)) for one in status.pending
        ),
        invites=tuple(_invite(one) for one in status.invites if one.state != INVITE_STATE_REVOKED),
        members=MappingProxyType(found),
    )


def _member(status: wire.MemberStatus) -> Member:
    return Member(
        id=status.id,
        name=_text(status.name),
        node=status.role == ROLE_NODE,
        ipv4=_address(IPv4Address, status.ipv4),
        ipv6=_address(IPv6Address, status.ipv6),
        online=status.online,
        enabled=status.enabled,
        admin=status.admin,
        relay=_text(status.relay) if status.path == wire.PATH_RELAYED else "",
    )


def _invite(status: wire.InviteStatus) -> Invite:
    return Invite(
        id=_text(status.id),
        member=_text(status.member),
        used=status.used,
        open=status.state == INVITE_STATE_OPEN,
        created_by=_text(status.created_by),
        created_ms=status.created_ms,
        expires_ms=status.expires_ms,
    )


@lru_cache(maxsize=1024)
def _address(kind: type[A], text: str) -> A | None:
    try:
        return kind(text)
    except ValueError:
        return None
