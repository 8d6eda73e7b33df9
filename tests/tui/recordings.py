"""What a helper says in each situation that has an appearance of its own. All moments are before NOW_MS."""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import IPv4Address

from meshproto import local_pb2, state_pb2

NOW_MS = int(datetime(2026, 11, 21, 14, 2, 11, tzinfo=UTC).timestamp() * 1000)
S = 1000
MIN = 60 * S
HOUR = 60 * MIN
KEYS = ("/2YDhVZk3H0dKcB5m8iJr1tqGQn0o7xLw6uPaSfE4C4=", "kPn1bW3yq0Vt8RrJ5mXcGQe7uLs2oDfHiZaK9xTwB1M=")


def member(number: int, name: str, **fields: object) -> local_pb2.MemberStatus:
    """A member that is online and direct unless the fields say otherwise."""
    node = name.startswith("gw-")
    values: dict[str, object] = {
        "id": f"9e91c0de-0000-4000-8000-{number:012x}",
        "name": name,
        "role": state_pb2.ROLE_NODE if node else state_pb2.ROLE_PEER,
        "ipv4": f"10.{10 + number}.0.1" if node else f"10.51.{number >> 8}.{number & 255}",
        "ipv6": f"fd4b:9c1e:77a0::{number + 0x7C1D:x}",
        "public_key": KEYS[number % 2],
        "subnets": [f"10.{10 + number}.0.0/16"] if node else [],
        "endpoint": f"198.51.100.{number % 250 + 2}:10100",
        "candidates": [f"198.51.100.{number % 250 + 2}:10100"],
        "online": True,
        "enabled": True,
        "path": local_pb2.PATH_DIRECT,
        "latest_handshake_ms": NOW_MS - (12 + number) * S,
        "rx_bytes": 41_000_000,
        "tx_bytes": 3_800_000,
        "latency_ms": 1.8,
        "replica_lag": 0 if node else -1,
        "voter": node,
        "store_state": "ok" if node else "",
        "joined_ms": NOW_MS - 49 * HOUR,
        "joined_by": "cluster key" if node else "invite of gw-berlin",
    }
    return local_pb2.MemberStatus(**{**values, **fields})  # type: ignore[arg-type]  # checked by protobuf


def laptop_ada(**fields: object) -> local_pb2.MemberStatus:
    own: dict[str, object] = {
        "is_self": True, "path": local_pb2.PATH_SELF, "latest_handshake_ms": 0, "latency_ms": 0, "rx_bytes": 0,
        "tx_bytes": 0, "admin": True,
    }  # fmt: skip
    return member(4, "laptop-ada", **{**own, **fields})


def members() -> list[local_pb2.MemberStatus]:
    return [
        member(1, "gw-berlin", primary=True, rx_rate=820_000, tx_rate=12_300),
        member(2, "gw-paris", rx_rate=2_100, tx_rate=1_040, latency_ms=14.2, latest_handshake_ms=NOW_MS - 48 * S),
        member(3, "gw-oslo", latency_ms=22.9, replica_lag=3, latest_handshake_ms=NOW_MS - 101 * S),
        laptop_ada(),
        member(
            5, "laptop-grace", path=local_pb2.PATH_RELAYED, relay="gw-berlin", rx_rate=310_000, tx_rate=290_000,
            latency_ms=31.04, latest_handshake_ms=NOW_MS - 3 * S, path_reason="no answer from 192.0.2.20:41822",
            candidates=["192.0.2.20:41822", "192.168.1.20:10100"],
        ),
        member(
            6, "desk-edsger", online=False, path=local_pb2.PATH_NONE, latest_handshake_ms=NOW_MS - 2 * HOUR,
            path_reason="offline", latency_ms=0,
        ),
        member(
            7, "phone-barbara", enabled=False, online=False, path=local_pb2.PATH_NONE, path_reason="disabled",
            latest_handshake_ms=0, latency_ms=0,
        ),
    ]  # fmt: skip


def offline(some: list[local_pb2.MemberStatus]) -> list[local_pb2.MemberStatus]:
    for one in some:
        one.online, one.path, one.path_reason, one.latency_ms = False, local_pb2.PATH_NONE, "offline", 0
        one.rx_rate = one.tx_rate = 0
    return some


def routes() -> list[local_pb2.RouteStatus]:
    return [
        local_pb2.RouteStatus(cidr="192.0.2.0/24", nodes=["gw-paris"], chosen="gw-paris", not_installed="eth0 has it"),
        local_pb2.RouteStatus(cidr="198.51.100.128/25", nodes=["gw-oslo"]),
        local_pb2.RouteStatus(
            cidr="203.0.113.0/24", nodes=["gw-berlin", "gw-paris"], chosen="gw-paris", masquerade=True
        ),
    ]


def mesh(name: str = "home", **fields: object) -> local_pb2.MeshStatus:
    values: dict[str, object] = {
        "name": name,
        "id": f"mesh-{name}",
        "state": local_pb2.CONNECTED,
        "interface": name,
        "backend": "userspace",
        "self_id": laptop_ada().id,
        "primary": "gw-berlin",
        "epoch": 3,
        "revision": 41,
        "writable": True,
        "members": members(),
        "routes": routes()[2:],
        "dns_domain": f"{name}.wg",
    }
    return local_pb2.MeshStatus(**{**values, **fields})  # type: ignore[arg-type]  # checked by protobuf


def status(*meshes: local_pb2.MeshStatus, tier: local_pb2.Tier.ValueType = local_pb2.TIER_OPERATE) -> local_pb2.Status:
    return local_pb2.Status(version="0.1.0", meshes=meshes, caller_tier=tier)


def event(sequence: int, before_ms: int, text: str, **fields: object) -> local_pb2.Event:
    values: dict[str, object] = {
        "mesh": "home", "at_ms": NOW_MS - before_ms, "kind": "change", "severity": "info", "text": text,
        "sequence": sequence,
    }  # fmt: skip
    return local_pb2.Event(**{**values, **fields})  # type: ignore[arg-type]  # checked by protobuf


def events() -> list[local_pb2.Event]:
    by = {"actor": "gw-berlin (ada)"}
    grace = {"subject": "laptop-grace"}
    return [
        event(1, 26 * HOUR, "home is created", revision=1, subject="gw-berlin", **by),
        event(2, 5 * HOUR, "laptop-grace joined by invite", revision=38, **grace, **by),
        event(3, 90 * MIN, "phone-barbara is disabled", revision=40, subject="phone-barbara", **by),
        event(4, 24 * MIN, "handshake with laptop-grace", kind="path", **grace),
        event(5, 22 * MIN, "direct path to laptop-grace lost, relayed through gw-berlin", kind="path",
              severity="warning", **grace),
        event(6, 3 * MIN, "the route 10.12.0.0/16 was removed by somebody else and is back", kind="repair",
              severity="warning", mesh=""),
        event(7, 11 * S, "203.0.113.0/24 is offered by gw-paris too", revision=41, subject="gw-paris",
              actor="gw-paris (root)"),
    ]  # fmt: skip


def invites() -> list[local_pb2.InviteStatus]:
    def invite(number: int, **fields: object) -> local_pb2.InviteStatus:
        values: dict[str, object] = {
            "id": f"4f1cab{number:02x}", "role": state_pb2.ROLE_PEER, "uses": 1, "created_by": "gw-berlin (ada)",
            "created_ms": NOW_MS - number * HOUR, "expires_ms": NOW_MS + number * 24 * HOUR,
            "state": state_pb2.INVITE_STATE_OPEN,
        }  # fmt: skip
        return local_pb2.InviteStatus(**{**values, **fields})  # type: ignore[arg-type]  # checked by protobuf

    return [
        invite(1, member="laptop-grace", used=1, state=state_pb2.INVITE_STATE_REDEEMED),
        invite(2, member="laptop-bob"),
        invite(3, uses=20, used=3, admin=True),
        invite(4, member="gw-rome", role=state_pb2.ROLE_NODE, state=state_pb2.INVITE_STATE_REVOKED),
    ]


def pending() -> list[local_pb2.PendingStatus]:
    return [
        local_pb2.PendingStatus(
            id="4f2a", name="desk-alan", source="192.0.2.77", since_ms=NOW_MS - MIN, public_key=KEYS[0],
            fingerprint="b3f1 9a20 77cd 0e4f 1b2a 9c3d 5e6f 7081",
        )
    ]  # fmt: skip


def checks() -> list[local_pb2.Check]:
    return [
        local_pb2.Check(check="wireguard", state=local_pb2.OK, found="userspace: the kernel has no WireGuard"),
        local_pb2.Check(check="nft", state=local_pb2.ERROR, found="not installed", fix="apt install nftables"),
        local_pb2.Check(check="clock", state=local_pb2.OK, found="in step"),
        local_pb2.Check(
            check="group", state=local_pb2.WARNING, found="there is no group mesh", fix="sudo groupadd --system mesh"
        ),
    ]


def crowd(count: int) -> list[local_pb2.MemberStatus]:
    """Three nodes, this machine, and peers."""
    first = members()[:4]
    peers = [
        member(
            number, f"laptop-{number:04}", ipv4=str(IPv4Address("10.51.0.0") + number), rx_rate=number * 37 % 9000,
            tx_rate=number * 13 % 5000, latency_ms=1 + number % 80,
        )
        for number in range(5, count + 1)
    ]  # fmt: skip
    return first + peers


def stages() -> list[local_pb2.JoinProgress]:
    """Of a join with a cluster key."""
    return [
        local_pb2.JoinProgress(stage=stage, text=text)
        for stage, text in (
            ("resolve", "looking for gw-berlin.example"),
            ("verify", "gw-berlin.example is a node of office"),
            ("redeem", "asking office to let this machine in"),
            ("tunnel", "setting up the tunnel"),
            ("handshake", "waiting for the first handshake"),
            ("synced", "waiting for the state of the mesh"),
        )
    ]
