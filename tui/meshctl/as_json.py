"""The helper's messages as the JSON of INTERFACES.md."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from meshproto import local_pb2, state_pb2

STATES = {
    local_pb2.CONNECTED: "connected",
    local_pb2.CONNECTING: "connecting",
    local_pb2.STALE: "stale",
    local_pb2.DOWN: "down",
}
ROLES = {state_pb2.ROLE_NODE: "node", state_pb2.ROLE_PEER: "peer", state_pb2.ROLE_DEVICE: "device"}
PATHS = {
    local_pb2.PATH_NONE: "none",
    local_pb2.PATH_DIRECT: "direct",
    local_pb2.PATH_RELAYED: "relayed",
    local_pb2.PATH_SELF: "self",
}
INVITES = {
    state_pb2.INVITE_STATE_OPEN: "open",
    state_pb2.INVITE_STATE_REDEEMED: "redeemed",
    state_pb2.INVITE_STATE_EXPIRED: "expired",
    state_pb2.INVITE_STATE_REVOKED: "revoked",
}
CHECKS = {local_pb2.OK: "ok", local_pb2.WARNING: "warning", local_pb2.ERROR: "error"}


def moment(unix_ms: int) -> str | None:
    """RFC 3339 in UTC; None for 0."""
    if not unix_ms:
        return None
    return datetime.fromtimestamp(unix_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def member(one: local_pb2.MemberStatus) -> dict[str, Any]:
    node = one.role == state_pb2.ROLE_NODE
    return {
        "id": one.id,
        "name": one.name,
        "role": ROLES.get(one.role, "peer"),
        "ipv4": one.ipv4,
        "ipv6": one.ipv6 or None,
        "public_key": one.public_key,
        "subnets": list(one.subnets),
        "endpoint": one.endpoint or None,
        "online": one.online,
        "enabled": one.enabled,
        "admin": one.admin,
        "path": PATHS.get(one.path, "none"),
        "latest_handshake": moment(one.latest_handshake_ms),
        "rx_bytes": one.rx_bytes,
        "tx_bytes": one.tx_bytes,
        "latency_ms": round(one.latency_ms, 3) if one.latency_ms else None,
        "primary": one.primary,
        "voter": one.voter,
        "replica_lag": one.replica_lag if node and one.replica_lag >= 0 else None,
        "protocol_version": one.protocol_version or None,
    }


def mesh(one: local_pb2.MeshStatus) -> dict[str, Any]:
    members = [member(each) for each in one.members]
    return {
        "name": one.name,
        "id": one.id,
        "state": STATES.get(one.state, "down"),
        "reason": one.reason,
        "interface": one.interface,
        "backend": one.backend,
        "backend_reason": one.backend_reason,
        "self": next((each for each in members if each["id"] == one.self_id), None),
        "primary": one.primary or None,
        "epoch": one.epoch,
        "revision": one.revision,
        "writable": one.writable,
        "election_timeout_ms": one.election_timeout_ms,
        "members": members,
        "warnings": list(one.warnings),
        "connected_by": one.connected_by or None,
        "paused_until": moment(one.paused_until_ms),
    }


def route(one: local_pb2.RouteStatus) -> dict[str, Any]:
    return {"cidr": one.cidr, "nodes": list(one.nodes), "chosen": one.chosen or None, "masquerade": one.masquerade}


def invite(one: local_pb2.InviteStatus) -> dict[str, Any]:
    return {
        "id": one.id,
        "member": one.member or None,
        "role": ROLES.get(one.role, "peer"),
        "uses": one.uses,
        "used": one.used,
        "state": INVITES.get(one.state, "open"),
        "created_by": one.created_by,
        "created": moment(one.created_ms),
        "expires": moment(one.expires_ms),
        "cidr": one.cidr or None,
        "admin": one.admin,
    }


def pending(one: local_pb2.PendingStatus) -> dict[str, Any]:
    return {
        "id": one.id,
        "name": one.name,
        "public_key": one.public_key,
        "fingerprint": one.fingerprint,
        "from": one.source,
        "since": moment(one.since_ms),
    }


def event(one: local_pb2.Event) -> dict[str, Any]:
    return {
        "mesh": one.mesh or None,
        "revision": one.revision or None,
        "epoch": one.epoch or None,
        "at": moment(one.at_ms),
        "kind": one.kind,
        "severity": one.severity,
        "actor": one.actor or None,
        "action": one.action or None,
        "subject": one.subject or None,
        "subject_id": one.subject_id or None,
        "text": one.text,
    }


def check(one: local_pb2.Check) -> dict[str, Any]:
    return {"check": one.check, "state": CHECKS.get(one.state, "error"), "found": one.found, "fix": one.fix or None}


def ping(one: local_pb2.PingReply) -> dict[str, Any]:
    trip = {"min": one.min_ms, "avg": one.avg_ms, "max": one.max_ms} if one.received else None
    return {"sent": one.sent, "received": one.received, "rtt_ms": trip, "path": PATHS.get(one.path, "none")}
