"""Folds what `Watch` sends into the model: (model, update) -> model. Pure.

Wire values end here: text is stripped of control characters, addresses are parsed, unknown enum values become
the harmless one. Names no generated module at run time, so that the first frame needs neither grpc nor protobuf.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from types import MappingProxyType
from typing import TYPE_CHECKING

from meshproto.plain_text import plain

from meshtui.model import (
    Check,
    Event,
    Invite,
    InviteState,
    Member,
    Mesh,
    MeshState,
    Model,
    Path,
    Pending,
    Role,
    Route,
    Severity,
)

if TYPE_CHECKING:
    from meshproto import local_pb2 as wire

EVENTS_KEPT = 5000
"""As many as the helper's journal has."""

STATES = {1: MeshState.CONNECTED, 2: MeshState.CONNECTING, 3: MeshState.STALE, 4: MeshState.DOWN}
ROLES = {1: Role.NODE, 2: Role.PEER, 3: Role.DEVICE}
INVITES = {1: InviteState.OPEN, 2: InviteState.REDEEMED, 3: InviteState.EXPIRED, 4: InviteState.REVOKED}
CHECKS = {1: Severity.INFO, 2: Severity.WARNING, 3: Severity.ERROR}
PATHS = {1: Path.DIRECT, 2: Path.RELAYED, 3: Path.SELF}
OBSERVE = 1
"""Tier of a caller who may only look. A helper that does not say refuses by itself."""
SEVERITIES = {severity.value: severity for severity in Severity}


def fold(model: Model, update: wire.WatchUpdate) -> Model:
    """The model after this update. A snapshot replaces all meshes; a difference of an unknown mesh adds it."""
    version, meshes, may_operate = model.version, model.meshes, model.may_operate
    if update.HasField("snapshot"):
        version = plain(update.snapshot.version)
        may_operate = update.snapshot.caller_tier != OBSERVE
        meshes = tuple(_mesh(status) for status in update.snapshot.meshes)
    for difference in update.differences:
        meshes = _apply(meshes, difference)
    return Model(
        known=model.known or update.HasField("snapshot"),
        version=version,
        may_operate=may_operate,
        at_ms=update.at_ms or model.at_ms,
        meshes=meshes,
        events=merge_events(model.events, update.events),
    )


def merge_events(known: tuple[Event, ...], added: Iterable[wire.Event]) -> tuple[Event, ...]:
    """The newest EVENTS_KEPT of both, oldest first, each once."""
    converted = [_event(event) for event in added]
    if not converted:
        return known
    seen = {(event.sequence, event.at_ms, event.text) for event in known}
    fresh = [event for event in converted if (event.sequence, event.at_ms, event.text) not in seen]
    return tuple(sorted((*known, *fresh), key=lambda event: (event.at_ms, event.sequence))[-EVENTS_KEPT:])


def _apply(meshes: tuple[Mesh, ...], difference: wire.MeshDifference) -> tuple[Mesh, ...]:
    place = next((at for at, mesh in enumerate(meshes) if mesh.id == difference.mesh_id), None)
    if difference.removed:
        return meshes if place is None else meshes[:place] + meshes[place + 1 :]
    if place is None:
        # Without a head there is no name to show it by; the next snapshot brings it.
        if not difference.HasField("head"):
            return meshes
        return (*meshes, _change(replace(_mesh(difference.head), id=difference.mesh_id), difference))
    mesh = meshes[place]
    if difference.HasField("head"):
        mesh = replace(_mesh(difference.head), id=mesh.id, members=mesh.members)
    return (*meshes[:place], _change(mesh, difference), *meshes[place + 1 :])


def _change(mesh: Mesh, difference: wire.MeshDifference) -> Mesh:
    if not difference.members and not difference.removed_member_ids:
        return mesh
    members = dict(mesh.members)
    for gone in difference.removed_member_ids:
        members.pop(gone, None)
    for status in difference.members:
        members[status.id] = _member(status)
    return replace(mesh, members=MappingProxyType(members))


def _mesh(status: wire.MeshStatus) -> Mesh:
    return Mesh(
        id=status.id,
        name=plain(status.name),
        state=STATES.get(status.state, MeshState.CONNECTING),
        reason=plain(status.reason),
        interface=plain(status.interface),
        backend=plain(status.backend),
        self_id=status.self_id,
        primary=plain(status.primary),
        epoch=status.epoch,
        revision=status.revision,
        writable=status.writable,
        stale_since_ms=status.stale_since_ms,
        warnings=tuple(plain(warning) for warning in status.warnings),
        routes=tuple(_route(route) for route in status.routes),
        pending=tuple(_pending(one) for one in status.pending),
        invites=tuple(_invite(one) for one in status.invites),
        dns_domain=plain(status.dns_domain),
        keyring_entry=plain(status.keyring_entry),
        backend_reason=plain(status.backend_reason),
        election_timeout_ms=status.election_timeout_ms,
        members=MappingProxyType({member.id: _member(member) for member in status.members}),
    )


def _member(status: wire.MemberStatus) -> Member:
    return Member(
        id=status.id,
        name=plain(status.name),
        role=ROLES.get(status.role, Role.UNKNOWN),
        ipv4=_ipv4(status.ipv4),
        ipv6=_ipv6(status.ipv6),
        public_key=plain(status.public_key),
        subnets=_texts(status.subnets),
        endpoint=plain(status.endpoint),
        online=status.online,
        enabled=status.enabled,
        admin=status.admin,
        path=_path(status),
        relay=plain(status.relay),
        path_reason=plain(status.path_reason),
        candidates=_texts(status.candidates),
        handshake_ms=status.latest_handshake_ms,
        rx_bytes=status.rx_bytes,
        tx_bytes=status.tx_bytes,
        rx_rate=status.rx_rate if status.rx_rate > 0 else 0.0,
        tx_rate=status.tx_rate if status.tx_rate > 0 else 0.0,
        latency_ms=status.latency_ms if status.latency_ms > 0 else None,
        primary=status.primary,
        voter=status.voter,
        replica_lag=status.replica_lag if status.replica_lag >= 0 else None,
        store_state=plain(status.store_state),
        joined_ms=status.joined_ms,
        joined_by=plain(status.joined_by),
        is_self=status.is_self,
    )


def _texts(foreign: Sequence[str]) -> tuple[str, ...]:
    return tuple([plain(text) for text in foreign]) if foreign else ()


def _path(status: wire.MemberStatus) -> Path:
    """Relayed by nobody is no path."""
    path = PATHS.get(status.path, Path.NONE)
    return Path.NONE if path is Path.RELAYED and not status.relay else path


def _route(status: wire.RouteStatus) -> Route:
    return Route(
        cidr=plain(status.cidr),
        nodes=tuple(plain(node) for node in status.nodes),
        chosen=plain(status.chosen),
        masquerade=status.masquerade,
        not_installed=plain(status.not_installed),
    )


def _pending(status: wire.PendingStatus) -> Pending:
    return Pending(
        id=plain(status.id),
        name=plain(status.name),
        source=plain(status.source),
        public_key=plain(status.public_key),
        fingerprint=plain(status.fingerprint),
        since_ms=status.since_ms,
    )


def _invite(status: wire.InviteStatus) -> Invite:
    return Invite(
        id=plain(status.id),
        member=plain(status.member),
        role=ROLES.get(status.role, Role.UNKNOWN),
        uses=status.uses,
        used=status.used,
        state=INVITES.get(status.state, InviteState.REVOKED),
        created_by=plain(status.created_by),
        created_ms=status.created_ms,
        expires_ms=status.expires_ms,
        admin=status.admin,
    )


def check(status: wire.Check) -> Check:
    severity = CHECKS.get(status.state, Severity.WARNING)
    return Check(plain(status.check), severity, plain(status.found), plain(status.fix))


def _event(event: wire.Event) -> Event:
    return Event(
        mesh=plain(event.mesh),
        revision=event.revision,
        at_ms=event.at_ms,
        kind=plain(event.kind),
        severity=SEVERITIES.get(event.severity, Severity.INFO),
        actor=plain(event.actor),
        subject=plain(event.subject),
        subject_id=event.subject_id,
        text=plain(event.text) or plain(event.action),
        sequence=event.sequence,
    )


@lru_cache(maxsize=8192)
def _ipv4(text: str) -> IPv4Address | None:
    try:
        return IPv4Address(text)
    except AddressValueError:
        return None


@lru_cache(maxsize=8192)
def _ipv6(text: str) -> IPv6Address | None:
    try:
        return IPv6Address(text)
    except AddressValueError:
        return None
